"""The console in a real browser, served as in production: WSGI, DEBUG off, logged in to the database as `web`."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from cdp import embedded
from tests import databases

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DATABASE = f"{databases.default_name()}_browser"  # of this worker
PASSWORD = "a long password"
CHROMIUM = "/usr/bin/chromium"
QUIET = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip

FILL = """
import django; django.setup()
import json
from datetime import UTC, datetime
from django.db import connection, transaction
from cdp.kernel.identifiers import Identifier
from consent import requests
from consent.rights import Right
from tests.factories import SourceFactory, WorkspaceFactory
from tests.factories.filled import console_user, fill

with transaction.atomic(), connection.cursor() as cursor:
    files = WorkspaceFactory(slug="files", name="Fichiers")
    cursor.execute("SELECT set_config('tessera.workspace', %s, true)", [str(files.pk)])
    SourceFactory(workspace=files, name="crm", kind="FILE", default_region="FR")
    console_user(files, "clerk")
    workspace = WorkspaceFactory(slug="shop", name="Maison")
    cursor.execute("SELECT set_config('tessera.workspace', %s, true)", [str(workspace.pk)])
    now = datetime.now(UTC)
    filled = fill(workspace, console_user(workspace), now)
    asked = {"workspace_id": workspace.pk, "by": "key:1", "now": now}
    somebody = [Identifier("email", "augusta@example.org")]
    erasure = requests.receive_request(
        kind=Right.ERASURE, identifiers=somebody, received_at=now, is_logged_in=True, **asked
    )
    requests.start_request(request_id=erasure.pk, **asked)
    print(json.dumps({"profile": filled.people[0].profile_id, "segment": filled.segment.pk, "erasure": erasure.pk}))
"""

TURN = """
import sys
import django; django.setup()
from django.utils import timezone
from cdp.ingestion import uploads
from cdp.models import Workspace

workspace = Workspace.objects.get(slug="files").pk
assert uploads.load_next(workspace_id=workspace, clock=timezone.now, seconds=float(sys.argv[1]))
"""


@dataclass
class Console:
    """A browser that is logged in, and everything it complained about."""

    page: Page
    address: str
    profile: int
    segment: int
    erasure: int = 0  # where nobody asked to be erased
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(self.address + path)
        self.page.wait_for_load_state("networkidle")


@pytest.fixture(scope="module")
def upload_directory(tmp_path_factory) -> Iterator[None]:
    """Where web server and worker find the files that people give the console."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("UPLOAD_DIR", str(tmp_path_factory.mktemp("uploads")))
        yield


@pytest.fixture(scope="module")
def served(upload_directory) -> Iterator[tuple[str, dict[str, int]]]:
    stack = embedded.default_stack()
    stack.start()
    with databases.fresh_database(DATABASE):
        filled = subprocess.run(
            [sys.executable, "-c", FILL], env=environment(stack.database_url("postgres", DATABASE)), cwd=embedded.CHECKOUT,
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        port = free_port()
        server = subprocess.Popen(
            [sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(port), "cdp.wsgi:application"],
            env=environment(stack.database_url("web", DATABASE)), cwd=embedded.CHECKOUT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await_answer(f"http://127.0.0.1:{port}/console/login/")
            yield f"http://127.0.0.1:{port}", json.loads(filled.stdout)
        finally:
            server.terminate()
            server.wait(timeout=30)


def take_turn_of_worker(*, seconds: float) -> None:
    database_url = embedded.default_stack().database_url("worker_ingestion", DATABASE)
    command = [sys.executable, "-c", TURN, str(seconds)]
    subprocess.run(command, env=environment(database_url), cwd=embedded.CHECKOUT, check=True, capture_output=True)


def environment(database_url: str) -> dict[str, str]:
    stack = embedded.default_stack()
    secrets = {name: stack.credentials[name] for name in ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS")}
    addresses = {"DATABASE_URL": database_url, "BROKER_URL": stack.broker_url}
    return {**os.environ, **secrets, **addresses, "DJANGO_SETTINGS_MODULE": "cdp.settings", "DEBUG": "false"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_answer(address: str) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            assert time.monotonic() < until, "the web server did not start"
            time.sleep(0.2)
        else:
            return


@pytest.fixture(scope="module")
def browser(served) -> Iterator[BrowserContext]:
    """Logged in once, as nobody would log in before each page."""
    address, _ = served
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield log_in(chromium, address, "steward")
        chromium.close()


def log_in(chromium: Browser, address: str, name: str) -> BrowserContext:
    context = chromium.new_context(viewport={"width": 1400, "height": 1000}, locale="en-GB")
    page = context.new_page()
    page.goto(f"{address}/console/")
    page.fill("[name=username]", name)
    page.fill("[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url(f"{address}/console/")
    page.close()
    return context


@pytest.fixture
def console(served, browser) -> Iterator[Console]:
    with listened_to(browser, *served) as console:
        yield console


@pytest.fixture
def console_without_scripts(served, browser) -> Iterator[Console]:
    context = browser.browser.new_context(
        viewport={"width": 1400, "height": 1000}, locale="en-GB", java_script_enabled=False,
        storage_state=browser.storage_state(),
    )  # fmt: skip
    with listened_to(context, *served) as console:
        yield console
    context.close()


@pytest.fixture
def clerks_console(served, browser) -> Iterator[Console]:
    """In a workspace of its own: what comes in there is counted on no other page."""
    context = log_in(browser.browser, served[0], "clerk")
    with listened_to(context, *served) as console:
        yield console
    context.close()


@contextmanager
def listened_to(context: BrowserContext, address: str, filled: dict[str, int]) -> Iterator[Console]:
    context.clear_cookies(name="django_language")
    page = context.new_page()
    console = Console(page, address, **filled)
    listen(console)
    console.open("/console/")
    yield console
    page.close()
    assert console.complaints == []


def listen(console: Console) -> None:
    """Errors in the browser, answers that are errors, and requests that leave the machine."""
    told = console.complaints.append
    page = console.page
    page.on("console", lambda message: message.type in {"error", "warning"} and told(message.text))
    page.on("pageerror", lambda error: told(str(error)))
    page.on("response", lambda response: response.status >= 400 and told(f"{response.status} {response.url}"))
    page.on("request", lambda request: request.url.startswith((console.address, "data:")) or told(request.url))


def test_steward__who_logs_in__finds_home_and_a_person(console):
    assert console.page.inner_text("a.console-tile >> nth=0 >> strong") == "3"

    console.open(f"/console/cdp/profile/{console.profile}/change/")

    assert "Ada Lovelace" in console.page.inner_text(".console-person")
    console.page.click("text=by which conditions?")
    console.page.wait_for_selector("text=Order Completed” happened")


def test_steward__who_switches_to_french__reads_french(console):
    console.page.click("text=steward")
    console.page.click("button:has-text('Français')")
    console.page.wait_for_load_state("networkidle")

    assert "Événements conservés" in console.page.inner_text("#content")
    console.open(f"/console/cdp/profile/{console.profile}/change/")
    assert "Pourquoi il s’agit d’une seule personne" in console.page.inner_text("#content")


def test_marketer__who_changes_a_rule__sees_the_count_and_a_mistake_marked(console):
    console.open(f"/console/segments/segment/{console.segment}/change/")

    console.page.fill("#id_definition", 'trait "city" = "London"')
    console.page.wait_for_selector("#count")  # comes by itself, a moment after the last key
    assert (console.page.inner_text("#count"), console.page.inner_text("#exactness")) == ("1", "exact")

    console.page.fill("#id_definition", 'trait "city" equals "London"')
    console.page.click("#preview")
    console.page.wait_for_selector(".console-mark")
    assert console.page.inner_text(".console-mark") == "equals"


def test_marketer__without_scripts__counts_by_a_button_and_goes_back_to_a_version(console_without_scripts):
    console, page = console_without_scripts, console_without_scripts.page
    console.open(f"/console/segments/segment/{console.segment}/change/")

    page.fill("#id_definition", 'trait "city" = "Paris"')
    with page.expect_popup() as opened:
        page.click("#preview")
    opened.value.wait_for_selector("#count")
    assert opened.value.inner_text("#count") == "1"
    opened.value.close()

    page.click("[name=_continue]")
    page.wait_for_selector("#versions tbody tr:has-text('v2') >> text='live'")
    page.click("#versions tbody tr:has-text('v1') button")
    page.wait_for_selector("#versions tbody tr:has-text('v3') >> text='live'")
    assert page.inner_text("#versions tbody tr >> nth=0 >> ins").startswith("count of")


def test_clerk__who_gives_a_file__follows_it_to_what_was_refused_and_to_its_quality(clerks_console, tmp_path):
    console, page, names = clerks_console, clerks_console.page, ("Zoé", "Léa", "Paul")
    rows = [f"{number};{names[number % 3]};m{number}@example.com;{number % 50},5" for number in range(12_000)]
    (tmp_path / "clients.csv").write_text("\n".join(["no;Prénom;Courriel;Panier", *rows, ";Personne;;1,5"]))

    console.open("/console/cdp/upload/add/")
    page.select_option("[name=source]", label="crm")
    page.set_input_files("[name=file]", tmp_path / "clients.csv")
    page.click("[name=_save]")
    page.wait_for_selector("#previewed")
    guessed = yaml.safe_load(page.input_value("[name=mapping]"))
    assert (guessed["key"], guessed["identifiers"]) == ("no", {"email": "Courriel"})
    assert guessed["traits"] == {"given_name": "Prénom", "panier": "Panier"}
    assert page.inner_text("#previewed tbody tr >> nth=0").split("\n")[0].split("\t")[:2] == ["2", "0"]

    page.click("#start")
    page.wait_for_selector("#cancel")
    take_turn_of_worker(seconds=0)
    page.wait_for_selector("h2:has-text('Progress') >> text=/^[1-9][0-9]? %$/")  # the page asks for itself again
    take_turn_of_worker(seconds=60)
    page.wait_for_selector("h2:has-text('Progress') >> text='100 %'")
    counts = page.inner_text(".console-facts").split("\n")
    assert counts == ["rows read", "12,001", "accepted", "12,000", "known already", "0", "in quarantine", "1"]

    page.click("#refused")
    page.wait_for_load_state("networkidle")
    assert page.locator("#result_list tbody tr").count() == 1
    assert "clients.csv:12002" in page.inner_text("#result_list tbody")
    page.go_back()
    page.click("#report")
    page.wait_for_selector("#quality")
    assert "12,001 rows" in page.inner_text("#quality")
    assert page.inner_text("#quality td:has-text('Panier') + td") == "number"


def test_steward__who_mends__sees_meanwhile_what_would_become_of_it_and_follows_the_run(console):
    console.open("/console/cdp/quarantineditem/")
    console.page.click("text=Mend and replay what is filtered")
    console.page.wait_for_selector("#differences")
    assert console.page.inner_text("#refused") == "2 would stay"

    console.page.fill("#id_mend", "- {rename: user, to: userId}\n- {default: type, value: track}")
    console.page.wait_for_selector("#accepted:has-text('2 would be stored')")
    assert console.page.inner_text("#differences ins >> nth=0") == "u1"

    console.page.click("#replay")
    console.page.wait_for_selector("#state")
    assert console.page.inner_text("#state") == "running"


@pytest.mark.parametrize(
    "path",
    [
        "cdp/profile/", "cdp/source/add/", "segments/learnedmodel/1/change/", "activation/audience/1/change/",
        "identity/reviewpair/1/change/", "cdp/quarantineditem/1/change/", "consent/consentrecord/", "cdp/user/add/", "cdp/trackingplanversion/1/change/",
        "cdp/trackingplanversion/add/", "cdp/qualityreport/3/change/",
    ],
)  # fmt: skip
def test_page__in_the_browser__opens_without_a_complaint(path, console):
    console.open(f"/console/{path}")

    assert console.page.is_visible("#content")


def test_steward__who_tries_a_value__sees_what_becomes_of_it(console):
    console.open("/console/cdp/correction/")

    console.page.fill("input[name=value]", "0033 (0)6 12 34 56 78")
    console.page.select_option("select[name=kind]", "phone")
    console.page.fill("input[name=region]", "FR")
    console.page.click("button:has-text('Try')")

    console.page.wait_for_selector("#normal")
    assert console.page.inner_text("#normal") == "+33612345678"


def test_officer__by_keyboard_and_without_scripts__blots_out_what_means_the_person(console_without_scripts):
    console, page = console_without_scripts, console_without_scripts.page
    console.open(f"/console/consent/datarequest/{console.erasure}/change/")
    page.focus("#mentions")
    page.keyboard.press("Enter")

    page.wait_for_selector("#find")
    page.keyboard.type("ada0@example.com")  # the field has the focus
    page.keyboard.press("Enter")
    page.wait_for_selector("#found-identifier_trait mark")
    assert page.locator("#found-identifier_trait tbody tr").count() == 2
    page.focus("#found-identifier_trait tbody input >> nth=1")
    page.keyboard.press("Space")
    page.focus("#preview")
    page.keyboard.press("Enter")
    page.wait_for_selector("#redact")
    assert page.inner_text("#found-identifier_trait del") == "ADA0@EXAMPLE.COM"
    page.focus("#redact")
    page.keyboard.press("Enter")

    page.wait_for_selector("#steps")
    assert "The words were blotted out in 1 row." in page.inner_text("#main")
    assert "request.mentions_redacted" in page.inner_text("#steps tbody tr >> nth=-1")

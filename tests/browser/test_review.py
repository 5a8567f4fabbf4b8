"""The desk of a steward in a real browser, served as in production, worked by keyboard alone."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from cdp import embedded
from tests import databases
from tests.browser.test_console import (
    CHROMIUM,
    QUIET,
    Console,
    await_answer,
    environment,
    free_port,
    listened_to,
    log_in,
)

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DATABASE = f"{databases.default_name()}_review"
SHOTS = os.environ.get("REVIEW_SHOTS")  # a folder for pictures, for whoever wants to look

FILL = """
import django; django.setup()
import json
from datetime import UTC, datetime
from django.db import connection, transaction
from identity import services as identity
from identity.models import ReviewPair, ReviewRules, Verdict
from cdp.models import Identifier, IdentifierTrait
from tests.factories import IdentifierFactory, SourceFactory, WorkspaceFactory
from tests.factories.filled import console_user
from tests.factories.review import waiting_pair

now = datetime.now(UTC)
with transaction.atomic(), connection.cursor() as cursor:
    workspace = WorkspaceFactory(slug="shop", name="Maison")
    cursor.execute("SELECT set_config('tessera.workspace', %s, true)", [str(workspace.pk)])
    ann, bob = console_user(workspace, "ann"), console_user(workspace, "bob")
    crm = SourceFactory(workspace=workspace, name="crm")
    pairs = []
    for number in range(12):
        evidence = {"surname": 3.5, "given_name": 1.25, "city": -2.0, "birth_date": 4.0}
        pair = waiting_pair(workspace, weight=2.5, priority=100.0 - number, evidence=evidence, opinion=0.82,
                            opinion_basis={"by": "ECM", "seed": 7})
        for side, surname, city in ((pair.left, "Lovelace", "London"), (pair.right, "Lovelaec", "Paris")):
            for name, value in {"surname": f"{surname} {number}", "given_name": "Ada", "city": city}.items():
                IdentifierTrait.objects.create(workspace=workspace, identifier=side, source=crm, name=name, value=value,
                                               observed_at=now)
        pairs.append(pair.pk)
    first = ReviewPair.objects.get(pk=pairs[0])
    phone = IdentifierFactory(workspace=workspace, type="crm:id", value="4711")
    Identifier.objects.filter(pk=phone.pk).update(profile_id=first.left_id)
    identity.judge(workspace_id=workspace.pk, left_id=first.left_id, right_id=phone.pk, verdict=Verdict.SAME, author=bob,
                   evidence={}, now=now)
    print(json.dumps({"profile": first.left_id, "segment": 0, "pairs": pairs}))
"""

READ = """
import django; django.setup()
import json
from cdp.models import Workspace
from cdp.models.tenancy import workspace_scope
from identity.models import Judgement, ReviewPair, ReviewVerdict

with workspace_scope(Workspace.objects.get(slug="shop").pk):
    answers = ReviewVerdict.objects.filter(withdrawn_at=None).order_by("pk").values_list("pair", "answer")
    current = Judgement.objects.filter(retracts=None, retraction=None).values_list("left", "right", "verdict")
    claimed = ReviewPair.objects.exclude(claimed_by=None).count()
    print(json.dumps({"answers": list(answers), "judgements": list(current), "claimed": claimed}))
"""


@pytest.fixture(scope="module")
def desk() -> Iterator[tuple[Console, list[int]]]:
    stack = embedded.default_stack()
    stack.start()
    with databases.fresh_database(DATABASE):
        filled = json.loads(run_in("postgres", FILL))
        pairs, port = filled.pop("pairs"), free_port()
        server = subprocess.Popen(
            [sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(port), "cdp.wsgi:application"],
            env=environment(stack.database_url("web", DATABASE)), cwd=embedded.CHECKOUT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            await_answer(f"{address}/console/login/")
            with sync_playwright() as playwright:
                chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
                with listened_to(log_in(chromium, address, "ann"), address, filled) as console:
                    yield console, pairs
                chromium.close()
        finally:
            server.terminate()
            server.wait(timeout=30)


def run_in(login: str, script: str) -> str:
    database_url = embedded.default_stack().database_url(login, DATABASE)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(database_url), cwd=embedded.CHECKOUT, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout


def shown_pair(page: Page) -> int:
    return int(page.get_attribute("article.review-pair", "data-pair") or 0)


def press(page: Page, key: str, *, then: int) -> None:
    page.keyboard.press(key)
    page.wait_for_selector(f"article.review-pair[data-pair='{then}']")


def picture(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def test_steward__with_the_keyboard_alone__judges_ten_pairs(desk):
    console, pairs = desk
    page = console.page
    console.open("/console/identity/reviewpair/desk/")
    assert shown_pair(page) == pairs[0]
    assert "".join(page.locator(".review-sides mark").all_inner_texts()) != ""
    picture(page, "desk")

    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    picture(page, "help")
    page.keyboard.press("Escape")
    page.wait_for_selector("#help:not([open])", state="attached")
    press(page, "j", then=pairs[1])
    press(page, "k", then=pairs[0])
    for number, key in enumerate(["s", "n", "u", "s", "n", "s", "s", "n"]):
        press(page, key, then=pairs[number + 1])
    press(page, "z", then=pairs[7])  # the eighth answer is taken back, and given anew
    for number, key in ((7, "s"), (8, "n"), (9, "s")):
        press(page, key, then=pairs[number + 1])

    page.wait_for_load_state("networkidle")
    assert page.inner_text("#done") == "10"
    assert page.url.endswith("/desk/")
    said = json.loads(run_in("web", READ))
    keys = {"s": "SAME", "n": "NOT_SAME", "u": "UNSURE"}
    assert said["answers"] == [[pair, keys[key]] for pair, key in zip(pairs, "snusnsssns", strict=False)]


def test_steward__who_splits__chooses_the_link_and_keeps_the_question(desk):
    console, pairs = desk
    page = console.page
    console.open(f"/console/identity/reviewpair/{pairs[0]}/change/")

    page.keyboard.press("x")
    page.wait_for_selector(".review-split[open] input[type=radio]:focus")
    picture(page, "split")
    page.keyboard.press("Enter")
    page.wait_for_selector("#told:has-text('Split.')")

    assert shown_pair(page) == pairs[0]
    verdicts = [verdict for _, _, verdict in json.loads(run_in("web", READ))["judgements"]]
    assert "NOT_SAME" in verdicts


def test_steward__who_leaves__leaves_nothing_behind(desk):
    console, pairs = desk
    console.open("/console/identity/reviewpair/desk/")
    assert shown_pair(console.page) == pairs[10]

    console.open("/console/identity/reviewpair/statistics/")

    assert console.page.inner_text("#stewards tbody td >> nth=0") == "ann"
    picture(console.page, "statistics")
    assert json.loads(run_in("web", READ))["claimed"] == 0


def test_steward__who_judges_many__looks_first(desk):
    console, _ = desk
    page = console.page
    console.open("/console/identity/reviewpair/bulk/")

    page.fill("[name=least]", "2")
    page.click("#look")
    page.wait_for_selector("#meant:has-text('2 pairs')")
    picture(page, "bulk")
    page.click("#judge-all")
    page.wait_for_selector("text=2 pairs judged.")

    assert len(json.loads(run_in("web", READ))["answers"]) == 12

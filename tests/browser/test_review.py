"""The desk of a steward in a real browser, served as in production, worked by keyboard alone."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from cdp import embedded
from cdp.demo.client import wait_until
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
import json, sys
from datetime import UTC, datetime
from django.db import connection, transaction
from identity import services as identity
from identity.models import ReviewPair, ReviewRules, Verdict
from cdp.models import Identifier, IdentifierTrait
from tests.factories import IdentifierFactory, SourceFactory, WorkspaceFactory
from tests.factories.filled import console_user
from tests.factories.review import waiting_pair

now, shop = datetime.now(UTC), sys.argv[1]
with transaction.atomic(), connection.cursor() as cursor:
    workspace = WorkspaceFactory(slug=shop, name="Maison")
    cursor.execute("SELECT set_config('tessera.workspace', %s, true)", [str(workspace.pk)])
    ann, bob = console_user(workspace, f"ann-{shop}"), console_user(workspace, f"bob-{shop}")
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
import json, sys
from cdp.models import Workspace
from cdp.models.tenancy import workspace_scope
from identity.models import Judgement, ReviewPair, ReviewVerdict

with workspace_scope(Workspace.objects.get(slug=sys.argv[1]).pk):
    answers = ReviewVerdict.objects.filter(withdrawn_at=None).order_by("pk").values_list("pair", "answer")
    current = Judgement.objects.filter(retracts=None, retraction=None).values_list("left", "right", "verdict")
    claimed = ReviewPair.objects.exclude(claimed_by=None).count()
    print(json.dumps({"answers": list(answers), "judgements": list(current), "claimed": claimed}))
"""


@dataclass(frozen=True)
class Desk:
    """The console of Ann, steward of a shop with twelve pairs that wait, the most valuable first."""

    console: Console
    shop: str
    pairs: list[int]

    @property
    def page(self) -> Page:
        return self.console.page

    def open(self, path: str = "desk/") -> None:
        self.console.open(f"/console/identity/reviewpair/{path}")

    def said(self) -> dict[str, Any]:
        """What the database knows of the answers."""
        said: dict[str, Any] = json.loads(run_in("web", READ, self.shop))
        return said


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Browser, str]]:
    """A browser, and the address of a console over an empty database."""
    stack = embedded.default_stack()
    stack.start()
    with databases.fresh_database(DATABASE):
        port = free_port()
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
                yield chromium, address
                chromium.close()
        finally:
            server.terminate()
            server.wait(timeout=30)


@pytest.fixture
def desk(served: tuple[Browser, str], request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Each test has a shop of its own: what one steward answered is no business of the next."""
    (chromium, address), shop = served, f"shop-{request.node.nodeid.rpartition('__')[2].replace('_', '-')}"
    filled = json.loads(run_in("postgres", FILL, shop))
    pairs = filled.pop("pairs")
    with listened_to(log_in(chromium, address, f"ann-{shop}"), address, filled) as console:
        yield Desk(console, shop, pairs)


def run_in(login: str, script: str, shop: str) -> str:
    database_url = embedded.default_stack().database_url(login, DATABASE)
    done = subprocess.run(
        [sys.executable, "-c", script, shop], env=environment(database_url), cwd=embedded.CHECKOUT, check=True,
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
    page, pairs = desk.page, desk.pairs
    desk.open()
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
    said = desk.said()
    keys = {"s": "SAME", "n": "NOT_SAME", "u": "UNSURE"}
    assert said["answers"] == [[pair, keys[key]] for pair, key in zip(pairs, "snusnsssns", strict=False)]


def test_steward__who_splits__chooses_the_link_and_keeps_the_question(desk):
    page, pairs = desk.page, desk.pairs
    desk.open(f"{pairs[0]}/change/")

    page.keyboard.press("x")
    page.wait_for_selector(".review-split[open] input[type=radio]:focus")
    picture(page, "split")
    page.keyboard.press("Enter")
    page.wait_for_selector("#told:has-text('Split.')")

    assert shown_pair(page) == pairs[0]
    verdicts = [verdict for _, _, verdict in desk.said()["judgements"]]
    assert "NOT_SAME" in verdicts


def test_steward__who_leaves__leaves_nothing_behind(desk):
    desk.open()
    with desk.page.expect_response("**/desk/next/"):  # or the pair after this is claimed when all are released
        press(desk.page, "s", then=desk.pairs[1])

    desk.open("statistics/")

    wait_until(lambda: len(desk.said()["answers"]) == 1, "the answer that was given before leaving", seconds=20)
    desk.open("statistics/")
    assert desk.page.inner_text("#stewards tbody td >> nth=0") == f"ann-{desk.shop}"
    picture(desk.page, "statistics")
    wait_until(lambda: desk.said()["claimed"] == 0, "what the page said when it was left", seconds=20)


def test_steward__who_answers_fast_and_leaves__loses_no_answer(desk):
    desk.open()
    for place, key in enumerate("sns", start=1):
        press(desk.page, key, then=desk.pairs[place])

    desk.page.goto("about:blank")

    wait_until(lambda: len(desk.said()["answers"]) == 3, "the three answers", seconds=20)
    assert [answer for _, answer in sorted(desk.said()["answers"])] == ["SAME", "NOT_SAME", "SAME"]


def test_steward__who_judges_many__looks_first(desk):
    page = desk.page
    desk.open("bulk/")

    page.fill("[name=least]", "2")
    page.click("#look")
    page.wait_for_selector("#meant:has-text('12 pairs')")
    picture(page, "bulk")
    page.click("#judge-all")
    page.wait_for_selector("text=12 pairs judged.")

    assert len(desk.said()["answers"]) == 12

"""Every SDK in every scenario. What is seen must be what docs/conformance.md says; `make conformance` writes it anew."""

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.conformance import page, sdks
from tests.conformance.answers import ANSWERS, RETRIES, SPEECH, way_of_speaking, what_it_made_of
from tests.conformance.road import Road
from tests.conformance.scenarios import NOT_APPLICABLE, SCENARIOS, Run, one_of_each, one_purchase
from tests.conformance.sdks import SDKS
from tests.conformance.server import running

pytestmark = pytest.mark.slow

HURRY = 20  # times shorter are the pauses between retries, where their length is not what is looked at


@pytest.fixture(scope="module")
def server():
    with running("conformance") as server:
        yield server


@pytest.fixture(params=SDKS, ids=str)
def sdk(request):
    """A machine that lacks something says what; in CI nothing is skipped."""
    if missing := sdks.missing_for(request.param):
        (pytest.fail if sdks.is_ci() else pytest.skip)(f"needs {missing}")
    return request.param


def play(server, sdk, calls, *, scenario=None, always=None):
    """One conversation, from a source of its own."""
    origin, began_at = server.new_origin(), timezone.now()
    turns, drops = (scenario.turns, scenario.drops) if scenario else ((), ())
    with Road(server.url, turns=turns, drops=drops, always=always) as road:
        report = sdk.drive(told_to(sdk, road, origin, scenario), calls)
        server.store_all()
    return Run(sdk, server, origin, road, report, began_at, timezone.now())


def told_to(sdk, road, origin, scenario):
    """The settings of a driver."""
    return {
        "host": road.url,
        "write_key": "wk_nobody_has_it" if scenario and scenario.has_wrong_key else origin.write_key,
        "gzip": not sdk.gzip if scenario and scenario.has_other_encoding else None,
        "retries": RETRIES,
        "clock_ahead_seconds": (scenario.clock_ahead if scenario else timedelta()).total_seconds(),
        "hurry": 1 if scenario and scenario.is_about_pauses else HURRY,
    }


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_sdk__in_a_scenario__does_what_the_page_says(scenario, sdk, server):
    if not scenario.fits(sdk):
        assert page.says(page.ARRIVES, sdk, scenario.title, NOT_APPLICABLE) == NOT_APPLICABLE
        return

    run = play(server, sdk, scenario.calls(sdk), scenario=scenario)

    cell = scenario.check(run)
    assert cell == page.says(page.ARRIVES, sdk, scenario.title, cell)


def test_sdk__speaks_as_the_page_says(sdk, server):
    run = play(server, sdk, one_of_each(sdk))

    seen = way_of_speaking(run)
    assert seen == {habit: page.says(page.SPEAKS, sdk, habit, seen[habit]) for habit in SPEECH}


@pytest.mark.parametrize("always", ANSWERS, ids=str)
def test_sdk__that_always_gets_one_answer__believes_what_the_page_says(always, sdk, server):
    if not always.ends(sdk):
        assert page.says(page.BELIEVES, sdk, always.title, NOT_APPLICABLE) == NOT_APPLICABLE
        return

    run = play(server, sdk, one_purchase(sdk), always=always.answer)

    cell = what_it_made_of(run)
    assert cell == page.says(page.BELIEVES, sdk, always.title, cell)
    assert run.events == []

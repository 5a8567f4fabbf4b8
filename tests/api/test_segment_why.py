"""Why, why not, and until when: each node of the rule with its answer, and what is known of each condition."""

from datetime import timedelta
from urllib.parse import quote

import pytest

from cdp.kernel.purposes import Purpose
from cdp.models import Cause
from consent import gate
from segments import explaining, membership, services
from tests.factories import SourceFactory
from tests.factories.segments import happen, know, people

DAY = timedelta(days=1)
RULE = 'count of "Order" in last 2 days >= 3 and not (trait "city" = "Lyon" or done "Refund")'


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


@pytest.fixture
def reader(caller, workspace):
    return caller("segments:read", "profiles:read", purpose=Purpose.SEGMENTATION)


def create(workspace, rule, now):
    return services.create_segment(
        workspace_id=workspace.pk, slug="loyal", name="", definition=rule, author=None, now=now
    )


def why(reader, person, at, **more):
    return reader.get(f"segments/loyal/why/{person.pk}", at=at.isoformat(), **more).json()


def at(moment):
    return moment.isoformat().replace("+00:00", "Z")


def test_why__gives_each_node_its_answer_and_each_condition_what_is_known(workspace, source, reader, now):
    [ada] = people(1, workspace)
    know(ada, source, city="Lyon")
    happen(ada, source, "Order", now - DAY)
    happen(ada, source, "Order", now - timedelta(hours=1))
    create(workspace, RULE, now)

    body = why(reader, ada, now)

    assert (body["is_in"], body["entered_at"], body["history"]) == (False, None, [])
    assert [(each["condition"], each["is_true"], each["known"]) for each in body["reasons"]] == [
        ('count of "Order" in last 2 days >= 3', False, 2),
        ('trait "city" = "Lyon"', True, "Lyon"),
        ('count of "Refund" >= 1', False, 0),
    ]
    orders, no_lyon = body["tree"]["children"]
    assert (body["tree"]["kind"], body["tree"]["is_true"]) == ("and", False)
    assert (orders["kind"], orders["is_true"], orders["known"]) == ("condition", False, 2)
    assert (no_lyon["kind"], no_lyon["is_true"]) == ("not", False)
    assert (no_lyon["children"][0]["kind"], no_lyon["children"][0]["is_true"]) == ("or", True)


def test_when_next__is_exact_though_deadlines_on_the_way_change_nothing(workspace, source, reader, now):
    [ada] = people(1, workspace)
    for hours in (40, 30, 20, 10):
        happen(ada, source, "Order", now - timedelta(hours=hours), {"amount": 10})
    create(workspace, 'sum of "amount" of "Order" in last 2 days >= 20', now)

    body = why(reader, ada, now)

    assert body["is_in"] is True
    assert body["tree"]["next_change_at"] == at(now + timedelta(hours=8))  # the oldest leaves: nothing comes of it
    assert body["when_next"] == {"at": at(now + timedelta(hours=28)), "looked_until": None}
    assert why(reader, ada, now + timedelta(hours=28))["is_in"] is False
    assert why(reader, ada, now + timedelta(hours=28) - timedelta(microseconds=1))["is_in"] is True


def test_when_next__of_what_never_changes__is_never(workspace, source, reader, now):
    [ada] = people(1, workspace)
    create(workspace, 'trait "city" exists', now)

    assert why(reader, ada, now)["when_next"] == {"at": None, "looked_until": None}


def test_when_next__beyond_what_is_looked_into__says_until_when_it_looked(workspace, source, reader, now, monkeypatch):
    monkeypatch.setattr(explaining, "MOST_STEPS", 1)
    [ada] = people(1, workspace)
    for hours in (40, 30, 20, 10):
        happen(ada, source, "Order", now - timedelta(hours=hours), {"amount": 10})
    create(workspace, 'sum of "amount" of "Order" in last 2 days >= 20', now)

    assert why(reader, ada, now)["when_next"] == {"at": None, "looked_until": at(now + timedelta(hours=18))}


def test_why__at_a_past_instant__answers_as_of_then_with_the_membership_that_lasted(workspace, source, reader, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    create(workspace, 'done "Order" in last 1 day', now)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        membership.evaluate(permit, {ada.pk: Cause.DEADLINE}, now=now + 3 * DAY)

    then, today = why(reader, ada, now + timedelta(hours=1)), why(reader, ada, now + 3 * DAY)

    assert (then["is_in"], then["entered_at"], then["entered_cause"]) == (True, at(now), "DEFINITION")
    assert then["when_next"]["at"] == at(now + DAY)
    assert (today["is_in"], today["entered_at"]) == (False, None)
    assert today["history"] == [
        {
            "version": 1, "entered_at": at(now), "entered_cause": "DEFINITION", "left_at": at(now + DAY),
            "left_cause": "DEADLINE",
        }
    ]  # fmt: skip


def test_why__with_an_instant_that_is_none__is_refused(workspace, source, reader, now):
    [ada] = people(1, workspace)
    create(workspace, 'trait "city" exists', now)

    answer = reader.get(f"segments/loyal/why/{ada.pk}", at="yesterday")

    assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")


def test_why__by_an_identifier_and_in_french__speaks_of_the_same_person(workspace, source, reader, now):
    [ada] = people(1, workspace)
    create(workspace, 'trait "city" exists', now)
    headers = {**reader._headers, "Accept-Language": "fr"}

    body = reader.client.get(f"/api/v1/segments/loyal/why/email:{quote(ada.value)}", headers=headers).json()

    assert body["profile"] == ada.pk
    assert body["reasons"][0]["sentence"] == "« city » a une valeur."


def test_known__of_more_events_than_are_gone_through__is_not_said(workspace, source, reader, now, monkeypatch):
    monkeypatch.setattr(explaining, "MOST_EVENTS", 1)
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now - DAY)
    happen(ada, source, "Order", now)
    create(workspace, 'count of "Order" >= 2', now)

    body = why(reader, ada, now)

    assert (body["is_in"], body["reasons"][0]["known"]) == (True, None)


def test_known__of_today__is_counted_by_the_clocks_that_the_answer_goes_by(workspace, source, reader, now):
    ada, grace = people(2, workspace)
    know(grace, source, timezone="UTC")
    for each in (ada, grace):
        happen(each, source, "Order", now - timedelta(hours=12, minutes=30))  # 23:30 in UTC, 00:30 in Paris
    create(workspace, 'count of "Order" today >= 1', now)

    told = [why(reader, each, now) for each in (ada, grace)]

    assert [(each["is_in"], each["reasons"][0]["known"]) for each in told] == [(True, 1), (False, 0)]


def test_known__of_a_key_that_may_not_read_profiles__is_not_said(workspace, source, caller, now):
    [ada] = people(1, workspace)
    know(ada, source, city="Paris")
    create(workspace, 'trait "city" exists', now)

    body = why(caller("segments:read", purpose=Purpose.SEGMENTATION), ada, now)

    assert (body["is_in"], body["reasons"][0]["known"]) == (True, None)

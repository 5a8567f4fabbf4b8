"""What a workspace is known to have, as rules are checked against it."""

import pytest
from django.db import connection

from cdp.kernel.purposes import Purpose
from consent import gate
from consent.models import ConsentState
from segments import known
from segments.language import Kind, check, parse_text
from segments.models import LearnedModel, Segment
from segments.services import create_segment
from tests.factories import LONG_AGO, SourceFactory, WorkspaceFactory, say
from tests.factories.segments import happen, know, people, put_in_group

TEXT, NUMBER, OBJECT = (frozenset({kind}) for kind in (Kind.TEXT, Kind.NUMBER, Kind.OBJECT))


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


def known_in(workspace, **also):
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        return known.known_names(permit, **also)


def test_known__of_a_workspace__is_what_its_people_have_and_did(workspace, source, now):
    ada, bob = people(2, workspace)
    know(ada, source, country="FR", age=30, address={"city": "Paris"}, odd=None)
    know(bob, source, country=33)
    happen(ada, source, "Order", now, {"amount": 3, "coupon": None})
    happen(bob, source, "Order", now, {"amount": "3", "tags": ["a"], "gift": True})
    happen(bob, source, "View", now)
    put_in_group(ada, "groups", "loyal")
    LearnedModel.objects.filter(slug="groups").update(result={"groups": [{"group": "loyal"}, {"group": "lost"}]})
    create_segment(workspace_id=workspace.pk, slug="vip", name="", definition="done Order", author=None, now=now)
    create_segment(workspace_id=workspace.pk, slug="old", name="", definition="done Order", author=None, now=now)
    Segment.objects.filter(slug="old").update(archived_at=now)

    found = known_in(workspace, lists=["friends"])

    assert found.traits == {"address": OBJECT, "age": NUMBER, "country": TEXT | NUMBER, "odd": frozenset()}
    assert found.events == {
        "Order": {
            "amount": TEXT | NUMBER, "coupon": frozenset(), "tags": frozenset({Kind.LIST}),
            "gift": frozenset({Kind.BOOLEAN}),
        },
        "View": {},
    }  # fmt: skip
    assert (found.models, found.scores) == ({"groups": frozenset({"loyal", "lost"})}, frozenset())
    assert (found.segments, found.lists, found.computed) == (frozenset({"vip"}), frozenset({"friends"}), {})
    assert found.purposes == frozenset(Purpose) - {Purpose.COLLECTION}
    assert [problem.code for problem in check(parse_text("done Ordr and trait age = 30"), found)] == ["unknown_event"]


def test_known__of_nothing_yet__is_nothing(workspace):
    found = known_in(workspace)

    assert (found.traits, found.events, found.models, found.scores) == ({}, {}, {}, frozenset())


def test_known__of_people_whom_segmentation_may_not_see_and_of_other_workspaces__is_nothing(workspace, source, now):
    [ada] = people(1, workspace)
    know(ada, source, secret="x")
    happen(ada, source, "Secret", now)
    say(ada, Purpose.SEGMENTATION, ConsentState.WITHDRAWN)
    other = WorkspaceFactory()

    assert (known_in(workspace).traits, known_in(workspace).events) == ({}, {})
    assert (known_in(other).traits, known_in(other).events) == ({}, {})


def test_known__of_a_model_that_gives_numbers__is_a_score(workspace):
    [ada] = people(1, workspace)
    put_in_group(ada, "churn", "high")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE score SET value = 0.7 WHERE model_slug = 'churn'")

    assert known_in(workspace).scores == frozenset({"churn"})


def test_known__of_more_names_than_can_be_looked_at__says_nothing_of_them(workspace, source, monkeypatch):
    [ada] = people(1, workspace)
    know(ada, source, a=1, b=2, c=3)
    monkeypatch.setattr(known, "MOST_NAMES", 2)

    assert known_in(workspace).traits == {}


def test_known__of_many_events__looks_at_the_newest_and_the_oldest(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", LONG_AGO, {"first": 1})
    happen(ada, source, "Order", now.replace(year=now.year + 1), {"last": 1})
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO event (workspace_id, source_id, identifier_id, message_id, kind, name, occurred_at, received_at,"
            " seen_with, properties, context) SELECT %s, %s, %s, 'x' || g, 'track', 'Order', %s, %s, '{}', %s, '{}'"
            " FROM generate_series(1, 1100) g",
            [workspace.pk, source.pk, ada.pk, now, now, '{"middle": 1}'],
        )

    assert known_in(workspace).events == {"Order": {"first": NUMBER, "middle": NUMBER, "last": NUMBER}}

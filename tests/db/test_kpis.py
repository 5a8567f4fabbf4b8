"""Figures of segments against the database: what each kind counts, when it is computed, and what is withheld."""

import json
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from cdp import tasks
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Workspace
from consent.models import ConsentState
from segments.kpis import computing, editing, series
from segments.models import Kpi, KpiValue, Membership, Segment, SegmentVersion
from tests.factories import SourceFactory, say
from tests.factories.segments import happen, people

NOW = datetime(2026, 4, 10, 12, tzinfo=UTC)
MONTHS = ("2026-01", "2026-02", "2026-03", "2026-04")


def on(month, day, hour=12):
    return datetime(2026, month, day, hour, tzinfo=UTC)


@pytest.fixture(autouse=True)
def everybody_is_shown(settings):
    settings.KPI_LEAST_PEOPLE = 1


@pytest.fixture
def source(workspace):
    Workspace.objects.filter(pk=workspace.pk).update(time_zone="UTC")
    return SourceFactory(workspace=workspace)


@pytest.fixture
def segment(workspace):
    made = Segment.objects.create(workspace=workspace, slug="loyal", name="Loyal")
    made.live_version = SegmentVersion.objects.create(
        workspace=workspace, segment=made, number=1, definition={"event": "Order"}
    )
    made.save()
    return made


def stay(segment, person, entered_at, left_at=None):
    Membership.objects.create(
        workspace_id=segment.workspace_id, segment=segment, profile_id=person.profile_id, version=segment.live_version,
        entered_at=entered_at, entered_cause=Cause.EVENT, left_at=left_at,
    )  # fmt: skip


def figures(segment, definition, now=NOW, of=None):
    """{month: (value, numerator, denominator, n)} of a figure that is defined and computed for it."""
    kpi = editing.create_kpi(
        workspace_id=segment.workspace_id, slug=f"k{Kpi.objects.count()}", name="", definition=definition, author=None
    )
    computing.compute(workspace_id=segment.workspace_id, now=now)
    return read(kpi, segment if of is None else None)


def read(kpi, segment):
    rows = series.series_of_version(kpi, kpi.live_version, segment).values
    return {f"{row.start:%Y-%m}": (row.value, row.numerator, row.denominator, row.people) for row in rows}


def values(found):
    return [found[month][0] for month in MONTHS]


def test_size_entries_and_exits__of_a_history__add_up(segment, source, workspace):
    ada, grace, joan = people(3, workspace)
    stay(segment, ada, on(1, 5), on(2, 10))
    stay(segment, ada, on(2, 20))
    stay(segment, grace, on(1, 6), on(4, 1, 0))  # leaves as April begins: an exit of April, and in at the end of March
    stay(segment, joan, on(3, 1, 0), on(3, 1, 0))  # left as it entered: never in

    size = figures(segment, {"kind": "SIZE"})
    entries = figures(segment, {"kind": "ENTRIES"})
    exits = figures(segment, {"kind": "EXITS"})

    assert values(size) == [2, 2, 2, 1]
    assert values(entries) == [2, 1, 0, 0]
    assert values(exits) == [0, 1, 0, 1]
    assert entries["2026-01"] == (2, None, None, 2)


def test_conversion__counts_those_who_did_it_while_members(segment, source, workspace):
    ada, grace, joan, mary = people(4, workspace)
    stay(segment, ada, on(1, 5), on(2, 10))
    stay(segment, ada, on(2, 20))
    stay(segment, grace, on(1, 6))
    stay(segment, joan, on(2, 1), on(2, 2))
    for person, at in (
        (ada, on(1, 5)),
        (ada, on(1, 9)),
        (ada, on(2, 10)),
        (grace, on(2, 3)),
        (joan, on(2, 5)),
        (mary, on(2, 5)),
    ):
        happen(person, source, "Order", at, {"channel": "web"})
    happen(grace, source, "Order", on(3, 3), {"channel": "shop"})

    found = figures(segment, {"kind": "CONVERSION", "event": "Order", "where": {"channel": "web"}})
    at_start = figures(segment, {"kind": "CONVERSION", "event": "Order", "who": "START"})

    assert found["2026-01"] == (0.5, 1, 2, 2)
    assert found["2026-02"] == (1 / 3, 1, 3, 3)
    assert found["2026-03"] == (0, 0, 2, 2)
    assert at_start["2026-02"] == (1, 2, 2, 2)  # whether or not they were members when they did it


def test_conversion__of_nobody__is_missing_and_not_nought(segment, source, workspace):
    [ada] = people(1, workspace)
    stay(segment, ada, on(1, 5), on(1, 6))

    found = figures(segment, {"kind": "CONVERSION", "event": "Order"})

    assert found["2026-01"] == (0, 0, 1, 1)
    assert found["2026-02"] == (None, 0, 0, 0)


def test_money__is_that_of_members_and_of_numbers(segment, source, workspace):
    ada, grace = people(2, workspace)
    stay(segment, ada, on(1, 5), on(3, 1))
    stay(segment, grace, on(1, 6))
    spent = (
        (ada, on(1, 5), 10),
        (ada, on(1, 7), 20.5),
        (grace, on(1, 8), 4.5),
        (grace, on(1, 9), "7"),
        (ada, on(3, 1), 99),
    )
    for person, at, amount in spent:
        happen(person, source, "Order", at, {"revenue": amount})

    basket = figures(segment, {"kind": "AVERAGE", "event": "Order", "amount": "revenue"})
    revenue = figures(segment, {"kind": "REVENUE", "event": "Order", "amount": "revenue", "unit": "EUR"})

    assert basket["2026-01"] == (35 / 3, 35, 3, 2)
    assert basket["2026-02"] == (None, None, None, 0)
    assert revenue["2026-01"] == (35, None, 3, 2)
    assert values(revenue) == [35, 0, 0, 0]


def test_retention__is_of_those_who_were_there_at_the_beginning(segment, source, workspace):
    ada, grace, joan = people(3, workspace)
    stay(segment, ada, on(1, 5), on(2, 3))
    stay(segment, ada, on(2, 4), on(2, 5))
    stay(segment, ada, on(2, 20))  # away in between, and back at the end
    stay(segment, grace, on(1, 6), on(2, 9))
    stay(segment, joan, on(2, 2))
    happen(grace, source, "Visit", on(2, 20))

    by_membership = figures(segment, {"kind": "RETENTION"})
    by_event = figures(segment, {"kind": "RETENTION", "event": "Visit"})

    assert by_membership["2026-01"] == (None, 0, 0, 0)
    assert by_membership["2026-02"] == (0.5, 1, 2, 2)
    assert by_membership["2026-03"] == (1, 2, 2, 2)
    assert by_event["2026-02"] == (0.5, 1, 2, 2)


def test_renewal__counts_contracts_and_waits_for_their_time(segment, source, workspace):
    ada, grace = people(2, workspace)
    for person in (ada, grace):
        stay(segment, person, on(1, 1))
    for person, name, at, contract in (
        (ada, "Due", on(2, 10), "a"), (ada, "Renewed", on(3, 12, 11), "a"),
        (ada, "Due", on(2, 11), "b"), (grace, "Renewed", on(1, 20), "b"),
        (grace, "Due", on(2, 12), "c"), (grace, "Renewed", on(3, 20), "c"), (grace, "Due", on(2, 13), "c"),
        (grace, "Due", on(2, 14), "d"),
    ):  # fmt: skip
        happen(person, source, name, at, {"contract": contract})
    definition = {"kind": "RENEWAL", "due": "Due", "renewed": "Renewed", "key": "contract"}

    found = figures(segment, definition)

    assert found["2026-02"] == (0.5, 2, 4, 2)  # c came too late, d never
    assert found["2026-03"] == (None, None, None, 0)
    told = series.series_of(workspace.pk, segment)[0].values
    assert [row.is_settled for row in told] == [True, True, False, False]


def test_cycle_and_contacts__of_opportunities_that_closed__in_days_and_in_the_mean(segment, source, workspace):
    ada, grace = people(2, workspace)
    for person in (ada, grace):
        stay(segment, person, on(1, 1))
    for person, name, at, deal in (
        (ada, "Opened", on(1, 2), 1), (ada, "Opened", on(1, 4), 1), (ada, "Closed", on(2, 1), 1),
        (ada, "Call", on(1, 1), 1), (ada, "Call", on(1, 2), 1), (grace, "Mail", on(1, 20), 1), (ada, "Call", on(2, 1), 1),
        (grace, "Opened", on(2, 1), 2), (grace, "Closed", on(2, 11), 2), (grace, "Closed", on(2, 12), 2),
        (grace, "Closed", on(2, 20), 3),
    ):  # fmt: skip
        happen(person, source, name, at, {"deal": deal, "stage": "won"})
    given = {"opened": "Opened", "closed": "Closed", "key": "deal", "where": {"stage": "won"}}

    cycle = figures(segment, {"kind": "CYCLE", **given})
    contacts = figures(segment, {"kind": "CONTACTS", **given, "contacts": ["Call", "Mail"]})

    assert cycle["2026-02"] == (20, None, 2, 2)  # the third one's opening is not known
    assert contacts["2026-02"] == (1, 2, 2, 2)
    assert cycle["2026-03"] == (None, None, None, 0)


def test_everybody__is_whoever_is_known_since_they_are(segment, source, workspace):
    from cdp.models import Profile

    for number, person in enumerate(people(3, workspace)):
        Profile.objects.filter(pk=person.profile_id).update(created_at=on(number + 1, 10))
        happen(person, source, "Order", on(3, 15), {})

    size = figures(segment, {"kind": "SIZE"}, of="everybody")
    conversion = figures(segment, {"kind": "CONVERSION", "event": "Order"}, of="everybody")

    assert values(size) == [1, 2, 3, 3]
    assert conversion["2026-03"] == (1, 3, 3, 3)


def test_figure__of_fewer_people_than_the_least__is_withheld(segment, source, workspace, settings):
    settings.KPI_LEAST_PEOPLE = 3
    persons = people(3, workspace)
    for month, person in enumerate(persons, start=1):
        stay(segment, person, on(month, 10))

    found = figures(segment, {"kind": "SIZE"})

    assert values(found) == [None, None, 3, 3]
    assert found["2026-01"] == (None, None, None, None)
    assert list(KpiValue.objects.order_by("period_start").values_list("is_withheld", flat=True)) == [
        True,
        True,
        False,
        False,
    ]


def test_figure__of_somebody_who_does_not_permit_statistics__leaves_them_out(segment, source, workspace):
    ada, grace = people(2, workspace)
    for person in (ada, grace):
        stay(segment, person, on(1, 10))
    say(grace, Purpose.ANALYTICS, ConsentState.WITHDRAWN)

    assert values(figures(segment, {"kind": "SIZE"})) == [1, 1, 1, 1]


def test_compute__again__does_what_is_due_and_leaves_what_has_settled(segment, source, workspace):
    [ada] = people(1, workspace)
    stay(segment, ada, on(1, 10))
    kpi = editing.create_kpi(
        workspace_id=workspace.pk, slug="orders", name="", author=None,
        definition={"kind": "REVENUE", "event": "Order", "amount": "revenue", "settles_days": 20},
    )  # fmt: skip

    def compute(at, **more):
        return computing.compute(workspace_id=workspace.pk, now=at, **more)["values"]

    first = compute(NOW)
    at_once = compute(NOW)
    for month in (1, 3, 4):
        happen(ada, source, "Order", on(month, 11 if month < 4 else 2), {"revenue": 5})
    in_an_hour = compute(NOW + timedelta(hours=1))
    after_it = values(read(kpi, segment))
    next_day = compute(NOW + timedelta(days=1))
    after_that = values(read(kpi, segment))
    again = compute(NOW + timedelta(days=1), again_from=date(2026, 1, 1))

    # Everybody is nobody yet: the people of a test are made after its present.
    assert (first, at_once, in_an_hour, next_day, again) == (4, 0, 1, 2, 4)
    assert after_it == [0, 0, 0, 5]
    assert after_that == [0, 0, 5, 5]
    assert values(read(kpi, segment)) == [5, 0, 5, 5]


def test_definition__when_changed__begins_a_series_and_keeps_the_old_one(segment, source, workspace):
    [ada] = people(1, workspace)
    stay(segment, ada, on(1, 10))
    kpi = editing.create_kpi(
        workspace_id=workspace.pk, slug="size", name="Size", definition={"kind": "SIZE"}, author=None
    )
    computing.compute(workspace_id=workspace.pk, now=NOW)

    same = editing.change_kpi(kpi=kpi, name="How many", definition={"kind": "SIZE"}, author=None)
    other = editing.change_kpi(kpi=kpi, name="", definition={"kind": "SIZE", "period": "WEEK"}, author=None)
    computing.compute(workspace_id=workspace.pk, now=NOW)

    assert (same.name, same.live_version.number, other.live_version.number) == ("How many", 1, 2)
    old = series.series_of_version(other, series.version_of(other, 1), segment).values
    new = series.series_of_version(other, other.live_version, segment).values
    assert [len(old), len(new)] == [4, 14]


def test_ready_made__are_given_once(workspace):
    made = editing.ensure_ready_made(workspace_id=workspace.pk)
    editing.archive_kpi(kpi=made[0], now=NOW)

    assert len(made) == 10
    assert editing.ensure_ready_made(workspace_id=workspace.pk) == []
    assert series.live_kpis(workspace.pk).count() == 9


def test_turn__that_is_over__leaves_the_rest_to_the_next(segment, source, workspace):
    [ada] = people(1, workspace)
    stay(segment, ada, on(1, 10))
    editing.ensure_ready_made(workspace_id=workspace.pk)

    assert computing.compute(workspace_id=workspace.pk, now=NOW, seconds=-1) == {"kpis": 0, "values": 0}
    assert computing.compute(workspace_id=workspace.pk, now=NOW)["kpis"] == 10


def test_worker__computes_what_is_due_and_alerts_what_strayed(segment, source, workspace, as_login):
    persons = people(3, workspace)
    for person in persons:
        stay(segment, person, timezone.now() - timedelta(days=70))
    editing.create_kpi(workspace_id=workspace.pk, slug="size", name="", definition={"kind": "SIZE"}, author=None)
    as_login("worker_segments")

    tasks.compute_kpis()
    tasks.tell_kpi_alerts()

    as_login("none")
    told = KpiValue.objects.filter(segment=segment).order_by("period_start")
    assert [(one.value, one.people) for one in told][-2:] == [(3, 3), (3, 3)]


def test_command__computes_and_tells_what_it_did(segment, source, workspace, as_login):
    stay(segment, people(1, workspace)[0], timezone.now() - timedelta(days=40))
    as_login("operator")

    made = command("ensure", workspace)
    first, again = command("compute", workspace), command("compute", workspace)
    anew = command("compute", workspace, "--from", "2000-01-01")

    assert len(made["made"]) == 10
    assert (first["kpis"], first["alerts"]) == (10, 0)
    assert first["values"] >= 20
    assert (again["kpis"], again["values"]) == (0, 0)
    assert (anew["kpis"], anew["values"]) == (10, first["values"])


def command(action, workspace, *more):
    out = StringIO()
    call_command("kpis", action, "--workspace", workspace.slug, "--json", *more, stdout=out)
    return json.loads(out.getvalue())


def test_figure__with_hostile_names__finds_exactly_those(segment, source, workspace):
    [ada] = people(1, workspace)
    stay(segment, ada, on(1, 1))
    hostile = "'); DROP TABLE core.event; -- %s {events} \" \\"
    happen(ada, source, hostile, on(1, 2), {hostile: 7, "kind": hostile})
    happen(ada, source, "Order", on(1, 2), {"kind": hostile})

    found = figures(segment, {"kind": "REVENUE", "event": hostile, "amount": hostile, "where": {"kind": hostile}})

    assert found["2026-01"] == (7, None, 1, 1)

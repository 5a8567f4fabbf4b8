"""Figures say what their definitions say: the set-based SQL against sentences of Python that look at one person at a time."""

from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.models import Cause, Workspace
from segments.kpis import computing, editing, series
from segments.models import Kpi, Membership, Segment, SegmentVersion
from tests.factories import SourceFactory
from tests.factories.segments import happen, people

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 5
NOW = FIRST + timedelta(days=DAYS - 1, hours=12)  # the last day is running
FAR = datetime(9999, 1, 1, tzinfo=UTC)

# Steps of six hours, so that many instants fall on the bounds of days and on each other.
steps = st.integers(0, 4 * DAYS)
stays = st.lists(st.tuples(steps, st.one_of(st.none(), steps)), max_size=3)
happenings = st.lists(
    st.tuples(steps, st.sampled_from(["Order", "Open", "Close", "Call"]), st.integers(1, 2), st.integers(0, 9)),
    max_size=6,
)
populations = st.lists(st.tuples(stays, happenings), min_size=1, max_size=4)


def at(step: int) -> datetime:
    return FIRST + timedelta(hours=6 * step)


def in_turn(drawn: list[tuple[int, int | None]]) -> list[tuple[datetime, datetime]]:
    """Memberships of one person as there can be: one after the other, the last of them perhaps open."""
    found: list[tuple[datetime, datetime]] = []
    for enters, leaves in sorted(drawn, key=lambda one: one[0]):
        if found and at(enters) < found[-1][1]:
            continue
        if at(enters) < NOW:
            left = at(max(enters, leaves)) if leaves is not None else FAR
            found.append((at(enters), left if left <= NOW else FAR))
    return found


Person = tuple[list[tuple[datetime, datetime]], list[tuple[datetime, str, int, int]]]


def expected(kind: str, everybody: list[Person], start: datetime, end: datetime) -> Any:
    """(value, n) of the day, by its definition."""

    def is_in(person: Person, instant: datetime) -> bool:
        return any(entered < instant <= left for entered, left in person[0] if entered < left)

    def is_member_while(person: Person, instant: datetime) -> bool:
        return any(entered <= instant < left for entered, left in person[0])

    def did(person: Person, name: str) -> list[tuple[datetime, str, int, int]]:
        return [one for one in person[1] if one[1] == name and start <= one[0] < end]

    def share(of: list[Person], those: list[Person]) -> Any:
        return (len(those) / len(of) if of else None), len(of)

    match kind:
        case "SIZE":
            count = sum(is_in(person, end) for person in everybody)
            return count, count
        case "ENTRIES":
            found = [[s for s in person[0] if start <= s[0] < end and s[0] < s[1]] for person in everybody]
            return sum(map(len, found)), sum(map(bool, found))
        case "EXITS":
            found = [[s for s in person[0] if start <= s[1] < end and s[0] < s[1]] for person in everybody]
            return sum(map(len, found)), sum(map(bool, found))
        case "CONVERSION":
            members = [p for p in everybody if any(s[0] < end and s[1] > start and s[0] < s[1] for s in p[0])]
            return share(members, [p for p in members if any(is_member_while(p, one[0]) for one in did(p, "Order"))])
        case "RETENTION":
            members = [p for p in everybody if is_in(p, start)]
            return share(members, [p for p in members if is_in(p, end)])
        case "REVENUE" | "AVERAGE":
            spent = [[one[3] for one in did(p, "Order") if is_member_while(p, one[0])] for p in everybody]
            total, times = sum(map(sum, spent)), sum(map(len, spent))
            value = total if kind == "REVENUE" else total / times if times else None
            return value, sum(map(bool, spent))
        case _:
            return _deals(kind, everybody, did, is_member_while)


def _deals(kind: str, everybody: list[Person], did: Any, is_member_while: Any) -> Any:
    """The first closing of each key in the day, by whoever was a member, with what all people did about the key."""
    closings = sorted(
        (when, key, place)
        for place, person in enumerate(everybody)
        for when, _, key, _ in did(person, "Close")
        if is_member_while(person, when)
    )
    lengths, calls, persons = [], [], set()
    for key in {key for _, key, _ in closings}:
        closed = next(one for one in closings if one[1] == key)
        happened = [one for person in everybody for one in person[1] if one[2] == key]
        opened = min((one[0] for one in happened if one[1] == "Open" and one[0] <= closed[0]), default=None)
        if opened is not None:
            lengths.append((closed[0] - opened) / timedelta(days=1))
            calls.append(sum(one[1] == "Call" and opened <= one[0] < closed[0] for one in happened))
            persons.add(min(place for when, k, place in closings if k == key and when == closed[0]))
    if not lengths:
        return None, 0
    return (median(lengths) if kind == "CYCLE" else sum(calls) / len(calls)), len(persons)


ORDER = {"event": "Order"}
DEAL = {"opened": "Open", "closed": "Close", "key": "deal"}
DEFINITIONS = {
    "SIZE": {}, "ENTRIES": {}, "EXITS": {}, "RETENTION": {}, "CONVERSION": ORDER,
    "REVENUE": {**ORDER, "amount": "amount"}, "AVERAGE": {**ORDER, "amount": "amount"}, "CYCLE": DEAL,
    "CONTACTS": {**DEAL, "contacts": ["Call"]},
}  # fmt: skip


@pytest.fixture
def segment(workspace, settings):
    settings.KPI_LEAST_PEOPLE = 1
    Workspace.objects.filter(pk=workspace.pk).update(time_zone="UTC")
    made = Segment.objects.create(workspace=workspace, slug="loyal", name="Loyal")
    made.live_version = SegmentVersion.objects.create(workspace=workspace, segment=made, number=1, definition={})
    made.save()
    for kind, more in DEFINITIONS.items():
        editing.create_kpi(
            workspace_id=workspace.pk, slug=kind.lower(), name="", author=None,
            definition={"kind": kind, "period": "DAY", **more},
        )  # fmt: skip
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(population=populations)
def test_figures__of_any_history__are_what_their_definitions_say(segment, population):
    source = SourceFactory(workspace=segment.workspace)
    with transaction.atomic():
        everybody = [(in_turn(drawn), [(at(step), *rest) for step, *rest in did]) for drawn, did in population]
        _store(segment, source, everybody)
        computing.compute(workspace_id=segment.workspace_id, now=NOW)
        found = {kpi.slug.upper(): _read(kpi, segment) for kpi in Kpi.objects.select_related("live_version")}
        transaction.set_rollback(True)

    seen = [person for person in everybody if person[0]]
    began = min((person[0][0][0] for person in seen), default=None)
    days = [FIRST + timedelta(days=day) for day in range(DAYS)]
    asked = [day for day in days if began is not None and day + timedelta(days=1) > began]
    present = [(stays, [one for one in did if one[0] < NOW]) for stays, did in everybody]
    for kind, values in found.items():
        told = {day: expected(kind, present, day, min(day + timedelta(days=1), NOW)) for day in asked}
        assert {day: (value, people) for day, (value, people) in values.items()} == {
            day: (None if value is None else pytest.approx(value), people) for day, (value, people) in told.items()
        }, kind
    sizes = [0, *(found["SIZE"][day][0] for day in asked)]
    flows = [found["ENTRIES"][day][0] - found["EXITS"][day][0] for day in asked]
    assert [after - before for before, after in zip(sizes, sizes[1:], strict=False)] == flows


def _store(segment: Segment, source: Any, everybody: list[Person]) -> None:
    for (stays_, did), person in zip(everybody, people(len(everybody), segment.workspace), strict=True):
        for entered_at, left_at in stays_:
            Membership.objects.create(
                workspace_id=segment.workspace_id, segment=segment, profile_id=person.profile_id,
                version=segment.live_version, entered_at=entered_at, entered_cause=Cause.EVENT,
                left_at=None if left_at == FAR else left_at,
            )  # fmt: skip
        for when, name, deal, amount in did:
            happen(person, source, name, when, {"deal": deal, "amount": amount})


def _read(kpi: Kpi, segment: Segment) -> dict[datetime, tuple[float | None, int | None]]:
    return {
        row.start: (row.value, row.people) for row in series.series_of_version(kpi, kpi.live_version, segment).values
    }

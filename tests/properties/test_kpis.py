"""Figures say what their definitions say: the set-based SQL against sentences of Python that look at one person at a time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import mean, median
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
stays = st.lists(steps, max_size=7).map(sorted)  # entering and leaving by turns
happenings = st.lists(
    st.tuples(steps, st.sampled_from(["Order", "Open", "Close", "Call"]), st.integers(1, 2), st.integers(0, 9)),
    max_size=6,
)
populations = st.lists(st.tuples(stays, happenings), min_size=1, max_size=4)


def at(step: int) -> datetime:
    return FIRST + timedelta(hours=6 * step)


def in_turn(drawn: list[int]) -> list[tuple[datetime, datetime]]:
    """Memberships of one person as there can be: one after the other, the last of them perhaps open."""
    instants = [at(step) for step in drawn if at(step) <= NOW]
    found = [*zip(instants[::2], [*instants[1::2], FAR], strict=False)]
    return [(entered, left) for entered, left in found if entered < NOW]


Person = tuple[list[tuple[datetime, datetime]], list[tuple[datetime, str, int, int]]]


@dataclass(frozen=True)
class Day:
    """What there is to say of one day, one question after the other: (value, n)."""

    everybody: list[Person]
    start: datetime
    end: datetime

    def size(self) -> Any:
        count = sum(is_in(person, self.end) for person in self.everybody)
        return count, count

    def entries(self) -> Any:
        return self._flow([[entered for entered, _ in real(person)] for person in self.everybody])

    def exits(self) -> Any:
        return self._flow([[left for _, left in real(person)] for person in self.everybody])

    def conversion(self) -> Any:
        members = [p for p in self.everybody if any(s[0] < self.end and s[1] > self.start for s in real(p))]
        return share(members, [p for p in members if self.spent(p)])

    def retention(self) -> Any:
        members = [p for p in self.everybody if is_in(p, self.start)]
        return share(members, [p for p in members if is_in(p, self.end)])

    def revenue(self) -> Any:
        spent = [self.spent(person) for person in self.everybody]
        return sum(map(sum, spent)), sum(map(bool, spent))

    def average(self) -> Any:
        total, people_ = self.revenue()
        times = sum(len(self.spent(person)) for person in self.everybody)
        return (total / times if times else None), people_

    def cycle(self) -> Any:
        deals = _deals(self)
        return (median(deal.days for deal in deals) if deals else None), len({deal.person for deal in deals})

    def contacts(self) -> Any:
        deals = _deals(self)
        return (mean(deal.calls for deal in deals) if deals else None), len({deal.person for deal in deals})

    def spent(self, person: Person) -> list[int]:
        return [amount for when, _, amount in self.did(person, "Order") if is_member_while(person, when)]

    def did(self, person: Person, name: str) -> list[tuple[datetime, int, int]]:
        return [(when, *rest) for when, said, *rest in person[1] if said == name and self.start <= when < self.end]

    def _flow(self, instants: list[list[datetime]]) -> Any:
        found = [[instant for instant in each if self.start <= instant < self.end] for each in instants]
        return sum(map(len, found)), sum(map(bool, found))


def real(person: Person) -> list[tuple[datetime, datetime]]:
    """Who leaves as they enter was never in."""
    return [(entered, left) for entered, left in person[0] if entered < left]


def is_in(person: Person, instant: datetime) -> bool:
    return any(entered < instant <= left for entered, left in real(person))


def is_member_while(person: Person, instant: datetime) -> bool:
    return any(entered <= instant < left for entered, left in person[0])


def share(of: list[Person], those: list[Person]) -> Any:
    return (len(those) / len(of) if of else None), len(of)


@dataclass(frozen=True)
class Deal:
    person: int
    days: float
    calls: int


def _deals(day: Day) -> list[Deal]:
    """The first closing of each key in the day, by whoever was a member, with what all people did about the key."""
    closings = sorted(
        (when, key, place)
        for place, person in enumerate(day.everybody)
        for when, key, _ in day.did(person, "Close")
        if is_member_while(person, when)
    )
    firsts = {key: (when, place) for when, key, place in reversed(closings)}
    found = [_deal(day, key, *closed) for key, closed in firsts.items()]
    return [deal for deal in found if deal]


def _deal(day: Day, key: int, closed: datetime, person: int) -> Deal | None:
    happened = [(when, name) for one in day.everybody for when, name, of, _ in one[1] if of == key]
    opened = min((when for when, name in happened if name == "Open" and when <= closed), default=None)
    if opened is None:
        return None
    calls = sum(name == "Call" and opened <= when < closed for when, name in happened)
    return Deal(person, (closed - opened) / timedelta(days=1), calls)


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
        told = {day: getattr(Day(present, day, min(day + timedelta(days=1), NOW)), kind.lower())() for day in asked}
        assert {day: (value, people) for day, (value, people) in values.items()} == {
            day: (None if value is None else pytest.approx(value), people) for day, (value, people) in told.items()
        }, kind
    sizes = [0, *(found["SIZE"][day][0] for day in asked)]
    flows = [found["ENTRIES"][day][0] - found["EXITS"][day][0] for day in asked]
    assert [after - before for before, after in pairwise(sizes)] == flows


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

"""The slow, obvious meaning of a rule for one profile. What is compiled is tested against this, never used instead.

It goes through the events one by one, and finds the next change by looking at every instant at which one could be.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from math import asin, ceil, cos, floor, radians, sin, sqrt
from typing import Any, Final

from segments.language.comparing import compares, found, holds, known, number
from segments.language.json_form import canonical
from segments.language.periods import (
    LATEST,
    Stretch,
    beginning_of,
    date_written,
    instant_written,
    stretch,
    unit_of,
    zone_named,
)
from segments.language.ranks import Threshold, is_inside, rounded
from segments.language.tree import (
    Active,
    Aggregate,
    Ahead,
    And,
    Anniversary,
    Calendar,
    Computed,
    Condition,
    Consented,
    Count,
    Dated,
    End,
    Event,
    Leaf,
    Learned,
    Listed,
    Measured,
    Member,
    Near,
    Node,
    Not,
    Of,
    Or,
    Period,
    Property,
    Rank,
    Sample,
    Score,
    Since,
    Step,
    Trait,
    Value,
    Zone,
    leaves_of,
)  # fmt: skip
from segments.language.tree import Sequence as Steps
from segments.language.written import written_scalar

EARTH: Final = 6_371_008.8
LARGEST_DIGEST: Final = 2**128 - 1


@dataclass(frozen=True, slots=True)
class Fact:
    """An event: its name, its corrected time, its properties, and the key that makes replays one."""

    name: str
    occurred_at: datetime
    properties: Mapping[str, Any]
    source_id: int
    message_id: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of one profile. Values are decoded JSON."""

    traits: dict[str, Any] = field(default_factory=dict)
    events: list[Fact] = field(default_factory=list)
    groups: dict[str, str] = field(default_factory=dict)
    scores: dict[str, Decimal] = field(default_factory=dict)
    lists: dict[str, list[Stretch]] = field(default_factory=dict)
    memberships: dict[str, list[Stretch]] = field(default_factory=dict)
    """Of other segments, as they were and are."""
    permitted: frozenset[str] = frozenset()
    permitted_until: datetime | None = None
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    """By the canonical form of the rank."""
    profile_id: int = 0
    source_zone: tzinfo | None = None
    """Of the first source that has one, of those that a trait comes from."""
    workspace_zone: tzinfo = UTC

    def zone(self, whose: Zone = Zone.PROFILE) -> tzinfo:
        if whose is Zone.UTC:
            return UTC
        if whose is Zone.WORKSPACE:
            return self.workspace_zone
        own = self.traits.get("timezone")
        return (zone_named(own) if isinstance(own, str) else None) or self.source_zone or self.workspace_zone


def is_in(tree: Node, facts: Facts, now: datetime) -> bool:
    match tree:
        case And(children):
            return all(is_in(child, facts, now) for child in children)
        case Or(children):
            return any(is_in(child, facts, now) for child in children)
        case Not(child):
            return not is_in(child, facts, now)
        case _:
            return _is_true(tree, facts, now)


def next_change(tree: Node, facts: Facts, now: datetime) -> datetime | None:
    """The first instant after `now` at which the answer is another one, if nothing happens until then.

    Something happens where lists, other segments and ranks change: they tell it.
    """
    facts = _as_of(facts, now)
    answer = is_in(tree, facts, now)
    later = (at for at in instants_of(tree, facts, now) if at > now)
    return next((at for at in later if is_in(tree, facts, at) != answer), None)


def instants_of(tree: Node, facts: Facts, now: datetime) -> list[datetime]:
    """In order, before and after: all at which the answer could be another one than just before."""
    return sorted({at for leaf in leaves_of(tree) for at in _instants(leaf, facts, now)})


def evaluate(tree: Node, facts: Facts, now: datetime) -> tuple[bool, datetime | None]:
    return is_in(tree, facts, now), next_change(tree, facts, now)


def _is_true(  # noqa: C901, PLR0911, PLR0912  # one case for each leaf
    leaf: Leaf, facts: Facts, now: datetime
) -> bool:
    match leaf:
        case Trait(condition):
            return holds(condition, facts.traits)
        case Near():
            return _is_near(leaf, facts.traits.get(leaf.trait))
        case Dated(trait, period):
            at = instant_written(facts.traits.get(trait))
            return at is not None and _is_during(_stretch(period, at, facts), now)
        case Anniversary():
            return _comes_round(leaf, facts, now)
        case Event(measured, comparison, value):
            return compares(comparison, _measured(measured, facts, now), value)
        case Steps():
            return any(_is_chain(leaf, facts, first, now) for first in _firsts(leaf, facts, now))
        case Learned(model, group):
            return facts.groups.get(model) == group
        case Score(model, comparison, value):
            return compares(comparison, facts.scores.get(model), value)
        case Member(segment):
            return _is_during_any(facts.memberships.get(segment, ()), now)
        case Listed(name):
            return _is_during_any(facts.lists.get(name, ()), now)
        case Consented(purpose):
            return purpose in facts.permitted and (facts.permitted_until is None or now < facts.permitted_until)
        case Rank():
            return _is_ranked_inside(leaf, facts, now)
        case Sample():
            return _is_sampled(leaf, facts.profile_id)
        case Computed(name):
            raise UnresolvedError(name)


class UnresolvedError(Exception):
    """A computed trait has no meaning of its own: put what it measures in its place first, by `resolved`."""


# -- events ---------------------------------------------------------------------------------------------------------


def _counted(rule: Measured, facts: Facts, now: datetime) -> list[Fact]:
    """Each message once, in order of time; of equal times in order of message id, then source."""
    once = {
        (fact.occurred_at, fact.message_id, fact.source_id): fact
        for fact in facts.events
        if _is_of(rule.event, rule.where, fact) and _is_during(_stretch(rule.period, fact.occurred_at, facts), now)
    }
    return [once[key] for key in sorted(once)]


def _is_of(name: str, where: Sequence[Condition], fact: Fact) -> bool:
    return fact.name == name and all(holds(condition, fact.properties) for condition in where)


def _measured(rule: Measured, facts: Facts, now: datetime) -> object:
    """None is a missing value."""
    counted = _counted(rule, facts, now)
    match rule.measure:
        case Count():
            return len(counted)
        case Active(unit, zone):
            return len({unit_of(fact.occurred_at, unit, facts.zone(zone)) for fact in counted})
        case Since(end, unit):
            passed = [now - fact.occurred_at for fact in counted]
            elapsed = timedelta(seconds=unit.seconds)
            return (passed[0] if end is End.FIRST else passed[-1]) // elapsed if passed else None
        case Aggregate(of, of_property):
            return _made(of, [found(fact.properties, of_property.name, of_property.inside) for fact in counted])


def _made(of: Of, values: Sequence[object]) -> object:  # noqa: PLR0911  # one case for each
    """Of the values in order of time."""
    present = [value for value in values if value is not None]
    scalars = [value for value in present if known(value) is not None]
    numbers = [value for value in map(number, present) if value is not None]
    match of:
        case Of.SUM:
            return sum(numbers, Fraction(0))
        case Of.AVERAGE:
            return sum(numbers, Fraction(0)) / len(numbers) if numbers else None
        case Of.MINIMUM:
            return min(numbers, default=None)
        case Of.MAXIMUM:
            return max(numbers, default=None)
        case Of.DISTINCT:
            return len({_written(value) for value in scalars})
        case Of.FIRST:
            return present[0] if present else None
        case Of.LAST:
            return present[-1] if present else None
        case Of.MOST_FREQUENT:
            return _most_frequent(scalars)
        case Of.VALUES:
            return scalars


def _most_frequent(scalars: Sequence[object]) -> object:
    times = Counter(map(_written, scalars))
    return min(scalars, key=lambda value: (-times[_written(value)], _written(value)), default=None)


def _written(value: object) -> str:
    """As JSON: two values are the same exactly when this is."""
    if isinstance(value, str | bool):
        return written_scalar(value)
    digits = f"{Decimal(str(value)):f}"
    return "0" if Decimal(digits) == 0 else digits.rstrip("0").rstrip(".") if "." in digits else digits


# -- one event after the other --------------------------------------------------------------------------------------


def _firsts(rule: Steps, facts: Facts, now: datetime) -> list[Fact]:
    first = rule.steps[0]
    return _counted(Measured(first.event, Count(), first.where, rule.period), facts, now)


def _is_chain(rule: Steps, facts: Facts, first: Fact, now: datetime) -> bool:
    """Whether a chain that begins with this event has been completed by now."""
    ends = first.occurred_at + timedelta(seconds=rule.within.seconds) if rule.within else LATEST
    reached = [first.occurred_at]
    for step in rule.steps[1:]:
        reached = [at for at in _times(step, facts, now) if at < ends and any(before < at for before in reached)]
    return any(_is_left_alone(rule, facts, first.occurred_at, last, now) for last in reached)


def _is_left_alone(rule: Steps, facts: Facts, first: datetime, last: datetime, now: datetime) -> bool:
    """Nothing that is excluded lies between, and what must not follow can follow no longer."""
    if any(first < at < last for step in rule.without for at in _times(step, facts, now)):
        return False
    if rule.then_not is None or rule.within is None:
        return True
    ends = last + timedelta(seconds=rule.within.seconds)
    return ends <= now and not any(last < at < ends for at in _times(rule.then_not, facts, now))


def _times(step: Step, facts: Facts, now: datetime) -> list[datetime]:
    return [
        fact.occurred_at for fact in facts.events if fact.occurred_at <= now and _is_of(step.event, step.where, fact)
    ]


# -- the other leaves -----------------------------------------------------------------------------------------------


def _is_near(rule: Near, place: object) -> bool:
    if not isinstance(place, Mapping):
        return False
    latitude, longitude = number(place.get("latitude")), number(place.get("longitude"))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return False
    here = (float(latitude), float(longitude))
    return metres_between((float(rule.latitude), float(rule.longitude)), here) <= rule.metres


def metres_between(one: tuple[float, float], other: tuple[float, float]) -> float:
    (latitude, longitude), (latitude_2, longitude_2) = (tuple(map(radians, place)) for place in (one, other))
    along = sin((latitude_2 - latitude) / 2) ** 2
    across = cos(latitude) * cos(latitude_2) * sin((longitude_2 - longitude) / 2) ** 2
    return 2 * EARTH * asin(min(1.0, sqrt(along + across)))


def _comes_round(rule: Anniversary, facts: Facts, now: datetime) -> bool:
    return any(_is_during(one, now) for one in _anniversaries(rule, facts, now))


def _anniversaries(rule: Anniversary, facts: Facts, now: datetime) -> list[Stretch]:
    """While this year's comes round, and those of the years about it."""
    day = date_written(facts.traits.get(rule.trait))
    if day is None:
        return []
    zone = facts.zone(rule.zone)
    days = [_in_year(day, year) for year in range(max(now.year - 2, 2), min(now.year + 3, 9_998))]
    return [
        (beginning_of(one - timedelta(days=rule.days_ahead), zone), beginning_of(one + timedelta(days=1), zone))
        for one in days
    ]


def _in_year(day: date, year: int) -> date:
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day.replace(year, 3, 1) if (day.month, day.day) == (2, 29) and not is_leap else day.replace(year)


def _is_sampled(rule: Sample, profile_id: int) -> bool:
    digest = hashlib.md5(f"{rule.salt}:{profile_id}".encode(), usedforsecurity=False).hexdigest()
    part = Fraction(int(digest, 16), LARGEST_DIGEST) * 100
    return Fraction(rule.begins) <= part < Fraction(rule.ends)


# -- ranks ----------------------------------------------------------------------------------------------------------


def threshold(rule: Rank, population: Iterable[Facts], now: datetime) -> Threshold:
    """The last one inside, of all who have a value and are among those who are ranked."""
    ranked = [(value, facts.profile_id) for facts in population if (value := _ranked(rule, facts, now)) is not None]
    ranked.sort(key=lambda one: (one[0] if rule.is_lowest else -one[0], one[1]))
    if not ranked:
        return Threshold(None, None, now)
    amount = Fraction(rule.top.amount)
    places = ceil(len(ranked) * amount / 100) if rule.top.is_percent else min(int(amount), len(ranked))
    value, profile = ranked[places - 1]
    return Threshold(value, None if rule.top.is_percent else profile, now)


def _is_ranked_inside(rule: Rank, facts: Facts, now: datetime) -> bool:
    value, frozen = _ranked(rule, facts, now), facts.thresholds.get(canonical(rule))
    if value is None or frozen is None:
        return False
    return is_inside(value, facts.profile_id, frozen, is_lowest=rule.is_lowest)


def _ranked(rule: Rank, facts: Facts, now: datetime) -> Decimal | None:
    if rule.among is not None and not _is_during_any(facts.memberships.get(rule.among, ()), now):
        return None
    if isinstance(rule.of, Property):
        value = number(found(facts.traits, rule.of.name, rule.of.inside))
    else:
        value = number(_measured(rule.of, facts, now)) if _counted(rule.of, facts, now) else None
    return None if value is None else rounded(value)


# -- time -----------------------------------------------------------------------------------------------------------


def _stretch(period: Period | Ahead, at: datetime, facts: Facts) -> Stretch | None:
    return stretch(period, at, facts.zone(period.zone) if isinstance(period, Calendar) else UTC)


def _is_during(one: Stretch | None, now: datetime) -> bool:
    return one is not None and one[0] <= now and (one[1] is None or now < one[1])


def _is_during_any(stretches: Iterable[Stretch], now: datetime) -> bool:
    return any(_is_during(one, now) for one in stretches)


def _as_of(facts: Facts, now: datetime) -> Facts:
    """Lists and other segments as they are now, for ever."""
    always: Stretch = (datetime.min.replace(tzinfo=UTC), None)
    now_in = [
        {name: [always] for name, stretches in known_of.items() if _is_during_any(stretches, now)}
        for known_of in (facts.lists, facts.memberships)
    ]
    return replace(facts, lists=now_in[0], memberships=now_in[1])


def _instants(leaf: Leaf, facts: Facts, now: datetime) -> Iterator[datetime]:
    """All at which the leaf could change; more than those do no harm."""
    match leaf:
        case Event(measured, _, value):
            yield from _edges(measured.period, facts)
            yield from _passings(measured, value, facts)
        case Steps():
            yield from _edges(leaf.period, facts)
            yield from (fact.occurred_at for fact in facts.events)
            if leaf.within:
                yield from (_plus(fact.occurred_at, leaf.within.seconds) for fact in facts.events)
        case Rank(Measured() as measured):
            frozen = facts.thresholds.get(canonical(leaf))
            yield from _edges(measured.period, facts)
            yield from _passings(measured, frozen.value if frozen else None, facts)
        case Dated(trait, period):
            if at := instant_written(facts.traits.get(trait)):
                yield from _ends(_stretch(period, at, facts))
        case Anniversary():
            for one in _anniversaries(leaf, facts, now):
                yield from _ends(one)
        case Consented():
            yield from [facts.permitted_until] if facts.permitted_until else []
        case _:
            pass


def _edges(period: Period, facts: Facts) -> Iterator[datetime]:
    for fact in facts.events:
        yield from _ends(_stretch(period, fact.occurred_at, facts))


def _ends(one: Stretch | None) -> list[datetime]:
    return [] if one is None else [at for at in one if at is not None]


def _passings(rule: Measured, value: Value, facts: Facts) -> Iterator[datetime]:
    """When so many units have passed since an event that the comparison may turn."""
    if not isinstance(rule.measure, Since):
        return
    asked = [each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, Decimal)]
    passed = {whole for each in asked for whole in range(floor(each), ceil(each) + 2)}
    for fact in facts.events:
        yield from (_plus(fact.occurred_at, whole * rule.measure.unit.seconds) for whole in passed)


def _plus(at: datetime, seconds: int) -> datetime:
    try:
        return at + timedelta(seconds=seconds)
    except OverflowError:
        return LATEST


def measured(rule: Measured, facts: Facts, now: datetime) -> object:
    """What is measured of this profile at this instant: as a computed trait shows it. None: it is missing."""
    return _measured(rule, facts, now)


def value_of(leaf: Leaf, facts: Facts, now: datetime) -> object:
    """What the leaf compares, as it is known of the profile; None where nothing is, or where there is no single value."""
    match leaf:
        case Trait(condition):
            return found(facts.traits, condition.name, condition.inside)
        case Event(rule):
            return _measured(rule, facts, now)
        case _:
            return None

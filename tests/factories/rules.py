"""Strategies for rules and for people whom they are about: small worlds in which everything meets.

There are few names, few values and few moments, so that what could be equal often is: an event and a deadline, two
events, the text that is looked for and the one that is there. All times of a world are near its start.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from segments.language.periods import beginning_of
from segments.language.tree import (
    Active,
    Aggregate,
    Ahead,
    And,
    Anniversary,
    Between,
    Calendar,
    CalendarUnit,
    Comparison,
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
    Past,
    Property,
    Rank,
    Sample,
    Score,
    Sequence,
    Since,
    Step,
    Top,
    Trait,
    Unit,
    Window,
    Zone,
)

Strategy = st.SearchStrategy[Any]

# Without Morocco: of its future Python and Postgres may come with different editions.
HARD_ZONES: Final = (
    "Europe/Paris", "America/Havana", "Australia/Lord_Howe", "Africa/Cairo", "America/Sao_Paulo", "Asia/Beirut",
    "Pacific/Apia", "Asia/Kathmandu", "Europe/Dublin", "America/St_Johns",
)  # fmt: skip
# Each a few hours before clocks are changed somewhere, or calendars turn.
HARD_STARTS: Final = (
    datetime(2026, 3, 28, 12, tzinfo=UTC),  # Paris goes forward, and Beirut at midnight, so that none is shown
    datetime(2026, 10, 24, 12, tzinfo=UTC),  # Paris goes back
    datetime(2026, 10, 31, 12, tzinfo=UTC),  # in Havana midnight comes twice
    datetime(2026, 4, 23, 12, tzinfo=UTC),  # Cairo at midnight
    datetime(2026, 4, 4, 6, tzinfo=UTC),  # Lord Howe, by half an hour
    datetime(2018, 11, 3, 18, tzinfo=UTC),  # São Paulo at midnight
    datetime(2011, 12, 29, 12, tzinfo=UTC),  # Apia leaves a day out
    datetime(2006, 10, 28, 12, tzinfo=UTC),  # St. John's goes back over midnight
    datetime(2027, 12, 31, 12, tzinfo=UTC),  # a year, a quarter and a month end, and a leap year begins
    datetime(2028, 2, 28, 12, tzinfo=UTC),
    datetime(1970, 1, 2, tzinfo=UTC),
    datetime(2099, 12, 31, 12, tzinfo=UTC),
)
START: Final = HARD_STARTS[0]
starts = st.one_of(st.just(START), st.sampled_from(HARD_STARTS))

MODEL, SEGMENT, LIST = "groups", "others", "friends"
EVENTS: Final = ("Order", "Order", "Order", "View")
HARD_TEXTS: Final = (
    "", "FR", "fr", "é", "É", "ß", "İ", "'); DROP TABLE core.event; --", '"', "\\", "%s %(now)s", "F", "f_%", "*?", "1",
)  # fmt: skip
PATTERNS: Final = ("*", "?", "F?", "*r", "f*", "*%*", "_", "*'*--", "\\", "", "??", "é")
PATHS: Final = ((), (), (), ("size",), ("size", "x"))

texts = st.one_of(st.sampled_from(["FR", "FR", "fr", "F", ""]), st.sampled_from(HARD_TEXTS))
numbers = st.sampled_from(
    [Decimal(1), Decimal(2), Decimal("1.5"), Decimal(0), Decimal("1.0"), Decimal(-2), Decimal(30)]
)
scalars = st.one_of(texts, texts, numbers, numbers, st.booleans())
lists = st.lists(st.one_of(scalars, scalars, st.none()), min_size=0, max_size=3)
objects = st.fixed_dictionaries({"size": st.one_of(scalars, scalars, lists)}, optional={"FR": scalars})
nested = st.one_of(
    objects, objects, st.builds(lambda x: {"size": {"x": x}}, scalars), lists.map(lambda one: [one, {"size": 1}])
)
lists_of_objects = st.recursive(
    st.lists(st.one_of(objects, objects, nested, scalars), max_size=3),
    lambda inner: st.lists(st.fixed_dictionaries({"size": inner}, optional={"FR": scalars}), max_size=2),
    max_leaves=2,
)
stored = st.one_of(scalars, scalars, scalars, st.none(), lists, lists, nested, nested, lists_of_objects)


# -- values that are compared ---------------------------------------------------------------------------------------

ORDERED = st.one_of(texts, numbers)
CHOICES = st.lists(scalars, min_size=1, max_size=3).map(tuple)
ENDS = st.one_of(st.tuples(numbers, numbers), st.tuples(texts, texts))
VALUES: Final[Mapping[Comparison, Strategy]] = {
    Comparison.EQUALS: scalars,
    Comparison.NOT_EQUALS: scalars,
    Comparison.IN: CHOICES,
    Comparison.NOT_IN: CHOICES,
    Comparison.GREATER: ORDERED,
    Comparison.GREATER_OR_EQUAL: ORDERED,
    Comparison.LESS: ORDERED,
    Comparison.LESS_OR_EQUAL: ORDERED,
    Comparison.BETWEEN: ENDS,
    Comparison.CONTAINS: scalars,
    Comparison.CONTAINS_ANY: CHOICES,
    Comparison.CONTAINS_ALL: CHOICES,
    Comparison.STARTS_WITH: texts,
    Comparison.ENDS_WITH: texts,
    Comparison.MATCHES: st.sampled_from(PATTERNS),
    Comparison.EXISTS: st.none(),
}
NUMBER_COMPARISONS: Final = (
    Comparison.GREATER_OR_EQUAL, Comparison.GREATER_OR_EQUAL, Comparison.GREATER, Comparison.EQUALS,
    Comparison.NOT_EQUALS, Comparison.LESS, Comparison.LESS_OR_EQUAL, Comparison.BETWEEN,
)  # fmt: skip
LIST_COMPARISONS: Final = (Comparison.CONTAINS, Comparison.CONTAINS_ANY, Comparison.CONTAINS_ALL)


@st.composite
def comparisons(draw: Any, names: tuple[str, ...]) -> Condition:
    comparison = draw(st.sampled_from(list(VALUES)))
    value = draw(VALUES[comparison])
    has_text = any(isinstance(each, str) for each in (value if isinstance(value, tuple) else (value,)))
    ignores_case = has_text and draw(st.sampled_from([False, True]))
    return Condition(draw(st.sampled_from(names)), comparison, value, draw(st.sampled_from(PATHS)), ignores_case)


@cache
def havings(names: tuple[str, ...], depth: int = 2) -> Strategy:
    """Of lists of objects, and of lists in these."""
    fields = comparisons(names=("size", "size", "FR", "x"))
    if depth:
        fields = st.one_of(fields, fields, havings(("size",), depth - 1))
    meets = st.lists(fields, min_size=1, max_size=2).map(tuple)
    paths = st.sampled_from([(), (), (), ("size",)])
    return st.builds(
        lambda name, inside, has: Condition(name, Comparison.HAS, None, inside, has=has),
        st.sampled_from(names), paths, meets,
    )  # fmt: skip


def conditions(names: tuple[str, ...]) -> Strategy:
    compared = comparisons(names)
    return st.one_of(compared, compared, compared, havings(names))


event_conditions = conditions(names=("amount", "colour"))
narrowings = st.one_of(
    st.just(()), st.just(()), st.just(()), st.lists(event_conditions, min_size=1, max_size=2).map(tuple)
)  # fmt: skip


# -- time -----------------------------------------------------------------------------------------------------------

units = st.sampled_from([*[Unit.DAYS] * 4, *[Unit.WEEKS] * 2, Unit.HOURS, Unit.SECONDS, Unit.MINUTES])
windows = st.builds(Window, st.integers(1, 3), units)
calendar_units = st.sampled_from([CalendarUnit.DAYS, *CalendarUnit])
kinds_of_zone = st.sampled_from([Zone.PROFILE, Zone.PROFILE, Zone.WORKSPACE, Zone.UTC])
calendars = st.builds(Calendar, st.integers(1, 3), calendar_units, kinds_of_zone, st.booleans())
besides = st.sampled_from([timedelta(0), timedelta(0), timedelta(microseconds=-1), timedelta(microseconds=1)])


@st.composite
def pasts(draw: Any) -> Past:
    latest, earliest = draw(windows), draw(st.one_of(st.none(), windows))
    if earliest is None or earliest.seconds == latest.seconds:
        return Past(latest)
    return Past(*sorted((latest, earliest), key=lambda window: window.seconds))


@cache
def offsets_from(start: datetime) -> Strategy:
    """Instants on a deadline are drawn often, and one microsecond beside it. More lie in the past than in the future."""
    of_units = st.builds(lambda unit, amount: timedelta(seconds=unit.seconds * amount), units, st.integers(-3, 2))
    of_midnights = st.builds(
        lambda zone, days: beginning_of(start.date() + timedelta(days=days), ZoneInfo(zone)) - start,
        st.sampled_from(HARD_ZONES), st.integers(-1, 2),
    )  # fmt: skip
    return st.builds(lambda offset, beside: offset + beside, st.one_of(of_units, of_units, of_midnights), besides)


@cache
def betweens_about(start: datetime) -> Strategy:
    instants = offsets_from(start).map(lambda offset: start + offset)
    return st.one_of(
        st.builds(Between, instants, st.none()), st.builds(Between, st.none(), instants),
        st.lists(instants, min_size=2, max_size=2, unique=True).map(lambda ends: Between(*sorted(ends))),
    )  # fmt: skip


@cache
def periods_about(start: datetime) -> Strategy:
    return st.one_of(st.none(), st.none(), windows, windows, pasts(), betweens_about(start), calendars, calendars)


@cache
def trait_periods_about(start: datetime) -> Strategy:
    return st.one_of(windows, pasts(), betweens_about(start), calendars, calendars, st.builds(Ahead, windows))


# -- leaves ---------------------------------------------------------------------------------------------------------

properties = st.one_of(
    st.just(Property("amount")), st.just(Property("colour")), st.builds(Property, st.just("colour"), st.sampled_from(PATHS))
)  # fmt: skip
aggregates = st.sampled_from([Of.SUM, Of.SUM, Of.AVERAGE, Of.MINIMUM, Of.MAXIMUM, Of.DISTINCT])
number_measures = st.one_of(
    st.just(Count()), st.builds(Aggregate, aggregates, st.just(Property("amount"))),
    st.builds(Aggregate, aggregates, st.just(Property("amount"))), st.builds(Aggregate, aggregates, properties),
    st.builds(Active, st.sampled_from(list(CalendarUnit)), kinds_of_zone),
    st.builds(Since, st.sampled_from(list(End)), units),
)  # fmt: skip
value_measures = st.builds(Aggregate, st.sampled_from([Of.FIRST, Of.LAST, Of.MOST_FREQUENT]), properties)
small_numbers = st.one_of(st.sampled_from([Decimal(1), Decimal(2)]), numbers)


def measured(measures: Strategy, start: datetime) -> Strategy:
    return st.builds(Measured, st.sampled_from(EVENTS), measures, narrowings, periods_about(start))


@st.composite
def number_events(draw: Any, start: datetime) -> Event:
    comparison = draw(st.sampled_from(NUMBER_COMPARISONS))
    is_between = comparison is Comparison.BETWEEN
    return Event(
        draw(measured(number_measures, start)), comparison,
        draw(st.tuples(small_numbers, small_numbers) if is_between else small_numbers),
    )  # fmt: skip


@st.composite
def value_events(draw: Any, start: datetime) -> Event:
    comparison = draw(st.sampled_from(list(VALUES)))
    return Event(draw(measured(value_measures, start)), comparison, draw(VALUES[comparison]))


@st.composite
def list_events(draw: Any, start: datetime) -> Event:
    comparison = draw(st.sampled_from(LIST_COMPARISONS))
    of_values = st.builds(Aggregate, st.just(Of.VALUES), properties)
    return Event(draw(measured(of_values, start)), comparison, draw(VALUES[comparison]))


steps = st.builds(Step, st.sampled_from(("Order", "Order", "View", "Cart")), narrowings)


@st.composite
def sequences(draw: Any, start: datetime) -> Sequence:
    then_not = draw(st.one_of(st.none(), steps))
    within = draw(windows if then_not else st.one_of(st.none(), windows))
    fewest = 1 if then_not else 2
    chain = tuple(draw(st.lists(steps, min_size=fewest, max_size=fewest if draw(st.booleans()) else 3)))
    without = tuple(draw(st.one_of(st.just([]), st.just([]), st.lists(steps, max_size=1))))
    return Sequence(chain, within, without, then_not, draw(periods_about(start)))


places = st.sampled_from(
    [(Decimal("48.8566"), Decimal("2.3522")), (Decimal("45.764"), Decimal("4.8357")), (Decimal(0), Decimal(180)),
     (Decimal(0), Decimal(-180)), (Decimal(90), Decimal(0)), (Decimal(-90), Decimal(12))]
)  # fmt: skip
nears = st.builds(
    lambda place, metres: Near("place", *place, Decimal(metres)),
    places,
    st.sampled_from([1, 1_000, 400_000, 20_100_000]),
)
samples = st.sampled_from([(0, 50), (50, 100), (0, 100), ("33.3", "66.6")]).flatmap(
    lambda ends: st.builds(Sample, st.sampled_from(["salt", "é:"]), *(st.just(Decimal(end)) for end in ends))
)


@st.composite
def scores(draw: Any) -> Score:
    comparison = draw(st.sampled_from(NUMBER_COMPARISONS))
    value = draw(st.tuples(numbers, numbers) if comparison is Comparison.BETWEEN else numbers)
    return Score(MODEL, comparison, value)


tops = st.one_of(
    st.builds(Top, st.sampled_from([Decimal(1), Decimal(2), Decimal(100)])),
    st.builds(Top, st.sampled_from([Decimal(10), Decimal(50), Decimal("66.6"), Decimal(100)]), st.just(True)),
)


def ranks(start: datetime) -> Strategy:
    of_traits = st.sampled_from([Property("age"), Property("age"), Property("age", ("size",))])
    of = st.one_of(measured(number_measures, start), of_traits)
    return st.builds(Rank, of, tops, st.booleans(), st.one_of(st.none(), st.none(), st.just(SEGMENT)))


@cache
def leaves_about(start: datetime) -> Mapping[str, Strategy]:
    """By kind, to choose from."""
    return {
        "trait": st.builds(Trait, conditions(names=("country", "age"))),
        "objects": st.one_of(
            havings(("country", "age")).map(Trait),
            havings(("amount", "colour")).map(lambda having: Event(Measured("Order", Count(), (having,)))),
        ),
        "near": nears,
        "dated": st.builds(Dated, st.just("since"), trait_periods_about(start)),
        "anniversary": st.builds(Anniversary, st.just("since"), st.sampled_from([0, 0, 1, 7, 300]), kinds_of_zone),
        "event": number_events(start),
        "value": value_events(start),
        "list of values": list_events(start),
        "sequence": sequences(start),
        "learned": st.builds(Learned, st.just(MODEL), st.sampled_from(["loyal", "lost"])),
        "score": scores(),
        "member": st.just(Member(SEGMENT)),
        "consented": st.builds(Consented, st.sampled_from(["advertising", "analytics"])),
        "rank": ranks(start),
        "sample": samples,
        "listed": st.just(Listed(LIST)),
    }


OFTEN: Final = (*["event"] * 6, "sequence", "sequence", "dated")


def leaves(*kinds: str, start: datetime = START) -> Strategy:
    """Of these kinds, or of all. Those that depend on time come more often."""
    every = leaves_about(start)
    chosen = kinds or tuple(every)
    return st.one_of(*(every[kind] for kind in (*chosen, *(kind for kind in OFTEN if kind in chosen))))


def trees(leaf: Strategy) -> st.SearchStrategy[Node]:
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds(Not, inner),
            st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
            st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        ),
        max_leaves=5,
    )


def kind_of(leaf: Leaf) -> str:
    if isinstance(leaf, Event) and isinstance(leaf.measured.measure, Aggregate):
        return f"event: {leaf.measured.measure.of}"
    if isinstance(leaf, Event):
        return f"event: {type(leaf.measured.measure).__name__.lower()}"
    return type(leaf).__name__.lower()


# -- people ---------------------------------------------------------------------------------------------------------

MISSING: Final = object()
bodies = st.fixed_dictionaries({"amount": st.one_of(numbers, numbers, stored)}, optional={"colour": stored})
keys = st.tuples(st.integers(0, 1), st.sampled_from(["a", "B", "b", "é", "10", "9", "z"]))
"""Source and message id. Two events with the same key are one that came twice."""
places_known = st.one_of(
    places.map(lambda place: {"latitude": place[0], "longitude": place[1]}),
    st.fixed_dictionaries(
        {"latitude": st.one_of(numbers, texts, st.just(Decimal(91)))}, optional={"longitude": numbers}
    ),
)
timezones = st.one_of(
    st.sampled_from(HARD_ZONES),
    st.sampled_from(HARD_ZONES),
    st.sampled_from(["Nowhere/City", "europe/paris", "UTC+3", ""]),
)
NO_DATES: Final = (
    "2026-02-30", "2026-3-28", "2026-03-28 12:00:00Z", "2026-03-28T12:00:00", "0000-01-01", "٢٠٢٦-03-28",
    "2026-03-28T24:00:00Z", "2026-03-28T12:00:00+15:00", "2026-03-28\n",
)  # fmt: skip
FAR_DATES: Final = ("9999-12-31", "0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")


def or_missing(values: Strategy) -> Strategy:
    return st.one_of(values, values, values, st.just(MISSING))


@cache
def dates_about(start: datetime) -> Strategy:
    """Days and times near the start, and what looks like one."""
    near = offsets_from(start).map(lambda offset: start + offset)
    days = st.builds(
        lambda at, years: at.date().replace(year=at.year - years, day=min(at.day, 28)).isoformat(),
        near,
        st.integers(0, 2),
    )
    in_utc = near.map(lambda at: at.isoformat().replace("+00:00", "Z"))
    in_zone = near.map(lambda at: at.astimezone(ZoneInfo("Asia/Kathmandu")).isoformat())
    to_the_minute = near.map(lambda at: at.replace(second=0, microsecond=0).strftime("%Y-%m-%dT%H:%MZ"))
    odd = st.sampled_from([*NO_DATES, *FAR_DATES, "1988-02-29", "2028-02-29"])
    return st.one_of(days, in_utc, in_utc, in_zone, to_the_minute, odd)


@cache
def happenings_about(start: datetime) -> Strategy:
    """Name, offset, properties, and key."""
    return st.tuples(st.sampled_from((*EVENTS, "View", "Cart")), offsets_from(start), bodies, keys)


@cache
def persons_about(start: datetime) -> Strategy:
    happened = st.lists(happenings_about(start), min_size=1, max_size=6)
    spans = st.lists(st.tuples(offsets_from(start), st.one_of(st.none(), offsets_from(start))), max_size=2)
    traits = st.fixed_dictionaries(
        {
            "country": or_missing(stored), "age": or_missing(stored),
            "place": or_missing(st.one_of(places_known, places_known, places_known, stored)),
            "since": or_missing(st.one_of(dates_about(start), dates_about(start), dates_about(start), stored)),
            "timezone": or_missing(st.one_of(timezones, timezones, timezones, stored)),
        }
    )  # fmt: skip
    return st.fixed_dictionaries(
        {
            "traits": traits.map(lambda every: {name: value for name, value in every.items() if value is not MISSING}),
            "events": st.one_of(happened, happened, happened.map(lambda events: [*events, events[0]])),
            "groups": st.fixed_dictionaries({}, optional={MODEL: st.sampled_from(["loyal", "lost"])}),
            "scores": st.fixed_dictionaries({}, optional={MODEL: numbers}),
            "lists": st.fixed_dictionaries({}, optional={LIST: spans}),
            "memberships": st.fixed_dictionaries({}, optional={SEGMENT: spans}),
            "permitted": st.sets(st.sampled_from(["advertising", "analytics"])),
        }
    )


periods, trait_periods = periods_about(START), trait_periods_about(START)
offsets, happenings, persons = offsets_from(START), happenings_about(START), persons_about(START)

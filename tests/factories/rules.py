"""Strategies for rules and for people whom they are about: small worlds in which everything meets.

There are few names, few values and few moments, so that what could be equal often is: an event and a deadline, two
events, the text that is looked for and the one that is there. Times are offsets from a start that the test draws.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
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

HARD_ZONES: Final = (
    "Europe/Paris", "America/Havana", "Australia/Lord_Howe", "Africa/Cairo", "America/Sao_Paulo", "Asia/Beirut",
    "Pacific/Apia", "Asia/Kathmandu", "Africa/Casablanca", "America/St_Johns",
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
starts = st.one_of(st.just(HARD_STARTS[0]), st.sampled_from(HARD_STARTS))

MODEL, SEGMENT, LIST = "groups", "others", "friends"
EVENTS: Final = ("Order", "Order", "Order", "View")
HARD_TEXTS: Final = (
    "", "FR", "fr", "é", "É", "ß", "İ", "'); DROP TABLE core.event; --", '"', "\\", "%s %(now)s", "F", "f_%", "*?", "1",
)  # fmt: skip
PATTERNS: Final = ("*", "?", "F?", "*r", "f*", "*%*", "_", "*'*--", "\\", "", "??", "é")
PATHS: Final = ((), (), (), ("size",), ("size", "x"))

texts = st.sampled_from(HARD_TEXTS)
numbers = st.sampled_from(
    [Decimal(-2), Decimal(0), Decimal(1), Decimal("1.0"), Decimal("1.5"), Decimal(2), Decimal(30)]
)
scalars = st.one_of(texts, numbers, st.booleans())
lists = st.lists(st.one_of(scalars, st.none()), max_size=3)
objects = st.fixed_dictionaries({}, optional={"size": st.one_of(scalars, lists), "FR": scalars})
nested = st.one_of(objects, st.builds(lambda x: {"size": {"x": x}}, scalars), lists.map(lambda one: [one, {"size": 1}]))
stored = st.one_of(scalars, scalars, st.none(), lists, nested)


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
def conditions(draw: Any, names: tuple[str, ...]) -> Condition:
    comparison = draw(st.sampled_from(list(VALUES)))
    value = draw(VALUES[comparison])
    has_text = any(isinstance(each, str) for each in (value if isinstance(value, tuple) else (value,)))
    ignores_case = has_text and draw(st.booleans())
    return Condition(draw(st.sampled_from(names)), comparison, value, draw(st.sampled_from(PATHS)), ignores_case)


event_conditions = conditions(names=("amount", "colour"))
wheres = st.one_of(st.just(()), st.just(()), st.lists(event_conditions, min_size=1, max_size=2).map(tuple))


# -- periods --------------------------------------------------------------------------------------------------------

units = st.sampled_from([Unit.DAYS, Unit.DAYS, Unit.HOURS, Unit.SECONDS, Unit.MINUTES, Unit.WEEKS])
windows = st.builds(Window, st.integers(1, 3), units)
kinds_of_zone = st.sampled_from([Zone.PROFILE, Zone.PROFILE, Zone.WORKSPACE, Zone.UTC])
calendars = st.builds(Calendar, st.integers(1, 3), st.sampled_from(list(CalendarUnit)), kinds_of_zone, st.booleans())
besides = st.sampled_from([timedelta(microseconds=-1), timedelta(0), timedelta(0), timedelta(microseconds=1)])
absolute = st.builds(
    lambda start, offset, beside: start + timedelta(hours=12 * offset) + beside, starts, st.integers(-4, 4), besides
)


@st.composite
def pasts(draw: Any) -> Past:
    latest, earliest = draw(windows), draw(st.one_of(st.none(), windows))
    if earliest is None or earliest.seconds == latest.seconds:
        return Past(latest)
    return Past(*sorted((latest, earliest), key=lambda window: window.seconds))


@st.composite
def betweens(draw: Any) -> Between:
    ends = sorted({draw(absolute), draw(absolute)})
    if len(ends) == 2 and draw(st.booleans()):
        return Between(*ends)
    return Between(ends[0], None) if draw(st.booleans()) else Between(None, ends[0])


periods = st.one_of(st.none(), windows, windows, pasts(), betweens(), calendars, calendars)
trait_periods = st.one_of(windows, pasts(), betweens(), calendars, st.builds(Ahead, windows))


# -- leaves ---------------------------------------------------------------------------------------------------------

properties = st.one_of(
    st.just(Property("amount")), st.just(Property("colour")), st.builds(Property, st.just("colour"), st.sampled_from(PATHS))
)  # fmt: skip
number_measures = st.one_of(
    st.just(Count()), st.just(Count()),
    st.builds(Aggregate, st.sampled_from([Of.SUM, Of.AVERAGE, Of.MINIMUM, Of.MAXIMUM, Of.DISTINCT]), properties),
    st.builds(Active, st.sampled_from(list(CalendarUnit)), kinds_of_zone),
    st.builds(Since, st.sampled_from(list(End)), units),
)  # fmt: skip
value_measures = st.builds(Aggregate, st.sampled_from([Of.FIRST, Of.LAST, Of.MOST_FREQUENT]), properties)
small_numbers = st.one_of(st.sampled_from([Decimal(1), Decimal(2)]), numbers)


def measured(measures: Strategy) -> Strategy:
    return st.builds(Measured, st.sampled_from(EVENTS), measures, wheres, periods)


@st.composite
def number_events(draw: Any) -> Event:
    comparison = draw(st.sampled_from(NUMBER_COMPARISONS))
    is_between = comparison is Comparison.BETWEEN
    return Event(
        draw(measured(number_measures)), comparison,
        draw(st.tuples(small_numbers, small_numbers) if is_between else small_numbers),
    )  # fmt: skip


@st.composite
def value_events(draw: Any) -> Event:
    comparison = draw(st.sampled_from(list(VALUES)))
    return Event(draw(measured(value_measures)), comparison, draw(VALUES[comparison]))


@st.composite
def list_events(draw: Any) -> Event:
    comparison = draw(st.sampled_from(LIST_COMPARISONS))
    of_values = st.builds(Aggregate, st.just(Of.VALUES), properties)
    return Event(draw(measured(of_values)), comparison, draw(VALUES[comparison]))


steps = st.builds(Step, st.sampled_from(("Order", "View", "Cart")), wheres)


@st.composite
def sequences(draw: Any) -> Sequence:
    then_not = draw(st.one_of(st.none(), steps))
    within = draw(windows if then_not else st.one_of(st.none(), windows))
    fewest = 1 if then_not else 2
    chain = tuple(draw(st.lists(steps, min_size=fewest, max_size=3)))
    without = tuple(draw(st.one_of(st.just([]), st.lists(steps, max_size=1))))
    return Sequence(chain, within, without, then_not, draw(periods))


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
ranks = st.builds(
    Rank,
    st.one_of(measured(number_measures), st.just(Property("age")), st.just(Property("age", ("size",)))),
    tops, st.booleans(), st.one_of(st.none(), st.just(SEGMENT)),
)  # fmt: skip

LEAVES: Final[Mapping[str, Strategy]] = {
    "trait": st.builds(Trait, conditions(names=("country", "age"))),
    "near": nears,
    "dated": st.builds(Dated, st.just("since"), trait_periods),
    "anniversary": st.builds(Anniversary, st.just("since"), st.sampled_from([0, 0, 1, 7, 300]), kinds_of_zone),
    "event": number_events(),
    "value": value_events(),
    "list of values": list_events(),
    "sequence": sequences(),
    "learned": st.builds(Learned, st.just(MODEL), st.sampled_from(["loyal", "lost"])),
    "score": scores(),
    "member": st.just(Member(SEGMENT)),
    "consented": st.builds(Consented, st.sampled_from(["advertising", "analytics"])),
    "rank": ranks,
    "sample": samples,
    "listed": st.just(Listed(LIST)),
}
"""By the names under which the long proof counts them."""

OFTEN: Final = ("event", "event", "sequence", "dated")


def leaves(*kinds: str) -> Strategy:
    """Of these kinds, or of all. Those that depend on time come more often."""
    chosen = kinds or tuple(LEAVES)
    return st.one_of(*(LEAVES[kind] for kind in (*chosen, *(kind for kind in OFTEN if kind in chosen))))


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


@st.composite
def midnights(draw: Any) -> timedelta:
    """From the first start to the midnight of a near day in a hard zone, or from the start of its change."""
    zone, start = draw(st.sampled_from(HARD_ZONES)), draw(starts)
    day = start.date() + timedelta(days=draw(st.integers(-1, 2)))
    return beginning_of(day, ZoneInfo(zone)) - start


# Instants on a deadline are drawn often, and one microsecond beside it.
offsets = st.builds(
    lambda offset, beside: offset + beside,
    st.one_of(
        st.builds(lambda unit, amount: timedelta(seconds=unit.seconds * amount), units, st.integers(-3, 3)), midnights()
    ),
    besides,
)
bodies = st.fixed_dictionaries({"amount": st.one_of(numbers, stored)}, optional={"colour": stored})
keys = st.tuples(st.integers(0, 1), st.sampled_from(["a", "B", "b", "é", "10", "9", "z"]))
"""Source and message id. Two events with the same key are one that came twice."""
happenings = st.tuples(st.sampled_from((*EVENTS, "Cart")), offsets, bodies, keys)
spans = st.lists(st.tuples(offsets, st.one_of(st.none(), offsets)), max_size=2)


@st.composite
def dates(draw: Any) -> str:
    """Of days and times near a start, and what looks like one."""
    at = draw(starts) + draw(offsets)
    written = [
        at.date().isoformat(), at.isoformat().replace("+00:00", "Z"), at.astimezone(ZoneInfo("Asia/Kathmandu")).isoformat(),
        date(1988, at.month, min(at.day, 28)).isoformat(), "1988-02-29", "2028-02-29",
        "2026-02-30", "2026-3-28", "2026-03-28 12:00:00Z", "2026-03-28T12:00:00", "0000-01-01", "9999-12-31", "0001-01-01",
        "٢٠٢٦-03-28", "2026-03-28T24:00:00Z", "2026-03-28T12:00Z", "2026-03-28T12:00:00+15:00", "2026-03-28\n",
    ]  # fmt: skip
    return str(draw(st.sampled_from([*written[:4] * 2, *written])))


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
persons = st.fixed_dictionaries(
    {
        "traits": st.fixed_dictionaries(
            {},
            optional={
                "country": stored, "age": stored, "place": st.one_of(places_known, places_known, stored),
                "since": st.one_of(dates(), dates(), stored), "timezone": st.one_of(timezones, timezones, stored),
            },
        ),
        "events": st.lists(happenings, min_size=1, max_size=6),
        "groups": st.fixed_dictionaries({}, optional={MODEL: st.sampled_from(["loyal", "lost"])}),
        "scores": st.fixed_dictionaries({}, optional={MODEL: numbers}),
        "lists": st.fixed_dictionaries({}, optional={LIST: spans}),
        "memberships": st.fixed_dictionaries({}, optional={SEGMENT: spans}),
        "permitted": st.sets(st.sampled_from(["advertising", "analytics"])),
    }
)  # fmt: skip

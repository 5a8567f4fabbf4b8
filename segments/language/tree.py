"""A definition as a frozen tree. Both written forms, the compilers, the evaluator and the sentences read this one.

Every node checks its own values when it is made, so a tree that exists is a rule that can be computed.

An event counts for a leaf during one stretch of time, from an instant (inclusive) to another (exclusive), which follows
from its own time `e` alone. All windows are such stretches: see `Period`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from segments.language.errors import LanguageError, closest

MAX_DEPTH: Final = 50
"""Levels of and / or / not. Deeper rules are refused: nobody reads them, and databases limit nesting too."""
MAX_LEAVES: Final = 300
"""Conditions in a rule. A long list of values is one condition: `in`."""
MAX_CHOICES: Final = 10_000
MAX_TEXT: Final = 1_000
MAX_INSIDE: Final = 10
MAX_OBJECTS: Final = 3
"""Lists within lists: the objects of one have lists of their own."""
MAX_OF_OBJECT: Final = 10
MAX_STEPS: Final = 10
MAX_COUNT: Final = 1_000_000_000
MAX_SECONDS: Final = 100 * 36_525 * 864  # 100 Julian years
MAX_CALENDAR: Final = 1_200
MAX_DAYS_AHEAD: Final = 300
MAX_METRES: Final = 20_100_000  # half of the way around the Earth

Scalar = str | bool | Decimal
Value = Scalar | tuple[Scalar, ...] | None


class Comparison(StrEnum):
    EQUALS = "equals"
    NOT_EQUALS = "not_equals"
    IN = "in"
    NOT_IN = "not_in"
    GREATER = "greater"
    GREATER_OR_EQUAL = "greater_or_equal"
    LESS = "less"
    LESS_OR_EQUAL = "less_or_equal"
    BETWEEN = "between"
    CONTAINS = "contains"
    CONTAINS_ANY = "contains_any"
    CONTAINS_ALL = "contains_all"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    MATCHES = "matches"
    EXISTS = "exists"
    HAS = "has"
    """A list has an object that meets conditions: of traits and properties alone."""


ORDERINGS: Final = frozenset(
    {Comparison.GREATER, Comparison.GREATER_OR_EQUAL, Comparison.LESS, Comparison.LESS_OR_EQUAL}
)
NUMERIC: Final = ORDERINGS | {Comparison.EQUALS, Comparison.NOT_EQUALS, Comparison.BETWEEN}
LISTS: Final = frozenset({Comparison.IN, Comparison.NOT_IN, Comparison.CONTAINS_ANY, Comparison.CONTAINS_ALL})
TEXTUAL: Final = frozenset({Comparison.STARTS_WITH, Comparison.ENDS_WITH, Comparison.MATCHES})


# -- time -----------------------------------------------------------------------------------------------------------


class Unit(StrEnum):
    """Elapsed time: a day is 24 hours, whatever the clocks on the wall do."""

    SECONDS = "seconds"
    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"
    WEEKS = "weeks"

    @property
    def seconds(self) -> int:
        return _SECONDS[self]


_SECONDS = {Unit.SECONDS: 1, Unit.MINUTES: 60, Unit.HOURS: 3_600, Unit.DAYS: 86_400, Unit.WEEKS: 604_800}


class CalendarUnit(StrEnum):
    """As the clocks and calendars of a time zone show them. Weeks begin on Monday."""

    DAYS = "days"
    WEEKS = "weeks"
    MONTHS = "months"
    QUARTERS = "quarters"
    YEARS = "years"


class Zone(StrEnum):
    """Whose time zone: that of the profile's trait `timezone`, else of its source, else of the workspace."""

    PROFILE = "profile"
    WORKSPACE = "workspace"
    UTC = "utc"


@dataclass(frozen=True, slots=True)
class Window:
    """A length of time. As a period "in the last": an event counts from `e` to `e + window`."""

    amount: int
    unit: Unit

    def __post_init__(self) -> None:
        if self.amount <= 0:
            raise LanguageError("window_not_positive", "A window must be longer than nothing")
        if self.seconds > MAX_SECONDS:
            raise LanguageError("window_too_long", "A window may be 100 years at most; leave it out for all time")

    @property
    def seconds(self) -> int:
        return self.amount * self.unit.seconds


@dataclass(frozen=True, slots=True)
class Past:
    """More than `latest` ago, and less than `earliest` ago if that is given: from `e + latest` to `e + earliest`."""

    latest: Window
    earliest: Window | None = None

    def __post_init__(self) -> None:
        if self.earliest is not None and self.earliest.seconds <= self.latest.seconds:
            raise LanguageError("window_empty", "The longer time ago comes last: between 30 and 60 days ago")


@dataclass(frozen=True, slots=True)
class Ahead:
    """Only of dates that a trait holds: in the next such time, from `e - window` to `e`."""

    window: Window


@dataclass(frozen=True, slots=True)
class Between:
    """Events of an absolute period, `begins <= e < ends`; such a one counts from `e` for ever."""

    begins: datetime | None
    ends: datetime | None

    def __post_init__(self) -> None:
        if self.begins is None and self.ends is None:
            raise LanguageError("period_missing", "A period begins or ends somewhere; leave it out for all time")
        if any(at is not None and at.tzinfo is None for at in (self.begins, self.ends)):
            raise LanguageError("time_without_zone", "A time needs its zone: 2026-11-21T12:00:00Z")
        if self.begins is not None and self.ends is not None and self.begins >= self.ends:
            raise LanguageError("window_empty", "A period ends after it begins")


@dataclass(frozen=True, slots=True)
class Calendar:
    """The last `amount` calendar units with the one that goes on: 1 day is today. Or, if it `is_over`, those before it.

    Let `E` be the beginning of the unit of `e`: an event counts from `e` to `E + amount` units; if it is over, from
    `E + 1` to `E + 1 + amount` units.
    """

    amount: int
    unit: CalendarUnit
    zone: Zone = Zone.PROFILE
    is_over: bool = False

    def __post_init__(self) -> None:
        if self.amount <= 0:
            raise LanguageError("window_not_positive", "A window must be longer than nothing")
        if self.amount > MAX_CALENDAR:
            raise LanguageError("window_too_long", f"A window may be {MAX_CALENDAR} calendar units at most")


Period = Window | Past | Between | Calendar | None
"""None: for ever, from `e` on."""


# -- values that are compared ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Condition:
    """A value is compared: of a trait, or of a property of an event; `inside` leads into objects, key by key.

    A list `has` an object if a single one of its elements is an object that meets all these conditions.
    """

    name: str
    comparison: Comparison
    value: Value = None
    inside: tuple[str, ...] = ()
    ignores_case: bool = False
    has: tuple["Condition", ...] = ()

    def __post_init__(self) -> None:
        check_path(self.name, self.inside)
        if self.has or self.comparison is Comparison.HAS:
            _check_objects(self)
        else:
            check_value(self.comparison, self.value)
        if self.ignores_case and not _has_text(self.value):
            raise LanguageError("value_not_text", "Only texts can be compared ignoring case")


@dataclass(frozen=True, slots=True)
class Property:
    name: str
    inside: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_path(self.name, self.inside)


class Of(StrEnum):
    """What is made of a property of the events. Of no event: zero for sum and distinct, missing for the others."""

    SUM = "sum"
    AVERAGE = "average"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    DISTINCT = "distinct"
    """How many different texts, numbers and truth values: 1 is not "1", but 1.0 is 1."""
    FIRST = "first"
    """The value, not null, at the earliest event that has one; of equal times that of the first message id."""
    LAST = "last"
    """Likewise of the latest one, and of the last message id. Ids go by code point, and after them by source."""
    MOST_FREQUENT = "most_frequent"
    """Of texts, numbers and truth values; of equally frequent ones the one whose JSON comes first by code point."""
    VALUES = "values"
    """All different texts, numbers and truth values as a list, which can only be asked what it contains."""


NUMBERS: Final = frozenset({Of.SUM, Of.AVERAGE, Of.MINIMUM, Of.MAXIMUM, Of.DISTINCT})


@dataclass(frozen=True, slots=True)
class Count:
    """How many messages, each once."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    of: Of
    property: Property


@dataclass(frozen=True, slots=True)
class Active:
    """In how many different calendar units something happened: "regularly" is 8 weeks of the last 12."""

    unit: CalendarUnit
    zone: Zone = Zone.PROFILE


class End(StrEnum):
    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Since:
    """How many whole units have passed since the first or last event; missing when there is none."""

    end: End
    unit: Unit


Measure = Count | Aggregate | Active | Since


@dataclass(frozen=True, slots=True)
class Measured:
    """A value of a profile at an instant: what is counted or made of its events of a name. A computed trait is one."""

    event: str
    measure: Measure = Count()
    where: tuple[Condition, ...] = ()
    period: Period = None

    def __post_init__(self) -> None:
        check_name(self.event)
        _check_where(self.where)

    @property
    def is_number(self) -> bool:
        return not isinstance(self.measure, Aggregate) or self.measure.of in NUMBERS


# -- leaves ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trait:
    condition: Condition


@dataclass(frozen=True, slots=True)
class Near:
    """A trait that is a place, {"latitude": …, "longitude": …}, lies within so many metres (haversine, 6,371,008.8 m)."""

    trait: str
    latitude: Decimal
    longitude: Decimal
    metres: Decimal

    def __post_init__(self) -> None:
        check_name(self.trait)
        for number, most in ((self.latitude, 90), (self.longitude, 180)):
            check_number(number)
            if abs(number) > most:
                raise LanguageError("no_such_place", "A latitude is within 90 degrees, a longitude within 180")
        check_number(self.metres)
        if not 0 < self.metres <= MAX_METRES:
            raise LanguageError("distance_out_of_range", "A distance is more than nothing and at most half the Earth")


@dataclass(frozen=True, slots=True)
class Dated:
    """A trait that is a date (from midnight UTC) or a time with its zone lies in the period, as an event would.

    `periods.instant_written` says which texts are such.
    """

    trait: str
    period: Window | Past | Between | Calendar | Ahead

    def __post_init__(self) -> None:
        check_name(self.trait)


@dataclass(frozen=True, slots=True)
class Anniversary:
    """Month and day of a date that a trait holds come round today, or within so many calendar days.

    Of a time they are those that its text begins with, in whatever zone. In a year without 29 February that is 1 March.
    """

    trait: str
    days_ahead: int = 0
    zone: Zone = Zone.PROFILE

    def __post_init__(self) -> None:
        check_name(self.trait)
        if not 0 <= self.days_ahead <= MAX_DAYS_AHEAD:
            raise LanguageError("window_too_long", f"An anniversary may be {MAX_DAYS_AHEAD} days ahead at most")


@dataclass(frozen=True, slots=True)
class Event:
    """What is measured is compared; a missing value makes every comparison false, `exists` included."""

    measured: Measured
    comparison: Comparison = Comparison.GREATER_OR_EQUAL
    value: Value = Decimal(1)

    def __post_init__(self) -> None:
        check_measured(self.measured, self.comparison, self.value)


@dataclass(frozen=True, slots=True)
class Step:
    event: str
    where: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.event)
        _check_where(self.where)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Events one after the other, each strictly later than the one before, the last before `first + within`.

    None of `without` lies strictly between the first and the last. With `then_not`, no such event comes strictly after
    the last step and before `last + within`: that is so from `last + within` on, when it can no longer come. The
    stretches of the `period` are those of the first event of such a chain.
    """

    steps: tuple[Step, ...]
    within: Window | None = None
    without: tuple[Step, ...] = ()
    then_not: Step | None = None
    period: Period = None

    def __post_init__(self) -> None:
        if not 2 <= len(self.steps) + (self.then_not is not None) <= MAX_STEPS or not self.steps:
            raise LanguageError("steps_out_of_range", f"A sequence has two steps to {MAX_STEPS}")
        if len(self.without) > MAX_STEPS:
            raise LanguageError("steps_out_of_range", f"A sequence excludes {MAX_STEPS} kinds of events at most")
        if self.then_not is not None and self.within is None:
            raise LanguageError("window_missing", "`then not` needs to know until when: within 1 day")


@dataclass(frozen=True, slots=True)
class Learned:
    """The profile is in this group of a learned model."""

    model: str
    group: str

    def __post_init__(self) -> None:
        check_name(self.model)
        check_name(self.group)


@dataclass(frozen=True, slots=True)
class Score:
    """A number that a learned model gave to the profile."""

    model: str
    comparison: Comparison
    value: Value

    def __post_init__(self) -> None:
        check_name(self.model)
        _check_numeric(self.comparison, self.value)


@dataclass(frozen=True, slots=True)
class Member:
    """The profile is in another segment at this instant. It is read, not computed again; circles are refused."""

    segment: str

    def __post_init__(self) -> None:
        check_name(self.segment)


@dataclass(frozen=True, slots=True)
class Consented:
    """The profile permits this purpose now."""

    purpose: str

    def __post_init__(self) -> None:
        check_name(self.purpose)


@dataclass(frozen=True, slots=True)
class Computed:
    """A computed trait of the workspace; before anything is computed its `Measured` takes its place, see `resolved`."""

    name: str
    comparison: Comparison
    value: Value = None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_value(self.comparison, self.value)


@dataclass(frozen=True, slots=True)
class Top:
    """The first so many, ties broken by the smaller profile id; or the first so many percent, ties included."""

    amount: Decimal
    is_percent: bool = False

    def __post_init__(self) -> None:
        check_number(self.amount)
        if self.is_percent and not 0 < self.amount <= 100:
            raise LanguageError("percent_out_of_range", "A percentage is more than 0 and at most 100")
        if not self.is_percent and (
            self.amount != self.amount.to_integral_value() or not 1 <= self.amount <= MAX_COUNT
        ):
            raise LanguageError("count_too_large", f"`top` takes a whole number from 1 to {MAX_COUNT}")


@dataclass(frozen=True, slots=True)
class Rank:
    """Among those who have a value: the highest, or the lowest. With `among`, only members of that segment are ranked.

    What is ranked is a number that is measured, or a trait, rounded as `ranks.rounded` does. What is measured of no event
    is no value here. It cannot be decided from one profile: the value of the last one inside is frozen, and found anew
    every `refresh`.
    """

    of: Measured | Property
    top: Top
    is_lowest: bool = False
    among: str | None = None
    refresh: Window = Window(1, Unit.DAYS)

    def __post_init__(self) -> None:
        if isinstance(self.of, Measured) and not self.of.is_number:
            raise LanguageError("not_a_number", "Only numbers can be ranked")
        if self.among is not None:
            check_name(self.among)


@dataclass(frozen=True, slots=True)
class Sample:
    """A stable random part: MD5 of "salt:profile id", taken as a fraction of its largest value, lies in [begins, ends).

    In percent. A control group is a part that the campaign's own rule leaves out.
    """

    salt: str
    begins: Decimal
    ends: Decimal

    def __post_init__(self) -> None:
        check_name(self.salt)
        check_number(self.begins)
        check_number(self.ends)
        if not 0 <= self.begins < self.ends <= 100:
            raise LanguageError(
                "percent_out_of_range", "A sample lies between 0 and 100 percent, the smaller end first"
            )


@dataclass(frozen=True, slots=True)
class Listed:
    """The profile was put on this list by hand."""

    list: str

    def __post_init__(self) -> None:
        check_name(self.list)


@dataclass(frozen=True, slots=True)
class Not:
    child: "Node"


@dataclass(frozen=True, slots=True)
class And:
    children: tuple["Node", ...]

    def __post_init__(self) -> None:
        _check_group(self.children)


@dataclass(frozen=True, slots=True)
class Or:
    children: tuple["Node", ...]

    def __post_init__(self) -> None:
        _check_group(self.children)


Leaf = (
    Trait | Near | Dated | Anniversary | Event | Sequence | Learned | Score | Member | Consented | Computed | Rank | Sample
    | Listed
)  # fmt: skip
Node = And | Or | Not | Leaf


def children_of(node: Node) -> tuple[Node, ...]:
    if isinstance(node, And | Or):
        return node.children
    return (node.child,) if isinstance(node, Not) else ()


def leaves_of(tree: Node) -> Iterator[Leaf]:
    """From left to right."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, And | Or | Not):
            waiting.extend(reversed(children_of(node)))
        else:
            yield node


def check_size(tree: Node) -> None:
    """Refuse a rule that is too deep or too large to be computed. Does not recurse, so no depth can break it."""
    waiting, leaves = [(tree, 1)], 0
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise too_deep()
        waiting.extend((child, depth + 1) for child in children_of(node))
        leaves += not children_of(node)
        if leaves > MAX_LEAVES:
            raise too_large()


def too_deep() -> LanguageError:
    return LanguageError("rule_too_deep", f"A rule may have {MAX_DEPTH} levels at most")


def too_large() -> LanguageError:
    return LanguageError("rule_too_large", f"A rule may have {MAX_LEAVES} conditions at most; use `in` for many values")


def resolved(tree: Node, computed: Mapping[str, Measured]) -> Node:
    """The tree with every computed trait as what it measures. Raises `LanguageError` for one that there is not."""
    match tree:
        case And(children):
            return And(tuple(resolved(child, computed) for child in children))
        case Or(children):
            return Or(tuple(resolved(child, computed) for child in children))
        case Not(child):
            return Not(resolved(child, computed))
        case Computed(name, comparison, value) if name in computed:
            return Event(computed[name], comparison, value)
        case Computed(name):
            message = f"There is no computed trait {name!r}"
            raise LanguageError("unknown_computed_trait", message, suggestion=closest(name, computed))
        case _:
            return tree


# -- values ---------------------------------------------------------------------------------------------------------


def check_name(name: str) -> None:
    if not name.strip():
        raise LanguageError("name_missing", "A name is needed")
    check_text(name)


def check_path(name: str, inside: tuple[str, ...]) -> None:
    check_name(name)
    if len(inside) > MAX_INSIDE:
        raise LanguageError("path_too_deep", f"A path may lead {MAX_INSIDE} levels into an object at most")
    for key in inside:
        check_name(key)


def check_text(text: str) -> None:
    """Postgres keeps neither NUL nor halves of a surrogate pair, so no value can ever equal such a text."""
    if len(text) > MAX_TEXT:
        raise LanguageError("text_too_long", f"A text may have {MAX_TEXT} characters at most")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        raise LanguageError("text_not_storable", "A text may not hold NUL or half a surrogate pair")


def check_number(number: Decimal) -> None:
    """What JSON, floats of a browser and the decimals of every engine all write and read back unchanged."""
    if not number.is_finite():
        raise LanguageError("not_a_number", "A number is needed")
    is_whole = number == number.to_integral_value()
    digits = 20 if is_whole else 15
    has_more = not is_whole and number.normalize().as_tuple().exponent < -9  # type: ignore[operator]  # it is finite
    if number.adjusted() >= 20 or has_more or len(number.normalize().as_tuple().digits) > digits:
        message = "A number may have 20 digits if it is whole; else 15, of which 9 after the decimal point"
        raise LanguageError("number_not_exact", message)


def check_measured(measured: Measured, comparison: Comparison, value: Value) -> None:
    """Numbers are compared as numbers, lists asked what they contain, and what an event said like a trait."""
    if measured.is_number:
        _check_numeric(comparison, value)
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(measured.measure, Aggregate) and isinstance(number, Decimal) and abs(number) > MAX_COUNT:
                raise LanguageError("count_too_large", f"A count may be compared with {MAX_COUNT} at most")
        return
    is_list = isinstance(measured.measure, Aggregate) and measured.measure.of is Of.VALUES
    if is_list and comparison not in {Comparison.CONTAINS, Comparison.CONTAINS_ANY, Comparison.CONTAINS_ALL}:
        raise LanguageError("not_a_list_comparison", "A list can only be asked what it contains")
    check_value(comparison, value)


def _check_numeric(comparison: Comparison, value: Value) -> None:
    if comparison not in NUMERIC:
        raise LanguageError("not_a_number_comparison", f"A number cannot be compared with {comparison}")
    check_value(comparison, value)
    numbers = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(number, Decimal) for number in numbers):
        raise LanguageError("not_a_number", "A number is needed")


def check_value(comparison: Comparison, value: Value) -> None:
    if comparison is Comparison.HAS:
        raise LanguageError("objects_not_possible", "`has` asks lists that a trait or a property holds")
    if comparison is Comparison.EXISTS:
        if value is not None:
            raise LanguageError("value_not_wanted", "`exists` takes no value")
    elif comparison in LISTS:
        _check_choices(value)
    elif comparison is Comparison.BETWEEN:
        _check_ends(value)
    elif comparison in ORDERINGS and isinstance(value, bool):
        raise LanguageError("value_not_ordered", "True and false have no order: use equals")
    elif comparison in TEXTUAL and not isinstance(value, str):
        raise LanguageError("value_not_text", f"`{comparison.replace('_', ' ')}` needs a text")
    else:
        _check_scalar(value)


def _check_objects(condition: Condition) -> None:
    if condition.comparison is not Comparison.HAS or condition.value is not None:
        raise LanguageError("value_not_wanted", "`has` takes conditions in place of a comparison and a value")
    if not condition.has:
        raise LanguageError("objects_missing", "`has` needs the conditions that an object of the list meets")
    if len(condition.has) > MAX_OF_OBJECT:
        raise LanguageError("too_many_conditions", f"`has` takes {MAX_OF_OBJECT} conditions at most")
    if _levels(condition) > MAX_OBJECTS:
        raise objects_too_deep()


def _levels(condition: Condition) -> int:
    """Of lists of objects that lie in each other."""
    return 1 + max(map(_levels, condition.has)) if condition.has else 0


def objects_too_deep() -> LanguageError:
    return LanguageError("objects_too_deep", f"`has` may stand {MAX_OBJECTS} times in itself at most")


def _check_choices(value: Value) -> None:
    if not isinstance(value, tuple) or not value:
        raise LanguageError("choices_missing", "A list with at least one value is needed")
    if len(value) > MAX_CHOICES:
        raise LanguageError("too_many_choices", f"A list takes {MAX_CHOICES} values at most")
    for choice in value:
        _check_scalar(choice)


def _check_ends(value: Value) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise LanguageError("ends_missing", "`between` needs two values")
    for end in value:
        _check_scalar(end)
    if any(isinstance(end, bool) for end in value) or type(value[0]) is not type(value[1]):
        raise LanguageError("value_not_ordered", "`between` needs two numbers or two texts")


def _check_scalar(value: Value) -> None:
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, Decimal):
        check_number(value)
    elif not isinstance(value, bool):
        raise LanguageError("value_missing", "A value is needed: a text, a number, true or false")


def _has_text(value: Value) -> bool:
    return any(isinstance(each, str) for each in (value if isinstance(value, tuple) else (value,)))


def _check_where(where: tuple[Condition, ...]) -> None:
    if len(where) > MAX_LEAVES:
        raise LanguageError("too_many_conditions", f"An event may have {MAX_LEAVES} conditions at most")


def _check_group(children: tuple["Node", ...]) -> None:
    if len(children) < 2:
        raise LanguageError("group_too_small", "`and` and `or` join at least two conditions")

"""Reads a rule from JSON; `json_form` says how it is written. Errors carry a JSON pointer."""

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from segments.language.document import Found, decoded, kind_of, meant_by
from segments.language.errors import LanguageError, closest
from segments.language.places import Places
from segments.language.tree import (
    MAX_CHOICES,
    MAX_DEPTH,
    MAX_INSIDE,
    MAX_LEAVES,
    MAX_OBJECTS,
    MAX_OF_OBJECT,
    MAX_STEPS,
    Active,
    Aggregate,
    Ahead,
    And,
    Anniversary,
    Between,
    Calendar,
    CalendarUnit,
    Comparison,
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
    Measure,
    Measured,
    Member,
    Near,
    Node,
    Not,
    Of,
    Or,
    Past,
    Period,
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
    Value,
    Window,
    Zone,
    check_size,
    objects_too_deep,
    too_deep,
    too_large,
)  # fmt: skip
from segments.language.written import BY_SYMBOL, shown

if TYPE_CHECKING:
    from collections.abc import Iterator


def parse_json(document: object) -> Node:
    """The tree of a decoded JSON document, or of a text that holds one."""
    return parse_json_with_places(document)[0]


def parse_json_with_places(document: object) -> tuple[Node, Places]:
    reader = _Reader()
    tree = reader.node(_opened(document), 1)
    check_size(tree)
    return tree, reader.places


def measured_from_json(document: object) -> Measured:
    """What a computed trait is stored as: the inside of `rank`, of an event."""
    found = _opened(document)
    found.only_with(*_MEASURED)
    return _Reader().measured(found)


def _opened(document: object) -> Found:
    return Found(decoded(document) if isinstance(document, str | bytes) else document)


_MEASURED: Final = ("event", "where", "measure", "within")
_TESTED: Final = ("is", "value")
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "and": ("and",),
    "or": ("or",),
    "not": ("not",),
    "trait": ("trait", "inside", *_TESTED, "ignoring_case", "has"),
    "near": ("near", "latitude", "longitude", "metres"),
    "dated": ("dated", "within"),
    "anniversary": ("anniversary", "days_ahead", "zone"),
    "event": (*_MEASURED, *_TESTED),
    "sequence": ("sequence", "within", "without", "then_not", "period"),
    "learned": ("learned", "group"),
    "score": ("score", *_TESTED),
    "segment": ("segment",),
    "consent": ("consent",),
    "computed": ("computed", *_TESTED),
    "rank": ("rank", "top", "percent", "lowest", "among", "refresh"),
    "sample": ("sample", "from", "to"),
    "listed": ("listed",),
}
_PERIODS: Final[Mapping[str, tuple[str, ...]]] = {
    "last": ("last", "unit"),
    "next": ("next", "unit"),
    "more_than": ("more_than", "less_than"),
    "from": ("from", "until"),
    "until": ("from", "until"),
    "calendar": ("calendar", "unit", "zone", "over"),
}
_MEASURES: Final[Mapping[str, tuple[str, ...]]] = {
    **{of.value: (of.value, "inside") for of in Of},
    "active": ("active", "zone"),
    "since": ("since", "unit"),
}
_TOO_MANY_CHOICES: Final = LanguageError("too_many_choices", f"A list takes {MAX_CHOICES} values at most")
_TOO_MANY_CONDITIONS: Final = LanguageError("too_many_conditions", f"An event may have {MAX_LEAVES} conditions at most")
_TOO_MANY_OF_OBJECT: Final = LanguageError("too_many_conditions", f"`has` takes {MAX_OF_OBJECT} conditions at most")
_TOO_MANY_STEPS: Final = LanguageError("steps_out_of_range", f"A sequence has {MAX_STEPS} steps at most")
_PATH_TOO_DEEP: Final = LanguageError("path_too_deep", f"A path may lead {MAX_INSIDE} levels into an object at most")


@contextmanager
def _placed(found: Found) -> "Iterator[None]":
    """What a node refuses of its own values has its place here."""
    try:
        yield
    except LanguageError as error:
        raise error.at(found.span) from None


class _Reader:
    def __init__(self) -> None:
        self.places = Places()
        self._count = 0
        self._readers: Mapping[str, Callable[[Found], Leaf]] = {
            "trait": self._trait,
            "near": self._near,
            "dated": self._dated,
            "anniversary": self._anniversary,
            "event": self._event,
            "sequence": self._sequence,
            "learned": self._learned,
            "score": self._score,
            "segment": self._member,
            "consent": self._consented,
            "computed": self._computed,
            "rank": self._rank,
            "sample": self._sample,
            "listed": self._listed,
        }

    # -- nodes --------------------------------------------------------------------------------------------------

    def node(self, rule: Found, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise too_deep().at(rule.span)
        kind = kind_of(rule, _FIELDS) or _unknown(rule)
        rule.only_with(*_FIELDS[kind])
        if kind == "not":
            return Not(self.node(rule.field("not"), depth + 1))
        if kind in {"and", "or"}:
            return self._group(kind, rule.field(kind), depth + 1)
        self._count += 1
        if self._count > MAX_LEAVES:
            raise too_large().at(rule.span)
        with _placed(rule):
            leaf = self._readers[kind](rule)
        return self.places.note(leaf, rule.field(kind).span, _value_of(rule).span)

    def _group(self, kind: str, found: Found, depth: int) -> Node:
        if not isinstance(found.value, list) or not found.value:
            raise found.refused("group_empty", f"`{kind}` needs a list of rules")
        children = tuple(self.node(each, depth) for each in found.items("", too_large(), MAX_LEAVES))
        if len(children) == 1:
            return children[0]
        return And(children) if kind == "and" else Or(children)

    # -- leaves -------------------------------------------------------------------------------------------------

    def _trait(self, rule: Found) -> Trait:
        return Trait(self._condition("trait", rule))

    def _near(self, rule: Found) -> Near:
        rule.needs("latitude", "longitude", "metres")
        latitude, longitude, metres = (rule.field(name).number() for name in ("latitude", "longitude", "metres"))
        return Near(_name(rule, "near"), latitude, longitude, metres)

    def _dated(self, rule: Found) -> Dated:
        rule.needs("within")
        return Dated(_name(rule, "dated"), _period(rule.field("within")))

    def _anniversary(self, rule: Found) -> Anniversary:
        return Anniversary(_name(rule, "anniversary"), rule.field("days_ahead", 0).whole("`days_ahead`"), _zone(rule))

    def _event(self, rule: Found) -> Event:
        measured = self.measured(rule)
        comparison, value = _number_test(rule) if measured.is_number else _test(rule)
        with _placed(_value_of(rule)):
            return Event(measured, comparison, value)

    def _sequence(self, rule: Found) -> Sequence:
        return Sequence(
            steps=self._steps(rule.field("sequence")),
            within=_window(rule.field("within"), "last") if rule.has("within") else None,
            without=self._steps(rule.field("without", [])),
            then_not=self._step(rule.field("then_not")) if rule.has("then_not") else None,
            period=_lasting(rule, "period"),
        )

    def _learned(self, rule: Found) -> Learned:
        return Learned(_name(rule, "learned"), _name(rule, "group"))

    def _score(self, rule: Found) -> Score:
        rule.needs("value")
        with _placed(_value_of(rule)):
            return Score(_name(rule, "score"), *_test(rule))

    def _member(self, rule: Found) -> Member:
        return Member(_name(rule, "segment"))

    def _consented(self, rule: Found) -> Consented:
        return Consented(_name(rule, "consent"))

    def _computed(self, rule: Found) -> Computed:
        with _placed(_value_of(rule)):
            return Computed(_name(rule, "computed"), *_test(rule))

    def _rank(self, rule: Found) -> Rank:
        return Rank(
            of=self._ranked(rule.field("rank")),
            top=_top(rule),
            is_lowest=rule.field("lowest", default=False).flag(),
            among=_name(rule, "among") if rule.has("among") else None,
            refresh=_window(rule.field("refresh"), "last") if rule.has("refresh") else Window(1, Unit.DAYS),
        )

    def _ranked(self, rule: Found) -> Measured | Property:
        if not rule.has("trait"):
            rule.only_with(*_MEASURED)
            return self.measured(rule)
        rule.only_with("trait", "inside")
        with _placed(rule):
            return self.places.note(Property(_name(rule, "trait"), _inside(rule)), rule.field("trait").span)

    def _sample(self, rule: Found) -> Sample:
        rule.needs("to")
        return Sample(_name(rule, "sample"), rule.field("from", 0).number(), rule.field("to").number())

    def _listed(self, rule: Found) -> Listed:
        return Listed(_name(rule, "listed"))

    # -- parts --------------------------------------------------------------------------------------------------

    def measured(self, rule: Found) -> Measured:
        with _placed(rule):
            measured = Measured(
                event=_name(rule, "event"),
                measure=self._measure(rule.field("measure", "count")),
                where=self._where(rule),
                period=_lasting(rule, "within"),
            )
        return self.places.note(measured, rule.field("event").span)

    def _measure(self, found: Found) -> Measure:
        if found.value == "count":
            return Count()
        kind = kind_of(found, _MEASURES) if isinstance(found.value, dict) else None
        if kind is None:
            meant = closest(found.value, ["count", *_MEASURES])
            raise found.refused("unknown_measure", f'`measure` is "count" or has one of {", ".join(_MEASURES)}', meant)
        found.only_with(*_MEASURES[kind])
        if kind == "active":
            return Active(found.field("active").choice(CalendarUnit, "unknown_unit", "calendar unit"), _zone(found))
        if kind == "since":
            return Since(found.field("since").choice(End, "unknown_end", "end"), _unit(found))
        with _placed(found):
            made_of = self.places.note(Property(_name(found, kind), _inside(found)), found.field(kind).span)
        return Aggregate(Of(kind), made_of)

    def _steps(self, found: Found) -> tuple[Step, ...]:
        return tuple(self._step(each) for each in found.items("A list of events is needed", _TOO_MANY_STEPS, MAX_STEPS))

    def _step(self, rule: Found) -> Step:
        rule.only_with("event", "where")
        with _placed(rule):
            return self.places.note(Step(_name(rule, "event"), self._where(rule)), rule.field("event").span)

    def _where(self, rule: Found) -> tuple[Condition, ...]:
        message = "`where` needs a list of conditions"
        found = rule.field("where", []).items(message, _TOO_MANY_CONDITIONS, MAX_LEAVES)
        return tuple(self._property_condition(each) for each in found)

    def _property_condition(self, rule: Found, depth: int = 0) -> Condition:
        rule.only_with("property", "inside", *_TESTED, "ignoring_case", "has")
        with _placed(rule):
            return self._condition("property", rule, depth)

    def _condition(self, kind: str, rule: Found, depth: int = 0) -> Condition:
        name, inside = _name(rule, kind), _inside(rule)
        has = self._objects(rule, depth + 1)
        comparison, value = _test(rule)
        ignores_case = rule.field("ignoring_case", default=False).flag()
        with _placed(_value_of(rule)):
            condition = Condition(name, comparison, value, inside, ignores_case, has)
        return self.places.note(condition, rule.field(kind).span, _value_of(rule).span)

    def _objects(self, rule: Found, depth: int) -> tuple[Condition, ...]:
        if not rule.has("has"):
            return ()
        if depth > MAX_OBJECTS:
            raise objects_too_deep().at(rule.span)
        found = rule.field("has").items("`has` needs a list of conditions", _TOO_MANY_OF_OBJECT, MAX_OF_OBJECT)
        return tuple(self._property_condition(each, depth) for each in found)


def _unknown(rule: Found) -> str:
    message = f"A rule has exactly one of {', '.join(_FIELDS)}"
    raise rule.refused("unknown_rule", message, meant_by(rule, list(_FIELDS)))


def _name(rule: Found, field: str) -> str:
    return rule.field(field).text(f"`{field}`")


def _inside(rule: Found) -> tuple[str, ...]:
    found = rule.field("inside", []).items("`inside` needs a list of names", _PATH_TOO_DEEP, MAX_INSIDE)
    return tuple(each.text("A name") for each in found)


# -- comparisons ----------------------------------------------------------------------------------------------------


def _value_of(rule: Found) -> Found:
    """Where a value is wrong: at the value, or at the rule that has none."""
    return next((rule.field(name) for name in ("value", "has") if rule.has(name)), rule)


def _test(rule: Found) -> tuple[Comparison, Value]:
    """Without `is`: equal to the value, or is there any if none is given."""
    if rule.has("has") and not rule.has("value"):
        return _comparison(rule.field("is", "has")), None
    if not rule.has("value"):
        return _comparison(rule.field("is", "exists")), None
    return _comparison(rule.field("is", "equals")), _value(rule.field("value"))


def _number_test(rule: Found) -> tuple[Comparison, Value]:
    """At least 1, where nothing else is said."""
    return _comparison(rule.field("is", ">=")), _value(rule.field("value", 1))


def _comparison(found: Found) -> Comparison:
    if isinstance(found.value, str) and found.value in BY_SYMBOL:
        return BY_SYMBOL[found.value]
    for each in Comparison:
        if each.value == found.value:
            return each
    message = f"There is no comparison {shown(found.value)}; there are {', '.join(Comparison)}"
    raise found.refused("unknown_comparison", message, closest(found.value, [*Comparison, *BY_SYMBOL]))


def _value(found: Found) -> Value:
    if isinstance(found.value, list):
        return tuple(each.scalar() for each in found.items("", _TOO_MANY_CHOICES, MAX_CHOICES))
    return found.scalar()


# -- time -----------------------------------------------------------------------------------------------------------


def _lasting(rule: Found, field: str) -> Period:
    """A period of events, which have all happened: `next` is only for dates that a trait holds."""
    if not rule.has(field):
        return None
    found = _period(rule.field(field))
    if isinstance(found, Ahead):
        raise rule.field(field).refused("period_of_dates", "`next` is for dates that a trait holds, not for events")
    return found


def _period(rule: Found) -> Window | Past | Between | Calendar | Ahead:
    kind = next((kind for kind in _PERIODS if rule.has(kind)), None)
    if kind is None:
        message = f"A period has one of {', '.join(_PERIODS)}"
        raise rule.refused("unknown_period", message, meant_by(rule, list(_PERIODS)))
    rule.only_with(*_PERIODS[kind])
    with _placed(rule):
        return _PERIOD_READERS[kind](rule)


def _past(rule: Found) -> Past:
    earliest = _window(rule.field("less_than"), "amount") if rule.has("less_than") else None
    return Past(_window(rule.field("more_than"), "amount"), earliest)


def _between(rule: Found) -> Between:
    begins, ends = (rule.field(name).time() if rule.has(name) else None for name in ("from", "until"))
    return Between(begins, ends)


def _calendar(rule: Found) -> Calendar:
    unit = rule.field("unit", "days").choice(CalendarUnit, "unknown_unit", "calendar unit")
    amount = rule.field("calendar").whole("`calendar`")
    return Calendar(amount, unit, _zone(rule), rule.field("over", default=False).flag())


def _window(rule: Found, amount: str) -> Window:
    rule.only_with(amount, "unit")
    whole = rule.field(amount).whole(f"`{amount}`")
    unit = _unit(rule)
    with _placed(rule):
        return Window(whole, unit)


_PERIOD_READERS: Final[Mapping[str, Callable[[Found], Window | Past | Between | Calendar | Ahead]]] = {
    "last": lambda rule: _window(rule, "last"),
    "next": lambda rule: Ahead(_window(rule, "next")),
    "more_than": _past,
    "from": _between,
    "until": _between,
    "calendar": _calendar,
}


_OF_CALENDARS: Final = [unit.value for unit in CalendarUnit if unit.value not in set(Unit)]


def _unit(rule: Found) -> Unit:
    if rule.field("unit").value in _OF_CALENDARS:
        message = "Months, quarters and years differ in length: they are counted by `calendar`"
        raise rule.field("unit").refused("unit_of_calendar", message)
    return rule.field("unit", "days").choice(Unit, "unknown_unit", "unit")


def _zone(rule: Found) -> Zone:
    return rule.field("zone", "profile").choice(Zone, "unknown_zone", "time zone")


def _top(rule: Found) -> Top:
    kind = kind_of(rule, ("top", "percent"))
    if kind is None:
        raise rule.refused("field_missing", "A rank has either `top` or `percent`")
    with _placed(rule.field(kind)):
        return Top(rule.field(kind).number(), is_percent=kind == "percent")

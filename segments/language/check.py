"""A rule against what a workspace has: misspelt names, and comparisons that no value there can ever meet.

Knows no database: `segments.known` reads what there is. Of a kind of which nothing is known nothing is said: a rule may be
written before the first event comes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from segments.language.errors import LanguageError, closest
from segments.language.places import Places
from segments.language.tree import (
    TEXTUAL,
    Aggregate,
    Anniversary,
    Comparison,
    Computed,
    Condition,
    Consented,
    Dated,
    Event,
    Leaf,
    Learned,
    Listed,
    Measured,
    Member,
    Near,
    Node,
    Of,
    Property,
    Rank,
    Sample,
    Scalar,
    Score,
    Sequence,
    Step,
    Trait,
    Value,
    check_measured,
    leaves_of,
)


class Kind(StrEnum):
    """Of a stored value, as JSON and `jsonb_typeof` call it."""

    TEXT = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    LIST = "array"
    OBJECT = "object"


Kinds = frozenset[Kind]
"""The kinds that a value has been seen to have. None at all: nothing is known of it but its name."""

_SAID: Final = {
    Kind.TEXT: "text", Kind.NUMBER: "numbers", Kind.BOOLEAN: "true or false", Kind.LIST: "lists",
    Kind.OBJECT: "objects",
}  # fmt: skip
_CONTAINS: Final = frozenset({Comparison.CONTAINS, Comparison.CONTAINS_ANY, Comparison.CONTAINS_ALL})
_OF_NUMBERS: Final = frozenset({Of.SUM, Of.AVERAGE, Of.MINIMUM, Of.MAXIMUM})


@dataclass(frozen=True, slots=True)
class Known:
    """What a workspace has, by name. An empty collection says nothing."""

    traits: Mapping[str, Kinds] = field(default_factory=dict)
    events: Mapping[str, Mapping[str, Kinds]] = field(default_factory=dict)
    """The properties of each event. Where none is known, any may be asked for."""
    models: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The groups of each learned model."""
    scores: frozenset[str] = frozenset()
    """Learned models that give numbers."""
    segments: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    computed: Mapping[str, Measured] = field(default_factory=dict)


def check(tree: Node, known: Known, places: Places | None = None) -> list[LanguageError]:
    """What is wrong, from left to right, each with its place if the tree was read `with_places`. Nothing is raised."""
    checker = _Checker(known, places or Places())
    return [problem for leaf in leaves_of(tree) for problem in checker.problems_of(leaf)]


def check_made(measured: Measured, known: Known) -> list[LanguageError]:
    """The same for a computed trait."""
    return list(_Checker(known, Places()).of_measured(measured))


@dataclass(frozen=True, slots=True)
class _Checker:
    known: Known
    places: Places

    def problems_of(self, leaf: Leaf) -> Iterator[LanguageError]:
        match leaf:
            case Trait(condition):
                yield from self._of_condition("trait", condition, self.known.traits)
            case Near(trait):
                yield from self._of_trait(leaf, trait, Kind.OBJECT, "a place")
            case Dated(trait) | Anniversary(trait):
                yield from self._of_trait(leaf, trait, Kind.TEXT, "a date")
            case Event(measured):
                yield from self.of_measured(measured)
                yield from self._of_made(leaf)
            case Sequence():
                yield from self._of_sequence(leaf)
            case Rank():
                yield from self._of_rank(leaf)
            case _:
                yield from self._of_name(leaf)

    # -- names --------------------------------------------------------------------------------------------------

    def _unknown(self, part: object, what: str, name: str, known: Iterable[str]) -> Iterator[LanguageError]:
        """Unless it is known, or nothing of the sort is."""
        names = list(known)
        if names and name not in names:
            code = f"unknown_{what.replace(' ', '_')}"
            yield LanguageError(
                code, f"There is no {what} {name!r} here", self.places.of_name(part), _meant(name, names)
            )

    def _of_name(
        self, leaf: Learned | Score | Member | Consented | Computed | Sample | Listed
    ) -> Iterator[LanguageError]:
        known = self.known
        match leaf:
            case Learned(model, group):
                yield from self._unknown(leaf, "learned model", model, known.models)
                yield from self._unknown(leaf, "group", group, known.models.get(model, ()))
            case Score(model):
                yield from self._unknown(leaf, "score", model, known.scores)
            case Member(name):
                yield from self._unknown(leaf, "segment", name, known.segments)
            case Consented(name):
                yield from self._unknown(leaf, "purpose", name, known.purposes)
            case Listed(name):
                yield from self._unknown(leaf, "list", name, known.lists)
            case Computed(name, comparison, value):
                yield from self._unknown(leaf, "computed trait", name, known.computed)
                yield from self._of_computed(leaf, comparison, value)
            case Sample():
                pass

    def _of_computed(self, leaf: Computed, comparison: Comparison, value: Value) -> Iterator[LanguageError]:
        """Its definition says what it can be compared with."""
        if leaf.name in self.known.computed:
            try:
                check_measured(self.known.computed[leaf.name], comparison, value)
            except LanguageError as error:
                span = self.places.of_value(leaf)
                yield error.at(span) if span else error

    # -- traits -------------------------------------------------------------------------------------------------

    def _of_trait(
        self, leaf: Near | Dated | Anniversary, name: str, needed: Kind, what: str
    ) -> Iterator[LanguageError]:
        yield from self._unknown(leaf, "trait", name, self.known.traits)
        kinds = self.known.traits.get(name, frozenset())
        if kinds and needed not in kinds:
            yield self._clash(leaf, f"{name!r} is never {what}: {_said(kinds)} only")

    def _of_condition(self, what: str, condition: Condition, known: Mapping[str, Kinds]) -> Iterator[LanguageError]:
        yield from self._unknown(condition, what, condition.name, known)
        kinds = known.get(condition.name, frozenset())
        yield from self._of_path(condition, condition.name, condition.inside, kinds)
        if kinds and not condition.inside and not _can_be_met(condition.comparison, condition.value, kinds):
            comparison = condition.comparison.replace("_", " ")
            message = f"{condition.name!r} has been {_said(kinds)} only, so `{comparison}` with this value is never met"
            yield self._clash(condition, message)

    def _of_path(self, part: object, name: str, inside: tuple[str, ...], kinds: Kinds) -> Iterator[LanguageError]:
        if inside and kinds and Kind.OBJECT not in kinds:
            instead = "ask what an object of the list `has`" if Kind.LIST in kinds else "nothing is inside"
            message = f"{name!r} has been {_said(kinds)} only: {instead}"
            yield LanguageError("not_an_object", message, self.places.of_name(part))

    def _clash(self, part: object, message: str) -> LanguageError:
        return LanguageError("kinds_clash", message, self.places.of_value(part))

    # -- events -------------------------------------------------------------------------------------------------

    def of_measured(self, measured: Measured) -> Iterator[LanguageError]:
        yield from self._of_event(measured, measured.event, measured.where)
        if isinstance(measured.measure, Aggregate):
            yield from self._of_aggregate(measured.event, measured.measure)

    def _of_event(self, part: Measured | Step, event: str, where: tuple[Condition, ...]) -> Iterator[LanguageError]:
        yield from self._unknown(part, "event", event, self.known.events)
        for condition in where:
            yield from self._of_condition("property", condition, self.known.events.get(event, {}))

    def _of_aggregate(self, event: str, measure: Aggregate) -> Iterator[LanguageError]:
        made_of, properties = measure.property, self.known.events.get(event, {})
        yield from self._unknown(made_of, "property", made_of.name, properties)
        kinds = properties.get(made_of.name, frozenset())
        yield from self._of_path(made_of, made_of.name, made_of.inside, kinds)
        if measure.of in _OF_NUMBERS and kinds and not made_of.inside and Kind.NUMBER not in kinds:
            yield self._clash(made_of, f"{made_of.name!r} has been {_said(kinds)} only: numbers have a {measure.of}")

    def _of_made(self, event: Event) -> Iterator[LanguageError]:
        """A first, last or most frequent value is of the kinds of its property."""
        measured, measure = event.measured, event.measured.measure
        if isinstance(measure, Aggregate) and not measured.is_number and measure.of is not Of.VALUES:
            properties = self.known.events.get(measured.event, {})
            kinds = properties.get(measure.property.name, frozenset())
            if kinds and not measure.property.inside and not _can_be_met(event.comparison, event.value, kinds):
                yield self._clash(event, f"{measure.property.name!r} has been {_said(kinds)} only: this is never met")

    def _of_sequence(self, leaf: Sequence) -> Iterator[LanguageError]:
        last = (leaf.then_not,) if leaf.then_not else ()
        for step in (*leaf.steps, *leaf.without, *last):
            yield from self._of_event(step, step.event, step.where)

    def _of_rank(self, leaf: Rank) -> Iterator[LanguageError]:
        if isinstance(leaf.of, Measured):
            yield from self.of_measured(leaf.of)
        else:
            yield from self._of_ranked_trait(leaf.of)
        if leaf.among is not None:
            yield from self._unknown(leaf, "segment", leaf.among, self.known.segments)

    def _of_ranked_trait(self, ranked: Property) -> Iterator[LanguageError]:
        yield from self._unknown(ranked, "trait", ranked.name, self.known.traits)
        kinds = self.known.traits.get(ranked.name, frozenset())
        yield from self._of_path(ranked, ranked.name, ranked.inside, kinds)
        if kinds and not ranked.inside and Kind.NUMBER not in kinds:
            yield self._clash(ranked, f"{ranked.name!r} has been {_said(kinds)} only: numbers are ranked")


def _meant(name: str, known: list[str]) -> str | None:
    """The known name that is nearest, or the path that a dotted name was probably meant to be."""
    first, *inside = name.split(".")
    if inside and first in known:
        return ".".join(f'"{each}"' for each in (first, *inside))
    return closest(name, known)


def _can_be_met(comparison: Comparison, value: Value, kinds: Kinds) -> bool:
    """By a value of these kinds. Lists and objects equal nothing that a rule can say."""
    if comparison is Comparison.EXISTS:
        return True
    if comparison is Comparison.HAS:
        return Kind.LIST in kinds
    values = value if isinstance(value, tuple) else (value,)
    asked = {_kind_of(each) for each in values if each is not None}
    if comparison in _CONTAINS:
        return Kind.LIST in kinds or (Kind.TEXT in kinds and asked == {Kind.TEXT})
    if comparison in TEXTUAL:
        return Kind.TEXT in kinds
    return bool(asked & kinds)


def _kind_of(value: Scalar) -> Kind:
    if isinstance(value, bool):
        return Kind.BOOLEAN
    return Kind.NUMBER if isinstance(value, Decimal) else Kind.TEXT


def _said(kinds: Kinds) -> str:
    return " and ".join(sorted(_SAID[kind] for kind in kinds))

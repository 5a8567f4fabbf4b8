"""A JSON document while it is read: each value knows its place, and what is wrong is said alike everywhere."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from segments.language.errors import LanguageError, Span, closest
from segments.language.tree import Scalar, too_deep
from segments.language.written import read_time, shown

Choice = TypeVar("Choice", bound=StrEnum)


def decoded(text: str | bytes) -> object:
    """The document that a text holds."""
    try:
        return json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError as error:
        span = Span(line=error.lineno, column=error.colno)
        raise LanguageError("not_json", f"This is not JSON: {error.msg}", span) from error
    except RecursionError as error:
        raise too_deep().at(Span(pointer="")) from error
    except (ValueError, ArithmeticError) as error:  # not UTF-8, or a number of thousands of digits
        raise LanguageError("not_json", "This is not JSON in UTF-8 with numbers of a sensible size") from error


@dataclass(frozen=True, slots=True)
class Found:
    """A value of a document, with its JSON pointer."""

    value: object
    pointer: str = ""

    @property
    def span(self) -> Span:
        return Span(pointer=self.pointer)

    def refused(self, code: str, message: str, meant: str | None = None) -> LanguageError:
        return LanguageError(code, message, self.span, meant)

    # -- objects ------------------------------------------------------------------------------------------------

    @property
    def members(self) -> Mapping[str, object]:
        if not isinstance(self.value, dict):
            raise self.refused("object_needed", "A JSON object is needed")
        return self.value

    def has(self, field: str) -> bool:
        return field in self.members

    def field(self, name: str, default: object = None) -> "Found":
        return Found(self.members.get(name, default), f"{self.pointer}/{_escaped(name)}")

    def only_with(self, *known: str) -> None:
        """Refuse every other field: a misspelt one would silently change what the rule means."""
        for name in self.members:
            if name not in known:
                message = f"There is no field `{shown(name)}` here"
                raise self.field(shown(name)).refused("unknown_field", message, closest(name, known))

    def needs(self, *fields: str) -> None:
        for name in fields:
            if not self.has(name):
                raise self.refused("field_missing", f"`{name}` is missing")

    # -- values -------------------------------------------------------------------------------------------------

    def items(self, message: str, most: LanguageError | None = None, limit: int = 0) -> Sequence["Found"]:
        """The elements of a list. `most` is raised for a longer one than `limit`, before any element is looked at."""
        if not isinstance(self.value, list):
            raise self.refused("list_needed", message)
        if most is not None and len(self.value) > limit:
            raise most.at(self.span)
        return [Found(each, f"{self.pointer}/{place}") for place, each in enumerate(self.value)]

    def text(self, needed: str) -> str:
        if not isinstance(self.value, str):
            raise self.refused("name_missing", f"{needed} needs a text")
        return self.value

    def number(self) -> Decimal:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float | Decimal):
            raise self.refused("not_a_number", "A number is needed")
        try:
            return Decimal(str(self.value))
        except ValueError:  # a whole number of thousands of digits
            raise self.refused("number_not_exact", "This number is too long") from None

    def whole(self, needed: str) -> int:
        is_number = isinstance(self.value, int | float | Decimal) and not isinstance(self.value, bool)
        number = self.number() if is_number else Decimal("NaN")
        if not number.is_finite() or number.adjusted() > 20 or number != number.to_integral_value():
            raise self.refused("window_not_whole", f"{needed} needs a whole number")
        return int(number)

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.refused("not_true_or_false", "true or false is needed")
        return self.value

    def scalar(self) -> Scalar:
        return self.value if isinstance(self.value, str | bool) else self.number()

    def time(self) -> datetime:
        found = read_time(self.value) if isinstance(self.value, str) else None
        if found is None:
            raise self.refused("not_a_time", "A time is needed: 2026-11-21T12:00:00Z, or 2026-11-21 for its midnight")
        return found

    def choice(self, choices: type[Choice], code: str, what: str) -> Choice:
        for each in choices:
            if each.value == self.value:
                return each
        message = f"There is no {what} {shown(self.value)}; there are {', '.join(choices)}"
        raise self.refused(code, message, closest(self.value, choices))


def kind_of(rule: Found, kinds: Iterable[str]) -> str | None:
    """The one of the kinds whose name is a field; None if that is not exactly one."""
    found = [kind for kind in kinds if rule.has(kind)]
    return found[0] if len(found) == 1 else None


def meant_by(rule: Found, kinds: Sequence[str]) -> str | None:
    """What a misspelt field was probably meant to be, of an object that has none of these kinds."""
    return None if any(map(rule.has, kinds)) else next(_near_ones(rule, kinds), None)


def _near_ones(rule: Found, kinds: Sequence[str]) -> Iterator[str]:
    for field in rule.members:
        if near := closest(field, kinds):
            yield near


def _escaped(field: str) -> str:
    return str(field).replace("~", "~0").replace("/", "~1")

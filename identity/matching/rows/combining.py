"""Functions of a row made of functions of a row, with NULL as SQL has it: None, which spreads unless something stops it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from identity.matching.rows import functions

Row = dict[str, Any]
Function = Callable[[Row], Any]


def strict(function: Callable[..., Any], arguments: Sequence[Function]) -> Function:
    """NULL where any argument is."""
    if len(arguments) == 1:
        return _of_one(function, *arguments)
    if len(arguments) == 2:  # nearly all have one or two
        return _of_two(function, *arguments)

    def of_many(row: Row) -> Any:  # noqa: ANN401  # the value of an expression is of any type, here and below
        values = [argument(row) for argument in arguments]
        return None if None in values else function(*values)

    return of_many


def _of_one(function: Callable[[Any], Any], argument: Function) -> Function:
    def of_one(row: Row) -> Any:  # noqa: ANN401  # see above
        value = argument(row)
        return None if value is None else function(value)

    return of_one


def _of_two(function: Callable[[Any, Any], Any], one: Function, other: Function) -> Function:
    def of_two(row: Row) -> Any:  # noqa: ANN401  # see above
        left = one(row)
        if left is None:
            return None
        right = other(row)
        return None if right is None else function(left, right)

    return of_two


def all_of(parts: Sequence[Function]) -> Function:
    def all_of(row: Row) -> bool | None:
        found: bool | None = True
        for part in parts:
            value = part(row)
            if value is None:
                found = None
            elif not value:
                return False
        return found

    return all_of


def any_of(parts: Sequence[Function]) -> Function:
    def any_of(row: Row) -> bool | None:
        found: bool | None = False
        for part in parts:
            value = part(row)
            if value:
                return True
            if value is None:
                found = None
        return found

    return any_of


def first_true(whens: Sequence[tuple[Function, Function]], default: Function) -> Function:
    def first_true(row: Row) -> Any:  # noqa: ANN401  # see above
        for condition, value in whens:
            if condition(row):
                return value(row)
        return default(row)

    return first_true


def chosen(asked: Function, values: Mapping[Any, Function], default: Function) -> Function:
    return lambda row: values.get(asked(row), default)(row)


def first_known(parts: Sequence[Function]) -> Function:
    def first_known(row: Row) -> Any:  # noqa: ANN401  # see above
        for part in parts:
            value = part(row)
            if value is not None:
                return value
        return None

    return first_known


def calling(body: Function, parameters: Sequence[str], arguments: Sequence[Function]) -> Function:
    return lambda row: body({name: argument(row) for name, argument in zip(parameters, arguments, strict=True)})


def remembered(function: Function, name: str) -> Function:
    def remembered(row: Row) -> Any:  # noqa: ANN401  # see above
        if name not in row:
            row[name] = function(row)
        return row[name]

    return remembered


def replacing(pairs: Sequence[tuple[str, str]]) -> Callable[[str], str]:
    def replacing(text: str) -> str:
        for old, new in pairs:
            text = functions.replaced_text(text, old, new)
        return text

    return replacing


def in_common(one: Function, other: Function) -> Function:
    """NULL beside a list is an empty one; before it, NULL."""
    return lambda row: None if (things := one(row)) is None else functions.in_common(things, other(row) or ())


def mapped(things: Sequence[Any] | None, function: Callable[[Any], Any]) -> list[Any] | None:
    return None if things is None else [function(one) for one in things]


def filtered(things: Sequence[Any] | None, is_kept: Callable[[Any], Any]) -> list[Any] | None:
    return None if things is None else [one for one in things if is_kept(one)]


def nothing(_: Row) -> None:
    return None

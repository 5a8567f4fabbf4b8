"""A query that makes one row of one row: steps of `WITH`, each over the one before, and tables to look up one value in."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlglot
from sqlglot import exp

from identity.matching.rows.combining import Function, Row
from identity.matching.rows.expressions import DIALECT, Reader, UnknownSQLError, columns_of, name_of

_READ: Final = frozenset({"expressions", "from_", "joins", "with_"})  # of a SELECT; of anything else we know nothing


@dataclass(frozen=True, slots=True)
class Lookup:
    """`LEFT JOIN table t ON t.key = …`: of each key there is one row at most."""

    key: str
    column: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Made:
    """A column, and the columns that it is made of."""

    name: str
    function: Function
    needs: frozenset[str]


Step = Sequence[Made]
"""All of it is computed of the row as it was before."""


def steps(
    query: str, columns: Sequence[str], reader: Reader, lookups: Mapping[str, Lookup], wanted: Collection[str]
) -> list[Step]:
    """The last one makes those columns of the answer that are wanted; the others what these need, and nothing more."""
    found: list[Step] = []
    known = set(columns)
    for select in _selects(sqlglot.parse_one(query, dialect=DIALECT)):
        for step in _steps(select, known, reader, lookups):
            known.update(made.name for made in step)
            found.append(step)
    return list(_needed(found, wanted))[::-1]


def _needed(found: Sequence[Step], wanted: Collection[str]) -> Iterator[Step]:
    """From the last one back."""
    needs = set(wanted)
    for step in reversed(found):
        kept = [made for made in step if made.name in needs]
        needs.difference_update(made.name for made in kept)
        needs.update(*(made.needs for made in kept))
        yield kept


def answer(row: Row, taken: Sequence[Step]) -> Row:
    """`row` is changed on the way."""
    *before, last = taken
    for step in before:
        row.update(_made(step, row))
    return dict(_made(last, row))


def _made(step: Step, row: Row) -> list[tuple[str, object]]:
    return [(one.name, one.function(row)) for one in step]


def _selects(query: exp.Expr) -> Iterator[exp.Expr]:
    around = query.args.get("with_")
    yield from (one.this for one in around.expressions) if around else ()
    yield query


def _steps(select: exp.Expr, known: set[str], reader: Reader, lookups: Mapping[str, Lookup]) -> Iterator[Step]:
    unread = {name for name, value in select.args.items() if value} - _READ
    if not isinstance(select, exp.Select) or unread:
        raise UnknownSQLError(", ".join(unread))
    seen = set(known)
    for join in select.args.get("joins") or ():
        looked_up = _looked_up(join, seen, reader, lookups)
        seen.add(looked_up.name)
        yield [looked_up]
    yield [
        Made(one.alias_or_name.lower(), reader.function(one, seen), frozenset(columns_of(one)))
        for one in _projections(select)
    ]


def _projections(select: exp.Expr) -> Iterator[exp.Expr]:
    """`*` keeps the row, so only what it replaces is to be computed."""
    for one in select.expressions:
        if isinstance(one, exp.Star):
            if one.args.get("except_"):
                raise UnknownSQLError(one.sql(dialect=DIALECT))
            yield from one.args.get("replace") or ()
        else:
            yield one


def _looked_up(join: exp.Expr, seen: set[str], reader: Reader, lookups: Mapping[str, Lookup]) -> Made:
    table, on = join.this, join.args.get("on")
    lookup = lookups.get(table.name.lower())
    if lookup is None or join.args.get("side") != "LEFT" or not isinstance(on, exp.EQ):
        raise UnknownSQLError(join.sql(dialect=DIALECT))
    alias = table.alias_or_name.lower()
    if name_of(on.this) != f"{alias}.{lookup.key}":
        raise UnknownSQLError(join.sql(dialect=DIALECT))
    asked, values = reader.function(on.expression, seen), lookup.values
    needs = frozenset(columns_of(on.expression))
    return Made(f"{alias}.{lookup.column}", lambda row: values.get(asked(row)), needs)

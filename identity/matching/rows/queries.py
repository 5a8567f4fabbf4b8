"""A query that makes one row of one row: steps of `WITH`, each over the one before, and tables to look up one value in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlglot
from sqlglot import exp

from identity.matching.rows.expressions import DIALECT, Function, Reader, Row, UnknownSQLError, name_of

_READ: Final = frozenset({"expressions", "from_", "joins", "with_"})  # of a SELECT; of anything else we know nothing


@dataclass(frozen=True, slots=True)
class Lookup:
    """`LEFT JOIN table t ON t.key = …`: of each key there is one row at most."""

    key: str
    column: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """All of it is computed of the row as it was before."""

    columns: tuple[str, ...]
    functions: tuple[Function, ...]

    def of(self, row: Row) -> Iterator[tuple[str, object]]:
        return zip(self.columns, [function(row) for function in self.functions], strict=True)


def steps(query: str, columns: Sequence[str], reader: Reader, lookups: Mapping[str, Lookup]) -> list[Step]:
    """The last one has the columns of the answer, in their order."""
    found: list[Step] = []
    known = set(columns)
    for select in _selects(sqlglot.parse_one(query, dialect=DIALECT)):
        for step in _steps(select, known, reader, lookups):
            known.update(step.columns)
            found.append(step)
    return found


def answer(row: Row, taken: Sequence[Step]) -> Row:
    """`row` is changed on the way."""
    *before, last = taken
    for step in before:
        row.update(step.of(row))
    return dict(last.of(row))


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
        seen.update(looked_up.columns)
        yield looked_up
    named = [(one.alias_or_name.lower(), one) for one in _projections(select)]
    functions = tuple(reader.function(one, seen) for _, one in named)
    yield Step(tuple(name for name, _ in named), functions)


def _projections(select: exp.Expr) -> Iterator[exp.Expr]:
    """`*` keeps the row, so only what it replaces is to be computed."""
    for one in select.expressions:
        if isinstance(one, exp.Star):
            if one.args.get("except_"):
                raise UnknownSQLError(one.sql(dialect=DIALECT))
            yield from one.args.get("replace") or ()
        else:
            yield one


def _looked_up(join: exp.Expr, seen: set[str], reader: Reader, lookups: Mapping[str, Lookup]) -> Step:
    table, on = join.this, join.args.get("on")
    lookup = lookups.get(table.name.lower())
    if lookup is None or join.args.get("side") != "LEFT" or not isinstance(on, exp.EQ):
        raise UnknownSQLError(join.sql(dialect=DIALECT))
    alias = table.alias_or_name.lower()
    if name_of(on.this) != f"{alias}.{lookup.key}":
        raise UnknownSQLError(join.sql(dialect=DIALECT))
    asked, values = reader.function(on.expression, seen), lookup.values
    return Step((f"{alias}.{lookup.column}",), (lambda row: values.get(asked(row)),))

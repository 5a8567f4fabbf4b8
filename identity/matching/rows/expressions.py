"""An expression of DuckDB's SQL as a function of one row: {column: value}, with None for NULL.

A column `c` of table `t` is called `t.c`; of the two records of a pair, `l.c` is `c_l` and `r.c` is `c_r`, as in Splink.
"""

import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import sqlglot
from sqlglot import exp

from identity.matching.rows import combining, functions, letters
from identity.matching.rows.combining import Function
from identity.matching.rows.patterns import Pattern, UnknownPatternError

DIALECT: Final = "duckdb"


class UnknownSQLError(ValueError):
    """The expression is not known here: let DuckDB compute it."""


class Reader:
    """Reads expressions over given columns. Macros that it was taught are functions to it."""

    def __init__(self, macros: Collection[str] = ()) -> None:
        self._macros: dict[str, _Macro] = {}
        for macro in macros:
            self._learn(sqlglot.parse_one(macro, dialect=DIALECT))

    def _learn(self, macro: exp.Expr) -> None:
        name = macro.this.this.name.lower()
        self._macros[name] = _Macro([one.name.lower() for one in macro.this.expressions], macro.expression)

    def function(self, expression: exp.Expr | str, columns: Collection[str]) -> Function:
        parsed = sqlglot.parse_one(expression, dialect=DIALECT) if isinstance(expression, str) else expression
        return _Reading(frozenset(columns), self._macros).read(parsed)


@dataclass(frozen=True, slots=True)
class _Macro:
    """It names nothing but its own parameters."""

    parameters: Sequence[str]
    body: exp.Expr

    def with_arguments(self, arguments: Sequence[exp.Expr]) -> exp.Expr | None:
        """Written out, where nothing would be computed twice."""
        given = dict(zip(self.parameters, arguments, strict=True))
        if any(self.body.find_all(exp.Lambda)):
            return None  # what it is given could have the name of a lambda's parameter
        named = Counter(name_of(column) for column in self.body.find_all(exp.Column))
        if any(named[name] > 1 and not isinstance(one, _SIMPLE) for name, one in given.items()):
            return None
        return self.body.transform(lambda node: given[name_of(node)].copy() if isinstance(node, exp.Column) else node)


_SIMPLE: Final = (exp.Column, exp.Literal, exp.Boolean)


def columns_of(expression: exp.Expr | str) -> set[str]:
    """The columns that it names."""
    parsed = sqlglot.parse_one(expression, dialect=DIALECT) if isinstance(expression, str) else expression
    return {name_of(column) for column in parsed.find_all(exp.Column)}


class _Reading:
    def __init__(self, columns: frozenset[str], macros: Mapping[str, _Macro]) -> None:
        self._columns = columns
        self._macros = macros

    def read(self, node: exp.Expr) -> Function:
        kind = type(node)
        if kind in _PLAIN:
            return combining.strict(_PLAIN[kind], [self.read(argument) for argument in _arguments(node)])
        special = _SPECIAL.get(kind)
        if special is None:
            raise UnknownSQLError(node.sql(dialect=DIALECT))
        return special(self, node)

    # -- names and values ------------------------------------------------------------------------------------------

    def column(self, node: exp.Expr) -> Function:
        name = name_of(node)
        if name not in self._columns:
            raise UnknownSQLError(name)
        return operator.itemgetter(name)

    def literal(self, node: exp.Expr) -> Function:
        value = constant(node)
        return lambda _: value

    def inner(self, node: exp.Expr) -> Function:
        return self.read(node.this)

    def cast(self, node: exp.Expr) -> Function:
        made = _CASTS.get((type(node), node.args["to"].sql(dialect=DIALECT)))
        if made is None:
            raise UnknownSQLError(node.sql(dialect=DIALECT))
        return combining.strict(made, [self.read(node.this)])

    # -- logic ------------------------------------------------------------------------------------------------------

    def conjunction(self, node: exp.Expr) -> Function:
        return combining.all_of([self.read(part) for part in node.flatten()])

    def disjunction(self, node: exp.Expr) -> Function:
        return combining.any_of([self.read(part) for part in node.flatten()])

    def within(self, node: exp.Expr) -> Function:
        values = frozenset(map(constant, node.expressions))
        return combining.strict(values.__contains__, [self.read(node.this)])

    def is_null(self, node: exp.Expr) -> Function:
        if not isinstance(node.expression, exp.Null):
            raise UnknownSQLError(node.sql(dialect=DIALECT))
        inner = self.read(node.this)
        return lambda row: inner(row) is None

    def at_most(self, node: exp.Expr) -> Function:
        """A distance is not computed where it is plain that it is beyond the bound."""
        measured, bound = node.this, self.read(node.expression)
        if not isinstance(measured, exp.Anonymous) or measured.name.lower() != "damerau_levenshtein":
            return combining.strict(operator.le, [self.read(measured), bound])
        within = combining.strict(functions.may_be_within, [*(self.read(one) for one in measured.expressions), bound])
        distance = combining.remembered(self.called(measured), measured.sql(dialect=DIALECT))
        return lambda row: distance(row) <= bound(row) if (possible := within(row)) else possible

    def case(self, node: exp.Expr) -> Function:
        given = node.args.get("default")
        default = self.read(given) if given is not None else combining.nothing
        whens = [(one.this, self.read(one.args["true"])) for one in node.args["ifs"]]
        if node.this is None:
            return combining.first_true([(self.read(condition), value) for condition, value in whens], default)
        return combining.chosen(self.read(node.this), {constant(value): then for value, then in whens}, default)

    def coalesce(self, node: exp.Expr) -> Function:
        return combining.first_known([self.read(one) for one in (node.this, *node.expressions)])

    def nullif(self, node: exp.Expr) -> Function:
        one, other = self.read(node.this), self.read(node.expression)
        return lambda row: None if (value := one(row)) == other(row) else value

    def greatest(self, node: exp.Expr) -> Function:
        return self.most(node, max)

    def least(self, node: exp.Expr) -> Function:
        return self.most(node, min)

    def most(self, node: exp.Expr, of: Callable[..., Any]) -> Function:
        parts = [self.read(one) for one in (node.this, *node.expressions)]
        return lambda row: of((value for part in parts if (value := part(row)) is not None), default=None)

    # -- texts and lists --------------------------------------------------------------------------------------------

    def replace(self, node: exp.Expr) -> Function:
        """Plain texts, often many one after the other: they become one function."""
        pairs = []
        while isinstance(node, exp.Replace) and isinstance(node.expression, exp.Literal):
            pairs.append((constant(node.expression), constant(node.args["replacement"])))
            node = node.this
        if not pairs:
            return combining.strict(functions.replaced_text, [self.read(one) for one in _arguments(node)])
        return combining.strict(combining.replacing(pairs[::-1]), [self.read(node)])

    def translate(self, node: exp.Expr) -> Function:
        old, new = constant(node.args["from_"]), constant(node.args["to"])
        table = {ord(one): new[place] if place < len(new) else None for place, one in reversed([*enumerate(old)])}
        return combining.strict(lambda text: text.translate(table), [self.read(node.this)])

    def spaced(self, node: exp.Expr) -> Function:
        separator, *texts = node.expressions
        between, parts = constant(separator), [self.read(one) for one in texts]
        return lambda row: between.join(value for part in parts if (value := part(row)) is not None)

    def bracket(self, node: exp.Expr) -> Function:
        (asked,) = node.expressions
        if isinstance(asked, exp.Slice):
            first, last = constant(asked.this) - 1, constant(asked.expression)
            return combining.strict(lambda text: text[first:last], [self.read(node.this)])
        place = constant(asked)
        return combining.strict(lambda things: functions.item(things, place), [self.read(node.this)])

    def concatenated(self, node: exp.Expr) -> Function:
        """Of lists. NULL is an empty one here."""
        lists = [self.read(one) for one in _arguments(node)]
        return lambda row: [thing for one in lists for thing in one(row) or ()]

    def transform(self, node: exp.Expr) -> Function:
        things, name, body = self.over_list(node)
        return lambda row: combining.mapped(things(row), lambda one: body({**row, name: one}))

    def filter(self, node: exp.Expr) -> Function:
        things, name, body = self.over_list(node)
        return lambda row: combining.filtered(things(row), lambda one: body({**row, name: one}))

    def over_list(self, node: exp.Expr) -> tuple[Function, str, Function]:
        """The list, what each thing in it is called, and what is asked of it."""
        (parameter,) = node.expression.expressions
        name = parameter.name.lower()
        body = _Reading(self._columns | {name}, self._macros).read(node.expression.this)
        return self.read(node.this), name, body

    def likeness(self, node: exp.Expr) -> Function:
        """Asked for more than once of a pair: what was found is kept in the row."""
        return combining.remembered(
            combining.strict(_LIKENESSES[type(node)], [self.read(one) for one in _arguments(node)]),
            node.sql(dialect=DIALECT),
        )

    def called(self, node: exp.Expr) -> Function:
        name = node.name.lower()
        if name in self._macros:
            return self.macro(self._macros[name], node.expressions)
        arguments = [self.read(one) for one in node.expressions]
        if name == "list_aggregate" and constant(node.expressions[1]) == "string_agg":
            return combining.strict(functions.joined, [arguments[0], arguments[2]])
        if name == "list_intersect":
            return combining.in_common(*arguments)
        if name not in _NAMED:
            raise UnknownSQLError(node.sql(dialect=DIALECT))
        return combining.strict(_NAMED[name], arguments)

    def macro(self, macro: _Macro, given: Sequence[exp.Expr]) -> Function:
        if len(macro.parameters) != len(given):
            raise UnknownSQLError(macro.body.sql(dialect=DIALECT))
        inline = macro.with_arguments(given)
        if inline is not None:
            return self.read(inline)
        body = _Reading(frozenset(macro.parameters), self._macros).read(macro.body)
        return combining.calling(body, macro.parameters, [self.read(one) for one in given])

    # -- regular expressions ----------------------------------------------------------------------------------------

    def extract(self, node: exp.Expr) -> Function:
        pattern, group = _pattern(node), constant(node.args["group"])
        return combining.strict(lambda text: functions.extracted(text, pattern, group), [self.read(node.this)])

    def extract_all(self, node: exp.Expr) -> Function:
        pattern, group = _pattern(node), constant(node.args["group"])
        return combining.strict(lambda text: functions.extracted_all(text, pattern, group), [self.read(node.this)])

    def matches(self, node: exp.Expr) -> Function:
        if not isinstance(node.expression, exp.Literal):
            return combining.strict(_matches, [self.read(node.this), self.read(node.expression)])
        pattern = _pattern(node)
        return combining.strict(lambda text: pattern.of(text).search(text) is not None, [self.read(node.this)])

    def substitute(self, node: exp.Expr) -> Function:
        pattern, new = _pattern(node), constant(node.args["replacement"])
        modifiers = node.args.get("modifiers")
        if "\\" in new or (modifiers is not None and constant(modifiers) != "g") or pattern.of("").search(""):
            raise UnknownSQLError(node.sql(dialect=DIALECT))
        most = 1 if modifiers is None else 0
        return combining.strict(lambda text: functions.replaced(text, pattern, new, most), [self.read(node.this)])


def name_of(node: exp.Expr) -> str:
    """The column's name in a row."""
    name, table = node.name.lower(), (node.args.get("table") or exp.Identifier(this="")).name.lower()
    if table in {"l", "r"}:
        return f"{name}_{table}"
    return f"{table}.{name}" if table else name


def constant(node: exp.Expr) -> Any:  # noqa: ANN401  # whatever stands in the SQL
    if isinstance(node, exp.Neg):
        return -constant(node.this)
    if isinstance(node, (exp.Literal, exp.Boolean, exp.Null)):
        value = node.to_py()
        return float(value) if isinstance(value, Decimal) else value
    raise UnknownSQLError(node.sql(dialect=DIALECT))


def _pattern(node: exp.Expr) -> Pattern:
    pattern = Pattern(constant(node.expression))
    try:
        pattern.of("")
    except UnknownPatternError as error:
        raise UnknownSQLError(node.sql(dialect=DIALECT)) from error
    return pattern


def _matches(text: str, source: str) -> bool:
    """With a pattern that is made of another text, and so is known only now."""
    try:
        return Pattern(source).of(text).search(text) is not None
    except (UnknownPatternError, re.error) as error:
        raise UnknownSQLError("regexp_matches") from error


def _arguments(node: exp.Expr) -> list[exp.Expr]:
    """In the order in which a function is given them."""
    found = [node.args.get(name) for name in node.arg_types]
    return [one for some in found for one in (some if isinstance(some, list) else [some]) if isinstance(one, exp.Expr)]


def _text(value: Any) -> str:  # noqa: ANN401  # what is to be written is checked here
    if not isinstance(value, str):
        raise TypeError(value)  # columns of records are texts; of anything else we do not know how DuckDB writes it
    return value


_LIKENESSES: Final[Mapping[type[exp.Expr], Callable[[str, str], float]]] = {
    exp.JarowinklerSimilarity: functions.jaro_winkler,
    exp.Levenshtein: functions.levenshtein,
}
_CASTS: Final[Mapping[tuple[type[exp.Expr], str], Callable[[Any], Any]]] = {
    (exp.Cast, "DOUBLE"): float,
    (exp.Cast, "TEXT"): _text,
    (exp.TryCast, "INT"): functions.integer,
}
_PLAIN: Final[Mapping[type[exp.Expr], Callable[..., Any]]] = {
    exp.EQ: operator.eq,
    exp.NEQ: operator.ne,
    exp.LT: operator.lt,
    exp.GT: operator.gt,
    exp.GTE: operator.ge,
    exp.Add: operator.add,
    exp.Sub: operator.sub,
    exp.Mul: operator.mul,
    exp.Div: operator.truediv,
    exp.DPipe: operator.add,
    exp.Not: operator.not_,
    exp.Neg: operator.neg,
    exp.Between: lambda value, low, high: low <= value <= high,
    exp.Length: len,
    exp.Pow: math.pow,
    exp.Log: lambda base, value: math.log2(value) if base == 2 else math.log(value, base),  # as SQL has it
    exp.Round: functions.rounded,
    exp.Lower: letters.lower,
    exp.Trim: letters.trim,
    exp.Left: functions.left,
    exp.Right: functions.right,
    exp.Substring: functions.substring,
    exp.Pad: functions.padded_left,
    exp.Split: functions.split,
    exp.Unicode: functions.first_place,
    exp.SplitPart: functions.split_part,
    exp.StartsWith: str.startswith,
    exp.Contains: operator.contains,
    exp.ArrayDistinct: functions.distinct,
    exp.ArrayContains: operator.contains,
    exp.ArrayToString: functions.written_together,
}
_NAMED: Final[Mapping[str, Callable[..., Any]]] = {
    "strip_accents": letters.strip_accents,
    "damerau_levenshtein": functions.damerau_levenshtein,
    "jaro_similarity": functions.jaro,
    "strlen": functions.bytes_of,
}
_SPECIAL: Final[Mapping[type[exp.Expr], Callable[[_Reading, exp.Expr], Function]]] = {
    exp.Column: _Reading.column,
    exp.Identifier: _Reading.column,
    exp.Literal: _Reading.literal,
    exp.Boolean: _Reading.literal,
    exp.Null: _Reading.literal,
    exp.Paren: _Reading.inner,
    exp.Alias: _Reading.inner,
    exp.Cast: _Reading.cast,
    exp.TryCast: _Reading.cast,
    exp.And: _Reading.conjunction,
    exp.Or: _Reading.disjunction,
    exp.In: _Reading.within,
    exp.Is: _Reading.is_null,
    exp.LTE: _Reading.at_most,
    exp.Case: _Reading.case,
    exp.Coalesce: _Reading.coalesce,
    exp.Nullif: _Reading.nullif,
    exp.Greatest: _Reading.greatest,
    exp.Least: _Reading.least,
    exp.Replace: _Reading.replace,
    exp.Translate: _Reading.translate,
    exp.ConcatWs: _Reading.spaced,
    exp.Bracket: _Reading.bracket,
    exp.ArrayConcat: _Reading.concatenated,
    exp.Transform: _Reading.transform,
    exp.ArrayFilter: _Reading.filter,
    exp.JarowinklerSimilarity: _Reading.likeness,
    exp.Levenshtein: _Reading.likeness,
    exp.Anonymous: _Reading.called,
    exp.RegexpExtract: _Reading.extract,
    exp.RegexpExtractAll: _Reading.extract_all,
    exp.RegexpLike: _Reading.matches,
    exp.RegexpReplace: _Reading.substitute,
}

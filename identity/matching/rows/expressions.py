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

from identity.matching.rows import functions, letters
from identity.matching.rows.patterns import Pattern, UnknownPatternError

Row = dict[str, Any]
Function = Callable[[Row], Any]
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
            return _strict(_PLAIN[kind], [self.read(argument) for argument in _arguments(node)])
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
        return _strict(made, [self.read(node.this)])

    # -- logic ------------------------------------------------------------------------------------------------------

    def conjunction(self, node: exp.Expr) -> Function:
        return _all_of([self.read(part) for part in node.flatten()])

    def disjunction(self, node: exp.Expr) -> Function:
        return _any_of([self.read(part) for part in node.flatten()])

    def within(self, node: exp.Expr) -> Function:
        values = frozenset(map(constant, node.expressions))
        return _strict(values.__contains__, [self.read(node.this)])

    def is_null(self, node: exp.Expr) -> Function:
        if not isinstance(node.expression, exp.Null):
            raise UnknownSQLError(node.sql(dialect=DIALECT))
        inner = self.read(node.this)
        return lambda row: inner(row) is None

    def at_most(self, node: exp.Expr) -> Function:
        """A distance is not computed where it is plain that it is beyond the bound."""
        measured, bound = node.this, self.read(node.expression)
        if not isinstance(measured, exp.Anonymous) or measured.name.lower() != "damerau_levenshtein":
            return _strict(operator.le, [self.read(measured), bound])
        within = _strict(functions.may_be_within, [*(self.read(one) for one in measured.expressions), bound])
        distance = _remembered(self.called(measured), measured.sql(dialect=DIALECT))
        return lambda row: distance(row) <= bound(row) if (possible := within(row)) else possible

    def case(self, node: exp.Expr) -> Function:
        given = node.args.get("default")
        default = self.read(given) if given is not None else _nothing
        whens = [(one.this, self.read(one.args["true"])) for one in node.args["ifs"]]
        if node.this is None:
            return _first_true([(self.read(condition), value) for condition, value in whens], default)
        return _chosen(self.read(node.this), {constant(value): then for value, then in whens}, default)

    def coalesce(self, node: exp.Expr) -> Function:
        return _first_known([self.read(one) for one in (node.this, *node.expressions)])

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
            return _strict(functions.replaced_text, [self.read(one) for one in _arguments(node)])
        return _strict(_replacing(pairs[::-1]), [self.read(node)])

    def translate(self, node: exp.Expr) -> Function:
        old, new = constant(node.args["from_"]), constant(node.args["to"])
        table = {ord(one): new[place] if place < len(new) else None for place, one in reversed([*enumerate(old)])}
        return _strict(lambda text: text.translate(table), [self.read(node.this)])

    def spaced(self, node: exp.Expr) -> Function:
        separator, *texts = node.expressions
        between, parts = constant(separator), [self.read(one) for one in texts]
        return lambda row: between.join(value for part in parts if (value := part(row)) is not None)

    def bracket(self, node: exp.Expr) -> Function:
        (asked,) = node.expressions
        if isinstance(asked, exp.Slice):
            first, last = constant(asked.this) - 1, constant(asked.expression)
            return _strict(lambda text: text[first:last], [self.read(node.this)])
        place = constant(asked)
        return _strict(lambda things: functions.item(things, place), [self.read(node.this)])

    def concatenated(self, node: exp.Expr) -> Function:
        """Of lists. NULL is an empty one here."""
        lists = [self.read(one) for one in _arguments(node)]
        return lambda row: [thing for one in lists for thing in one(row) or ()]

    def transform(self, node: exp.Expr) -> Function:
        things, name, body = self.over_list(node)
        return lambda row: _mapped(things(row), lambda one: body({**row, name: one}))

    def filter(self, node: exp.Expr) -> Function:
        things, name, body = self.over_list(node)
        return lambda row: _filtered(things(row), lambda one: body({**row, name: one}))

    def over_list(self, node: exp.Expr) -> tuple[Function, str, Function]:
        """The list, what each thing in it is called, and what is asked of it."""
        (parameter,) = node.expression.expressions
        name = parameter.name.lower()
        body = _Reading(self._columns | {name}, self._macros).read(node.expression.this)
        return self.read(node.this), name, body

    def likeness(self, node: exp.Expr) -> Function:
        """Asked for more than once of a pair: what was found is kept in the row."""
        return _remembered(
            _strict(_LIKENESSES[type(node)], [self.read(one) for one in _arguments(node)]), node.sql(dialect=DIALECT)
        )

    def called(self, node: exp.Expr) -> Function:
        name = node.name.lower()
        if name in self._macros:
            return self.macro(self._macros[name], node.expressions)
        arguments = [self.read(one) for one in node.expressions]
        if name == "list_aggregate" and constant(node.expressions[1]) == "string_agg":
            return _strict(functions.joined, [arguments[0], arguments[2]])
        if name == "list_intersect":
            return _in_common(*arguments)
        if name not in _NAMED:
            raise UnknownSQLError(node.sql(dialect=DIALECT))
        return _strict(_NAMED[name], arguments)

    def macro(self, macro: _Macro, given: Sequence[exp.Expr]) -> Function:
        if len(macro.parameters) != len(given):
            raise UnknownSQLError(macro.body.sql(dialect=DIALECT))
        inline = macro.with_arguments(given)
        if inline is not None:
            return self.read(inline)
        body = _Reading(frozenset(macro.parameters), self._macros).read(macro.body)
        return _calling(body, macro.parameters, [self.read(one) for one in given])

    # -- regular expressions ----------------------------------------------------------------------------------------

    def extract(self, node: exp.Expr) -> Function:
        pattern, group = _pattern(node), constant(node.args["group"])
        return _strict(lambda text: functions.extracted(text, pattern, group), [self.read(node.this)])

    def extract_all(self, node: exp.Expr) -> Function:
        pattern, group = _pattern(node), constant(node.args["group"])
        return _strict(lambda text: functions.extracted_all(text, pattern, group), [self.read(node.this)])

    def matches(self, node: exp.Expr) -> Function:
        if not isinstance(node.expression, exp.Literal):
            return _strict(_matches, [self.read(node.this), self.read(node.expression)])
        pattern = _pattern(node)
        return _strict(lambda text: pattern.of(text).search(text) is not None, [self.read(node.this)])

    def substitute(self, node: exp.Expr) -> Function:
        pattern, new = _pattern(node), constant(node.args["replacement"])
        modifiers = node.args.get("modifiers")
        if "\\" in new or (modifiers is not None and constant(modifiers) != "g") or pattern.of("").search(""):
            raise UnknownSQLError(node.sql(dialect=DIALECT))
        most = 1 if modifiers is None else 0
        return _strict(lambda text: functions.replaced(text, pattern, new, most), [self.read(node.this)])


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


# -- functions made of functions --------------------------------------------------------------------------------------


def _strict(function: Callable[..., Any], arguments: Sequence[Function]) -> Function:
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


def _all_of(parts: Sequence[Function]) -> Function:
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


def _any_of(parts: Sequence[Function]) -> Function:
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


def _first_true(whens: Sequence[tuple[Function, Function]], default: Function) -> Function:
    def first_true(row: Row) -> Any:  # noqa: ANN401  # see above
        for condition, value in whens:
            if condition(row):
                return value(row)
        return default(row)

    return first_true


def _chosen(asked: Function, values: Mapping[Any, Function], default: Function) -> Function:
    return lambda row: values.get(asked(row), default)(row)


def _first_known(parts: Sequence[Function]) -> Function:
    def first_known(row: Row) -> Any:  # noqa: ANN401  # see above
        for part in parts:
            value = part(row)
            if value is not None:
                return value
        return None

    return first_known


def _calling(body: Function, parameters: Sequence[str], arguments: Sequence[Function]) -> Function:
    return lambda row: body({name: argument(row) for name, argument in zip(parameters, arguments, strict=True)})


def _remembered(function: Function, name: str) -> Function:
    def remembered(row: Row) -> Any:  # noqa: ANN401  # see above
        if name not in row:
            row[name] = function(row)
        return row[name]

    return remembered


def _replacing(pairs: Sequence[tuple[str, str]]) -> Callable[[str], str]:
    def replacing(text: str) -> str:
        for old, new in pairs:
            text = functions.replaced_text(text, old, new)
        return text

    return replacing


def _in_common(one: Function, other: Function) -> Function:
    """NULL beside a list is an empty one; before it, NULL."""
    return lambda row: None if (things := one(row)) is None else functions.in_common(things, other(row) or ())


def _mapped(things: Sequence[Any] | None, function: Callable[[Any], Any]) -> list[Any] | None:
    return None if things is None else [function(one) for one in things]


def _filtered(things: Sequence[Any] | None, is_kept: Callable[[Any], Any]) -> list[Any] | None:
    return None if things is None else [one for one in things if is_kept(one)]


def _nothing(_: Row) -> None:
    return None


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

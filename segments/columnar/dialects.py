"""What the engines call the few things that rules need beyond plain SQL, as expressions of sqlglot.

A value of JSON is handed about as each engine likes it best: as its text (DuckDB, ClickHouse) or as a variant (Spark). It
is NULL, or of the kind null, where nothing is. Only what is built here and in `compile` is ever sent to an engine; the
differential test covers all of it.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from sqlglot import exp

DECIMAL: Final = "decimal(38, 9)"
DIGITS: Final = "-0123456789"


def call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


def text(value: str) -> exp.Expr:
    """A literal of our own."""
    return exp.Literal.string(value)


def whole(value: int) -> exp.Expr:
    return exp.Literal.number(value)


def allof(conditions: Sequence[exp.Expr]) -> exp.Expr:
    return exp.and_(*conditions, copy=False) if conditions else exp.true()


def anyof(conditions: Sequence[exp.Expr]) -> exp.Expr:
    return exp.or_(*conditions, copy=False) if conditions else exp.false()


def when(condition: exp.Expr, value: exp.Expr, otherwise: exp.Expr | None = None) -> exp.Expr:
    return exp.Case(ifs=[exp.If(this=condition, true=value)], default=otherwise or exp.null())


def is_true(condition: exp.Expr) -> exp.Expr:
    """NULL counts as false, so that nothing else ever leaves a leaf."""
    return exp.Coalesce(this=condition, expressions=[exp.false()])


class Dialect:
    """DuckDB's words, which the others change where theirs differ."""

    name: ClassVar = "duckdb"
    first_by: ClassVar = "arg_min"
    last_by: ClassVar = "arg_max"

    def parameter(self, name: str) -> exp.Expr:
        return exp.Placeholder(this=name)

    def string(self, value: exp.Expr) -> exp.Expr:
        return exp.cast(value, "text", copy=False)

    def decimal(self, value: exp.Expr) -> exp.Expr:
        """Of a text; NULL where it is no number."""
        return exp.TryCast(this=value, to=exp.DataType.build(DECIMAL))

    def double(self, value: exp.Expr) -> exp.Expr:
        return exp.cast(value, "double", copy=False)

    def divided(self, value: exp.Expr, by: int) -> exp.Expr:
        """Whole numbers, none of them negative."""
        return exp.IntDiv(this=exp.paren(value, copy=False), expression=whole(by))

    # -- JSON

    def parsed(self, column: exp.Expr) -> exp.Expr:
        """The value that a column of JSON text holds."""
        return column

    def inside(self, value: exp.Expr, key: str, parameter: Callable[[str], exp.Expr]) -> exp.Expr:
        """What lies under this key of an object; a pointer would lead into a list as well."""
        pointer = "/" + key.replace("~", "~0").replace("/", "~1")
        found = self.string(call("json_extract", value, parameter(pointer)))
        return when(self.begins(value.copy(), "{"), found)

    def begins(self, value: exp.Expr, characters: str) -> exp.Expr:
        first = exp.Substring(this=value, start=whole(1), length=whole(1))
        return exp.In(this=first, expressions=[text(one) for one in characters])

    def is_present(self, value: exp.Expr) -> exp.Expr:
        return exp.not_(self.begins(value, "n"), copy=False)

    def is_text(self, value: exp.Expr) -> exp.Expr:
        return self.begins(value, '"')

    def is_list(self, value: exp.Expr) -> exp.Expr:
        return self.begins(value, "[")

    def is_object(self, value: exp.Expr) -> exp.Expr:
        return self.begins(value, "{")

    def is_truth(self, value: exp.Expr) -> exp.Expr:
        return self.begins(value, "tf")

    def is_number(self, value: exp.Expr) -> exp.Expr:
        return self.begins(value, DIGITS)

    def text_of(self, value: exp.Expr) -> exp.Expr:
        """Of a value that is a text; NULL of any other."""
        return when(self.is_text(value), call("json_extract_string", value.copy(), text("$")))

    def number_of(self, value: exp.Expr) -> exp.Expr:
        """Of a value that is a number; NULL of any other, for no other is written like one."""
        return self.decimal(value)

    def truth_of(self, value: exp.Expr) -> exp.Expr:
        return when(self.is_truth(value), exp.EQ(this=value.copy(), expression=text("true")))

    def some_element(self, value: exp.Expr, name: str, holds: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
        """Of a value that is a list; its elements go by the name, which no question about this one may have."""
        elements = exp.cast(call("json_extract", value, text("$[*]")), "text[]", copy=False)
        fitting = call("list_filter", elements, self.function(name, holds))
        return exp.GT(this=call("len", fitting), expression=whole(0))

    def function(self, name: str, holds: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
        return exp.Lambda(this=holds(exp.column(name)), expressions=[exp.to_identifier(name)])

    # -- text

    def folded(self, value: exp.Expr, letters: exp.Expr, small: exp.Expr) -> exp.Expr:
        return call("translate", value, letters, small)

    def contains(self, value: exp.Expr, part: exp.Expr) -> exp.Expr:
        return call("contains", value, part)

    def starts(self, value: exp.Expr, part: exp.Expr) -> exp.Expr:
        return call("starts_with", value, part)

    def ends(self, value: exp.Expr, part: exp.Expr) -> exp.Expr:
        return call("ends_with", value, part)

    def like(self, value: exp.Expr, pattern: exp.Expr) -> exp.Expr:
        r"""Of a pattern in which `\` stands before what is itself."""
        return exp.Escape(this=exp.Like(this=value, expression=pattern), expression=text("\\"))

    def md5(self, value: exp.Expr) -> exp.Expr:
        return call("md5", value)

    def replaced(self, value: exp.Expr, part: exp.Expr, by: exp.Expr) -> exp.Expr:
        return call("replace", value, part, by)

    def trimmed(self, value: exp.Expr, character: str) -> exp.Expr:
        """Without such characters at its end."""
        return call("rtrim", value, text(character))

    def as_json(self, value: exp.Expr) -> exp.Expr:
        """Of a value of JSON, a text that `parsed` reads."""
        return value

    # -- aggregates

    def by_key(self, name: str, value: exp.Expr, keys: Sequence[exp.Expr]) -> exp.Expr:
        return call(name, value, call("row", *keys))


class SparkDialect(Dialect):
    name: ClassVar = "spark"
    first_by: ClassVar = "min_by"
    last_by: ClassVar = "max_by"

    def decimal(self, value: exp.Expr) -> exp.Expr:
        return _tried(value, "decimal(38, 9)")

    def parsed(self, column: exp.Expr) -> exp.Expr:
        return call("parse_json", column)

    def inside(self, value: exp.Expr, key: str, parameter: Callable[[str], exp.Expr]) -> exp.Expr:
        return call("try_element_at", _tried(value, "map<string, variant>"), parameter(key))

    def _is_of(self, value: exp.Expr, *kinds: str) -> exp.Expr:
        kind = call("schema_of_variant", value)
        return anyof([call("startswith", kind.copy(), text(each)) for each in kinds])

    def is_present(self, value: exp.Expr) -> exp.Expr:
        return exp.not_(self._is_of(value, "VOID"), copy=False)

    def is_text(self, value: exp.Expr) -> exp.Expr:
        return self._is_of(value, "STRING")

    def is_list(self, value: exp.Expr) -> exp.Expr:
        return self._is_of(value, "ARRAY")

    def is_object(self, value: exp.Expr) -> exp.Expr:
        return self._is_of(value, "OBJECT")

    def is_truth(self, value: exp.Expr) -> exp.Expr:
        return self._is_of(value, "BOOLEAN")

    def is_number(self, value: exp.Expr) -> exp.Expr:
        return self._is_of(value, "BIGINT", "DECIMAL", "DOUBLE")

    def text_of(self, value: exp.Expr) -> exp.Expr:
        return when(self.is_text(value), _tried(value.copy(), "string"))

    def number_of(self, value: exp.Expr) -> exp.Expr:
        return when(self.is_number(value), _tried(value.copy(), "decimal(38, 9)"))

    def truth_of(self, value: exp.Expr) -> exp.Expr:
        return when(self.is_truth(value), _tried(value.copy(), "boolean"))

    def some_element(self, value: exp.Expr, name: str, holds: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
        return call("exists", _tried(value, "array<variant>"), self.function(name, holds))

    def starts(self, value: exp.Expr, part: exp.Expr) -> exp.Expr:
        return call("startswith", value, part)

    def ends(self, value: exp.Expr, part: exp.Expr) -> exp.Expr:
        return call("endswith", value, part)

    def like(self, value: exp.Expr, pattern: exp.Expr) -> exp.Expr:
        return exp.Like(this=value, expression=pattern)

    def trimmed(self, value: exp.Expr, character: str) -> exp.Expr:
        return exp.Anonymous(this="rtrim", expressions=[text(character), value])

    def as_json(self, value: exp.Expr) -> exp.Expr:
        return call("to_json", value)

    def by_key(self, name: str, value: exp.Expr, keys: Sequence[exp.Expr]) -> exp.Expr:
        return call(name, value, call("struct", *keys))


class ClickHouseDialect(Dialect):
    name: ClassVar = "clickhouse"
    first_by: ClassVar = "argMin"
    last_by: ClassVar = "argMax"

    def parameter(self, name: str) -> exp.Expr:
        return exp.Placeholder(this=name, kind="String")

    def string(self, value: exp.Expr) -> exp.Expr:
        return call("toString", value)

    def decimal(self, value: exp.Expr) -> exp.Expr:
        return call("toDecimal128OrNull", value, whole(9))

    def double(self, value: exp.Expr) -> exp.Expr:
        return call("toFloat64", value)

    def divided(self, value: exp.Expr, by: int) -> exp.Expr:
        return call("intDiv", value, whole(by))

    def inside(self, value: exp.Expr, key: str, parameter: Callable[[str], exp.Expr]) -> exp.Expr:
        found = call("JSONExtractRaw", value, parameter(key))
        return when(self.begins(value.copy(), "{"), call("nullIf", found, text("")))

    def text_of(self, value: exp.Expr) -> exp.Expr:
        return when(self.is_text(value), call("JSONExtractString", value.copy()))

    def some_element(self, value: exp.Expr, name: str, holds: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
        elements = call("JSONExtractArrayRaw", call("ifNull", value, text("[]")))
        return call("arrayExists", self.function(name, lambda element: is_true(holds(element))), elements)

    def folded(self, value: exp.Expr, letters: exp.Expr, small: exp.Expr) -> exp.Expr:
        return call("translateUTF8", value, letters, small)

    def contains(self, value: exp.Expr, part: exp.Expr) -> exp.Expr:
        return exp.GT(this=call("position", value, part), expression=whole(0))

    def starts(self, value: exp.Expr, part: exp.Expr) -> exp.Expr:
        return call("startsWith", value, part)

    def ends(self, value: exp.Expr, part: exp.Expr) -> exp.Expr:
        return call("endsWith", value, part)

    def like(self, value: exp.Expr, pattern: exp.Expr) -> exp.Expr:
        return exp.Like(this=value, expression=pattern)

    def md5(self, value: exp.Expr) -> exp.Expr:
        return call("lower", call("hex", call("MD5", value)))

    def replaced(self, value: exp.Expr, part: exp.Expr, by: exp.Expr) -> exp.Expr:
        return call("replaceAll", value, part, by)

    def by_key(self, name: str, value: exp.Expr, keys: Sequence[exp.Expr]) -> exp.Expr:
        return call(name, value, call("tuple", *keys))


def _tried(value: exp.Expr, kind: str) -> exp.Expr:
    """Spark's own cast that gives NULL. sqlglot writes a plain one for it, which fails."""
    return call("try_cast", exp.Alias(this=value, alias=exp.Var(this=kind.upper())))


DIALECTS: Final = {each.name: each for each in (Dialect(), SparkDialect(), ClickHouseDialect())}

"""Comparisons of JSON values: true, false or null, and null counts as false wherever a leaf ends."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from sqlglot import exp

from cdp.kernel.arrays import texts
from segments.language.compile.expressions import (
    Parameters,
    all_of,
    any_of,
    by_code_point,
    call,
    case,
    cast,
    column,
    constant,
    eq,
    ge,
    gt,
    is_one_of,
    le,
    negated,
    whole,
)
from segments.language.tree import Comparison, Condition, Scalar, Value
from segments.language.written import folded, written_scalar

OPERATORS: Final[Mapping[Comparison, type[exp.Binary]]] = {
    Comparison.EQUALS: exp.EQ,
    Comparison.NOT_EQUALS: exp.NEQ,
    Comparison.GREATER: exp.GT,
    Comparison.GREATER_OR_EQUAL: exp.GTE,
    Comparison.LESS: exp.LT,
    Comparison.LESS_OR_EQUAL: exp.LTE,
}


def condition_holds(condition: Condition, values: exp.Expr, parameters: Parameters) -> exp.Expr:
    """Of the value that an object with this name, and maybe objects within it, hold."""
    found = inside(values, (condition.name, *condition.inside), parameters)
    return _holds_as_written(condition, found, parameters)


def trait_holds(condition: Condition, value: exp.Expr, parameters: Parameters) -> exp.Expr:
    return _holds_as_written(condition, inside(value, condition.inside, parameters), parameters)


def inside(value: exp.Expr, path: tuple[str, ...], parameters: Parameters) -> exp.Expr:
    """A list or a scalar on the way has no such field: null."""
    for key in path:
        value = call("jsonb_object_field", value, parameters.text(key))
    return value


def _holds_as_written(condition: Condition, found: exp.Expr, parameters: Parameters) -> exp.Expr:
    if condition.comparison is Comparison.HAS:
        return _has_object(condition.has, found, parameters)
    if not condition.ignores_case:
        return holds(condition.comparison, condition.value, found, parameters)
    return holds(condition.comparison, _folded(condition.value), call("core.folded", found), parameters)


def _has_object(conditions: Iterable[Condition], found: exp.Expr, parameters: Parameters) -> exp.Expr:
    """Elements that are no objects have no fields. Within itself its name is hidden, and what hides it needs no other."""
    element = [condition_holds(each, column("value", "o"), parameters) for each in conditions]
    elements = call("jsonb_array_elements", case(is_kind(found, "array"), found))
    rows = exp.select(whole(1), copy=False).from_(exp.alias_(elements, "o", copy=False), copy=False)
    return exp.Exists(this=rows.where(*element, copy=False))


def _folded(value: Value) -> Value:
    if isinstance(value, tuple):
        return tuple(folded(each) if isinstance(each, str) else each for each in value)
    return folded(value) if isinstance(value, str) else value


def holds(  # noqa: C901, PLR0911  # one return for each way of comparing
    comparison: Comparison, value: Value, found: exp.Expr, parameters: Parameters
) -> exp.Expr:
    match comparison:
        case Comparison.EXISTS:
            return exp.NEQ(this=kind(found), expression=constant("null"))
        case Comparison.EQUALS:
            return eq(found, _json(value, parameters))
        case Comparison.NOT_EQUALS:
            return all_of([is_kind(found, _kind_of(value)), exp.NEQ(this=found, expression=_json(value, parameters))])
        case Comparison.IN:
            return is_one_of(found, choices(value, parameters))
        case Comparison.NOT_IN:
            return all_of([is_scalar(found), negated(is_one_of(found, choices(value, parameters)))])
        case Comparison.CONTAINS:
            return _contains(found, value, parameters)
        case Comparison.CONTAINS_ANY | Comparison.CONTAINS_ALL:
            return call(f"core.{comparison}", found, choices(value, parameters), _parts(value, parameters))
        case Comparison.STARTS_WITH:
            return exp.StartsWith(this=as_text(found), expression=parameters.text(str(value)))
        case Comparison.ENDS_WITH:
            return eq(
                call("right", as_text(found), parameters.cast(str(len(str(value))), "int")), parameters.text(str(value))
            )
        case Comparison.MATCHES:
            return exp.Like(this=as_text(found), expression=parameters.text(_pattern(str(value))))
        case _:
            return _ordered(comparison, found, value, parameters)


def _ordered(comparison: Comparison, found: exp.Expr, value: Value, parameters: Parameters) -> exp.Expr:
    """Numbers as numbers, texts by code point."""
    if isinstance(value[0] if isinstance(value, tuple) else value, Decimal):
        return number_holds(comparison, value, as_number(found), parameters)
    text = by_code_point(as_text(found))
    if isinstance(value, tuple):
        least, most = (parameters.text(str(end)) for end in value)
        return all_of([ge(text, least), le(text, most)])
    return OPERATORS[comparison](this=text, expression=parameters.text(str(value)))


def number_holds(
    comparison: Comparison, value: Value, number: exp.Expr, parameters: Parameters, per: exp.Expr | None = None
) -> exp.Expr:
    """With `per`, the number is divided by it, without a division: nothing is rounded."""
    ends = [parameters.number(Decimal(each)) for each in (value if isinstance(value, tuple) else (value,)) if each is not None]  # fmt: skip
    if per is not None:
        ends = [exp.Mul(this=each, expression=per) for each in ends]
    if comparison is Comparison.BETWEEN:
        return all_of([ge(number, ends[0]), le(number, ends[1])])
    return OPERATORS[comparison](this=number, expression=ends[0])


def _contains(found: exp.Expr, value: Value, parameters: Parameters) -> exp.Expr:
    """`@>` of a list asks for a scalar at its top level, as it is: 1 is not "1"."""
    element = exp.ArrayContainsAll(this=found, expression=_json(value, parameters))
    is_element = all_of([is_kind(found, "array"), element])
    if not isinstance(value, str):
        return is_element
    place = exp.StrPosition(this=as_text(found), substr=parameters.text(value))
    return any_of([gt(place, whole(0)), is_element])


def choices(value: Value, parameters: Parameters) -> exp.Expr:
    """An array, in which Postgres looks values up by their hash."""
    return parameters.cast(texts(written_scalar(each) for each in _several(value)), "jsonb[]")


def _parts(value: Value, parameters: Parameters) -> exp.Expr:
    """What a text must contain. Of choices that are no texts it contains none."""
    parts = [each for each in _several(value) if isinstance(each, str)]
    return parameters.cast(texts(parts), "text[]") if len(parts) == len(_several(value)) else cast(exp.null(), "text[]")


def _several(value: Value) -> tuple[Scalar, ...]:
    return value if isinstance(value, tuple) else ()


def _pattern(written: str) -> str:
    """As LIKE takes it: `*` is any run of characters, `?` is one, all else is itself."""
    return written.translate({ord("\\"): "\\\\", ord("%"): "\\%", ord("_"): "\\_", ord("*"): "%", ord("?"): "_"})


# -- JSON -----------------------------------------------------------------------------------------------------------


def _json(value: Value, parameters: Parameters) -> exp.Expr:
    return parameters.cast(written_scalar(value), "jsonb")  # type: ignore[arg-type]  # a scalar: the tree checked it


def kind(found: exp.Expr) -> exp.Expr:
    return call("jsonb_typeof", found)


def is_kind(found: exp.Expr, name: str) -> exp.Expr:
    return eq(kind(found), constant(name))


def is_scalar(found: exp.Expr) -> exp.Expr:
    return exp.In(this=kind(found), expressions=[constant(each) for each in ("string", "number", "boolean")])


def _kind_of(value: Value) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


def as_number(found: exp.Expr) -> exp.Expr:
    """CASE keeps the cast from texts, on which it fails."""
    return case(is_kind(found, "number"), cast(found, "numeric"))


def as_text(found: exp.Expr) -> exp.Expr:
    text = exp.JSONBExtractScalar(this=exp.paren(found, copy=False), expression=constant("{}"))
    return case(is_kind(found, "string"), text)

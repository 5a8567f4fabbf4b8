"""Rules as one SQL query, built from sqlglot expressions: no text of a rule ever becomes SQL, only parameters.

All rules of a query share their leaves and one pass over the events. A leaf gives two columns, *is it true* and *when
could that change if nothing happens* (infinity: never). The tree then needs no case analysis. With, for each node,

    until_false = the instant until which it is surely true, or -infinity when it is false now
    until_true  = the instant until which it is surely false, or -infinity when it is true now

`and` is (least, greatest) of its children's, `or` is (greatest, least), and `not` swaps the two: an `and` with one false
child whose answer cannot change is settled for ever, whatever its other children do.

Columns of the result: rule (the key given), profile_id, is_in, next_change_at (null: never), at (as of when).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, auto
from math import ceil, floor
from typing import Final

from sqlglot import exp

from segments.language.json_form import canonical
from segments.language.tree import (
    Aggregate,
    And,
    Comparison,
    Condition,
    Event,
    Leaf,
    Learned,
    Node,
    Not,
    Or,
    Trait,
    Value,
    leaves_of,
)  # fmt: skip
from segments.language.written import written_scalar

DIALECT: Final = "postgres"
MAX_COLUMNS: Final = 1_200
"""Postgres allows 1,664 in a select list; a leaf takes four at most."""


class Asked(Enum):
    """About whom a query asks, and as of when. It takes, besides the values of its rules:"""

    EVERYBODY = auto()
    """`now`"""
    SOME = auto()
    """`profiles`, `identifiers` that are theirs, and `now`: the instant is a constant, so windows bound what is read."""
    EACH_AT_ITS_INSTANT = auto()
    """`profiles`, `identifiers` that are theirs, and `instants`, one for each profile."""


@dataclass(frozen=True, slots=True)
class Query:
    sql: str
    parameters: Mapping[str, str]


def compile_rules(rules: Mapping[int, Node], asked: Asked) -> Query:
    """The query that evaluates these rules at once."""
    parameters = _Parameters()
    leaves = [_compiled(leaf, f"l{place}", parameters) for place, leaf in enumerate(_distinct(rules.values()))]
    tree = _Tree({leaf.key: leaf for leaf in leaves})
    facts = _facts(leaves, asked)
    known = _known(leaves, list(facts)).subquery("known", copy=False)
    query = _answer(rules, tree) if len(rules) == 1 else _each_answer(rules, tree)
    query = query.from_(known, copy=False)
    if asked is not Asked.EVERYBODY:
        query = query.with_("asked", as_=_asked(asked), materialized=True, copy=False)
    query = query.with_("subject", as_=_subjects(asked), copy=False)
    for name, fact in facts.items():
        query = query.with_(name, as_=fact, copy=False)
    return Query(query.sql(DIALECT, copy=False), parameters.values)


def _answer(rules: Mapping[int, Node], tree: "_Tree") -> exp.Select:
    """Of a single rule, without a join: over everybody that took longer than all else."""
    ((key, rule),) = rules.items()
    columns = {
        "rule": exp.Literal.number(key), "profile_id": exp.column("profile_id", "known"), "is_in": tree.is_true(rule),
        "next_change_at": tree.next_change(rule), "at": exp.column("at", "known"),
    }  # fmt: skip
    return exp.select(*(exp.alias_(value, name, copy=False) for name, value in columns.items()), copy=False)


def _each_answer(rules: Mapping[int, Node], tree: "_Tree") -> exp.Select:
    query = exp.select("answer.rule", "known.profile_id", "answer.is_in", "answer.next_change_at", "known.at")
    return query.join(_answers(rules, tree), join_type="cross", copy=False)


def _answers(rules: Mapping[int, Node], tree: "_Tree") -> exp.Expr:
    """A row for each rule. From arrays: Postgres prepares them once, but rows of VALUES anew for every profile."""
    columns = {
        "rule": [exp.Literal.number(key) for key in rules],
        "is_in": [tree.is_true(rule) for rule in rules.values()],
        "next_change_at": [tree.next_change(rule) for rule in rules.values()],
    }
    alias = exp.TableAlias(this=exp.to_identifier("answer"), columns=[exp.to_identifier(name) for name in columns])
    return exp.Unnest(expressions=[exp.Array(expressions=values) for values in columns.values()], alias=alias)


def chunks_of(rules: Mapping[int, Node]) -> Iterator[Mapping[int, Node]]:
    """Rules that fit into one query together. A single rule always does."""
    chunk: dict[int, Node] = {}
    columns = 0
    for key, rule in rules.items():
        wanted = sum(_MOST_COLUMNS[type(leaf)] for leaf in _distinct([rule]))
        if chunk and columns + wanted > MAX_COLUMNS:
            yield chunk
            chunk, columns = {}, 0
        chunk[key] = rule
        columns += wanted
    if chunk:
        yield chunk


_MOST_COLUMNS: Final[Mapping[type, int]] = {Trait: 1, Learned: 1, Event: 4}


# -- small expressions ----------------------------------------------------------------------------------------------

# Nothing is copied while a query is built, for that is most of the work on large rules: hence `copy=False` everywhere.


def _never() -> exp.Expr:
    return _cast(exp.Literal.string("infinity"), "timestamptz")


def _not_so() -> exp.Expr:
    return _cast(exp.Literal.string("-infinity"), "timestamptz")


def _cast(value: exp.Expr, kind: str) -> exp.Expr:
    return exp.cast(value, kind, copy=False)


@dataclass(slots=True)
class _Parameters:
    """Every value of a rule travels beside the SQL. `text` gives its placeholder, cast to a type."""

    values: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def cast(self, value: str, kind: str) -> exp.Expr:
        name = self.names.setdefault(value, f"v{len(self.names)}")
        self.values[name] = value
        return _cast(exp.Placeholder(this=name), kind)


def _given(name: str, kind: str) -> exp.Expr:
    return _cast(exp.Placeholder(this=name), kind)


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _filtered(aggregate: exp.Expr, condition: exp.Expr) -> exp.Expr:
    return exp.Filter(this=aggregate, expression=exp.Where(this=condition))


def _coalesce(first: exp.Expr, otherwise: exp.Expr) -> exp.Expr:
    return exp.Coalesce(this=first, expressions=[otherwise])


def _eq(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.EQ(this=left, expression=right)


def _any_of(column: exp.Expr, array: exp.Expr) -> exp.Expr:
    return exp.EQ(this=column, expression=exp.Any(this=exp.paren(array, copy=False)))


def _all(conditions: Sequence[exp.Expr]) -> exp.Expr:
    return exp.and_(*conditions, copy=False) if conditions else exp.true()


# -- leaves ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    """What is aggregated for each profile in the pass over a table of facts."""

    name: str
    aggregate: exp.Expr


@dataclass(frozen=True, slots=True)
class _CompiledLeaf:
    key: str
    leaf: Leaf
    columns: Sequence[_Column]
    is_true: exp.Expr
    next_change: exp.Expr | None
    """Over `columns`; none when the passing of time alone changes nothing."""
    name: exp.Expr
    """Which rows the pass must see: those of this event, trait or model,"""
    window: exp.Expr | None
    """and these no older than that."""


def _distinct(rules: Iterable[Node]) -> list[Leaf]:
    return list({canonical(leaf): leaf for rule in rules for leaf in leaves_of(rule)}.values())


def _compiled(leaf: Leaf, alias: str, parameters: _Parameters) -> _CompiledLeaf:
    if isinstance(leaf, Event):
        return _event_leaf(leaf, alias, parameters)
    if isinstance(leaf, Trait):
        return _trait_leaf(leaf, alias, parameters)
    return _learned_leaf(leaf, alias, parameters)


def _trait_leaf(leaf: Trait, alias: str, parameters: _Parameters) -> _CompiledLeaf:
    name = parameters.cast(leaf.condition.name, "text")
    holds = _holds(leaf.condition, exp.column("value", "t"), parameters)
    return _plain_leaf(leaf, alias, name, _all([_eq(exp.column("name", "t"), name), holds]))


def _learned_leaf(leaf: Learned, alias: str, parameters: _Parameters) -> _CompiledLeaf:
    name = parameters.cast(leaf.model, "text")
    group = _eq(exp.column(exp.to_identifier("group", quoted=True), "s"), parameters.cast(leaf.group, "text"))
    return _plain_leaf(leaf, alias, name, _all([_eq(exp.column("model_slug", "s"), name), group]))


def _plain_leaf(leaf: Leaf, alias: str, name: exp.Expr, holds: exp.Expr) -> _CompiledLeaf:
    column = _Column(alias, exp.LogicalOr(this=holds))
    is_true = _coalesce(exp.column(alias, "known"), exp.false())
    return _CompiledLeaf(canonical(leaf), leaf, [column], is_true, None, name, None)


def _event_leaf(leaf: Event, alias: str, parameters: _Parameters) -> _CompiledLeaf:
    name = parameters.cast(leaf.measured.event, "text")
    period = leaf.measured.period
    window = parameters.cast(f"{period.seconds} seconds", "interval") if period else None
    at, instant = exp.column("occurred_at", "e"), exp.column("at", "e")
    counted: list[exp.Expr] = [_eq(exp.column("name", "e"), name)]
    counted += [
        _holds(condition, _property(condition.name, parameters), parameters) for condition in leaf.measured.where
    ]
    amount = _amount(leaf.measured.measure, parameters) if isinstance(leaf.measured.measure, Aggregate) else None
    if amount is not None:
        counted.append(exp.NEQ(this=amount, expression=exp.Literal.number(0)))
    begins = [
        _Column(f"{alias}_next", _filtered(exp.Min(this=at), _all([*counted, exp.GT(this=at, expression=instant)])))
    ]
    happened = [*counted, exp.LTE(this=at, expression=instant)]
    if window is not None:
        happened.append(exp.GT(this=at, expression=exp.Sub(this=instant, expression=window)))
    measure = _filtered(exp.Count(this=exp.Star()) if amount is None else exp.Sum(this=amount), _all(happened))
    ends = [_Column(*each) for each in _ends(leaf, alias, _all(happened))] if window is not None else []
    value = _coalesce(exp.column(alias, "known"), exp.Literal.number(0))
    number = parameters.cast(f"{leaf.value:f}", "numeric")
    changes: list[exp.Expr] = [exp.column(begins[0].name, "known")]
    changes += [exp.Add(this=exp.column(each.name, "known"), expression=window) for each in ends]
    return _CompiledLeaf(
        canonical(leaf),
        leaf,
        [_Column(alias, measure), *begins, *ends],
        _compared(leaf.comparison, value, number),
        _coalesce(exp.Least(this=changes[0], expressions=changes[1:]), _never())
        if ends
        else _coalesce(changes[0], _never()),
        name,
        window,
    )


def _ends(leaf: Event, alias: str, happened: exp.Expr) -> Iterator[tuple[str, exp.Expr]]:
    """The events whose leaving the window could change the answer.

    Of a count it is the n-th newest where n is what the count must not fall below: exact. A sum may change with every
    event that leaves, so it is the oldest: early, never late.
    """
    at = exp.column("occurred_at", "e")
    if isinstance(leaf.measured.measure, Aggregate):
        yield f"{alias}_end0", _filtered(exp.Min(this=at), happened)
        return
    newest_first = exp.Order(this=at, expressions=[exp.Ordered(this=at, desc=True, nulls_first=True)])
    for place, threshold in enumerate(sorted(_thresholds(leaf.comparison, leaf.value))):
        if threshold == 1:
            yield f"{alias}_end{place}", _filtered(exp.Max(this=at), happened)
        elif threshold > 1:
            all_times = _filtered(_call("array_agg", newest_first), happened)
            position = [exp.Literal.number(threshold)]
            yield (
                f"{alias}_end{place}",
                exp.Bracket(this=exp.paren(all_times, copy=False), expressions=position, offset=1),
            )


def _thresholds(comparison: Comparison, number: Decimal) -> set[int]:
    """Counts whose being reached or not decides the comparison."""
    reaches, exceeds = ceil(number), floor(number) + 1
    if comparison in {Comparison.GREATER_OR_EQUAL, Comparison.LESS}:
        return {reaches}
    if comparison in {Comparison.GREATER, Comparison.LESS_OR_EQUAL}:
        return {exceeds}
    return {reaches, exceeds} if reaches == number else set()


def _property(name: str, parameters: _Parameters) -> exp.Expr:
    return _call("jsonb_object_field", exp.column("properties", "e"), parameters.cast(name, "text"))


def _amount(measure: Aggregate, parameters: _Parameters) -> exp.Expr:
    """The property as a number, null for everything else."""
    return _as_number(_property(measure.property.name, parameters))


# -- comparisons of JSON values: true, false or null, and null counts as false in FILTER and bool_or ------------------


def _holds(  # noqa: PLR0911  # one return for each way of comparing
    condition: Condition, found: exp.Expr, parameters: _Parameters
) -> exp.Expr:
    comparison, value = condition.comparison, condition.value
    if comparison is Comparison.EXISTS:
        return exp.NEQ(this=_kind(found), expression=exp.Literal.string("null"))
    if comparison is Comparison.EQUALS:
        return _eq(found, _json(value, parameters))
    if isinstance(value, tuple):
        choices = f"[{', '.join(written_scalar(each) for each in value)}]"
        return _is_element(found, parameters.cast(choices, "jsonb"))
    if comparison is Comparison.NOT_EQUALS:
        return _all([_is_kind(found, _kind_of(value)), exp.NEQ(this=found, expression=_json(value, parameters))])
    if comparison is Comparison.CONTAINS:
        return _contains(found, value, parameters)
    if comparison is Comparison.STARTS_WITH:
        return exp.StartsWith(this=_as_text(found), expression=parameters.cast(str(value), "text"))
    if isinstance(value, Decimal):
        return _compared(comparison, _as_number(found), parameters.cast(f"{value:f}", "numeric"))
    by_code_point = exp.Collate(this=_as_text(found), expression=exp.to_identifier("C", quoted=True))
    return _compared(comparison, by_code_point, parameters.cast(str(value), "text"))


def _contains(found: exp.Expr, value: Value, parameters: _Parameters) -> exp.Expr:
    is_element = _all([_is_kind(found, "array"), _is_element(_json(value, parameters), found)])
    if not isinstance(value, str):
        return is_element
    place = exp.StrPosition(this=_as_text(found), substr=parameters.cast(value, "text"))
    return exp.or_(exp.GT(this=place, expression=exp.Literal.number(0)), is_element)


def _is_element(found: exp.Expr, elements: exp.Expr) -> exp.Expr:
    """`@>` of an array asks for scalars at its top level, as they are: 1 is not "1"."""
    kinds = [exp.Literal.string(each) for each in ("array", "object")]
    is_scalar = exp.not_(exp.In(this=_kind(found), expressions=kinds), copy=False)
    return _all([is_scalar, exp.ArrayContainsAll(this=elements, expression=found)])


def _compared(comparison: Comparison, left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return _OPERATORS[comparison](this=left, expression=right)


_OPERATORS: Final[Mapping[Comparison, type[exp.Binary]]] = {
    Comparison.EQUALS: exp.EQ,
    Comparison.NOT_EQUALS: exp.NEQ,
    Comparison.GREATER: exp.GT,
    Comparison.GREATER_OR_EQUAL: exp.GTE,
    Comparison.LESS: exp.LT,
    Comparison.LESS_OR_EQUAL: exp.LTE,
}


def _json(value: Value, parameters: _Parameters) -> exp.Expr:
    return parameters.cast(written_scalar(value), "jsonb")  # type: ignore[arg-type]  # a scalar: the tree checked it


def _kind(found: exp.Expr) -> exp.Expr:
    return _call("jsonb_typeof", found)


def _is_kind(found: exp.Expr, kind: str) -> exp.Expr:
    return _eq(_kind(found), exp.Literal.string(kind))


def _kind_of(value: Value) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


def _as_number(found: exp.Expr) -> exp.Expr:
    """CASE keeps the cast from texts, on which it fails."""
    return exp.Case(ifs=[exp.If(this=_is_kind(found, "number"), true=_cast(found, "numeric"))])


def _as_text(found: exp.Expr) -> exp.Expr:
    text = exp.JSONBExtractScalar(this=exp.paren(found, copy=False), expression=exp.Literal.string("{}"))
    return exp.paren(exp.Case(ifs=[exp.If(this=_is_kind(found, "string"), true=text)]))


# -- facts of each profile ------------------------------------------------------------------------------------------


def _subjects(asked: Asked) -> exp.Query:
    """The live profiles that the purpose may see. Who is none of them has no row in the result."""
    people = exp.select("p.id AS profile_id", exp.alias_(_given("now", "timestamptz"), "at")).from_("profile AS p")
    return people if asked is Asked.EVERYBODY else exp.select("profile_id", "at").from_("asked").where("is_seen")


def _asked(asked: Asked) -> exp.Query:
    """Those that are asked about, whether they are seen or not: Postgres knows how many these are, whatever it takes the
    tables for. Of so many it never goes over the facts once for each.
    """
    at = _instants() if asked is Asked.EACH_AT_ITS_INSTANT else exp.alias_(_given("now", "timestamptz"), "at")
    each = exp.select(exp.alias_(_call("unnest", _given("profiles", "bigint[]")), "profile_id"), at)
    seen = exp.select("p.id").from_("profile AS p").where(_is_asked("p", "id"))
    query = exp.select("one.profile_id", "one.at", "p.id IS NOT NULL AS is_seen").from_(each.subquery("one"))
    return query.join(seen.subquery("p"), on="p.id = one.profile_id", join_type="left")


def _instants() -> exp.Expr:
    return exp.alias_(_call("unnest", _given("instants", "timestamptz[]")), "at")


def _is_asked(table: str, column: str = "profile_id") -> exp.Expr:
    """Said once more for every table: conditions reach its index through the view of the purpose, and joins do not.

    Events know no profile, hence the identifiers: else Postgres may read every event of a name.
    """
    return _any_of(exp.column(column, table), _given("profiles", "bigint[]"))


_TABLES: Final[Mapping[type, tuple[str, str, str]]] = {
    Trait: ("trait", "t", "name"),
    Learned: ("score", "s", "model_slug"),
}


def _facts(leaves: Sequence[_CompiledLeaf], asked: Asked) -> dict[str, exp.Query]:
    """One pass over each table that a leaf needs: a row for each profile, a column for each leaf."""
    facts: dict[str, exp.Query] = {}
    if events := [leaf for leaf in leaves if isinstance(leaf.leaf, Event)]:
        facts["of_event"] = _aggregated(_events(events, asked).subquery("e", copy=False), "e", events)
    for kind, (table, alias, name) in _TABLES.items():
        if found := [leaf for leaf in leaves if isinstance(leaf.leaf, kind)]:
            query = _aggregated(exp.to_table(table, alias=alias), alias, found).where(
                _named(alias, name, found), copy=False
            )
            narrowed = _speaks_for_one(found) if asked is Asked.EVERYBODY else _is_asked(alias)
            facts[f"of_{table}"] = query.where(narrowed, copy=False)
    return facts


def _speaks_for_one(leaves: Sequence[_CompiledLeaf]) -> exp.Expr:
    """Rows by which a leaf is true. The others need not be grouped: without any row a leaf is false as well."""
    return exp.or_(*(column.aggregate.this.copy() for leaf in leaves for column in leaf.columns), copy=False)


def _aggregated(source: exp.Expr, alias: str, leaves: Sequence[_CompiledLeaf]) -> exp.Select:
    columns = [exp.alias_(column.aggregate, column.name, copy=False) for leaf in leaves for column in leaf.columns]
    query = exp.select(f"{alias}.profile_id").select(*columns, copy=False)
    return query.from_(source, copy=False).group_by(f"{alias}.profile_id", copy=False)


def _events(leaves: Sequence[_CompiledLeaf], asked: Asked) -> exp.Select:
    """The events that any leaf may count, each with the instant as of which its profile is evaluated."""
    columns = [exp.column(name, "e") for name in ("profile_id", "name", "occurred_at", "properties")]
    query = exp.select(*columns).from_("event AS e").where(_named("e", "name", leaves), copy=False)
    is_for_each = asked is Asked.EACH_AT_ITS_INSTANT
    earliest = _earliest_instant() if is_for_each else _given("now", "timestamptz")
    if asked is not Asked.EVERYBODY:
        of_theirs = _any_of(exp.column("identifier_id", "e"), _given("identifiers", "bigint[]"))
        query = query.where(_is_asked("e"), of_theirs)
    if longest := _longest_window(leaves):
        query = query.where(
            exp.GT(this=exp.column("occurred_at", "e"), expression=exp.Sub(this=earliest, expression=longest)),
            copy=False,
        )
    return _at_their_instants(query) if is_for_each else query.select(exp.alias_(earliest, "at"))


def _earliest_instant() -> exp.Expr:
    return exp.paren(exp.select(exp.Min(this=exp.column("at"))).from_(exp.select(_instants()).subquery("i")))


def _at_their_instants(events: exp.Select) -> exp.Select:
    """From the subjects on, of which it is known how many they are. Who has no event has a row that no leaf counts."""
    query = exp.select("s.profile_id", "e.name", "e.occurred_at", "e.properties", "s.at").from_("subject AS s")
    return query.join(events.subquery("e"), on="e.profile_id = s.profile_id", join_type="left")


def _longest_window(leaves: Sequence[_CompiledLeaf]) -> exp.Expr | None:
    """None when a leaf counts events of all times."""
    lengths = {leaf.leaf.measured.period.seconds: leaf.window for leaf in leaves
               if isinstance(leaf.leaf, Event) and leaf.leaf.measured.period}  # fmt: skip
    is_bounded = all(leaf.window is not None for leaf in leaves)
    return lengths[max(lengths)] if is_bounded else None


def _named(alias: str, column: str, leaves: Sequence[_CompiledLeaf]) -> exp.Expr:
    names = list({leaf.name.sql(DIALECT): leaf.name for leaf in leaves}.values())
    if len(names) == 1:
        return _eq(exp.column(column, alias), names[0])
    return exp.In(this=exp.column(column, alias), expressions=names)


def _known(leaves: Sequence[_CompiledLeaf], facts: Sequence[str]) -> exp.Select:
    columns = [exp.column(column.name) for leaf in leaves for column in leaf.columns]
    query = exp.select("subject.profile_id", "subject.at").select(*columns, copy=False).from_("subject", copy=False)
    for fact in facts:
        query = query.join(fact, on=f"{fact}.profile_id = subject.profile_id", join_type="left", copy=False)
    return query


# -- the tree -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tree:
    leaves: Mapping[str, _CompiledLeaf]

    def is_true(self, node: Node) -> exp.Expr:
        if isinstance(node, And):
            return exp.and_(*(self.is_true(child) for child in node.children), copy=False)
        if isinstance(node, Or):
            return exp.or_(*(self.is_true(child) for child in node.children), copy=False)
        if isinstance(node, Not):
            return exp.not_(self.is_true(node.child), copy=False)
        return self.leaves[canonical(node)].is_true

    def next_change(self, node: Node) -> exp.Expr:
        until_false, until_true = self._until(node)
        return exp.Nullif(this=exp.Greatest(this=until_false, expressions=[until_true]), expression=_never())

    def _until(self, node: Node) -> tuple[exp.Expr, exp.Expr]:
        if isinstance(node, Not):
            until_false, until_true = self._until(node.child)
            return until_true, until_false
        if isinstance(node, And | Or):
            both = [self._until(child) for child in node.children]
            false, true = [each[0] for each in both], [each[1] for each in both]
            least, greatest = (false, true) if isinstance(node, And) else (true, false)
            first = exp.Least(this=least[0], expressions=least[1:])
            second = exp.Greatest(this=greatest[0], expressions=greatest[1:])
            return (first, second) if isinstance(node, And) else (second, first)
        leaf = self.leaves[canonical(node)]
        change = _never() if leaf.next_change is None else leaf.next_change
        while_true = exp.Case(ifs=[exp.If(this=leaf.is_true, true=change)], default=_not_so())
        while_false = exp.Case(ifs=[exp.If(this=leaf.is_true, true=_not_so())], default=change)
        return while_true, while_false

"""Rules as one SQL query, built from sqlglot expressions: no text of a rule ever becomes SQL, only parameters.

All rules of a query share their leaves and one pass over the events. A leaf gives two columns, *is it true* and *when
could that change if nothing happens*. With, for each node,

    until_false = the instant until which it is surely true, or -infinity when it is false now
    until_true  = the instant until which it is surely false, or -infinity when it is true now

(infinity: nothing changes by itself) the tree needs no case analysis: `and` is (least, greatest) of its children's, `or`
is (greatest, least), and `not` swaps the two. An `and` with one false child whose answer cannot change is settled for
ever, whatever its other children do. A rule is true when its until_false is not -infinity.

Columns of the result: rule (the key given), profile_id, is_in, next_change_at (null: never), at (as of when).

    draft       what leaves ask for: columns of the passes, calendars of zones
    expressions, values, times     the words: SQL, comparisons of JSON, periods
    measures, ranked, sequences, people    the leaves
    passes      one query over each table of facts
    members     who is in, without deadlines, in another way: for those who ask for nothing else
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from sqlglot import exp

from segments.language.compile import measures, passes, people, ranked, sequences
from segments.language.compile.draft import Asked, Draft
from segments.language.compile.expressions import (
    DIALECT,
    all_of,
    any_of,
    case,
    coalesce,
    column,
    greatest,
    gt,
    instant,
    least,
    negated,
    whole,
)
from segments.language.compile.measures import Answer
from segments.language.compile.sequences import Chain
from segments.language.ranks import Threshold
from segments.language.tree import (
    And,
    Anniversary,
    Consented,
    Dated,
    Event,
    Leaf,
    Learned,
    Listed,
    Member,
    Near,
    Node,
    Not,
    Or,
    Rank,
    Sample,
    Score,
    Sequence,
    Trait,
    leaves_of,
)

__all__ = ["MAX_COLUMNS", "Asked", "Query", "chunks_of", "compile_rules"]

MAX_COLUMNS: Final = 1_200
"""Postgres allows 1,664 in a select list; a leaf takes four at most."""
NO_THRESHOLDS: Final[Mapping[str, Threshold]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Query:
    sql: str
    parameters: Mapping[str, str]


def compile_rules(rules: Mapping[int, Node], asked: Asked, frozen: Mapping[str, Threshold] = NO_THRESHOLDS) -> Query:
    """The query that evaluates these rules at once, computed traits resolved.

    A rank is compared with its threshold in `frozen`, by the canonical form of the leaf: without one nobody is inside.
    """
    draft = Draft(asked, frozen)
    leaves = Leaves(draft)
    answers = {key: leaves.answer(rule) for key, rule in rules.items()}
    is_alone = len(rules) == 1
    query = _answer(rules, answers, leaves) if is_alone else _each_answer(answers)
    facts = dict(passes.facts(draft, leaves.chains))
    known = _known(leaves, list(facts)) if is_alone else _known(leaves, list(facts)).offset(0, copy=False)
    query = query.from_(known.subquery("known", copy=False), copy=False)
    return written(query, {**dict(passes.subjects(draft)), **facts}, draft)


def written(query: exp.Select, tables: Mapping[str, exp.Query], draft: Draft) -> Query:
    """With the tables that it is made from, in the order in which they need each other."""
    for name, table in tables.items():
        query = query.with_(name, as_=table, materialized=True if name in {"asked", "local"} else None, copy=False)
    return Query(query.sql(DIALECT, copy=False), draft.parameters.values)


def on_subject(query: exp.Select, facts: Iterable[str]) -> exp.Select:
    """A row for each profile, with or without facts."""
    query = query.from_("subject", copy=False)
    for fact in facts:
        query = query.join(fact, on=f"{fact}.profile_id = subject.profile_id", join_type="left", copy=False)
    return query


def chunks_of(rules: Mapping[int, Node]) -> Iterator[Mapping[int, Node]]:
    """Rules that fit into one query together. A single rule always does."""
    chunk: dict[int, Node] = {}
    columns = 0
    for key, rule in rules.items():
        wanted = sum(_MOST_COLUMNS.get(type(leaf), 2) for leaf in _distinct(rule))
        if chunk and columns + wanted > MAX_COLUMNS:
            yield chunk
            chunk, columns = {}, 0
        chunk[key] = rule
        columns += wanted
    if chunk:
        yield chunk


_MOST_COLUMNS: Final[Mapping[type, int]] = {Event: 4, Sequence: 4, Rank: 4}


def _distinct(rule: Node) -> Iterable[Leaf]:
    return {repr(leaf): leaf for leaf in leaves_of(rule)}.values()


# -- answers --------------------------------------------------------------------------------------------------------

Until = tuple[exp.Expr, exp.Expr]
"""until_false, until_true"""


def put_together(node: Node, of_leaf: Callable[[Leaf], exp.Expr]) -> exp.Expr:
    """Whether the rule is true, of leaves that are never null."""
    match node:
        case Not(child):
            return negated(put_together(child, of_leaf))
        case And(children):
            return all_of([put_together(child, of_leaf) for child in children])
        case Or(children):
            return any_of([put_together(child, of_leaf) for child in children])
        case _:
            return of_leaf(node)


@dataclass(slots=True)
class Leaves:
    """Every different leaf of the rules once: not compared by ==, for to Python True is 1."""

    draft: Draft
    columns: dict[str, exp.Expr] = field(default_factory=dict)
    chains: list[Chain] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)

    def answer(self, node: Node) -> Until:
        match node:
            case Not(child):
                until_false, until_true = self.answer(child)
                return until_true, until_false
            case And(children):
                both = [self.answer(child) for child in children]
                return least([each[0] for each in both]), greatest([each[1] for each in both])
            case Or(children):
                both = [self.answer(child) for child in children]
                return greatest([each[0] for each in both]), least([each[1] for each in both])
            case _:
                return self._until(self._place(node))

    def is_true(self, node: Node) -> exp.Expr:
        return put_together(node, lambda leaf: column(f"is{self._place(leaf)}", "known"))

    def made(self, leaf: Leaf) -> exp.Expr:
        """Whether it is true, in the row of a profile with all of its facts."""
        return self.columns[f"is{self._place(leaf)}"].copy()

    def _place(self, leaf: Leaf) -> int:
        key = repr(leaf)
        if key not in self.names:
            place = self.names[key] = len(self.names)
            answer = self._compiled(leaf, place)
            self.columns[f"is{place}"] = answer.is_true
            if answer.changes:
                self.columns[f"change{place}"] = coalesce(least(answer.changes), _never())
        return self.names[key]

    def _until(self, place: int) -> Until:
        is_true = column(f"is{place}", "known")
        change = column(f"change{place}", "known") if f"change{place}" in self.columns else _never()
        return case(is_true, change, _not_so()), case(is_true, _not_so(), change)

    def _compiled(self, leaf: Leaf, place: int) -> Answer:
        if isinstance(leaf, Sequence):
            self.chains.append(Chain(leaf, f"q{place}"))
            return sequences.sequence_leaf(leaf, self.chains[-1], self.draft)
        return _COMPILED[type(leaf)](leaf, self.draft)


_COMPILED: Final[Mapping[type, Callable[[Any, Draft], Answer]]] = {
    Event: measures.event_leaf,
    Trait: people.trait_leaf,
    Near: people.near_leaf,
    Dated: people.dated_leaf,
    Anniversary: people.anniversary_leaf,
    Learned: people.learned_leaf,
    Score: people.score_leaf,
    Member: people.member_leaf,
    Consented: people.consented_leaf,
    Sample: people.sample_leaf,
    Listed: people.listed_leaf,
    Rank: ranked.rank_leaf,
}


def _never() -> exp.Expr:
    return instant("infinity")


def _not_so() -> exp.Expr:
    return instant("-infinity")


def _known(leaves: Leaves, facts: Iterable[str]) -> exp.Select:
    """What is known of each leaf, a row for each profile. `OFFSET 0` keeps Postgres from copying that into every rule."""
    columns = [exp.alias_(made, name, copy=False) for name, made in leaves.columns.items()]
    return on_subject(exp.select("subject.profile_id", "subject.at").select(*columns, copy=False), facts)


def _answer(rules: Mapping[int, Node], answers: Mapping[int, Until], leaves: Leaves) -> exp.Select:
    """Of a single rule, without a join: over everybody that took longer than all else. Said so plainly whether it is true
    that Postgres need not look at who has no row that makes it so.
    """
    ((key, until),) = answers.items()
    query = _told(whole(key), *until)
    query.expressions[2].set("this", leaves.is_true(rules[key]))
    return query


def _each_answer(answers: Mapping[int, Until]) -> exp.Select:
    """A row for each rule. From arrays: Postgres prepares them once, but rows of VALUES anew for every profile."""
    columns = {
        "rule": [whole(key) for key in answers],
        "until_false": [until_false for until_false, _ in answers.values()],
        "until_true": [until_true for _, until_true in answers.values()],
    }
    alias = exp.TableAlias(this=exp.to_identifier("answer"), columns=[exp.to_identifier(name) for name in columns])
    rows = exp.Unnest(expressions=[exp.Array(expressions=values) for values in columns.values()], alias=alias)
    query = _told(*(column(name, "answer") for name in columns))
    return query.join(rows, join_type="cross", copy=False)


def _told(rule: exp.Expr, until_false: exp.Expr, until_true: exp.Expr) -> exp.Select:
    columns = {
        "rule": rule,
        "profile_id": column("profile_id", "known"),
        "is_in": gt(until_false, _not_so()),
        "next_change_at": exp.Nullif(this=greatest([until_false, until_true]), expression=_never()),
        "at": column("at", "known"),
    }
    return exp.select(*(exp.alias_(value, name, copy=False) for name, value in columns.items()), copy=False)

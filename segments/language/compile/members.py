"""Who is in now, and nothing else: as a person would write it who knows the question.

No deadline is asked for, so what is counted is only counted. Of an `and`, whose trait, score, list or segment is as asked
is found by their rows alone. Where nobody is in without events, it begins with the events, of those of whom the rest is
true. Then nobody need be looked up: whoever has an event that is seen is seen, as this purpose judges by the person.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from segments.language.compile import NO_THRESHOLDS, Leaves, Query, on_subject, passes, put_together, written
from segments.language.compile.draft import Asked, Draft
from segments.language.compile.expressions import all_of, any_of, column, given, negated, so
from segments.language.compile.measures import is_so_of_nothing
from segments.language.compile.sequences import MOST_TOGETHER
from segments.language.ranks import Threshold
from segments.language.tree import And, Event, Leaf, Measured, Node, Not, Or, Rank, leaves_of
from segments.language.tree import Sequence as Steps


def compile_members(rule: Node, frozen: Mapping[str, Threshold] = NO_THRESHOLDS) -> Query:
    """A row for each member: profile_id. Takes `now`. Computed traits must have been resolved."""
    leaves = Leaves(Draft(Asked.EVERYBODY, frozen, tells_changes=False))
    parts = _Parts()
    for conjunct in _conjuncts(rule):
        parts.add(conjunct, leaves)
    of_profile, of_events = ([_holds(each, leaves) for each in some] for some in (parts.others, parts.of_events))
    leaves.draft.keep({each.name for condition in (*of_profile, *of_events) for each in condition.find_all(exp.Column)})
    if parts.need_events and _is_one_pass(leaves):
        return _from_events(parts.rows, of_profile, of_events, leaves)
    facts = dict(passes.facts(leaves.draft, leaves.chains))
    everybody = on_subject(exp.select("subject.profile_id"), facts)
    everybody = everybody.where(*of_profile, *of_events, *(_is_in(rows, "subject") for rows in parts.rows), copy=False)
    return written(everybody, {**dict(passes.subjects(leaves.draft)), **facts}, leaves.draft)


def _from_events(
    rows: Sequence[exp.Select], of_profile: Sequence[exp.Expr], of_events: Sequence[exp.Expr], leaves: Leaves
) -> Query:
    """What is made of the events of a profile is its row."""
    draft, others = leaves.draft, {}
    if of_profile:
        others = dict(passes.other_facts(draft))
        rows = [*rows, on_subject(exp.select("subject.profile_id"), others).where(*of_profile, copy=False)]
    draft.of_event = [_is_in(each, "e") for each in rows]
    subjects = dict(passes.subjects(draft)) if of_profile or draft.events_need_subject else {}
    [(name, made)] = passes.facts_of_events(draft, leaves.chains)
    subject = exp.select(f"{name}.*", exp.alias_(given("now", "timestamptz"), "at")).from_(name).subquery("subject")
    query = exp.select("subject.profile_id").from_(subject).where(*of_events, copy=False)
    return written(query, {**subjects, **others, name: made}, draft)


def _is_one_pass(leaves: Leaves) -> bool:
    return bool(leaves.draft.events.columns) is not bool(leaves.chains) and len(leaves.chains) <= MOST_TOGETHER


def _is_in(profiles: exp.Select, table: str) -> exp.Expr:
    return exp.In(this=column("profile_id", table), query=profiles.subquery(copy=False))


# -- the parts of a rule --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Parts:
    """What must all be true of a profile."""

    rows: list[exp.Select] = field(default_factory=list)
    """That it has one of these."""
    of_events: list[Node] = field(default_factory=list)
    """And of nothing else."""
    others: list[Node] = field(default_factory=list)

    def add(self, part: Node, leaves: Leaves) -> None:
        rows = None if isinstance(part, And | Or | Not) else passes.whose_row(so(leaves.made(part)), leaves.draft)
        if rows is not None:
            self.rows.append(rows)
        elif all(_asks_events(leaf) and not _asks_others(leaf) for leaf in leaves_of(part)):
            self.of_events.append(part)
        else:
            self.others.append(part)

    @property
    def need_events(self) -> bool:
        """Nobody is in without, and they can be asked about last."""
        is_plain = not any(_asks_events(leaf) for part in self.others for leaf in leaves_of(part))
        return is_plain and not all(map(_is_true_of_nothing, self.of_events))


def _conjuncts(node: Node) -> Iterator[Node]:
    if not isinstance(node, And):
        yield node
        return
    for child in node.children:
        yield from _conjuncts(child)


def _asks_events(leaf: Leaf) -> bool:
    return isinstance(leaf, Event | Steps) or (isinstance(leaf, Rank) and isinstance(leaf.of, Measured))


def _asks_others(leaf: Leaf) -> bool:
    return isinstance(leaf, Rank) and leaf.among is not None


def _is_true_of_nothing(node: Node) -> bool:
    """Of whom no event counts, if it is about events alone."""
    match node:
        case Not(child):
            return not _is_true_of_nothing(child)
        case And(children):
            return all(map(_is_true_of_nothing, children))
        case Or(children):
            return any(map(_is_true_of_nothing, children))
        case _:
            return isinstance(node, Event) and is_so_of_nothing(node)


# -- conditions -----------------------------------------------------------------------------------------------------


def _holds(node: Node, leaves: Leaves) -> exp.Expr:
    """For WHERE, to which null is false: so Postgres sees that who has no row is out, and need not look for whom."""
    match node:
        case And(children):
            return all_of([_holds(child, leaves) for child in children])
        case Or(children):
            return any_of([_holds(child, leaves) for child in children])
        case Not(child):
            return negated(put_together(child, leaves.made))
        case _:
            return so(leaves.made(node))

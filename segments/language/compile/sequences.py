"""Sequences: window functions over the events that any step names, in the order of time.

Of the chains that end at an event, the one that started latest is kept: no other one is within a time, is free of what
must not lie between, or counts for longer, if that one is not, or does not. Starts that do not count now are left out
before. So a chain is followed step by step,

    start_1(e) = e                                           if e is the first step, and counts now
    start_k(e) = the latest start_(k-1) strictly before e    if e is the k-th step

and a profile is found by the latest start of all of its chains that are complete.
"""

from collections.abc import Iterable
from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from typing import Final

from sqlglot import exp

from segments.language.compile import times
from segments.language.compile.draft import Draft
from segments.language.compile.expressions import (
    all_of,
    any_of,
    case,
    cast,
    coalesce,
    column,
    constant,
    earliest,
    ge,
    gt,
    is_known,
    is_missing,
    latest,
    le,
    lt,
    negated,
    plus,
    surely,
)
from segments.language.compile.measures import Answer, is_event
from segments.language.tree import MAX_STEPS, Sequence, Step

MOST_TOGETHER: Final = 40
"""Sequences that are followed in one pass: a row of it has three columns for each step."""

EVENT: Final = "q"


@dataclass(slots=True)
class Chain:
    """The columns of a sequence in the row of an event."""

    leaf: Sequence
    name: str
    flags: dict[str, exp.Expr] = field(default_factory=dict)

    def __getitem__(self, part: str | int) -> exp.Expr:
        return column(f"{self.name}_{part}", EVENT)

    @property
    def last(self) -> exp.Expr:
        return self[f"start{len(self.leaf.steps)}"]


def sequence_leaf(leaf: Sequence, chain: Chain, draft: Draft) -> Answer:
    """What a row of an event must know is put into the chain; what a profile knows of it is told here."""
    draft.chained.reach.include(times.bound(leaf.period))
    counts = times.counts(leaf.period, draft)
    for place, step in enumerate(leaf.steps, start=1):
        chain.flags[f"is{place}"] = surely(all_of([*_is(step, draft), *(counts if place == 1 else [])]))
    chain.flags["comes"] = surely(any_of(_coming(leaf, draft)))
    if leaf.without:
        chain.flags["breaks"] = surely(any_of([all_of(_is(step, draft)) for step in leaf.without]))
    if leaf.then_not is not None:
        chain.flags["ends"] = surely(all_of(_is(leaf.then_not, draft)))
    start, coming, waiting = (column(f"{chain.name}_{part}") for part in ("found", "coming", "waiting"))
    changes = [*times.ends_at(leaf.period, start, draft), coming]
    period = times.begins_later(leaf.period)
    if period is not None:
        chain.flags["begins"] = surely(all_of([*_is(leaf.steps[0], draft), negated(times.has_begun(period, draft))]))
        changes.append(times.begins_at(period, column(f"{chain.name}_beginning"), draft))
    if leaf.then_not is not None and leaf.within is not None:
        changes.append(plus(waiting, draft.parameters.seconds(leaf.within.seconds)))
    return Answer(is_known(start), changes)


def _is(step: Step, draft: Draft) -> list[exp.Expr]:
    return is_event(step, draft.chained, draft.parameters)


def _coming(leaf: Sequence, draft: Draft) -> list[exp.Expr]:
    """Any event of the chain that is still to come."""
    steps = [*leaf.steps, *leaf.without, *([leaf.then_not] if leaf.then_not else [])]
    is_later = gt(times.happened(), times.asked_at())
    return [all_of([*_is(Step(name), draft), is_later]) for name in {step.event: None for step in steps}]


def followed(events: exp.Select, chains: Several[Chain], draft: Draft) -> exp.Select:
    """A row for each profile, from the events that any leaf of the query may count."""
    rows = _flagged(events, chains)
    for place in range(2, MAX_STEPS + 1):
        going = [chain for chain in chains if len(chain.leaf.steps) >= place]
        if not going:
            break
        rows = _stepped(rows, going, place)
    rows = _looked_around(rows, chains)
    return _found(rows, chains, draft)


def _flagged(events: exp.Select, chains: Several[Chain]) -> exp.Select:
    """Events that are none of any chain are left out here."""
    flags = [
        exp.alias_(made, f"{chain.name}_{part}", copy=False) for chain in chains for part, made in chain.flags.items()
    ]
    rows = exp.select("e.profile_id", "e.occurred_at", "e.at").select(*flags, copy=False)
    rows = rows.from_(events.subquery("e", copy=False), copy=False)
    firsts = [exp.alias_(case(chain["is1"], column("occurred_at", EVENT)), f"{chain.name}_start1") for chain in chains]
    return _rows(rows).select(*firsts, copy=False)


def _rows(source: exp.Select) -> exp.Select:
    return exp.select(f"{EVENT}.*").from_(source.subquery(EVENT, copy=False), copy=False)


def _stepped(rows: exp.Select, chains: Several[Chain], place: int) -> exp.Select:
    columns = [
        exp.alias_(
            case(chain[f"is{place}"], _before(exp.Max(this=chain[f"start{place - 1}"]))), f"{chain.name}_start{place}"
        )
        for chain in chains
    ]
    return _rows(rows).select(*columns, copy=False)


def _looked_around(rows: exp.Select, chains: Several[Chain]) -> exp.Select:
    """The last event before that breaks a chain, and the first after that must not come."""
    at = column("occurred_at", EVENT)
    breaking = [
        exp.alias_(_before(exp.Max(this=case(chain["breaks"], at))), f"{chain.name}_broken")
        for chain in chains if chain.leaf.without
    ]  # fmt: skip
    ending = [
        exp.alias_(_before(exp.Min(this=case(chain["ends"], at)), is_after=True), f"{chain.name}_ended")
        for chain in chains if chain.leaf.then_not
    ]  # fmt: skip
    return _rows(rows).select(*breaking, *ending, copy=False) if breaking or ending else rows


def _before(aggregate: exp.Expr, *, is_after: bool = False) -> exp.Expr:
    """Over the events strictly before this one, or, in the other order, strictly after it."""
    ordered = exp.Ordered(this=column("occurred_at", EVENT), desc=is_after, nulls_first=is_after)
    frame = exp.WindowSpec(
        kind="RANGE", start="UNBOUNDED", start_side="PRECEDING",
        end=cast(constant("1 microsecond"), "interval"), end_side="PRECEDING",
    )  # fmt: skip
    order = exp.Order(expressions=[ordered])
    return exp.Window(this=aggregate, partition_by=[column("profile_id", EVENT)], order=order, spec=frame)


def _found(rows: exp.Select, chains: Several[Chain], draft: Draft) -> exp.Select:
    columns = [exp.alias_(made, name, copy=False) for chain in chains for name, made in _columns(chain, draft)]
    query = exp.select(f"{EVENT}.profile_id").select(*columns, copy=False)
    query = query.from_(rows.subquery(EVENT, copy=False), copy=False)
    return query.group_by(f"{EVENT}.profile_id", copy=False)


def _columns(chain: Chain, draft: Draft) -> Iterable[tuple[str, exp.Expr]]:
    at, now = column("occurred_at", EVENT), column("at", EVENT)
    complete = _is_complete(chain, draft)
    if chain.leaf.then_not is None or chain.leaf.within is None:
        yield f"{chain.name}_found", latest(chain.last, complete)
    else:
        until = plus(at, draft.parameters.seconds(chain.leaf.within.seconds))
        stays_away = any_of([is_missing(chain["ended"]), ge(chain["ended"], until)])
        yield f"{chain.name}_found", latest(chain.last, [*complete, stays_away, le(until, now)])
        if draft.tells_changes:
            yield f"{chain.name}_waiting", earliest(at, [*complete, gt(until, now)])
    if draft.tells_changes:
        yield f"{chain.name}_coming", earliest(at, [chain["comes"]])
    if draft.tells_changes and "begins" in chain.flags:
        yield f"{chain.name}_beginning", earliest(at, [chain["begins"]])


def _is_complete(chain: Chain, draft: Draft) -> list[exp.Expr]:
    """Its last event has happened, soon enough, and nothing that breaks it lies between."""
    at, start = column("occurred_at", EVENT), chain.last
    conditions = [is_known(start), le(at, column("at", EVENT))]
    if chain.leaf.within is not None:
        conditions.append(lt(at, plus(start, draft.parameters.seconds(chain.leaf.within.seconds))))
    if chain.leaf.without:
        conditions.append(le(coalesce(chain["broken"], start), start))
    return conditions

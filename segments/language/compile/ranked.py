"""Ranks: the profile's own value beside the frozen one of the last profile that is inside."""

from decimal import Decimal
from math import ceil, floor

from sqlglot import exp

from segments.language.compile import times
from segments.language.compile.draft import Draft
from segments.language.compile.expressions import (
    ahead,
    all_of,
    any_of,
    call,
    case,
    cast,
    column,
    eq,
    gt,
    le,
    lt,
    minus,
    plus,
    surely,
    whole,
)
from segments.language.compile.measures import FOREVER, Answer, Measuring, coming
from segments.language.compile.people import among_members, trait_value
from segments.language.compile.values import as_number
from segments.language.json_form import canonical
from segments.language.ranks import DECIMALS, Threshold
from segments.language.tree import Active, Aggregate, Count, End, Measured, Of, Rank, Since


def rank_leaf(leaf: Rank, draft: Draft) -> Answer:
    """Whoever is not ranked yet, or has no value, is not inside."""
    threshold = draft.frozen.get(canonical(leaf))
    if threshold is None or threshold.value is None:
        return Answer(exp.false())
    if isinstance(leaf.of, Measured):
        value, changes = measured_value(leaf.of, threshold.value, draft)
    else:
        found = trait_value(leaf.of.name, leaf.of.inside, draft)
        value, changes = call("round", as_number(found), whole(DECIMALS)), []
    inside = [_is_inside(value, threshold, draft, is_lowest=leaf.is_lowest)]
    if leaf.among is not None:
        inside.append(among_members(leaf.among, draft))
    return Answer(surely(all_of(inside)), changes)


def _is_inside(value: exp.Expr, threshold: Threshold, draft: Draft, *, is_lowest: bool) -> exp.Expr:
    last = draft.parameters.number(threshold.value or Decimal(0))
    beyond = lt(value, last) if is_lowest else gt(value, last)
    ties = [eq(value, last)]
    if threshold.profile_id is not None:
        last_profile = draft.parameters.cast(str(threshold.profile_id), "bigint")
        ties.append(le(column("profile_id", "subject"), last_profile))
    return any_of([beyond, all_of(ties)])


def measured_value(measured: Measured, last: Decimal, draft: Draft) -> tuple[exp.Expr, list[exp.Expr]]:
    """The rounded value, null of no event; and when it could change so that it matters."""
    measuring = Measuring(measured, draft)
    changes = [coming(measured, draft)]
    oldest = measuring.oldest()
    if oldest is not None:
        changes += times.ends_at(measured.period, oldest, draft)
    match measured.measure:
        case Since():
            value, reached = _since(measuring, measured.measure, last, draft)
            return value, [
                *changes,
                *reached,
                *times.ends_at(measured.period, _since_what(measuring, measured.measure), draft),
            ]
        case Count():
            value = measuring.how_many()
        case Active():
            value = measuring.active(measured.measure)
        case Aggregate(Of.AVERAGE, of):
            value = call("core.average", measuring.total(of), measuring.numbers(of), whole(DECIMALS))
        case Aggregate():
            value = call("round", cast(measuring.number(measured.measure), "numeric"), whole(DECIMALS))
    return case(gt(measuring.how_many(), whole(0)), value), changes


def _since_what(measuring: Measuring, since: Since) -> exp.Expr:
    return measuring.oldest_of_all() if since.end is End.FIRST else measuring.newest()


def _since(measuring: Measuring, since: Since, last: Decimal, draft: Draft) -> tuple[exp.Expr, list[exp.Expr]]:
    """Whole units, which are compared with the frozen ones when as many, or one more, have passed."""
    at = _since_what(measuring, since)
    seconds = exp.Literal.number(since.unit.seconds)
    passed = call("core.whole_units", minus(column("at"), at), seconds)
    reached = [
        ahead(plus(at, draft.parameters.seconds(units * since.unit.seconds)))
        for units in {ceil(last), floor(last) + 1}
        if 0 < units * since.unit.seconds <= FOREVER
    ]
    return passed, reached

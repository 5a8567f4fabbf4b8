"""Leaves about what is known of a profile beside its events."""

from decimal import ROUND_CEILING, Decimal, localcontext
from typing import Final

from sqlglot import exp

from cdp.kernel.purposes import Purpose
from segments.language.compile.draft import Draft, Facts
from segments.language.compile.expressions import (
    ahead,
    all_of,
    any_of,
    at_place,
    by_code_point,
    call,
    case,
    cast,
    column,
    constant,
    eq,
    filtered,
    ge,
    gt,
    is_missing,
    le,
    lt,
    minus,
    plus,
    surely,
    whole,
)
from segments.language.compile.measures import Answer
from segments.language.compile.values import inside, number_holds, trait_holds
from segments.language.errors import LanguageError, closest
from segments.language.tree import (
    Ahead,
    Anniversary,
    Between,
    Calendar,
    CalendarUnit,
    Consented,
    Dated,
    Learned,
    Listed,
    Member,
    Near,
    Past,
    Sample,
    Score,
    Trait,
    Window,
)

_LARGEST: Final = 2**128 - 1


# -- rows by which a leaf is true -----------------------------------------------------------------------------------


def trait_leaf(leaf: Trait, draft: Draft) -> Answer:
    return _any_row(draft.traits, leaf, [
        _is_named(draft.traits, "name", leaf.condition.name, draft),
        trait_holds(leaf.condition, column("value", "t"), draft.parameters),
    ])  # fmt: skip


def near_leaf(leaf: Near, draft: Draft) -> Answer:
    place = [cast(draft.parameters.number(each), "double precision") for each in (leaf.latitude, leaf.longitude)]
    metres = call("core.metres_to", column("value", "t"), *place)
    return _any_row(draft.traits, leaf, [
        _is_named(draft.traits, "name", leaf.trait, draft),
        le(metres, cast(draft.parameters.number(leaf.metres), "double precision")),
    ])  # fmt: skip


def learned_leaf(leaf: Learned, draft: Draft) -> Answer:
    return _any_row(draft.scores, leaf, [
        _is_named(draft.scores, "model_slug", leaf.model, draft),
        eq(column("group", "s"), draft.parameters.text(leaf.group)),
    ])  # fmt: skip


def score_leaf(leaf: Score, draft: Draft) -> Answer:
    return _any_row(draft.scores, leaf, [
        _is_named(draft.scores, "model_slug", leaf.model, draft),
        number_holds(leaf.comparison, leaf.value, column("value", "s"), draft.parameters),
    ])  # fmt: skip


def member_leaf(leaf: Member, draft: Draft) -> Answer:
    """When the other segment changes, who wrote that evaluates this one."""
    return Answer(among_members(leaf.segment, draft))


def among_members(segment: str, draft: Draft) -> exp.Expr:
    return _any_row(draft.members, Member(segment), [
        _is_named(draft.members, "slug", segment, draft),
        *_goes_on(column("entered_at", "m"), column("left_at", "m"), column("at", "m")),
    ]).is_true  # fmt: skip


def listed_leaf(leaf: Listed, draft: Draft) -> Answer:
    return _any_row(draft.lists, leaf, [
        _is_named(draft.lists, "list_slug", leaf.list, draft),
        *_goes_on(column("added_at", "i"), column("removed_at", "i"), column("at", "i")),
    ])  # fmt: skip


def _any_row(facts: Facts, leaf: object, conditions: list[exp.Expr]) -> Answer:
    return Answer(surely(facts.is_any(repr(leaf), conditions)))


def _is_named(facts: Facts, name: str, wanted: str, draft: Draft) -> exp.Expr:
    facts.names[wanted] = draft.parameters.text(wanted)
    return eq(column(name, facts.alias), facts.names[wanted])


def _goes_on(begins: exp.Expr, ends: exp.Expr, at: exp.Expr) -> list[exp.Expr]:
    return [le(begins, at), any_of([is_missing(ends), gt(ends, at)])]


# -- dates ----------------------------------------------------------------------------------------------------------


def trait_value(name: str, path: tuple[str, ...], draft: Draft) -> exp.Expr:
    """As JSON, in the row of the profile: null if it has none."""
    return inside(_of_trait(name, "value", column("value", "t"), draft), path, draft.parameters)


def _of_trait(name: str, what: str, made: exp.Expr, draft: Draft) -> exp.Expr:
    """A profile has a trait once, so there is one to take."""
    row = [_is_named(draft.traits, "name", name, draft)]
    draft.traits.filters.append(row)
    return draft.traits.column((what, name), lambda: at_place(filtered(call("array_agg", made), row), 1))


def dated_leaf(leaf: Dated, draft: Draft) -> Answer:
    """A date counts for one stretch of time, as an event does: its begin and end are found for each profile."""
    date = _of_trait(leaf.trait, "instant", call("core.instant_written", column("value", "t")), draft)
    begins, ends = _stretch(leaf, date, draft)
    at = column("at")
    conditions = [*_is_within(leaf, date, draft), le(begins, at), *([gt(ends, at)] if ends is not None else [])]
    changes = [each for each in (begins, ends) if each is not None]
    return Answer(surely(all_of(conditions)), [ahead(each) for each in changes])


def _stretch(leaf: Dated, date: exp.Expr, draft: Draft) -> tuple[exp.Expr, exp.Expr | None]:
    def later(window: Window) -> exp.Expr:
        return plus(date, draft.parameters.seconds(window.seconds))

    match leaf.period:
        case Window():
            return date, later(leaf.period)
        case Past(latest, earliest):
            return later(latest), None if earliest is None else later(earliest)
        case Ahead(window):
            return minus(date, draft.parameters.seconds(window.seconds)), date
        case Between():
            return date, None
        case Calendar(amount, unit, zone, is_over):
            where = draft.zone(zone)
            begins = draft.local_start(date, unit, 1, where) if is_over else date
            return begins, draft.local_start(date, unit, amount + is_over, where)


def _is_within(leaf: Dated, date: exp.Expr, draft: Draft) -> list[exp.Expr]:
    if not isinstance(leaf.period, Between):
        return []
    begins, ends = leaf.period.begins, leaf.period.ends
    after = [] if begins is None else [ge(date, draft.parameters.instant(begins))]
    return [*after, *([] if ends is None else [lt(date, draft.parameters.instant(ends))])]


def anniversary_leaf(leaf: Anniversary, draft: Draft) -> Answer:
    """From the midnight so many days before the next one, to the midnight after it: two deadlines a year."""
    born = _of_trait(leaf.trait, "date", call("core.date_written", column("value", "t")), draft)
    zone, at = draft.zone(leaf.zone), column("at")
    today = call("core.local_unit", at, constant(CalendarUnit.DAYS), zone)
    following = call("core.next_anniversary", born, today)
    is_true = le(minus(following, today), whole(leaf.days_ahead))
    turns = case(is_true, plus(following, whole(1)), minus(following, whole(leaf.days_ahead)))
    change = call("core.local_instant", cast(turns, "timestamp"), zone)
    return Answer(surely(is_true), [ahead(change)])


# -- the profile itself ---------------------------------------------------------------------------------------------


def consented_leaf(leaf: Consented, draft: Draft) -> Answer:
    """As permissions are at present, whatever instant is asked about: what they were is in the ledger of consent."""
    if leaf.purpose not in list(Purpose):
        message = f"There is no purpose {leaf.purpose!r}"
        raise LanguageError("unknown_purpose", message, suggestion=closest(leaf.purpose, list(Purpose)))
    draft.needs_permission = True
    until, at = column("permitted_until"), column("at")
    mask = exp.BitwiseAnd(this=column("permitted"), expression=whole(Purpose(leaf.purpose).bit))
    has_bit = exp.NEQ(this=exp.paren(mask, copy=False), expression=whole(0))
    is_true = all_of([has_bit, any_of([is_missing(until), gt(until, at)])])
    return Answer(surely(is_true), [ahead(until)])


def sample_leaf(leaf: Sample, draft: Draft) -> Answer:
    """The hash is text, and compared with a bound that is text of the same length: no engine computes a fraction."""
    salted = exp.DPipe(
        this=draft.parameters.text(f"{leaf.salt}:"), expression=cast(column("profile_id", "subject"), "text")
    )
    digest = by_code_point(exp.MD5(this=salted))
    conditions = [ge(digest, draft.parameters.text(_bound(leaf.begins)))]
    conditions.append(lt(digest, draft.parameters.text(_bound(leaf.ends))))
    return Answer(all_of(conditions))


def _bound(percent: Decimal) -> str:
    """The least hash that is this part of the largest, or more."""
    with localcontext(prec=60):
        return f"{int((percent * _LARGEST / 100).to_integral_value(ROUND_CEILING)):032x}"

"""Periods as SQL, as `segments.language.periods` tells them: which events count now, and when one begins or ends to.

In the row of an event, now is compared with bounds that are the same for all events of a profile. In the row of a
profile, the few instants that matter are moved to where they begin or end to count.
"""

from datetime import datetime
from typing import Final

from sqlglot import exp

from segments.language.compile.draft import Draft
from segments.language.compile.expressions import column, ge, gt, le, lt, minus, plus
from segments.language.tree import Between, Calendar, CalendarUnit, Past, Period, Window

_MOST_DAYS: Final = {
    CalendarUnit.DAYS: 1, CalendarUnit.WEEKS: 7, CalendarUnit.MONTHS: 31, CalendarUnit.QUARTERS: 92,
    CalendarUnit.YEARS: 366,
}  # fmt: skip


def happened() -> exp.Expr:
    return column("occurred_at", "e")


def asked_at() -> exp.Expr:
    return column("at", "e")


def is_within(period: Period, draft: Draft) -> list[exp.Expr]:
    """The event lies in an absolute period."""
    if not isinstance(period, Between):
        return []
    begins = [] if period.begins is None else [ge(happened(), draft.parameters.instant(period.begins))]
    ends = [] if period.ends is None else [lt(happened(), draft.parameters.instant(period.ends))]
    return begins + ends


def has_begun(period: Period, draft: Draft) -> exp.Expr:
    match period:
        case Past(latest, _):
            return le(happened(), minus(asked_at(), draft.parameters.seconds(latest.seconds)))
        case Calendar(_, unit, zone, True):
            return lt(happened(), draft.start_for_event(unit, 0, zone))
        case _:
            return le(happened(), asked_at())


def has_not_ended(period: Period, draft: Draft) -> list[exp.Expr]:
    match period:
        case Window() | Past(_, Window()):
            longest = period if isinstance(period, Window) else period.earliest
            return [gt(happened(), minus(asked_at(), draft.parameters.seconds(longest.seconds)))] if longest else []
        case Calendar(amount, unit, zone, is_over):
            return [ge(happened(), draft.start_for_event(unit, -amount if is_over else 1 - amount, zone))]
        case _:
            return []


def counts(period: Period, draft: Draft) -> list[exp.Expr]:
    """The event counts at the instant asked about."""
    return [*is_within(period, draft), has_begun(period, draft), *has_not_ended(period, draft)]


def bound(period: Period) -> int | datetime | None:
    """Nothing older counts: so many seconds before now, or since then. None: there is no such bound."""
    match period:
        case Window():
            return period.seconds
        case Past(_, Window() as earliest):
            return earliest.seconds
        case Between(begins, _):
            return begins
        case Calendar(amount, unit, _, is_over):
            # Of the longest units that there are, and two days for the zones and what clocks skip.
            return (_MOST_DAYS[unit] * (amount + is_over) + 2) * 86_400
        case _:
            return None


def ends(period: Period) -> bool:
    return bool(isinstance(period, Window | Calendar) or (isinstance(period, Past) and period.earliest))


def begins_at(period: Period, at: exp.Expr, draft: Draft) -> exp.Expr:
    """In the row of a profile: when what happened at this instant begins to count."""
    match period:
        case Past(latest, _):
            return plus(at, draft.parameters.seconds(latest.seconds))
        case Calendar(_, unit, zone, True):
            return draft.local_start(at, unit, 1, draft.zone(zone))
        case _:
            return at


def ends_at(period: Period, at: exp.Expr, draft: Draft) -> list[exp.Expr]:
    """When it ends to; none if it never does."""
    match period:
        case Window():
            return [plus(at, draft.parameters.seconds(period.seconds))]
        case Past(_, Window() as earliest):
            return [plus(at, draft.parameters.seconds(earliest.seconds))]
        case Calendar(amount, unit, zone, is_over):
            return [draft.local_start(at, unit, amount + is_over, draft.zone(zone))]
        case _:
            return []


def begins_later(period: Period) -> Period:
    """What tells when an event begins to count: most periods begin with it, and so need no column of their own."""
    return period if isinstance(period, Past) or (isinstance(period, Calendar) and period.is_over) else None

"""When a request of a person must be answered: GDPR Art. 12(3), 12(4) and 12(6) as arithmetic.

One calendar month after receipt, not thirty days. The clock stands still only while it is reasonably doubted who asks.
"""

from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

MONTHS: Final = 1
MONTHS_EXTENDED: Final = 3  # two more than one


@dataclass(frozen=True, slots=True)
class Doubt:
    """While it was doubted who asks. Half-open; without an end it lasts."""

    started_at: datetime
    ended_at: datetime | None = None

    def duration(self, now: datetime) -> timedelta:
        return max((self.ended_at or now) - self.started_at, timedelta())


@dataclass(frozen=True, slots=True)
class Deadlines:
    """By the first date a refusal or the notice of an extension is sent; by the other one the answer is."""

    first_due_at: datetime
    due_at: datetime


def deadlines(
    received_at: datetime, *, is_extended: bool, doubts: Iterable[Doubt], now: datetime, zone: ZoneInfo
) -> Deadlines:
    """Months are those of the calendar on the wall of `zone`; what was doubted moves both dates by as much."""
    stood_still = sum((doubt.duration(now) for doubt in doubts), timedelta())
    first, last = (months_after(received_at, months, zone) + stood_still for months in (MONTHS, MONTHS_EXTENDED))
    return Deadlines(first, last if is_extended else first)


def months_after(moment: datetime, months: int, zone: ZoneInfo) -> datetime:
    """The same day and time of a later month; where that month is shorter, its last day."""
    local = moment.astimezone(zone)
    passed = local.month - 1 + months
    year, month = local.year + passed // 12, passed % 12 + 1
    day = min(local.day, monthrange(year, month)[1])
    return local.replace(year=year, month=month, day=day).astimezone(UTC)


def days_left(due_at: datetime, now: datetime, zone: ZoneInfo) -> int:
    """Days of the calendar: 0 on the last day, negative afterwards."""
    return (due_at.astimezone(zone).date() - now.astimezone(zone).date()).days

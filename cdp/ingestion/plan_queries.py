"""What was counted against tracking plans. Reads; the caller's transaction has a workspace."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from django.db import connection

from cdp.models import QuarantinedItem, Source

MOST_VIOLATIONS: Final = 1_000
MOST_EXAMPLES: Final = 5
REFUSALS: Final = ("plan_violation", "unplanned_event")


@dataclass(frozen=True, slots=True)
class CountedViolation:
    """`events` of the days asked for, and when it was seen first and last in them."""

    version: int
    event: str
    path: str
    keyword: str
    action: str
    events: int
    first_day: date
    last_day: date


@dataclass(frozen=True, slots=True)
class Day:
    day: date
    events: int


_VIOLATIONS = """
SELECT p.number, v.event, v.path, v.keyword, v.action, sum(v.events)::bigint, min(v.day), max(v.day)
FROM plan_violation v JOIN tracking_plan_version p ON p.id = v.version_id
WHERE p.source_id = %s AND v.day >= %s
GROUP BY 1, 2, 3, 4, 5 ORDER BY 6 DESC, 1 DESC, 2, 3, 4, 5 LIMIT %s
"""

_DAYS = """
SELECT v.day, sum(v.events)::bigint
FROM plan_violation v JOIN tracking_plan_version p ON p.id = v.version_id
WHERE p.source_id = %s AND v.day >= %s GROUP BY 1
"""


def violations_since(source: Source, day: date) -> list[CountedViolation]:
    """The most frequent first. An event that breaks its rule in two places is counted at both."""
    with connection.cursor() as cursor:
        cursor.execute(_VIOLATIONS, [source.pk, day, MOST_VIOLATIONS])
        return [CountedViolation(*row) for row in cursor.fetchall()]


def violations_by_day(source: Source, days: int, *, now: datetime) -> list[Day]:
    """Every one of the last `days`, also those without any."""
    first = now.date() - timedelta(days=days - 1)
    with connection.cursor() as cursor:
        cursor.execute(_DAYS, [source.pk, first])
        counted = dict(cursor.fetchall())
    every = (first + timedelta(days=passed) for passed in range(days))
    return [Day(day, counted.get(day, 0)) for day in every]


def refused_examples(source: Source) -> list[int]:
    """The newest items of the quarantine that a plan refused: there they lie as they came, for those who may look."""
    items = QuarantinedItem.objects.filter(source=source, code__in=REFUSALS).order_by("-pk")
    return list(items.values_list("pk", flat=True)[:MOST_EXAMPLES])

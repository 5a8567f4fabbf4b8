"""Whether Python and Postgres show the same time everywhere: each brings an edition of the time zones of its own.

Both compute what a rule asks of calendars: the database when people arrive, Python for the other engines.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from django.db import connection

from cdp.kernel.arrays import texts

DAYS_AHEAD: Final = 731

_OFFSETS = """
SELECT zone, string_agg(
    EXTRACT(EPOCH FROM (at AT TIME ZONE zone) - (at AT TIME ZONE 'UTC'))::integer::text, ' ' ORDER BY at
)
FROM (SELECT name FROM pg_timezone_names WHERE name = ANY(%(zones)s::text[])) AS known (zone)
CROSS JOIN unnest(%(days)s::timestamptz[]) AS at
GROUP BY zone ORDER BY zone
"""


def disagreements(now: datetime) -> Mapping[str, datetime]:
    """The zones, of those that both know, that differ within two years, and since when: looked at once a day."""
    days = [now + timedelta(days=day) for day in range(DAYS_AHEAD + 1)]
    with connection.cursor() as cursor:
        given = {"zones": texts(available_timezones()), "days": texts(day.isoformat() for day in days)}
        cursor.execute(_OFFSETS, given)
        found = {name: _first_difference(ZoneInfo(name), days, offsets.split()) for name, offsets in cursor.fetchall()}
    return {name: since for name, since in found.items() if since is not None}


def _first_difference(zone: ZoneInfo, days: Sequence[datetime], offsets: Sequence[str]) -> datetime | None:
    """Offsets are seconds east of Greenwich."""
    for day, offset in zip(days, offsets, strict=True):
        if day.astimezone(zone).utcoffset() != timedelta(seconds=int(offset)):
            return day
    return None

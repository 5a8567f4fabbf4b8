"""Whoever's data was got from a provider is told so within a month, with the provider's name. GDPR Art. 14.

The list follows from the look-ups that found something; what was told is kept. Sending is not done here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from cdp.models import Source
from cdp.models.tenancy import workspace_scope


@dataclass(frozen=True, slots=True)
class DueNotice:
    """Ids alone: the system that writes to people knows their addresses."""

    identifier_id: int
    profile_id: int
    source: str
    found_at: datetime
    due_at: datetime


# A month of the calendar: from 31 January it is 28 or 29 February, as Postgres reckons too.
_DUE = """
SELECT i.id, i.profile_id, s.name, l.looked_up_at, l.looked_up_at + interval '1 month' AS due_at
FROM lookup l JOIN source s ON s.id = l.source_id JOIN identifier i ON i.id = l.identifier_id
WHERE l.workspace_id = %(workspace)s AND l.is_found AND NOT EXISTS (
    SELECT 1 FROM source_notice n WHERE n.source_id = l.source_id AND n.identifier_id = l.identifier_id
)
ORDER BY due_at, i.id LIMIT %(most)s
"""
_TOLD = """
INSERT INTO source_notice (workspace_id, identifier_id, source_id, told_at)
SELECT l.workspace_id, l.identifier_id, l.source_id, %(now)s FROM lookup l
WHERE l.workspace_id = %(workspace)s AND l.source_id = %(source)s AND l.is_found AND l.looked_up_at <= %(until)s
ORDER BY l.identifier_id
ON CONFLICT (source_id, identifier_id) DO NOTHING
"""


def due_notices(*, workspace_id: int, most: int) -> Sequence[DueNotice]:
    """Who must still be told, the most urgent first."""
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(_DUE, {"workspace": workspace_id, "most": most})
        return [DueNotice(*row) for row in cursor.fetchall()]


def keep_told(*, source: Source, until: datetime, now: datetime) -> int:
    """Everybody of whom the provider found something until then was told. Again it changes nothing."""
    given: dict[str, int | datetime] = {
        "workspace": source.workspace_id,
        "source": source.pk,
        "until": until,
        "now": now,
    }
    with workspace_scope(source.workspace_id), connection.cursor() as cursor:
        cursor.execute(_TOLD, given)
        return int(cursor.rowcount)

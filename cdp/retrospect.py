"""What a profile was on a day, in all stages: its identifiers and values, and the segments that it was in."""

from datetime import datetime
from typing import Any, Final

from django.db import connection

from cdp.kernel.purposes import Purpose
from consent import gate
from identity import history
from identity.history import UNKNOWABLE, Past

# Half-open: who left at that moment was not in it any more. Gated by the identifier that founded the profile: a profile
# that was merged away since is no row of any purpose, and its identifier permits what the person does.
_MEMBERSHIPS: Final = """
SELECT s.slug, v.number, m.entered_at, m.entered_cause FROM membership m JOIN identifier i ON i.id = m.profile_id
JOIN segment s ON s.id = m.segment_id JOIN segment_version v ON v.id = m.version_id
WHERE m.profile_id = %(profile)s AND m.entered_at <= %(at)s AND (m.left_at IS NULL OR m.left_at > %(at)s)
ORDER BY s.slug
"""


def profile_at(*, workspace_id: int, profile_id: int, at: datetime) -> dict[str, Any]:
    """For an operator: each part under its own purpose. Who permits none of them today is not shown as of then."""
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id):
        past = history.profile_at(workspace_id=workspace_id, profile_id=profile_id, at=at)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id):
        memberships = memberships_at(past, at)
    return told(past, at, memberships)


def memberships_at(past: Past, at: datetime) -> list[dict[str, Any]]:
    """Within the purpose of whoever asks."""
    with connection.cursor() as cursor:
        cursor.execute(_MEMBERSHIPS, {"profile": past.id, "at": at})
        return [
            {"segment": slug, "version": version, "entered_at": entered_at, "entered_cause": cause}
            for slug, version, entered_at, cause in cursor.fetchall()
        ]


def told(past: Past, at: datetime, memberships: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "at": at,
        "profile": past.id,
        "identifiers": list(past.identifiers),
        "traits": dict(past.traits),
        "unknown_traits": list(past.unknown),
        "memberships": memberships,
        "cannot_be_known": list(UNKNOWABLE),
    }

"""How many of those who match a rule a destination would reach: who permits it, and has an identifier that it takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection

from activation.models import Audience, Destination
from activation.preview import SENDABLE
from cdp.kernel.purposes import Purpose
from consent import gate
from segments import preview as previewing
from segments.checking import Definition
from segments.preview import Preview

MOST_DESTINATIONS: Final = 20
MOST_LOOKED_UP: Final = 5_000
"""People, over all destinations: more would keep whoever asks waiting."""


@dataclass(frozen=True, slots=True)
class Reach:
    """As of now, whatever time the rule was asked for. An estimate unless `is_exact`."""

    destination: str
    kind: str
    count: int
    is_exact: bool


def preview(
    *, workspace_id: int, definition: Definition, now: datetime, at: datetime | None = None
) -> tuple[Preview, list[Reach]]:
    """Who would be in, and how many of them each destination would reach. Nothing is written."""
    found = previewing.preview(workspace_id=workspace_id, definition=definition, now=now, at=at)
    return found, reach(workspace_id=workspace_id, preview=found)


# Types of identifiers alone: what they say is not asked.
_REACHED = """
SELECT count(DISTINCT profile_id) FROM reachable
WHERE destination_id = %(destination)s AND profile_id = ANY(%(profiles)s) AND type = ANY(%(types)s)
"""


def reach(*, workspace_id: int, preview: Preview) -> list[Reach]:
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id):
        enabled = Destination.objects.filter(workspace_id=workspace_id, is_enabled=True).order_by("slug")
        destinations = list(enabled.only("slug", "kind")[:MOST_DESTINATIONS])
        known = preview.matching[: MOST_LOOKED_UP // max(len(destinations), 1)]
        is_exact = preview.is_exact and len(known) == preview.count
        return [
            Reach(each.slug, each.kind, previewing.scaled(_reached(each, known), len(known), preview.count), is_exact)
            for each in destinations
        ]


def _reached(destination: Destination, profiles: Sequence[int]) -> int:
    given: dict[str, Any] = {"destination": destination.pk, "profiles": list(profiles), "types": _types_of(destination)}
    with connection.cursor() as cursor:
        cursor.execute(_REACHED, given)
        return int(cursor.fetchone()[0])


def _types_of(destination: Destination) -> list[str]:
    """What its audiences are sent; where it has none yet, whatever could be sent."""
    sent = Audience.objects.filter(destination=destination).values_list("identifier_types", flat=True)
    return sorted({one for types in sent for one in types} or SENDABLE)

"""Who looks at which pair: each is one steward's for ten minutes, and then anybody's again.

The pair whose answer is worth most comes first. Two stewards who ask at once get two pairs, and neither waits.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection

from cdp.kernel.arrays import bigints
from cdp.models import User
from cdp.models.tenancy import workspace_scope
from identity.models import ReviewPair

LEASE: Final = timedelta(minutes=10)

# Not again what this steward has answered; a merge that they proposed waits for somebody else.
_CLAIM = """
UPDATE review_pair SET claimed_by_id = %(steward)s, claimed_until = %(until)s WHERE id = (
    SELECT p.id FROM review_pair p
    WHERE p.workspace_id = %(workspace)s AND p.judgement_id IS NULL AND NOT p.id = ANY(%(besides)s::bigint[])
    AND (p.claimed_until IS NULL OR p.claimed_until <= %(now)s OR p.claimed_by_id = %(steward)s)
    AND NOT EXISTS (
        SELECT 1 FROM review_verdict v
        WHERE v.pair_id = p.id AND v.author_id = %(steward)s AND v.withdrawn_at IS NULL
    )
    ORDER BY p.priority DESC, p.id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id
"""


def claim_next(*, workspace_id: int, steward: User, now: datetime, besides: Collection[int] = ()) -> int | None:
    """The pair that `steward` should judge next, for themselves for ten minutes; None when nothing waits for them.

    Whoever comes back finds the pair that they left. `besides` are pairs that they have before them, or skipped.
    """
    asked: dict[str, Any] = {
        "workspace": workspace_id,
        "steward": steward.pk,
        "now": now,
        "until": now + LEASE,
        "besides": bigints(besides),
    }
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(_CLAIM, asked)
        row = cursor.fetchone()
    return row[0] if row else None


def release(*, workspace_id: int, steward: User, pair_ids: Collection[int] | None = None) -> int:
    """Leave pairs to others: those named, or all that `steward` holds. Returns how many they were."""
    with workspace_scope(workspace_id):
        held = ReviewPair.objects.filter(workspace=workspace_id, judgement=None, claimed_by=steward)
        if pair_ids is not None:
            held = held.filter(pk__in=pair_ids)
        return held.update(claimed_by=None, claimed_until=None)

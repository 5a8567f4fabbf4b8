"""Why two are not one: what the resolver refused is kept, as long as it refuses it."""

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import connection

from cdp.kernel.arrays import bigints
from consent.gate import Identity, Permit
from identity.resolver import Refusal

# Of the identifiers that were resolved: what is refused no more goes, and what is refused as before is not written.
_FORGET = """
WITH near AS (
    SELECT id, left_id, right_id FROM core.refusal WHERE left_id = ANY(%(ids)s::bigint[])
)
DELETE FROM core.refusal WHERE id IN (
    SELECT id FROM near WHERE right_id = ANY(%(ids)s::bigint[])
    AND (left_id, right_id) NOT IN (SELECT * FROM unnest(%(left)s::bigint[], %(right)s::bigint[]))
)
"""
_KEEP = """
INSERT INTO core.refusal (workspace_id, left_id, right_id, reason, evidence, created_at)
SELECT %(workspace)s, left_id, right_id, reason, evidence::jsonb, %(now)s
FROM unnest(%(left)s::bigint[], %(right)s::bigint[], %(reason)s::text[], %(evidence)s::text[])
    AS refused (left_id, right_id, reason, evidence)
ON CONFLICT (left_id, right_id) DO UPDATE
    SET reason = excluded.reason, evidence = excluded.evidence, created_at = excluded.created_at
    WHERE (refusal.reason, refusal.evidence) IS DISTINCT FROM (excluded.reason, excluded.evidence)
"""


def keep(
    permit: Permit[Identity], identifier_ids: Collection[int], refused: Collection[Refusal], *, now: datetime
) -> None:
    """Replace what was known of these identifiers, all of which were resolved together."""
    given: dict[str, Any] = {
        "workspace": permit.workspace_id,
        "now": now,
        "ids": bigints(identifier_ids),
        "left": [one.left for one in refused],
        "right": [one.right for one in refused],
        "reason": [one.reason.value for one in refused],
        "evidence": [json.dumps(dict(one.evidence)) for one in refused],
    }
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, given)
        if refused:
            cursor.execute(_KEEP, given)

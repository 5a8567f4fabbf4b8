"""Corrected values (Art. 16): a source of its own says them, as a steward does, and so they win in every profile."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, connection, transaction

from cdp.models import Cause, Source, SourceKind, Stage, outbox
from cdp.models.digests import Digested

SOURCE: Final = "rights"

# Nobody is made by a correction: an identifier that is not known has no value to be wrong.
_CORRECT: Final = """
INSERT INTO identifier_trait AS known (workspace_id, identifier_id, source_id, name, value, observed_at, confidence)
SELECT i.workspace_id, i.id, %(source)s, said.name, said.value, %(at)s, 1.0
FROM unnest(%(types)s::text[], %(digests)s::bytea[]) AS named (type, digest)
JOIN identifier i ON i.workspace_id = %(workspace)s AND i.type = named.type AND i.digest = named.digest
CROSS JOIN unnest(%(names)s::text[], %(values)s::jsonb[]) AS said (name, value)
ORDER BY i.id, said.name
ON CONFLICT (identifier_id, name, source_id) DO UPDATE
SET value = EXCLUDED.value, observed_at = EXCLUDED.observed_at
WHERE known.observed_at <= EXCLUDED.observed_at
RETURNING identifier_id
"""


def correct_values(
    *, workspace_id: int, digests: Sequence[Digested], corrections: Mapping[str, Any], now: datetime
) -> int:
    """In the scope of the workspace. Returns how many values were written; profiles follow by the pipeline."""
    values: dict[str, Any] = {
        "workspace": workspace_id,
        "source": _source(workspace_id),
        "types": [kind for kind, _ in digests],
        "digests": [digest for _, digest in digests],
        "names": list(corrections),
        "values": [json.dumps(value) for value in corrections.values()],
        "at": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CORRECT, values)
        touched = [identifier for (identifier,) in cursor.fetchall()]
    outbox.hand_over(dict.fromkeys(sorted(touched), Cause.LEARNT), stage=Stage.IDENTITY, workspace_id=workspace_id)
    return len(touched)


def _source(workspace_id: int) -> int:
    """Made at the first correction. A source of that name that somebody else made says nothing with a steward's word."""
    kind, name = SourceKind.STEWARD, SOURCE
    taken = Source.objects.filter(workspace=workspace_id, name=name).exclude(kind=kind).exists()
    name = f"{SOURCE}-corrections" if taken else name
    if found := Source.objects.filter(workspace=workspace_id, name=name, kind=kind).first():
        return int(found.pk)
    try:
        with transaction.atomic():
            return int(Source.objects.create(workspace_id=workspace_id, name=name, kind=kind).pk)
    except IntegrityError:  # another worker made it meanwhile
        return int(Source.objects.get(workspace=workspace_id, name=name, kind=kind).pk)

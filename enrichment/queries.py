"""What there is to ask."""

from collections.abc import Collection
from dataclasses import dataclass

from django.db import connection

from cdp.kernel import identifiers
from cdp.kernel.arrays import bigints
from cdp.models import Source
from consent.gate import Enrichment, Permit
from enrichment.provider import Provider


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """An identifier of a profile that the provider has not been asked about in its current version."""

    identifier_id: int
    profile_id: int
    identifier: identifiers.Identifier


# A view of the purpose: who does not permit it to this provider has no question for it.
_OPEN = """
SELECT i.id, i.profile_id, i.type, i.value FROM question i
WHERE i.workspace_id = %(workspace)s AND i.source_id = %(source)s AND i.profile_id = ANY(%(profiles)s::bigint[]) AND i.type = ANY(%(types)s)
  AND NOT EXISTS (
      SELECT 1 FROM lookup l
      WHERE l.source_id = %(source)s AND l.identifier_id = i.id AND l.provider_version = %(version)s
  )
ORDER BY i.id
"""


def open_questions(
    permit: Permit[Enrichment], profile_ids: Collection[int], *, provider: Provider, source: Source
) -> list[OpenQuestion]:
    with connection.cursor() as cursor:
        cursor.execute(
            _OPEN,
            {
                "workspace": permit.workspace_id,
                "profiles": bigints(profile_ids),
                "types": list(provider.identifier_types),
                "source": source.pk,
                "version": provider.version,
            },
        )
        rows = cursor.fetchall()
    return [OpenQuestion(pk, profile_id, identifiers.Identifier(type_, value)) for pk, profile_id, type_, value in rows]

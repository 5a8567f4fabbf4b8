"""What there is to ask."""

from collections.abc import Collection
from dataclasses import dataclass

from django.db.models import Exists, OuterRef

from cdp.kernel import identifiers
from cdp.models import Identifier, Source
from consent.gate import Enrichment, Permit
from enrichment.models import Lookup
from enrichment.provider import Provider


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """An identifier of a profile that the provider has not been asked about in its current version."""

    identifier_id: int
    profile_id: int
    identifier: identifiers.Identifier


def open_questions(
    permit: Permit[Enrichment], profile_ids: Collection[int], *, provider: Provider, source: Source
) -> list[OpenQuestion]:
    asked = Lookup.objects.filter(source=source, identifier_id=OuterRef("pk"), provider_version=provider.version)
    found = Identifier.objects.filter(
        ~Exists(asked), workspace_id=permit.workspace_id, profile_id__in=profile_ids, type__in=provider.identifier_types
    )
    rows = found.order_by("pk").values_list("pk", "profile_id", "type", "value")
    return [OpenQuestion(pk, profile_id, identifiers.Identifier(type_, value)) for pk, profile_id, type_, value in rows]

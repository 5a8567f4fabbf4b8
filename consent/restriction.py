"""Restriction and objection: the person is shown to no purpose, or not to one, whatever they consented to.

Triggers decide anew for the person in the same transaction: each purpose's views are empty of them from then on.
"""

from datetime import datetime
from typing import Final

from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from cdp.models.digests import digests_of_all_peppers, identifier_digest
from cdp.models.tenancy import workspace_scope
from consent.models import Restriction, RestrictionKind

EVERYTHING: Final = sum(purpose.bit for purpose in Purpose if purpose.is_gated)


def restrict(*, workspace_id: int, identifier: Identifier, now: datetime) -> Restriction:
    """Art. 18: kept, and neither read nor changed by any stage, until it is lifted. Again it changes nothing."""
    return _deny(workspace_id, identifier, RestrictionKind.RESTRICTION, EVERYTHING, now)


def object_to(*, workspace_id: int, identifier: Identifier, purpose: Purpose, now: datetime) -> Restriction:
    """Art. 21: no longer for this purpose, whatever its legal basis. Again it changes nothing."""
    return _deny(workspace_id, identifier, RestrictionKind.OBJECTION, purpose.bit, now)


def lift(
    *,
    workspace_id: int,
    identifier: Identifier,
    now: datetime,
    kind: str = RestrictionKind.RESTRICTION,
    purpose: Purpose | None = None,
) -> int:
    """End the restriction, or the objections: to one purpose or to all. Returns how many there were."""
    digests = list(digests_of_all_peppers(identifier.type, identifier.value))
    with workspace_scope(workspace_id):
        still = Restriction.objects.filter(
            identifier_type=identifier.type, identifier_digest__in=digests, kind=kind, lifted_at=None
        )
        if purpose is not None:
            still = still.filter(denies=purpose.bit)
        return still.update(lifted_at=now)


def _deny(workspace_id: int, identifier: Identifier, kind: RestrictionKind, denies: int, now: datetime) -> Restriction:
    with workspace_scope(workspace_id):
        kept, _ = Restriction.objects.get_or_create(
            workspace_id=workspace_id,
            identifier_type=identifier.type,
            identifier_digest=identifier_digest(identifier.type, identifier.value),
            kind=kind,
            denies=denies,
            lifted_at=None,
            defaults={"created_at": now},
        )
    return kept

"""Restriction and objection: the person is shown to no purpose, or not to one, whatever they consented to.

Triggers decide anew for the person in the same transaction: each purpose's views are empty of them from then on.
"""

from datetime import datetime
from typing import Any, Final

from django.db.models import QuerySet

from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from cdp.models.digests import digests_of_all_peppers, identifier_digest
from cdp.models.tenancy import workspace_scope
from consent.models import Restriction, RestrictionKind

EVERYTHING: Final = sum(purpose.bit for purpose in Purpose if purpose.is_gated)


def deny(*, workspace_id: int, identifier: Identifier, now: datetime, purpose: Purpose | None = None) -> Restriction:
    """Without a purpose Art. 18: kept, and neither read nor changed by any stage. With one Art. 21: no longer used for
    it, whatever its legal basis. Until it is lifted; again it changes nothing.
    """
    with workspace_scope(workspace_id):
        kept, _ = Restriction.objects.get_or_create(
            workspace_id=workspace_id,
            identifier_type=identifier.type,
            identifier_digest=identifier_digest(identifier.type, identifier.value),
            lifted_at=None,
            **_meant(purpose),
            defaults={"created_at": now},
        )
    return kept


def lift(*, workspace_id: int, identifier: Identifier, now: datetime, purpose: Purpose | None = None) -> int:
    """End the restriction, or the objection to a purpose. Returns how many there were: 0 or 1."""
    with workspace_scope(workspace_id):
        return _standing(identifier).filter(**_meant(purpose)).update(lifted_at=now)


def standing(*, workspace_id: int, identifier: Identifier) -> list[Restriction]:
    """The restriction and the objections of this identifier that nobody lifted."""
    with workspace_scope(workspace_id):
        return list(_standing(identifier).order_by("pk"))


def _standing(identifier: Identifier) -> QuerySet[Restriction]:
    digests = list(digests_of_all_peppers(identifier.type, identifier.value))
    return Restriction.objects.filter(identifier_type=identifier.type, identifier_digest__in=digests, lifted_at=None)


def _meant(purpose: Purpose | None) -> dict[str, Any]:
    if purpose:
        return {"kind": RestrictionKind.OBJECTION, "denies": purpose.bit}
    return {"kind": RestrictionKind.RESTRICTION, "denies": EVERYTHING}

"""The record of processing activities with its recipients: the destinations and the providers that are configured."""

from datetime import datetime

from activation.models import Audience
from cdp.kernel.purposes import Purpose
from cdp.models import Source, SourceKind
from cdp.models.tenancy import workspace_scope
from consent import register
from consent.register import Recipient, Register


def register_of(*, workspace_id: int, now: datetime) -> Register:
    with workspace_scope(workspace_id):
        recipients = [*_destinations(workspace_id), *_providers(workspace_id)]
        return register.build(workspace_id=workspace_id, recipients=recipients, now=now)


def _destinations(workspace_id: int) -> list[Recipient]:
    """Those that an audience is sent to, with the identifiers that they get."""
    sent: dict[tuple[str, str], set[str]] = {}
    on: dict[tuple[str, str], bool] = {}
    audiences = Audience.objects.filter(workspace_id=workspace_id).select_related("destination").order_by("pk")
    for audience in audiences:
        target = (audience.destination.slug, audience.destination.kind)
        sent.setdefault(target, set()).update(audience.identifier_types)
        on[target] = on.get(target, False) or (audience.is_enabled and audience.destination.is_enabled)
    return [
        Recipient(Purpose.ADVERTISING, slug, kind, tuple(sorted(types)), is_enabled=on[slug, kind])
        for (slug, kind), types in sorted(sent.items())
    ]


def _providers(workspace_id: int) -> list[Recipient]:
    providers = Source.objects.filter(workspace_id=workspace_id, kind=SourceKind.ENRICHMENT).order_by("name")
    return [
        Recipient(Purpose.ENRICHMENT, each.name, "enrichment", ("identifier",), is_enabled=each.is_enabled)
        for each in providers
    ]

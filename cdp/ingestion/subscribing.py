"""Connections of systems that send by themselves: webhooks and streams. They are checked before they are kept."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.db import transaction

from cdp.ingestion import stream_registry
from cdp.ingestion.sources import create_source
from cdp.ingestion.webhook import Settings
from cdp.ingestion.webhook_registry import WEBHOOKS
from cdp.kernel.errors import TesseraError
from cdp.models import Connection, SourceKind
from cdp.models.secrets import encrypted
from cdp.models.tenancy import workspace_scope

WEBHOOK_KINDS: Final = tuple(WEBHOOKS)
STREAM_KINDS: Final = tuple(stream_registry.FIELDS)


class UnknownPushKindError(TesseraError):
    """No system of this kind sends by itself."""

    code = "unknown_push_kind"


def check_settings(*, kind: SourceKind, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
    """Raises `WebhookSettingsError`, `StreamSettingsError` or `UnknownPushKindError`. Asks no other system."""
    if kind in WEBHOOKS:
        WEBHOOKS[kind].check(Settings(config, secrets))
    elif kind in STREAM_KINDS:
        stream_registry.check(kind, config, secrets)
    else:
        raise UnknownPushKindError


def subscribe(
    *,
    workspace_id: int,
    name: str,
    kind: SourceKind,
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    region: str = "",
) -> Connection:
    """A source of this name and its connection. Raises as `check_settings`, or `SourceExistsError`."""
    check_settings(kind=kind, config=config, secrets=secrets)
    with transaction.atomic(), workspace_scope(workspace_id):
        source, _write_key = create_source(workspace_id=workspace_id, name=name, kind=kind, region=region)
        return Connection.objects.create(
            workspace_id=workspace_id, source=source, config=dict(config), secrets=encrypted(secrets)
        )


def subscriptions_in(workspace_id: int, *, kinds: Sequence[SourceKind]) -> list[Connection]:
    """Within the caller's transaction, which has a workspace."""
    found = Connection.objects.filter(workspace=workspace_id, source__kind__in=kinds)
    return list(found.select_related("source").order_by("source__name"))


def webhook_path(connection: Connection) -> str:
    """Where the other system sends to, on whatever host Tessera has."""
    return f"/v1/webhooks/{connection.source_id}"

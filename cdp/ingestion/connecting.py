"""Connections to the systems that are read from: made, changed, checked, and asked to read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from cdp.ingestion import connector_registry as registry
from cdp.ingestion.connector import OWN_KEY_TYPE, Connector, ConnectorConfigError, Shape, Stream, UnreadableStreamError
from cdp.ingestion.mapping import SHARED_IDENTIFIERS, FileMapping, MappingError, mapping_for_records, parse_mapping
from cdp.ingestion.sources import create_source
from cdp.kernel.errors import TesseraError
from cdp.models import Connection, SourceKind
from cdp.models.secrets import decrypted, encrypted

SOONEST_SECONDS: Final = 60
OBJECTS, MAPPINGS = "objects", "mappings"


class UnknownConnectionError(TesseraError):
    """There is no such connection."""

    code = "unknown_connection"


class ConnectionState(TextChoices):
    OFF = "OFF", _("off")
    PAUSED = "PAUSED", _("paused: a person must act")
    READING = "READING", _("reading")
    FAILING = "FAILING", _("failing: it is tried again")
    WAITING = "WAITING", _("waiting for its time")


@dataclass(frozen=True, slots=True)
class Plan:
    """One stream of a connection, and what its columns mean."""

    stream: Stream
    mapping: FileMapping
    columns: Sequence[str]

    @property
    def traits(self) -> frozenset[str]:
        """What a row says of its person, where it says anything: addresses among them."""
        shared = (kind for kind in self.mapping.identifiers if kind in SHARED_IDENTIFIERS)
        return frozenset((*(self.mapping.traits or {}), *shared))


def create_connection(
    *,
    workspace_id: int,
    name: str,
    kind: str,
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    every_seconds: int,
    now: datetime,
) -> Connection:
    """A source of this name, and its connection, which is due at once.

    Raises `ConnectorConfigError` where it could not work with these settings, and `SourceExistsError`.
    """
    check_settings(kind=kind, name=name, config=config, secrets=secrets)
    with transaction.atomic():
        source, _key = create_source(workspace_id=workspace_id, name=name, kind=SourceKind(kind))
        return Connection.objects.create(
            workspace_id=workspace_id,
            source=source,
            config=dict(config),
            secrets=encrypted(secrets),
            every_seconds=max(every_seconds, SOONEST_SECONDS),
            due_at=now,
        )


def change_connection(
    connection: Connection,
    *,
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    every_seconds: int,
    is_enabled: bool,
    now: datetime,
) -> None:
    """Other settings, with which it is read at once. Without secrets those that it has stay."""
    renewed = {"secrets": encrypted(secrets)} if secrets else {}
    Connection.objects.filter(pk=connection.pk).update(
        config=dict(config), every_seconds=max(every_seconds, SOONEST_SECONDS), is_enabled=is_enabled, **renewed
    )
    ask_reading(connection, now=now)


def check_settings(*, kind: str, name: str, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
    """Raises a `ConnectorError` that says what is wrong, without asking the system itself."""
    plans(kind, config, source=name)
    registry.connector(kind, config, secrets)


def check_connection(connection: Connection) -> Mapping[str, str]:
    """Ask the system for a row of each stream. Returns what each said, empty where all is well.

    Raises a `ConnectorError` where it is not one stream alone that cannot be read.
    """
    reader = connector_of(connection)
    return {plan.stream.name: _said_by(reader, plan) for plan in plans_of(connection)}


def _said_by(reader: Connector, plan: Plan) -> str:
    try:
        reader.check(plan.stream, plan.columns)
    except UnreadableStreamError as error:
        return f"{error.reason}: {error.message}"
    return ""


def ask_reading(connection: Connection, *, now: datetime) -> None:
    """Read as soon as a worker is free, though it had paused. What sends by itself is never read."""
    Connection.objects.filter(pk=connection.pk).exclude(due_at=None).update(
        due_at=now, paused_at=None, failures=0, error=""
    )


def reset_connection(connection: Connection, *, now: datetime) -> None:
    """Forget how far it was read: everything is read again. What is as it was is recognised."""
    Connection.objects.filter(pk=connection.pk).update(
        cursor={}, run=None, leased_until=None, due_at=now, paused_at=None, failures=0, error=""
    )


# -- reads ----------------------------------------------------------------------------------------------------------


def connections_in(workspace_id: int) -> list[Connection]:
    found = Connection.objects.filter(workspace=workspace_id, source__kind__in=registry.KINDS)
    return list(found.select_related("source", "run").order_by("source__name"))


def connection_named(name: str, *, workspace_id: int) -> Connection:
    """Raises `UnknownConnectionError`, which names those that exist."""
    known = {connection.source.name: connection for connection in connections_in(workspace_id)}
    if name not in known:
        there_are = ", ".join(known) or "none: `manage.py connections create NAME --kind KIND` makes one"
        raise UnknownConnectionError(f"There is no connection {name!r} in this workspace; there are {there_are}.")
    return known[name]


def connector_of(connection: Connection) -> Connector:
    return registry.connector(connection.source.kind, connection.config, decrypted(connection.secrets))


def plans_of(connection: Connection) -> list[Plan]:
    return plans(connection.source.kind, connection.config, source=connection.source.name)


def plans(kind: str, config: Mapping[str, Any], *, source: str) -> list[Plan]:
    """What is read, in order, under the mappings of the settings or else the shipped ones."""
    vendor = registry.described(kind)
    return [_plan(stream, vendor, config, source) for stream in _wanted(vendor, config)]


def shipped_settings(kind: str) -> dict[str, Any]:
    """To start from: an example of the settings, what is read, and every mapping."""
    vendor = registry.described(kind)
    wanted = [stream.name for stream in vendor.streams if stream.is_default]
    return {**vendor.example, OBJECTS: wanted, MAPPINGS: dict(vendor.mappings)}


def state_of(connection: Connection, *, now: datetime) -> ConnectionState:
    if not connection.is_enabled:
        return ConnectionState.OFF
    if connection.paused_at:
        return ConnectionState.PAUSED
    if connection.leased_until and connection.leased_until > now:
        return ConnectionState.READING
    return ConnectionState.FAILING if connection.failures else ConnectionState.WAITING


def _wanted(vendor: type[Connector], config: Mapping[str, Any]) -> list[Stream]:
    names = config.get(OBJECTS)
    if names is None:
        return [stream for stream in vendor.streams if stream.is_default]
    known = {stream.name: stream for stream in vendor.streams}
    if not isinstance(names, list) or not names or not all(name in known for name in names):
        raise ConnectorConfigError(f"`{OBJECTS}` must be a list of some of: {', '.join(known)}.")
    return [stream for stream in vendor.streams if stream.name in names]


def _plan(stream: Stream, vendor: type[Connector], config: Mapping[str, Any], source: str) -> Plan:
    of_events = stream.shape is Shape.EVENTS
    given = config.get(MAPPINGS) or {}
    if not isinstance(given, dict) or not set(given) <= set(vendor.mappings):
        raise ConnectorConfigError(f"`{MAPPINGS}` must be a table of mappings for: {', '.join(vendor.mappings)}.")
    try:
        mapping = parse_mapping(given.get(stream.rows, vendor.mappings[stream.rows]), of_events=of_events)
    except MappingError as error:
        raise ConnectorConfigError(f"{MAPPINGS}.{stream.rows}: {error.message}") from None
    complete = _complete(mapping, stream, source)
    return Plan(stream, complete, tuple(dict.fromkeys(complete.columns)))


def _complete(mapping: FileMapping, stream: Stream, source: str) -> FileMapping:
    """The fields of a mapping are what the system is asked for, so it must name them."""
    values = mapping.properties if stream.shape is Shape.EVENTS else mapping.traits
    if not mapping.key or values is None:
        needed = "`key` and `properties`" if stream.shape is Shape.EVENTS else "`key` and `traits`"
        raise ConnectorConfigError(f"{MAPPINGS}.{stream.rows}: name {needed}: they are what is asked for.")
    own = f"{source}:id"
    identifiers = {own if kind == OWN_KEY_TYPE else kind: column for kind, column in mapping.identifiers.items()}
    named = replace(mapping, identifiers=identifiers)
    if stream.shape is Shape.EVENTS:
        return named
    return mapping_for_records(named, columns=named.columns, source=source)

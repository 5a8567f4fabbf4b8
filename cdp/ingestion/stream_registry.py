"""The streams there are, by the kind of their source."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

from cdp.ingestion.documents import DocumentMapping, parse_document_mapping
from cdp.ingestion.mapping import MappingError
from cdp.ingestion.streams.stream import Config, MissingExtraError, Secrets, Stream, StreamSettingsError
from cdp.ingestion.webhook import Field, Settings, WebhookSettingsError, checked_fields
from cdp.models import SourceKind

_MAPPING: Final = Field("mapping", "what the paths of a message mean; empty: messages are tracking calls", {})
FIELDS: Final[Mapping[SourceKind, Sequence[Field]]] = {
    SourceKind.KAFKA: (
        Field("brokers", "addresses, comma-separated", is_required=True),
        Field("topics", "names of the topics", [], is_required=True),
        Field("group", "name of the group of readers"),
        Field("security", "plaintext, ssl, sasl_plaintext or sasl_ssl", "plaintext"),
        Field("mechanism", "of SASL", "PLAIN"),
        Field("username", "of SASL"),
        Field("session_timeout_ms", "after which a reader that is silent counts as dead", 45_000),
        _MAPPING,
        Field("password", "of SASL", is_secret=True),
    ),
    SourceKind.STREAM: (
        Field("url", "redis://host:6379/0", is_required=True),
        Field("stream", "name of the stream", is_required=True),
        Field("group", "name of the group of readers"),
        Field("field", "field that holds the JSON", "data"),
        Field("claim_after_seconds", "after which what a dead reader left is taken over", 60),
        _MAPPING,
        Field("password", "of the server", is_secret=True),
    ),
}

_MODULES: Final[Mapping[SourceKind, tuple[str, str, str]]] = {
    SourceKind.KAFKA: ("cdp.ingestion.streams.kafka", "KafkaStream", "kafka"),
    SourceKind.STREAM: ("cdp.ingestion.streams.valkey", "ValkeyStream", ""),
}


def open_stream(kind: str, config: Config, secrets: Secrets, *, group: str) -> Stream:
    """Raises `StreamSettingsError`, or `MissingExtraError` where the library of the stream is not installed."""
    check(kind, config, secrets)
    module, name, extra = _MODULES[SourceKind(kind)]
    make: Callable[..., Stream] = getattr(_imported(module, extra), name)
    return make(config, secrets, group=group)


def check(kind: str, config: Config, secrets: Secrets) -> None:
    """Raises `StreamSettingsError`. Asks no server, and needs no library."""
    if kind not in _MODULES:
        raise StreamSettingsError("The source is no stream: its kind must be KAFKA or STREAM.")
    try:
        checked_fields(FIELDS[SourceKind(kind)], Settings(config, secrets))
    except WebhookSettingsError as error:
        raise StreamSettingsError(error.message) from None
    mapping_of(config)


def mapping_of(config: Config) -> DocumentMapping | None:
    if not config.get("mapping"):
        return None
    try:
        return parse_document_mapping(config["mapping"])
    except MappingError as error:
        raise StreamSettingsError(f"`mapping`: {error.message}") from None


def _imported(module: str, extra: str) -> Any:  # noqa: ANN401  # a module
    """Only when it is needed: the library of a stream is an extra."""
    try:
        return import_module(module)
    except ModuleNotFoundError:
        if not extra:
            raise
        raise MissingExtraError(f"Streams of this kind need the extra `{extra}`: `make extras` installs it.") from None

"""Streams of Valkey or Redis.

url: redis://valkey:6379/0             # rediss:// with TLS, unix:///path; the password is among the secrets
stream: orders
group: tessera                         # left out: tessera-SOURCE
field: data                            # the field that holds the JSON; an entry without it is read as a whole
claim_after_seconds: 60                # what a dead reader left unacknowledged for so long is taken over
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, ParamSpec, TypeVar

import redis
import structlog

from cdp.ingestion.streams.stream import (
    Config,
    Message,
    Secrets,
    StreamAwayError,
    StreamSettingsError,
    required,
    whole_number,
)

log = structlog.get_logger()

CLAIM_AFTER_SECONDS: Final = 60
FIELD: Final = "data"
FROM_THE_BEGINNING, NEW, OWN_PENDING = "0", ">", "0"
SCHEMES: Final = ("redis://", "rediss://", "unix://")
_P = ParamSpec("_P")
_R = TypeVar("_R")


class ValkeyStream:
    def __init__(self, config: Config, secrets: Secrets, *, group: str, reader: str = "") -> None:
        check(config)
        self._stream = required(config, "stream")
        self._group = str(config.get("group") or group)
        self._field = str(config.get("field") or FIELD)
        self._claim_after = whole_number(config, "claim_after_seconds", CLAIM_AFTER_SECONDS)
        self._reader = reader or f"{socket.gethostname()}-{os.getpid()}"
        self._client = redis.Redis.from_url(str(config["url"]), password=secrets.get("password") or None)
        self._has_pending = True  # of an earlier life under the same name
        self._claimed_at = 0.0
        self._has_group = False

    def poll(self, *, most: int, seconds: float) -> Sequence[Message]:
        """First what this reader had already, then what a dead one left, then what is new."""
        return _answered(self._poll, most, seconds)

    def commit(self, messages: Sequence[Message]) -> None:
        if messages:
            _answered(self._client.xack, self._stream, self._group, *(message.offset for message in messages))

    def rewind(self, messages: Sequence[Message]) -> None:
        """They are still pending with this reader."""
        self._has_pending = self._has_pending or bool(messages)

    def lag(self) -> Mapping[str, int] | None:
        """What nobody was given yet, and what was given and not acknowledged. None where Valkey lost count."""
        try:
            groups: Any = self._client.xinfo_groups(self._stream)
        except redis.RedisError:
            return None
        ours = next((group for group in groups if group["name"] == self._group.encode()), None)
        if ours is None or ours["lag"] is None:
            return None
        return {f"{self._stream}:0": int(ours["lag"]) + int(ours["pending"])}

    def close(self) -> None:
        """The name of a reader that owes nothing is forgotten."""
        try:
            owing: Any = self._client.xpending_range(self._stream, self._group, "-", "+", 1, self._reader)
            if not owing:
                self._client.xgroup_delconsumer(self._stream, self._group, self._reader)
        except redis.RedisError as error:
            log.info("stream.close_failed", error=type(error).__name__)
        self._client.close()

    def _poll(self, most: int, seconds: float) -> list[Message]:
        self._make_group()
        if self._has_pending:
            pending = self._read(OWN_PENDING, most, None)
            self._has_pending = bool(pending)
            if pending:
                return pending
        return self._claim(most) or self._read(NEW, most, max(1, int(seconds * 1000)))

    def _make_group(self) -> None:
        if self._has_group:
            return
        try:
            self._client.xgroup_create(self._stream, self._group, FROM_THE_BEGINNING, mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        self._has_group = True

    def _claim(self, most: int) -> list[Message]:
        if time.monotonic() - self._claimed_at < self._claim_after / 2:
            return []
        taken: Any = self._client.xautoclaim(
            self._stream, self._group, self._reader, min_idle_time=self._claim_after * 1000, count=most
        )
        if not taken[1]:
            self._claimed_at = time.monotonic()  # nothing is left behind: look again after a while
        return self._messages(taken[1])

    def _read(self, after: str, most: int, milliseconds: int | None) -> list[Message]:
        try:
            came: Any = self._client.xreadgroup(
                self._group, self._reader, {self._stream: after}, count=most, block=milliseconds
            )
        except redis.ResponseError as error:
            self._has_group = not str(error).startswith("NOGROUP")  # the stream was deleted: its next entry makes it
            raise
        entries = came.values() if isinstance(came, dict) else (found for _, found in came)
        return [message for found in entries for message in self._messages(_flat(found))]

    def _messages(self, entries: Iterable[tuple[bytes, Mapping[bytes, bytes] | None]]) -> list[Message]:
        return [self._message(key.decode(), fields) for key, fields in entries]

    def _message(self, key: str, fields: Mapping[bytes, bytes] | None) -> Message:
        milliseconds = int(key.partition("-")[0])
        written_at = datetime.fromtimestamp(milliseconds / 1000, tz=UTC) if milliseconds < 4e12 else None
        return Message(self._stream, 0, key, self._value(fields or {}), written_at)

    def _value(self, fields: Mapping[bytes, bytes]) -> bytes:
        if self._field.encode() in fields:
            return fields[self._field.encode()]
        told = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
        return json.dumps(told).encode() if told else b""


def check(config: Config) -> None:
    """Raises `StreamSettingsError`."""
    required(config, "stream")
    if not required(config, "url").startswith(SCHEMES):
        raise StreamSettingsError(f"`url` must begin with one of {', '.join(SCHEMES)}.")
    whole_number(config, "claim_after_seconds", CLAIM_AFTER_SECONDS)


def _answered(ask: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    try:
        return ask(*args, **kwargs)
    except redis.RedisError as error:
        raise StreamAwayError(f"The stream says {type(error).__name__}.") from None


def _flat(found: Any) -> Any:  # noqa: ANN401  # the library answers in one of two forms, by protocol
    return found[0] if found and isinstance(found[0], list) else found

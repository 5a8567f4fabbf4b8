"""The contract of a connector: what a folder under `cdp/ingestion/connectors` gives, and what it may rely on.

A connector reads a system page by page, in the order of modification. It stores nothing: with each page it says how
far everything has been read, and goes on from any such place. A page may come twice; what has changed since a place
was passed always comes later. Pure: a vendor's library lives behind it.
"""

import importlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import ModuleType
from typing import Any, ClassVar, Final, Protocol

from cdp.kernel.errors import TesseraError

OWN_KEY_TYPE: Final = "source:id"  # in a shipped mapping: the type of the own keys of whichever source this is
LONGEST_CODE: Final = 64
_NOT_IN_CODE = re.compile(r"[^a-z0-9_]+")


class Shape(StrEnum):
    RECORDS = "RECORDS"
    EVENTS = "EVENTS"


@dataclass(frozen=True, slots=True)
class Stream:
    """What is read in one order. `rows` names the mapping: two streams may bring rows of the same kind."""

    name: str
    rows: str
    shape: Shape = Shape.RECORDS
    is_default: bool = True


@dataclass(frozen=True, slots=True)
class Position:
    """Everything up to here has been read: first by time (ISO 8601, UTC), then by key. Empty: before everything.

    `hint` may lead there faster and may have expired: whatever becomes of it, time and key are enough.
    """

    at: str = ""
    key: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """`rows` are as they came, but with the columns that were asked for. `deleted` are keys of records.

    After the last page of a stream there is nothing more for now.
    """

    rows: Sequence[object]
    deleted: Sequence[str]
    position: Position
    is_last: bool


# -- what can go wrong ----------------------------------------------------------------------------------------------


class ConnectorError(TesseraError):
    """The system cannot be read. `reason` is a code that may be shown and logged: it holds nothing of a person."""

    code = "connector"

    def __init__(self, message: str = "", *, reason: str = "") -> None:
        self.reason = code_of(reason) or self.code
        super().__init__(message, reason=self.reason)


class ConnectorConfigError(ConnectorError):
    """The settings of the connection are wrong."""

    code = "connector_config"


class MissingExtraError(ConnectorError):
    """A library is missing that only this kind of connection needs."""

    code = "missing_extra"


class RefusedConnectionError(ConnectorError):
    """The system refuses: it will do so again until a person has acted, there or in the settings."""

    code = "connection_refused"


class UnreadableStreamError(ConnectorError):
    """The system refuses one kind of object, by its rights or its fields; the others can be read."""

    code = "unreadable_stream"


class TransientConnectorError(ConnectorError):
    """The system did not answer, or asked to come again later. `retry_after` are the seconds that it asked for."""

    code = "connection_failed"

    def __init__(self, message: str = "", *, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class Connector(Protocol):
    kind: ClassVar[str]
    streams: ClassVar[Sequence[Stream]]
    mappings: ClassVar[Mapping[str, Mapping[str, Any]]]  # shipped, by `Stream.rows`
    overlap: ClassVar[timedelta]  # so late may a change become visible that was made earlier
    example: ClassVar[Mapping[str, Any]]  # settings to start from
    secrets: ClassVar[Sequence[str]]  # names that it may need

    def check(self, stream: Stream, columns: Sequence[str]) -> None:
        """One real call that reads as `pages` would. Raises a `ConnectorError`."""

    def pages(self, stream: Stream, columns: Sequence[str], after: Position) -> Iterator[Page]:
        """What comes after this position, in order. Raises a `ConnectorError`, between any two pages."""


# -- for the folders ------------------------------------------------------------------------------------------------


def code_of(said: str) -> str:
    """What another system calls its error, as a code of ours."""
    return _NOT_IN_CODE.sub("_", said.lower()).strip("_")[:LONGEST_CODE].rstrip("_")


def load_extra(module: str, *, extra: str) -> ModuleType:
    """A library that is optional. Raises `MissingExtraError`, which says how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(
            f"The library of this connection is missing, the extra `{extra}`: `make extras` installs it.",
            reason=f"missing_{extra}",
        ) from None


def moment_of(said: object) -> datetime | None:
    """An instant in ISO 8601, in any of its spellings; None where it is none. Without a zone it is UTC."""
    if not isinstance(said, str):
        return None
    try:
        read = datetime.fromisoformat(said)
    except ValueError:
        return None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def text_of(moment: datetime) -> str:
    """With milliseconds, so that the order of the texts is the order of the instants."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rewound(position: Position, overlap: timedelta) -> Position:
    """Where the next reading begins: what became visible late is read too, and what comes again is recognised."""
    reached = moment_of(position.at)
    return Position(text_of(reached - overlap)) if reached else Position()


@dataclass
class TokenBucket:
    """At most `per_second` requests, with `burst` at once: `take` waits for its turn."""

    per_second: float
    burst: float = 1
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    _tokens: float = field(init=False)
    _filled_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._tokens, self._filled_at = self.burst, self.clock()

    def take(self) -> None:
        self._fill()
        if self._tokens < 1:
            self.sleep((1 - self._tokens) / self.per_second)
            self._fill()
        self._tokens = max(self._tokens - 1, 0)

    def _fill(self) -> None:
        moment = self.clock()
        self._tokens = min(self.burst, self._tokens + (moment - self._filled_at) * self.per_second)
        self._filled_at = moment

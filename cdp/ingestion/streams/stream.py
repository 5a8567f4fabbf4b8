"""The contract of a stream: a log of messages that is read in order and remembers how far a group of readers is. Pure.

At least once: messages are committed after they are stored, so a reader that is killed in between reads them again,
and their message ids are known by then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from cdp.kernel.errors import TesseraError


class StreamSettingsError(TesseraError):
    """The settings of the stream cannot be used."""

    code = "stream_settings"


class StreamAwayError(TesseraError):
    """The stream does not answer, or refuses: nothing is lost, it is read again from where it was committed."""

    code = "stream_away"


class MissingExtraError(TesseraError):
    """A package is missing."""

    code = "missing_extra"


@dataclass(frozen=True, slots=True)
class Message:
    """`offset` is text because some streams count by time. What was deleted meanwhile has an empty `value`."""

    topic: str
    partition: int
    offset: str
    value: bytes
    written_at: datetime | None = None

    @property
    def log(self) -> str:
        """The ordered part of the stream that it lies in."""
        return f"{self.topic}:{self.partition}"

    @property
    def place(self) -> str:
        """Where people find it, and what makes it known when it comes again."""
        return f"{self.log}:{self.offset}"


class Stream(Protocol):
    """One reader of a group. Others of the group may come and go: each message goes to one of them."""

    def poll(self, *, most: int, seconds: float) -> Sequence[Message]:
        """The next messages, in the order of each partition. Waits at most `seconds`. Raises `StreamAwayError`."""

    def commit(self, messages: Sequence[Message]) -> None:
        """They are stored. Raises `StreamAwayError`, and then they may come again."""

    def rewind(self, messages: Sequence[Message]) -> None:
        """They were not stored: the next poll gives them again, to this reader or another."""

    def lag(self) -> Mapping[str, int] | None:
        """How many messages wait in each log of this reader; None as long as it cannot be told."""

    def close(self) -> None:
        """Leave the group, so that others go on at once."""


Config = Mapping[str, Any]
Secrets = Mapping[str, str]


def required(config: Config, name: str) -> str:
    value = config.get(name)
    if not (isinstance(value, str) and value):
        raise StreamSettingsError(f"`{name}` is missing.")
    return value


def whole_number(config: Config, name: str, default: int) -> int:
    value = str(config.get(name) or default)
    if not value.isdecimal():
        raise StreamSettingsError(f"`{name}` must be a whole number.")
    return int(value)

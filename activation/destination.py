"""The contract of a destination: what a folder under `activation/destinations` gives, and what it may rely on.

A destination says what to send and what an answer means. It neither sends nor stores: it is pure, so that what would
be sent can be looked at (`manage.py activation preview`) and every destination passes the same suite of tests.
Adding and removing are operations on a set: sending twice is harmless, and nothing is ever replaced as a whole.
To erase may take more than one request: there the way to send is handed in.
"""

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Final, Protocol

from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import Identifier


class Operation(StrEnum):
    ADD = "ADD"
    REMOVE = "REMOVE"


class Failure(StrEnum):
    """What a failed request asks for."""

    RETRY = "RETRY"  # the same batch later
    REFRESH = "REFRESH"  # new credentials, then once more
    ABORT_BATCH = "ABORT_BATCH"  # this request is malformed and no row can be blamed
    ABORT_DESTINATION = "ABORT_DESTINATION"  # a person must act


class RowStatus(StrEnum):
    SENT = "SENT"
    REJECTED = "REJECTED"  # this row is bad: abort-row
    UNKNOWN = "UNKNOWN"  # counts as present: when the profile leaves, the remove is sent


class Erases(StrEnum):
    """Whom a destination erases when it is told that a person was erased here."""

    NOBODY = "NOBODY"  # it knows its audiences alone: who was removed from them is gone
    MEMBERS = "MEMBERS"  # who was ever sent to it
    EVERYBODY = "EVERYBODY"  # whoever is erased here: it may have them by other ways than audiences


class ErasureReply(StrEnum):
    ACKNOWLEDGED = "ACKNOWLEDGED"  # it has erased the person, or answers for it that it will
    REFUSED = "REFUSED"
    UNSUPPORTED = "UNSUPPORTED"
    PROMISED = "PROMISED"  # it took the request and says later what became of it: `erasing.hear_answer`


class DestinationConfigError(TesseraError):
    """The configuration of the destination is wrong."""

    code = "destination_config"


@dataclass(frozen=True, slots=True)
class Limits:
    rows: int
    bytes: int
    requests_per_minute: int | None = None


@dataclass(frozen=True, slots=True, order=True)
class MemberKey:
    """What identifies a person at a destination: the digest that `format_key` made."""

    identifier_type: str
    key: str


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """`rows` are the places in `keys` that this request carries, in the order in which it carries them."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    rows: Sequence[int]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class RowResult:
    status: RowStatus
    code: str = ""


SENT = RowResult(RowStatus.SENT)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one request: a failure with its code, or a result for each row, by its place in the request."""

    failure: Failure | None = None
    code: str = ""
    rows: Sequence[RowResult] = field(default=())


@dataclass(frozen=True, slots=True)
class ErasureNotice:
    """A person was erased at `erased_at`. `reference` is the same for every try of the same notice, and of no other.

    `identifiers` have canonical values in clear: nobody else has them any more, and they are forgotten with the answer.
    """

    reference: uuid.UUID
    identifiers: Sequence[Identifier]
    erased_at: datetime


@dataclass(frozen=True, slots=True)
class ErasureOutcome:
    """`code` is in lower case with underscores and says why, for whoever reads the tries; nothing personal."""

    reply: ErasureReply
    code: str = ""


UNSUPPORTED: Final = ErasureOutcome(ErasureReply.UNSUPPORTED)

# Sends one request with the proof of `authorise`, whose idempotency key is the reference of the notice. Gives the answer,
# be it 2xx or a refusal. What another try may mend (408, 425, 429, 5xx, time-outs) never comes back: it ends the call.
Send = Callable[[PreparedRequest], Answer]


class Destination(Protocol):
    kind: ClassVar[str]
    erases: ClassVar[Erases]
    limits: ClassVar[Limits]
    example: ClassVar[Mapping[str, Any]]  # a configuration, for previews and documentation

    def format_key(self, identifier_type: str, value: str) -> str | None:
        """The key of a canonical value, or None where this destination can make nothing of it."""

    def build_requests(self, operation: Operation, audience: str, keys: Sequence[MemberKey]) -> list[PreparedRequest]:
        """The requests for these keys, within the limits. The same arguments give the same requests."""

    def authorise(self, request: PreparedRequest, *, idempotency_key: str, now: datetime) -> Mapping[str, str]:
        """The headers that hold or prove secrets, made when the request is sent."""

    def refresh(self) -> bool:
        """Get new credentials. False where there are none to be had without a person."""

    def parse(self, request: PreparedRequest, answer: Answer) -> Outcome:
        """What the answer says, whatever its status. Time-outs and broken connections never come here: they retry."""

    def erase(self, notice: ErasureNotice, send: Send) -> ErasureOutcome:
        """Have the person erased. It may be called again for the same notice, and asks for the same then.

        Called after the person was removed from all audiences there. One that erases `NOBODY` returns `UNSUPPORTED`.
        """


def sha256_hex(canonical: str) -> str | None:
    """None for an empty value: the digest of nothing is the same for everybody."""
    return hashlib.sha256(canonical.encode()).hexdigest() if canonical.strip() else None


def failure_of(status: int) -> Failure:
    """What a status means where the platform says nothing more exact."""
    if status in {408, 425, 429} or status >= 500:
        return Failure.RETRY
    if status == 401:
        return Failure.REFRESH
    if 300 <= status < 400 or status in {402, 403, 404, 405, 410}:
        return Failure.ABORT_DESTINATION
    return Failure.ABORT_BATCH

"""The words of OpenDSR 2.0 and of OpenGDPR 1.0 before it, and what they mean here."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from consent.request_states import RequestState
from consent.rights import Right


class Version(StrEnum):
    """`2.0` speaks at `/v2/…`, `1.0` at `/opengdpr_requests`."""

    TWO = "2.0"
    ONE = "1.0"


# Names of the headers that say who signed, and the signature: both over the bytes of the body.
DOMAIN_HEADER: Final[Mapping[Version, str]] = MappingProxyType(
    {Version.TWO: "X-OpenDSR-Processor-Domain", Version.ONE: "X-OpenGDPR-Processor-Domain"}
)
SIGNATURE_HEADER: Final[Mapping[Version, str]] = MappingProxyType(
    {Version.TWO: "X-OpenDSR-Signature", Version.ONE: "X-OpenGDPR-Signature"}
)

RIGHTS: Final[Mapping[str, Right]] = MappingProxyType(
    {"access": Right.ACCESS, "portability": Right.PORTABILITY, "erasure": Right.ERASURE}
)
REGULATIONS: Final = frozenset({"gdpr", "ccpa"})

IDENTITY_TYPES: Final = (
    "controller_customer_id",
    "email",
    "android_advertising_id",
    "android_id",
    "fire_advertising_id",
    "ios_advertising_id",
    "ios_vendor_id",
    "microsoft_advertising_id",
    "microsoft_publisher_id",
    "roku_publisher_id",
    "roku_advertising_id",
)
RAW: Final = "raw"
# SHA-1 is not here: Postgres has none, so it would take every value out of the database to match one.
DIGITS_BY_FORMAT: Final[Mapping[str, int]] = MappingProxyType({"md5": 32, "sha256": 64})
FORMATS: Final = (RAW, *DIGITS_BY_FORMAT)

_OWN_TYPES: Final[Mapping[str, str]] = MappingProxyType({"controller_customer_id": "user_id"})
_THEIR_TYPES: Final[Mapping[str, str]] = MappingProxyType({ours: theirs for theirs, ours in _OWN_TYPES.items()})


def identifier_type(identity_type: str) -> str:
    """Ids of devices are kept under the very names that OpenDSR gives them."""
    return _OWN_TYPES.get(identity_type, identity_type)


def identity_type(own_type: str) -> str | None:
    """None for what OpenDSR has no word for: telephone numbers, say."""
    named = _THEIR_TYPES.get(own_type, own_type)
    return named if named in IDENTITY_TYPES else None


class Status(StrEnum):
    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


# There is no word for a refusal: it is completed, with nothing found, and `extensions` says what it was.
STATUS_BY_STATE: Final[Mapping[str, Status]] = MappingProxyType(
    {
        RequestState.RECEIVED: Status.PENDING,
        RequestState.IN_PROGRESS: Status.IN_PROGRESS,
        RequestState.COMPLETED: Status.COMPLETED,
        RequestState.REFUSED: Status.COMPLETED,
        RequestState.DUPLICATE: Status.COMPLETED,
        RequestState.TAKEN_BACK: Status.CANCELLED,
    }
)
OUTCOME_BY_STATE: Final[Mapping[str, str]] = MappingProxyType(
    {RequestState.REFUSED: "refused", RequestState.DUPLICATE: "duplicate"}
)

MAIL: Final = "mailto:"

# Where a processor is asked what it can take, and where it takes requests.
PATHS: Final[Mapping[Version, tuple[str, str]]] = MappingProxyType(
    {Version.TWO: ("/v2/discovery", "/v2/requests"), Version.ONE: ("/discovery", "/opengdpr_requests")}
)

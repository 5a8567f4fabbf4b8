"""The contract of a webhook: what a folder under `cdp/ingestion/webhooks` gives, and what it may rely on. Pure.

A webhook says whether a delivery is genuine and what it says, in tracking calls. It neither stores nor sends: whoever
calls it does, so every webhook passes the same suite of tests. A delivery that comes twice must read the same way
twice, message ids included: that is what makes a replay harmless.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar, Protocol

from cdp.kernel.errors import TesseraError

Call = Mapping[str, Any]  # as an SDK would have sent it


class WebhookSettingsError(TesseraError):
    """The settings of the webhook cannot be used."""

    code = "webhook_settings"


class RefusedDeliveryError(TesseraError):
    """The delivery does not come from whom it should."""

    code = "refused_delivery"


class WrongSignatureError(RefusedDeliveryError):
    """The signature is missing or wrong: compare the secret here with the one at the sender."""

    code = "wrong_signature"


class StaleSignatureError(RefusedDeliveryError):
    """The signature is too old or from the future: compare the clocks, or it was replayed."""

    code = "stale_signature"


class MalformedDeliveryError(TesseraError):
    """The delivery is genuine, but nobody can tell what it says."""

    code = "malformed_delivery"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.reason = code


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request as it came: the signature is over these very bytes. Names of headers are in lower case."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one connection: what may be seen, and what may not."""

    config: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unread:
    """A part of a delivery that could not be read, as it came. It costs the parts beside it nothing."""

    place: str
    code: str
    message: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Announced:
    """A thing that the delivery only names. `key` is the sender's id of this notification."""

    key: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """All that a delivery says."""

    calls: Sequence[Call] = ()
    unread: Sequence[Unread] = ()
    announced: Sequence[Announced] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """A setting, described for whoever fills it in. A secret is written once and never shown again."""

    name: str
    help: str
    default: Any = ""
    is_secret: bool = False
    is_required: bool = False


class Webhook(Protocol):
    """`malformed_status` is what a sender hears of a genuine delivery that lies in quarantine now.

    200 where it would only repeat itself or turn the webhook off, 400 where somebody reads the answer.
    """

    fields: ClassVar[Sequence[Field]]
    malformed_status: ClassVar[HTTPStatus]

    def check(self, settings: Settings) -> None:
        """Raises `WebhookSettingsError`, which names the setting that is wrong."""

    def verify(self, delivery: Delivery, settings: Settings, *, now: datetime) -> None:
        """Raises `WrongSignatureError` or `StaleSignatureError`. A wrong signature takes as long as a right one."""

    def read(self, delivery: Delivery, settings: Settings) -> Reading:
        """Raises `MalformedDeliveryError`."""


Get = Callable[[str], Any]
"""Fetches an address of the sender's API, with its credentials, and returns the JSON that it answered."""


class Fetching(Protocol):
    """Of a webhook that announces: how to come by what it announced."""

    requests_per_minute: ClassVar[int]

    def headers(self, settings: Settings) -> Mapping[str, str]:
        """The credentials."""

    def fetch(self, announced: Mapping[str, Any], settings: Settings, get: Get) -> Sequence[Call]:
        """Runs in a worker. What `get` raises is for its caller."""


def checked_fields(fields: Sequence[Field], settings: Settings) -> None:
    """What every connection checks: each setting is known, in its place, and those that are required are there."""
    for given, is_secret, what in ((settings.config, False, "setting"), (settings.secrets, True, "secret")):
        known = sorted(field.name for field in fields if field.is_secret is is_secret)
        for name in given:
            if name not in known:
                raise WebhookSettingsError(f"`{name}` is no {what} here; there are {', '.join(known)}.")
    for one in fields:
        given = settings.secrets if one.is_secret else settings.config
        if one.is_required and not given.get(one.name):
            raise WebhookSettingsError(f"`{one.name}` is missing: {one.help}.")

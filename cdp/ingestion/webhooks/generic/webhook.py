"""A webhook of any sender that signs with HMAC or sends a token, and any JSON that a mapping can read.

signature_header: X-Signature           # left out: nothing is signed, and the token must do
prefix: "sha256="
algorithm: sha256                       # sha1, sha512
encoding: hex                           # base64
style: timestamped                      # the header is t=1763726400,v1=… and the time is signed too
timestamp_header: X-Request-Timestamp   # or the time has a header of its own
signed: "v0:{timestamp}:{body}"         # what is signed, where it is not the body or TIME.BODY
tolerance_seconds: 300
delivery_header: X-Delivery-Id          # what makes a delivery known when it comes again
mapping: {…}                            # see `cdp.ingestion.documents`
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import ClassVar, Final

import msgspec

from cdp.ingestion import documents
from cdp.ingestion.bodies import InvalidJsonError, read_item
from cdp.ingestion.documents import Call, DocumentMapping
from cdp.ingestion.mapping import MappingError
from cdp.ingestion.messages import RefusedEventError
from cdp.ingestion.signature import ALGORITHMS, ENCODINGS, is_same, is_signed
from cdp.ingestion.webhook import (
    Delivery,
    Field,
    MalformedDeliveryError,
    Reading,
    Settings,
    StaleSignatureError,
    Unread,
    WebhookSettingsError,
    WrongSignatureError,
    checked_fields,
)  # fmt: skip

STYLES: Final = ("plain", "timestamped")
MOST_ITEMS: Final = 2_500  # of one delivery
_CHOICES: Final = {"algorithm": ALGORITHMS, "encoding": tuple(ENCODINGS), "style": STYLES}
_DEFAULTS: Final = {"algorithm": "sha256", "encoding": "hex", "style": "plain", "tolerance_seconds": 300}


class Generic:
    fields: ClassVar[Sequence[Field]] = (
        Field("signature_header", "header that holds the signature"),
        Field("prefix", "what stands before the signature in its header, as `sha256=`"),
        Field("algorithm", "sha256, sha1 or sha512", _DEFAULTS["algorithm"]),
        Field("encoding", "hex or base64", _DEFAULTS["encoding"]),
        Field("style", "plain, or timestamped for `t=…,v1=…`", _DEFAULTS["style"]),
        Field("timestamp_header", "header that holds the time of signing"),
        Field("signed", "what is signed, with {timestamp} and {body} in it"),
        Field("tolerance_seconds", "how old a signature may be", _DEFAULTS["tolerance_seconds"]),
        Field("delivery_header", "header that holds the id of the delivery"),
        Field("mapping", "what the paths of the document mean", is_required=True),
        Field("secret", "key of the signatures", is_secret=True),
        Field("previous_secret", "the key before it, while it is being changed", is_secret=True),
        Field("token", "sent as `Authorization: Bearer TOKEN`", is_secret=True),
    )
    malformed_status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST

    def check(self, settings: Settings) -> None:
        checked_fields(self.fields, settings)
        for name, choices in _CHOICES.items():
            if _set(settings, name) not in choices:
                raise WebhookSettingsError(f"`{name}` must be one of {', '.join(choices)}.")
        if "{body}" not in _signed(settings):
            raise WebhookSettingsError("`signed` must have {body} in it: what is not signed can be forged.")
        if "{timestamp}" in _signed(settings) and not _has_time(settings):
            raise WebhookSettingsError(
                "`signed` has {timestamp} in it: name `timestamp_header` or the style timestamped."
            )
        if not str(_set(settings, "tolerance_seconds")).isdecimal():
            raise WebhookSettingsError("`tolerance_seconds` must be a whole number.")
        if not settings.secrets.get("token") and not (
            settings.secrets.get("secret") and settings.config.get("signature_header")
        ):
            raise WebhookSettingsError("Give `secret` and `signature_header`, or `token`: else anybody could send.")
        _mapping(settings)

    def verify(self, delivery: Delivery, settings: Settings, *, now: datetime) -> None:
        token, secret = settings.secrets.get("token", ""), settings.secrets.get("secret", "")
        if not token and not secret:
            raise WrongSignatureError("The connection has no secret, so nothing can be genuine.")
        if token and not is_same(delivery.headers.get("authorization", ""), f"Bearer {token}"):
            raise WrongSignatureError("The token is missing or wrong.")
        if secret:
            _verify_signature(delivery, settings, now)

    def read(self, delivery: Delivery, settings: Settings) -> Reading:
        mapping = _mapping(settings)
        try:
            items = documents.items_of(read_item(delivery.body), mapping)
        except (InvalidJsonError, RefusedEventError) as error:
            raise MalformedDeliveryError(getattr(error, "reason", error.code), error.message) from None
        if len(items) > MOST_ITEMS:
            raise MalformedDeliveryError("too_many_events", f"A delivery has at most {MOST_ITEMS} events.")
        delivery_id = delivery.headers.get(str(settings.config.get("delivery_header", "")).lower(), "")
        read = [_read(item, place, mapping, delivery_id) for place, item in enumerate(items)]
        return Reading(
            calls=[call for part in read if isinstance(part, list) for call in part],
            unread=[part for part in read if isinstance(part, Unread)],
        )


WEBHOOK: Final = Generic()


def _read(item: object, place: int, mapping: DocumentMapping, delivery_id: str) -> list[Call] | Unread:
    raw = msgspec.json.encode(item)
    message_id = f"{delivery_id}:{place}" if delivery_id else documents.content_id(raw, place)
    try:
        return documents.calls_of(item, mapping, message_id=message_id)
    except RefusedEventError as error:
        return Unread(f"webhook[{place}]", error.reason, error.message, raw)


# -- signatures -----------------------------------------------------------------------------------------------------


def _verify_signature(delivery: Delivery, settings: Settings, now: datetime) -> None:
    header = delivery.headers.get(str(_set(settings, "signature_header")).lower(), "")
    timestamp, given = _parts(header, delivery, settings)
    before, _, after = _signed(settings).partition("{body}")
    content = before.replace("{timestamp}", timestamp).encode() + delivery.body
    content += after.replace("{timestamp}", timestamp).encode()
    if not is_signed(
        content,
        given,
        [settings.secrets.get("secret", ""), settings.secrets.get("previous_secret", "")],
        algorithm=_set(settings, "algorithm"),
        encoding=_set(settings, "encoding"),
    ):
        raise WrongSignatureError
    if _has_time(settings):
        _check_age(timestamp, settings, now)


def _parts(header: str, delivery: Delivery, settings: Settings) -> tuple[str, list[str]]:
    """The time and the signatures: a sender that changes its key signs with both for a while."""
    timestamp = delivery.headers.get(str(_set(settings, "timestamp_header")).lower(), "")
    prefix = str(_set(settings, "prefix"))
    if _set(settings, "style") == "timestamped":
        pairs = list(_pairs(header))
        timestamp = next((value for name, value in pairs if name == "t"), "")
        return timestamp, [value for name, value in pairs if name.startswith("v")]
    return timestamp, [header.removeprefix(prefix)] if header.startswith(prefix) else []


def _pairs(header: str) -> Iterator[tuple[str, str]]:
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        yield name, value


def _check_age(timestamp: str, settings: Settings, now: datetime) -> None:
    """After the signature: whoever cannot sign learns nothing of our clock."""
    tolerance = int(_set(settings, "tolerance_seconds"))
    if not timestamp.isdecimal() or abs(now.timestamp() - int(timestamp)) > tolerance:
        raise StaleSignatureError


# -- settings -------------------------------------------------------------------------------------------------------


def _set(settings: Settings, name: str) -> str:
    given = settings.config.get(name)
    return str(_DEFAULTS.get(name, "") if given is None or given == "" else given)


def _has_time(settings: Settings) -> bool:
    return _set(settings, "style") == "timestamped" or bool(_set(settings, "timestamp_header"))


def _signed(settings: Settings) -> str:
    return _set(settings, "signed") or ("{timestamp}.{body}" if _has_time(settings) else "{body}")


def _mapping(settings: Settings) -> DocumentMapping:
    try:
        return documents.parse_document_mapping(settings.config.get("mapping"))
    except MappingError as error:
        raise WebhookSettingsError(f"`mapping`: {error.message}") from None

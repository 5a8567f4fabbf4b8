"""What a controller sends: read strictly, before anything is believed. An error names the place and never the value."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from cdp.kernel.errors import TesseraError
from consent.opendsr.words import DIGITS_BY_FORMAT, FORMATS, IDENTITY_TYPES, RAW, REGULATIONS, RIGHTS, Version
from consent.rights import Right

MOST_IDENTITIES: Final = 20
MOST_CALLBACKS: Final = 10
LONGEST_URL: Final = 2_000
HTTPS_PORT: Final = 443
_GUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_URL: Final = re.compile(r"[!-~]+")  # printable ASCII without spaces

Value = Annotated[str, Meta(min_length=1, max_length=1_024)]
Moment = Annotated[datetime, Meta(tz=True)]


class MalformedError(TesseraError):
    """The request is not as OpenDSR wants it: `details` says where, and why."""

    code = "malformed_opendsr_request"

    def __init__(self, reason: str, message: str, place: str = "request") -> None:
        super().__init__(message, reason=reason, place=place)


class Identity(msgspec.Struct, frozen=True):
    identity_type: str
    identity_value: Value
    identity_format: str = ""


class Body(msgspec.Struct, frozen=True):
    """`extensions` is kept as it came: only the part under our own domain is ever looked at."""

    subject_request_id: str
    subject_request_type: str
    submitted_time: Moment
    regulation: str = ""
    subject_identities: Sequence[Identity] = ()
    api_version: str = ""
    status_callback_urls: Sequence[str] = ()
    extensions: Mapping[str, msgspec.Raw] = msgspec.field(default_factory=dict)


class StrictBody(Body, frozen=True, forbid_unknown_fields=True):
    """What is not understood might have changed what is asked for."""


class Extension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ours: people named as everywhere else in Tessera, `phone:+33612345678`."""

    identifiers: Annotated[Sequence[Value], Meta(min_length=1, max_length=MOST_IDENTITIES)]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was read. `identities` are at least one, or there are `identifiers`."""

    id: str
    right: Right
    regulation: str
    submitted_at: datetime
    identities: Sequence[Identity]
    identifiers: Sequence[str]
    callback_urls: Sequence[str] = field(default=())


_LENIENT: Final = msgspec.json.Decoder(Body)
_STRICT: Final = msgspec.json.Decoder(StrictBody)
_EXTENSION: Final = msgspec.json.Decoder(Extension)


def read_request(body: bytes, *, version: Version, domain: str, hosts: Sequence[str], is_lenient: bool) -> Asked:
    """Raises `MalformedError`. `hosts` are those that the controller may have called back.

    Lenient: the regulation may be missing, as in the example of the specification, and unknown fields are overlooked.
    """
    said = _decoded(_LENIENT if is_lenient else _STRICT, body)
    _demand(said.api_version in {"", version.value}, "api_version", "api_version", f"It must be {version.value} here.")
    read_id(said.subject_request_id)
    _demand(said.subject_request_type in RIGHTS, "unsupported_type", "subject_request_type", f"One of {_list(RIGHTS)}.")
    identifiers = _identifiers(said, domain)
    _check_number(len(said.subject_identities) + len(identifiers))
    for place, each in enumerate(said.subject_identities):
        _check_identity(each, f"subject_identities[{place}]")
    _check_callbacks(said.status_callback_urls, hosts)
    return Asked(
        id=said.subject_request_id,
        right=RIGHTS[said.subject_request_type],
        regulation=_regulation(said.regulation, is_optional=is_lenient or version is Version.ONE),
        submitted_at=said.submitted_time,
        identities=said.subject_identities,
        identifiers=identifiers,
        callback_urls=tuple(dict.fromkeys(said.status_callback_urls)),
    )


def read_id(text: str) -> str:
    """A GUID of version 4 in lower case."""
    _demand(
        bool(_GUID.fullmatch(text)), "invalid_id", "subject_request_id", "It must be a GUID of version 4, lower case."
    )
    return text


def is_allowed(url: str, hosts: Sequence[str]) -> bool:
    """https, without a password, to a host that is on the list; a port of its own is on the list with it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    named = host if port in {None, HTTPS_PORT} else f"{host}:{port}"
    is_plain = bool(_URL.fullmatch(url)) and "@" not in parts.netloc and not parts.fragment and "\\" not in url
    return is_plain and parts.scheme == "https" and named in hosts and len(url) <= LONGEST_URL


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:  # noqa: ANN401  # what the decoder reads
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise MalformedError("invalid_field", _without_values(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedError("invalid_json", "The body is no JSON.") from None


def _without_values(text: str) -> str:
    """It names the place and the type that was found there; but what a stranger called a field may be anything."""
    return "There is a field that OpenDSR does not know." if "unknown field" in text else f"{text}."


def _regulation(given: str, *, is_optional: bool) -> str:
    _demand(
        given in REGULATIONS or (is_optional and not given),
        "invalid_regulation",
        "regulation",
        f"One of {_list(REGULATIONS)}.",
    )
    return given


def _identifiers(said: Body, domain: str) -> Sequence[str]:
    """Other processors' extensions are not ours to read."""
    raw = said.extensions.get(domain)
    return _decoded(_EXTENSION, bytes(raw)).identifiers if raw is not None else ()


def _check_number(identities: int) -> None:
    _demand(identities > 0, "no_identity", "subject_identities", "At least one identity is needed.")
    _demand(identities <= MOST_IDENTITIES, "too_many", "subject_identities", f"At most {MOST_IDENTITIES} identities.")


def _check_identity(one: Identity, place: str) -> None:
    _demand(one.identity_type in IDENTITY_TYPES, "unsupported_identity", place, "Discovery lists the identity types.")
    _demand(one.identity_format in FORMATS, "unsupported_format", place, f"The format must be one of {_list(FORMATS)}.")
    digits = DIGITS_BY_FORMAT.get(one.identity_format, 0)
    is_hex = re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", one.identity_value)
    _demand(one.identity_format == RAW or bool(is_hex), "invalid_identity", place, "It is no digest of its format.")


def _check_callbacks(urls: Sequence[str], hosts: Sequence[str]) -> None:
    _demand(len(urls) <= MOST_CALLBACKS, "too_many", "status_callback_urls", f"At most {MOST_CALLBACKS} addresses.")
    for place, url in enumerate(urls):
        _demand(
            is_allowed(url, hosts),
            "forbidden_callback",
            f"status_callback_urls[{place}]",
            "It must be https://…, to a host that was agreed upon.",
        )


def _demand(condition: bool, reason: str, place: str, message: str) -> None:  # noqa: FBT001  # private
    if not condition:
        raise MalformedError(reason, message, place)


def _list(words: Any) -> str:  # noqa: ANN401  # whatever holds words
    return ", ".join(sorted(words))

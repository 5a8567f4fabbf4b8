"""A processor that speaks OpenDSR: whoever is erased here is erased there. It keeps no audiences.

    POST {url}/v2/requests      (version 1.0: {url}/opengdpr_requests)
    {"regulation": "gdpr", "subject_request_type": "erasure", "subject_identities": [{"identity_type": "email", …}], …}

What the processor can take is read from its discovery once a day. With `callback_url` it says by a signed callback when
it is done (`activation.opendsr_callbacks`); without one, that it took the request is all that is ever heard.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from activation.destination import (
    UNSUPPORTED,
    Answer,
    DestinationConfigError,
    Erases,
    ErasureNotice,
    ErasureOutcome,
    ErasureReply,
    Failure,
    Limits,
    Outcome,
    PreparedRequest,
    Send,
    failure_of,
)
from cdp.kernel.identifiers import Identifier
from consent.opendsr.words import PATHS, RAW, Version, identity_type

FORMATS: Final = (RAW, "sha256", "sha1", "md5")  # the one that tells most first
DISCOVERED_FOR_SECONDS: Final = 24 * 3600.0
MOST_IDENTITIES: Final = 20
MOST_KNOWN: Final = 1_000

_discovered: dict[str, tuple[float, "Offer"]] = {}


@dataclass(frozen=True, slots=True)
class Offer:
    """What a processor said that it can take."""

    erases: bool
    identities: frozenset[tuple[str, str]]

    def identity(self, one: Identifier) -> dict[str, str] | None:
        """None for what the processor cannot find anybody by."""
        kind = identity_type(one.type)
        form = next((form for form in FORMATS if (kind, form) in self.identities), None)
        if kind is None or form is None:
            return None
        return {"identity_type": kind, "identity_value": _written(one.value, form), "identity_format": form}


def forget_offers() -> None:
    """As in a new process."""
    _discovered.clear()


class OpenDsr:
    kind: ClassVar[str] = "opendsr"
    erases: ClassVar[Erases] = Erases.EVERYBODY
    limits: ClassVar[Limits] = Limits(rows=0, bytes=0)
    example: ClassVar[Mapping[str, Any]] = {"url": "https://dsr.example.com"}

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        self._url = _https(config, "url").rstrip("/")
        self._callback_url = _https(config, "callback_url") if config.get("callback_url") else ""
        self._version = _version(config.get("api_version", Version.TWO.value))
        self._regulation = str(config.get("regulation", "gdpr"))
        self._token = secrets.get("token", "")

    def format_key(self, identifier_type: str, value: str) -> str | None:  # noqa: ARG002  # nobody is ever sent
        return None

    def build_requests(self, *_: object) -> list[PreparedRequest]:
        """None: nobody has a key here."""
        return []

    def authorise(self, request: PreparedRequest, *, idempotency_key: str, now: datetime) -> Mapping[str, str]:  # noqa: ARG002  # the same for each
        if not self._token:
            raise DestinationConfigError("OpenDSR needs `token` among its secrets: the processor gives it to you.")
        return {"Authorization": f"Bearer {self._token}"}

    def refresh(self) -> bool:
        return False

    def parse(self, request: PreparedRequest, answer: Answer) -> Outcome:  # noqa: ARG002  # it carries nobody
        if 200 <= answer.status < 300:
            return Outcome()
        found = failure_of(answer.status)
        return Outcome(Failure.ABORT_DESTINATION if found is Failure.REFRESH else found, f"http_{answer.status}")

    def erase(self, notice: ErasureNotice, send: Send) -> ErasureOutcome:
        discovery, requests = PATHS[self._version]
        offer = self._offer(discovery, send)
        if isinstance(offer, ErasureOutcome):
            return offer
        identities = [found for one in notice.identifiers if (found := offer.identity(one))]
        if not offer.erases or not identities:
            return ErasureOutcome(UNSUPPORTED.reply, "no_erasure" if not offer.erases else "no_identity_in_common")
        body = self._body(notice, identities[:MOST_IDENTITIES])
        return self._outcome(notice, send(self._request("POST", requests, json.dumps(body).encode())))

    def _offer(self, path: str, send: Send) -> Offer | ErasureOutcome:
        """At most a day old in this process: what a processor supports changes with its versions."""
        known_until, offer = _discovered.get(self._url + path, (0.0, None))
        if offer and time.monotonic() < known_until:
            return offer
        answer = send(self._request("GET", path, b""))
        if answer.status != 200:
            return ErasureOutcome(ErasureReply.REFUSED, f"discovery_http_{answer.status}")
        read = _read_offer(answer.body)
        if read is None:
            return ErasureOutcome(ErasureReply.REFUSED, "discovery_invalid")
        if len(_discovered) >= MOST_KNOWN:
            _discovered.clear()
        _discovered[self._url + path] = (time.monotonic() + DISCOVERED_FOR_SECONDS, read)
        return read

    def _body(self, notice: ErasureNotice, identities: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        submitted = notice.erased_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        body = {
            "api_version": self._version.value,
            "subject_request_id": str(notice.reference),
            "subject_request_type": "erasure",
            "submitted_time": submitted,
            "subject_identities": identities,
        }
        regulation = {"regulation": self._regulation} if self._version is Version.TWO else {}
        return body | regulation | ({"status_callback_urls": [self._callback_url]} if self._callback_url else {})

    def _outcome(self, notice: ErasureNotice, answer: Answer) -> ErasureOutcome:
        if answer.status != 201:
            return ErasureOutcome(ErasureReply.REFUSED, f"http_{answer.status}")
        if _id_in(answer.body) != str(notice.reference):
            return ErasureOutcome(ErasureReply.REFUSED, "answer_to_another_request")
        return ErasureOutcome(ErasureReply.PROMISED if self._callback_url else ErasureReply.ACKNOWLEDGED, "received")

    def _request(self, method: str, path: str, body: bytes) -> PreparedRequest:
        headers = {"Content-Type": "application/json"} if body else {}
        return PreparedRequest(method=method, url=self._url + path, headers=headers, body=body, rows=())


def _https(config: Mapping[str, Any], name: str) -> str:
    url = config.get(name)
    if not isinstance(url, str) or not _is_plain(url):
        raise DestinationConfigError(f"OpenDSR needs `{name}` as https://… in its configuration, without a query.")
    return url


def _is_plain(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and not {"@", "?", "#"} & set(url)


def _version(given: object) -> Version:
    try:
        return Version(str(given))
    except ValueError:
        raise DestinationConfigError('`api_version` is "2.0" or "1.0".') from None


def _written(value: str, form: str) -> str:
    return value if form == RAW else hashlib.new(form, value.encode(), usedforsecurity=False).hexdigest()


def _read_offer(body: bytes) -> Offer | None:
    """None where it is no discovery."""
    try:
        said = json.loads(body)
        identities = frozenset(
            (str(one["identity_type"]), str(one["identity_format"])) for one in said["supported_identities"]
        )
        return Offer("erasure" in said["supported_subject_request_types"], identities)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _id_in(body: bytes) -> str:
    try:
        return str(json.loads(body)["subject_request_id"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""

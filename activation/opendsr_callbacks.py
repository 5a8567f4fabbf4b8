"""Callbacks of processors that were asked to erase somebody: believed only after their signature was checked.

    domain on the list → certificate (chain, end, name, not revoked) → signature → only now the body is read → our own address → 202

The certificate is fetched from the address that the processor's discovery names, which is of the same domain, and kept
for an hour. Whatever fails before the body is read is one error: a stranger learns nothing of what was wrong.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import structlog
from cryptography import x509
from django.conf import settings

from activation import erasing
from activation.destination import ErasureOutcome, ErasureReply
from activation.models import Destination
from cdp import http
from cdp.kernel.errors import TesseraError
from cdp.models import Workspace
from cdp.models.secrets import decrypted
from cdp.models.tenancy import workspace_scope
from consent.opendsr import revocation, signing
from consent.opendsr.words import DOMAIN_HEADER, PATHS, SIGNATURE_HEADER, Status, Version

log = structlog.get_logger()

KIND: Final = "opendsr"
KEPT_SECONDS: Final = 3600.0
YOUNG_SECONDS: Final = 60.0  # so long neither a failure nor a bad signature makes us ask for the certificate again
MOST_KEPT: Final = 1_000
TIMEOUT: Final = http.Timeout(connect=3, read=5, total=10)

_chains: dict[int, tuple[float, Sequence[x509.Certificate]]] = {}


class RefusedCallbackError(TesseraError):
    """The callback is not signed by a processor that is known at this address."""

    code = "refused_callback"


class MalformedCallbackError(TesseraError):
    """The callback is not as OpenDSR wants it, or was meant for another address."""

    code = "malformed_callback"


class Callback(msgspec.Struct, frozen=True):
    controller_id: str
    status_callback_url: str
    subject_request_id: uuid.UUID
    request_status: Status
    expected_completion_time: str
    extensions: Mapping[str, Any] = {}


_CALLBACK: Final = msgspec.json.Decoder(Callback)


def hear_callback(*, workspace: str, destination: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """What a processor says of an erasure that it promised. `headers` have names in lower case.

    Raises `RefusedCallbackError` and `MalformedCallbackError`. A callback that came before, or of a request that is
    settled or unknown, changes nothing and is as welcome as the others.
    """
    processor = _processor(workspace, destination)
    processor.check(headers, body, now)
    said = _read(body, processor.callback_url)
    if outcome := _outcome(said, processor.domain):
        erasing.hear_answer(
            workspace_id=processor.workspace_id,
            destination_id=processor.destination_id,
            reference=said.subject_request_id,
            outcome=outcome,
            now=now,
        )


@dataclass(frozen=True, slots=True)
class Processor:
    """A destination of this kind, as far as its callbacks go."""

    workspace_id: int
    destination_id: int
    url: str
    domain: str
    callback_url: str
    version: Version
    token: str

    def check(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Raises `RefusedCallbackError` unless the domain is this processor's and its key made the signature."""
        domain, signature = (_either(headers, names) for names in (DOMAIN_HEADER, SIGNATURE_HEADER))
        if domain.lower() != self.domain or not signature:
            raise RefusedCallbackError
        # It may have a new certificate. Who sends nonsense makes us ask for it once a minute.
        if not any(self._is_signed(signature, body, now, younger_than=age) for age in (KEPT_SECONDS, YOUNG_SECONDS)):
            raise RefusedCallbackError

    def _is_signed(self, signature: str, body: bytes, now: datetime, *, younger_than: float) -> bool:
        try:
            revoked = revocation.read(settings.OPENDSR_REVOKED)
            certificate = signing.trusted(self._chain(younger_than), self.domain, authorities(), now, revoked)
            signing.verify(certificate, signature, body)
        except TesseraError as error:
            log.info("opendsr.callback_refused", destination=self.destination_id, code=error.code)
            return False
        return True

    def _chain(self, younger_than: float) -> Sequence[x509.Certificate]:
        """Empty where it could not be had: that is remembered, too."""
        fetched_at, chain = _chains.get(self.destination_id, (float("-inf"), ()))
        age = time.monotonic() - fetched_at
        if age < (younger_than if chain else YOUNG_SECONDS):
            return chain
        if len(_chains) >= MOST_KEPT:
            _chains.clear()
        _chains[self.destination_id] = (time.monotonic(), ())
        chain = self._fetched()
        _chains[self.destination_id] = (time.monotonic(), chain)
        return chain

    def _fetched(self) -> Sequence[x509.Certificate]:
        proof = {"Authorization": f"Bearer {self.token}"}
        discovery = http.request(
            "GET", self.url + PATHS[self.version][0], headers=proof, timeout=TIMEOUT, retry=http.ONCE
        ).json()
        url = str(discovery.get("processor_certificate", "")) if isinstance(discovery, dict) else ""
        if urlsplit(url).scheme != "https" or urlsplit(url).hostname != self.domain:
            raise RefusedCallbackError
        return signing.certificates(http.request("GET", url, timeout=TIMEOUT, retry=http.ONCE).body)


def forget_certificates() -> None:
    """As in a new process."""
    _chains.clear()


def authorities() -> Sequence[x509.Certificate]:
    """Who vouches for processors."""
    path = Path(settings.OPENDSR_AUTHORITIES or http.authorities())
    return _authorities(path, path.stat().st_mtime_ns)


@lru_cache(4)
def _authorities(path: Path, _changed: int) -> Sequence[x509.Certificate]:
    return signing.authorities(path.read_bytes())


def _processor(workspace: str, slug: str) -> Processor:
    """One that does not exist is refused like a wrong signature."""
    workspace_id = Workspace.objects.filter(slug=workspace, closed_at=None).values_list("pk", flat=True).first()
    if workspace_id is None:
        raise RefusedCallbackError
    with workspace_scope(workspace_id):
        row = Destination.objects.filter(workspace=workspace_id, slug=slug, kind=KIND).first()
    if row is None or not row.config.get("callback_url"):
        raise RefusedCallbackError
    url = str(row.config["url"]).rstrip("/")
    return Processor(
        workspace_id=workspace_id,
        destination_id=row.pk,
        url=url,
        domain=str(row.config.get("domain") or urlsplit(url).hostname).lower(),
        callback_url=str(row.config["callback_url"]),
        version=Version(row.config.get("api_version", Version.TWO.value)),
        token=decrypted(row.secrets).get("token", ""),
    )


def _either(headers: Mapping[str, str], names: Mapping[Version, str]) -> str:
    """Of the new name or of the old one."""
    return next((headers[name.lower()] for name in names.values() if name.lower() in headers), "")


def _read(body: bytes, callback_url: str) -> Callback:
    try:
        said = _CALLBACK.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedCallbackError from None
    if said.status_callback_url != callback_url:
        raise MalformedCallbackError
    return said


def _outcome(said: Callback, domain: str) -> ErasureOutcome | None:
    """None while it is under way. OpenDSR has no word for a refusal: who refuses says so in an extension, or cancels."""
    extension = said.extensions.get(domain)
    outcome = extension.get("outcome") if isinstance(extension, dict) else None
    if said.request_status is Status.CANCELLED or (said.request_status is Status.COMPLETED and outcome == "refused"):
        return ErasureOutcome(ErasureReply.REFUSED, outcome or said.request_status.value)
    if said.request_status is Status.COMPLETED:
        return ErasureOutcome(ErasureReply.ACKNOWLEDGED, "completed")
    return None

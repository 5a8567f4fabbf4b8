"""Who we are as a processor: a domain, and the key and certificate that stand for it, from the settings.

Without them the adapter is off. The files are read again when they change, so a renewed certificate needs no restart.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final

from django.conf import settings
from django.http.request import validate_host

from cdp.kernel.errors import TesseraError
from consent.opendsr import signing
from consent.opendsr.signing import PrivateKey

CERTIFICATE_PATH: Final = "/opendsr/certificate.pem"
ENDS_SOON: Final = timedelta(days=14)


class ProcessorOffError(TesseraError):
    """OpenDSR is switched off here: the operator has set no OPENDSR_DOMAIN, OPENDSR_CERTIFICATE and OPENDSR_KEY."""

    code = "opendsr_off"


class ProcessorConfigError(TesseraError):
    """OpenDSR cannot sign: `manage.py doctor` says which of OPENDSR_DOMAIN, OPENDSR_CERTIFICATE, OPENDSR_KEY is wrong."""

    code = "opendsr_config"


@dataclass(frozen=True, slots=True)
class Processor:
    domain: str
    key: PrivateKey
    certificate: bytes
    ends_at: datetime

    def url(self, path: str) -> str:
        return f"https://{self.domain}{path}"


def processor() -> Processor:
    """Raises `ProcessorOffError` and `ProcessorConfigError`."""
    given = (settings.OPENDSR_DOMAIN, settings.OPENDSR_CERTIFICATE, settings.OPENDSR_KEY)
    if not all(given):
        raise ProcessorOffError if not any(given) else ProcessorConfigError(_MISSING)
    domain, certificate, key = given
    try:
        changed = tuple(Path(path).stat().st_mtime_ns for path in (certificate, key))
        return _read(domain, Path(certificate), Path(key), changed)
    except OSError as error:
        raise ProcessorConfigError(f"OPENDSR_CERTIFICATE or OPENDSR_KEY cannot be read: {error.strerror}.") from None


def state(now: datetime) -> tuple[bool, str]:
    """Whether all is well, and a sentence for the operator."""
    try:
        found = processor()
    except ProcessorOffError:
        return True, "off: OPENDSR_DOMAIN, OPENDSR_CERTIFICATE and OPENDSR_KEY are not set"
    except TesseraError as error:
        return False, error.message
    if found.ends_at < now + ENDS_SOON:
        return False, f"the certificate of {found.domain} ends on {found.ends_at:%Y-%m-%d}: renew it"
    if not validate_host(found.domain, settings.ALLOWED_HOSTS):
        return False, "ALLOWED_HOSTS does not have OPENDSR_DOMAIN: nobody reaches this under it"
    return True, f"signs as {found.domain} until {found.ends_at:%Y-%m-%d}"


_MISSING: Final = "OPENDSR_DOMAIN, OPENDSR_CERTIFICATE and OPENDSR_KEY are set together or not at all."


@lru_cache(4)
def _read(domain: str, certificate: Path, key: Path, _changed: tuple[int, ...]) -> Processor:
    try:
        pem = certificate.read_bytes()
        first, own = signing.certificates(pem)[0], signing.private_key(key.read_bytes())
    except signing.UnusableKeyError as error:
        raise ProcessorConfigError(error.message) from None
    if not signing.belongs(own, first):
        raise ProcessorConfigError("OPENDSR_KEY is not the key of OPENDSR_CERTIFICATE.")
    if not signing.covers(first, domain):
        raise ProcessorConfigError("OPENDSR_CERTIFICATE does not name OPENDSR_DOMAIN.")
    return Processor(domain, own, pem, first.not_valid_after_utc)

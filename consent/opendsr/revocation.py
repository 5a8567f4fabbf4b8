"""Certificates that are believed no more, though they have not ended: a file of the operator, and nobody is asked.

It holds lists of authorities (CRL, as PEM) and fingerprints of single certificates (SHA-256, in hexadecimal digits), one
after the other. It is read again when it changes. One that cannot be read makes every certificate doubtful.
"""

import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from cdp.kernel.errors import TesseraError

_LIST: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)
_FINGERPRINT: Final = re.compile(rb"[0-9a-f]{64}")


class RevokedCertificateError(TesseraError):
    """The certificate was revoked: a list of its authority names it, or the operator blocked it."""

    code = "revoked_certificate"


class UnreadableRevocationsError(TesseraError):
    """OPENDSR_REVOKED cannot be read: it is a file of CRLs in PEM and of SHA-256 fingerprints, one a line; # begins a remark."""

    code = "unreadable_revocations"


@dataclass(frozen=True, slots=True)
class Revocations:
    fingerprints: frozenset[bytes] = frozenset()
    lists: tuple[x509.CertificateRevocationList, ...] = ()

    def refuse(self, chain: Sequence[x509.Certificate]) -> None:
        """Raises `RevokedCertificateError`. `chain` is verified and leads to its authority, which comes last."""
        blocked = any(certificate.fingerprint(SHA256()) in self.fingerprints for certificate in chain)
        if blocked or any(self._names(one, issuer) for one, issuer in pairwise(chain)):
            raise RevokedCertificateError

    def out_of_date(self, now: datetime) -> list[x509.CertificateRevocationList]:
        """Those whose authority has made a newer one by now. What they name stays revoked."""
        return [each for each in self.lists if each.next_update_utc is not None and each.next_update_utc < now]

    def _names(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        return any(
            each.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
            for each in self.lists
            if each.issuer == issuer.subject and _is_signed(each, issuer)
        )


NONE_REVOKED: Final = Revocations()


def _is_signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Authorities of one name are told apart by their keys."""
    key = issuer.public_key()
    try:
        return isinstance(key, RSAPublicKey | EllipticCurvePublicKey) and crl.is_signature_valid(key)
    except (InvalidSignature, TypeError, ValueError):
        return False


def revocations(text: bytes) -> Revocations:
    """Raises `UnreadableRevocationsError`."""
    try:
        lists = tuple(x509.load_pem_x509_crl(block) for block in _LIST.findall(text))
        return Revocations(frozenset(_fingerprints(_LIST.sub(b"", text))), lists)
    except ValueError:
        raise UnreadableRevocationsError from None


def _fingerprints(text: bytes) -> Iterator[bytes]:
    for line in text.splitlines():
        written = line.partition(b"#")[0].replace(b":", b"").strip().lower()
        if written and not _FINGERPRINT.fullmatch(written):
            raise UnreadableRevocationsError
        if written:
            yield binascii.unhexlify(written)


def read(path: str) -> Revocations:
    """Of the file of the operator; none without one. Raises `UnreadableRevocationsError`."""
    if not path:
        return NONE_REVOKED
    try:
        return _read(Path(path), Path(path).stat().st_mtime_ns)
    except OSError:
        raise UnreadableRevocationsError from None


@lru_cache(4)
def _read(path: Path, _changed: int) -> Revocations:
    return revocations(path.read_bytes())


def state(path: str, now: datetime) -> tuple[bool, str]:
    """Whether all is well with the file, and a sentence for the operator."""
    try:
        found = read(path)
    except UnreadableRevocationsError as error:
        return False, error.message
    if old := found.out_of_date(now):
        return (
            False,
            f"OPENDSR_REVOKED: the list of {old[0].issuer.rfc4514_string()} is out of date, fetch its next one",
        )
    counts = f"{len(found.lists)} lists of authorities, {len(found.fingerprints)} fingerprints"
    return True, counts if path else "nobody is looked up: OPENDSR_REVOKED is not set"

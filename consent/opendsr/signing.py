"""Signatures of OpenDSR: over the bytes of a body, by the key of a certificate that names the processor's domain.

RSA keys sign by RSASSA-PKCS1-v1_5, keys of elliptic curves by ECDSA, both with SHA-256; the result is Base64.
"""

import base64
import binascii
import contextlib
import re
import warnings
from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from cdp.kernel.errors import TesseraError
from consent.opendsr.revocation import NONE_REVOKED, Revocations

_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

PrivateKey: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey


class UnusableKeyError(TesseraError):
    """The key or the certificate is no PEM file of an RSA key or of one of an elliptic curve."""

    code = "unusable_key"


class BadSignatureError(TesseraError):
    """The signature does not belong to this body and this certificate."""

    code = "bad_signature"


class UntrustedCertificateError(TesseraError):
    """The certificate is of nobody who is trusted, has ended, or does not name the domain."""

    code = "untrusted_certificate"


def private_key(pem: bytes) -> PrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):  # no PEM; protected by a password
        raise UnusableKeyError from None
    if not isinstance(key, PrivateKey):
        raise UnusableKeyError
    return key


def certificates(pem: bytes) -> list[x509.Certificate]:
    """That of the domain first, then those that lead to an authority."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise UnusableKeyError from None


def authorities(pem: bytes) -> list[x509.Certificate]:
    """Of a long list, those that can be read: some old authorities have numbers that are none, and bar nobody else."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for block in _BLOCK.findall(pem):
            with contextlib.suppress(ValueError, UserWarning):
                found.append(x509.load_pem_x509_certificate(block))
    return found


def sign(key: PrivateKey, body: bytes) -> str:
    if isinstance(key, RSAPrivateKey):
        signature = key.sign(body, PKCS1v15(), SHA256())
    else:
        signature = key.sign(body, ECDSA(SHA256()))
    return base64.b64encode(signature).decode()


def verify(certificate: x509.Certificate, signature: str, body: bytes) -> None:
    """Raises `BadSignatureError`."""
    key = certificate.public_key()
    try:
        given = base64.b64decode(signature, validate=True)
        if isinstance(key, RSAPublicKey):
            key.verify(given, body, PKCS1v15(), SHA256())
        elif isinstance(key, EllipticCurvePublicKey):
            key.verify(given, body, ECDSA(SHA256()))
        else:
            raise BadSignatureError
    except (InvalidSignature, binascii.Error, ValueError):
        raise BadSignatureError from None


def trusted(
    chain: Sequence[x509.Certificate],
    domain: str,
    authorities: Sequence[x509.Certificate],
    now: datetime,
    revoked: Revocations = NONE_REVOKED,
) -> x509.Certificate:
    """The certificate of `domain`: the chain leads to an authority, nothing of it has ended, and it names the domain.

    Raises `UntrustedCertificateError`, and `RevokedCertificateError` for what the operator's file names.
    """
    try:
        policy = PolicyBuilder().store(Store(list(authorities))).time(now)
        verified = policy.build_server_verifier(x509.DNSName(domain)).verify(chain[0], list(chain[1:]))
    except (VerificationError, ValueError, IndexError):
        raise UntrustedCertificateError from None
    revoked.refuse(verified)
    return chain[0]


def names(certificate: x509.Certificate) -> list[str]:
    """The domains for which it stands."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return found.value.get_values_for_type(x509.DNSName)


def belongs(key: PrivateKey, certificate: x509.Certificate) -> bool:
    return key.public_key() == certificate.public_key()


def covers(certificate: x509.Certificate, domain: str) -> bool:
    """A name with a star stands for one label."""
    wildcard = "*." + domain.partition(".")[2]
    return any(name.lower() in {domain.lower(), wildcard.lower()} for name in names(certificate))

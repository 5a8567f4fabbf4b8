"""Signed assertions: how a sender proves with its private key who it is (RFC 7523, RS256)."""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from cdp.kernel.errors import TesseraError

LEAST_KEY_BITS: Final = 2048
LONGEST_ASSERTION: Final = 8_192

_END_OF_KEY = "-----END PUBLIC KEY-----"


class PublicKeyError(TesseraError):
    """A public key is an RSA key of at least 2048 bits in PEM, between BEGIN PUBLIC KEY and END PUBLIC KEY."""

    code = "invalid_public_key"


class AssertionSyntaxError(TesseraError):
    """The assertion must be a JSON web token that is signed with RS256."""

    code = "invalid_assertion"


def public_keys_in(pem: str) -> list[RSAPublicKey]:
    """One key or several, one after the other. Raises `PublicKeyError`."""
    *parts, rest = pem.split(_END_OF_KEY)
    if rest.strip() or not parts:
        raise PublicKeyError
    return [_public_key(part + _END_OF_KEY) for part in parts]


def _public_key(pem: str) -> RSAPublicKey:
    try:
        key = load_pem_public_key(pem.strip().encode())
    except ValueError:
        raise PublicKeyError from None
    if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_KEY_BITS:
        raise PublicKeyError
    return key


def claims_in(assertion: str) -> Mapping[str, Any]:
    """What the assertion says, before anybody has looked at its signature. Raises `AssertionSyntaxError`."""
    _, payload, _ = _parts(assertion)
    return _object(payload)


def is_signed_by(assertion: str, keys: Iterable[RSAPublicKey]) -> bool:
    """Whether one of these keys signed it. RS256 is the one algorithm: what else the header asks for is refused."""
    header, payload, signature = _parts(assertion)
    if _object(header).get("alg") != "RS256":
        return False
    signed = f"{header}.{payload}".encode()
    return any(_verifies(key, _decoded(signature), signed) for key in keys)


def _verifies(key: RSAPublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _parts(assertion: str) -> tuple[str, str, str]:
    parts = assertion.split(".")
    if len(assertion) > LONGEST_ASSERTION or len(parts) != 3:
        raise AssertionSyntaxError
    header, payload, signature = parts
    return header, payload, signature


def _object(part: str) -> Mapping[str, Any]:
    try:
        read = json.loads(_decoded(part))
    except (ValueError, RecursionError):
        raise AssertionSyntaxError from None
    if not isinstance(read, dict):
        raise AssertionSyntaxError
    return read


def _decoded(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise AssertionSyntaxError from None

"""Compact JWS with Ed25519 (RFC 7515, RFC 8037), and the keys as JWK. Only what receipts need."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def sign(payload: Mapping[str, Any], *, private: bytes, kid: str) -> str:
    """`private` is the seed of 32 bytes."""
    header = {"alg": "EdDSA", "kid": kid, "typ": "JOSE+JSON"}
    signed = f"{_encoded(_json(header))}.{_encoded(_json(payload))}"
    signature = Ed25519PrivateKey.from_private_bytes(private).sign(signed.encode())
    return f"{signed}.{_encoded(signature)}"


def jwk(public: bytes) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": _encoded(public)}


def thumbprint(public: bytes) -> str:
    """RFC 7638: the members that are required, in the order of their names."""
    return _encoded(hashlib.sha256(_json(dict(sorted(jwk(public).items())))).digest())


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

"""The keyed digest of an identifier: the key of the consent ledger, which must outlive the identifier itself."""

import hashlib
import hmac
from collections.abc import Iterator
from functools import lru_cache

from django.conf import settings

Digested = tuple[str, bytes]
"""type and digest of an identifier"""


def identifier_digest(identifier_type: str, value: str) -> bytes:
    """HMAC-SHA256 of `type:value`, 32 bytes, keyed by IDENTIFIER_PEPPER."""
    return _keyed(settings.IDENTIFIER_PEPPER, identifier_type, value)


def digests_of_all_peppers(identifier_type: str, value: str) -> Iterator[bytes]:
    """The digest under the pepper of today, then under those before it, newest first."""
    for pepper in (settings.IDENTIFIER_PEPPER, *settings.IDENTIFIER_PEPPERS_BEFORE):
        yield _keyed(pepper, identifier_type, value)


def pepper_id() -> str:
    """Names the pepper of today without giving it away."""
    return hashlib.sha256(b"pepper:" + settings.IDENTIFIER_PEPPER.encode()).hexdigest()[:8]


def _keyed(pepper: str, identifier_type: str, value: str) -> bytes:
    mac = _begun(pepper).copy()
    mac.update(f"{identifier_type}:{value}".encode())
    return mac.digest()


@lru_cache(maxsize=8)
def _begun(pepper: str) -> hmac.HMAC:
    """`hmac.digest` lets other threads run for each value, however short, and waits milliseconds for its turn to go on."""
    return hmac.new(pepper.encode(), digestmod=hashlib.sha256)

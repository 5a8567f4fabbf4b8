"""Secrets of destinations and providers at rest: JSON under FIELD_ENCRYPTION_KEYS. The first key encrypts, all decrypt.

To change the key, put a new one in front, run `renewed` over what is stored, then take the old one away.
"""

import json
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from cdp.kernel.errors import TesseraError


class NoEncryptionKeyError(TesseraError):
    """FIELD_ENCRYPTION_KEYS is empty: set it to a Fernet key before secrets are stored."""

    code = "no_encryption_key"


class UnreadableSecretError(TesseraError):
    """The stored secret was encrypted with a key that FIELD_ENCRYPTION_KEYS no longer has: enter the secret again."""

    code = "unreadable_secret"


def encrypted(secrets: Mapping[str, str]) -> bytes:
    return _keys().encrypt(json.dumps(dict(secrets)).encode())


def decrypted(stored: bytes | memoryview) -> dict[str, str]:
    try:
        text = _keys().decrypt(bytes(stored))
    except InvalidToken:
        raise UnreadableSecretError from None
    secrets: dict[str, str] = json.loads(text)
    return secrets


def renewed(stored: bytes | memoryview) -> bytes:
    """The same secret under the first key."""
    try:
        return _keys().rotate(bytes(stored))
    except InvalidToken:
        raise UnreadableSecretError from None


def _keys() -> MultiFernet:
    if not settings.FIELD_ENCRYPTION_KEYS:
        raise NoEncryptionKeyError
    return MultiFernet([Fernet(key) for key in settings.FIELD_ENCRYPTION_KEYS])

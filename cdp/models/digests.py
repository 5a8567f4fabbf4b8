"""The keyed digest of an identifier: the key of the consent ledger, which must outlive the identifier itself."""

import hashlib
import hmac

from django.conf import settings


def identifier_digest(identifier_type: str, value: str) -> bytes:
    """HMAC-SHA256 of `type:value`, 32 bytes, keyed by IDENTIFIER_PEPPER."""
    text = f"{identifier_type}:{value}".encode()
    return hmac.digest(settings.IDENTIFIER_PEPPER.encode(), text, hashlib.sha256)

"""E-mail addresses: lower case, one form of each domain, checked for their syntax only. Nothing is looked up in DNS.

No rule of a single provider is applied, as that gmail ignores dots: what a platform wants, its destination makes.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

from email_validator import EmailNotValidError, validate_email

from cdp.ingestion.normalise.corrections import BUILT_IN, Corrections
from cdp.ingestion.normalise.values import MOST_CACHED, Normal, Quality, text

LONGEST_LOCAL: Final = 64
LONGEST_PLAIN_DOMAIN: Final = 190

_PLAIN = re.compile(r"[a-z0-9_]+(?:[.+-][a-z0-9_]+)*@((?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+[a-z]{2,24})")


def email(raw: object, corrections: Corrections = BUILT_IN) -> str | None:
    """The address in its normal form; None when it is none."""
    return _email(text(raw), corrections)


def read(raw: object, *, corrections: Corrections = BUILT_IN) -> Normal | None:
    written = checked(text(raw))
    normal = email(raw, corrections)
    if normal is None:
        return None
    return Normal(normal) if written == normal else Normal(normal, Quality.CORRECTED, ("mail_domain",))


@lru_cache(MOST_CACHED)
def _email(written: str, corrections: Corrections) -> str | None:
    normal = checked(written)
    if normal is None:
        return None
    local, _, domain = normal.rpartition("@")
    right = corrections.domains.get(domain)
    return f"{local}@{right}" if right else normal


def checked(written: str) -> str | None:
    """As `email`, but no domain is corrected."""
    lowered = unicodedata.normalize("NFC", written.lower())
    plain = _PLAIN.fullmatch(lowered)
    if plain and plain.start(1) <= LONGEST_LOCAL + 1 and len(plain[1]) <= LONGEST_PLAIN_DOMAIN:
        return lowered if "xn--" not in plain[1] else _validated(lowered)
    return _validated(lowered)


def _validated(lowered: str) -> str | None:
    """What normalising an address changes may make another one of it, so it is done until nothing changes."""
    try:
        found = validate_email(lowered, check_deliverability=False, globally_deliverable=False)
    except (EmailNotValidError, UnicodeError):
        return None
    normal = unicodedata.normalize("NFC", found.normalized.lower())
    if normal != lowered:
        return checked(normal)
    return normal if "." in found.domain else None

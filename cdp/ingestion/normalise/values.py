"""What normalising yields: the normal value, how sure it is, and what was done to get there."""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

MOST_CACHED: Final = 8_192  # values of a kind that a process remembers

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class Quality(StrEnum):
    """How much of the value is what was written."""

    EXACT = "EXACT"  # another spelling of the same
    REPAIRED = "REPAIRED"  # something was added, dropped or put in order by a rule
    CORRECTED = "CORRECTED"  # a dictionary says that this is a misspelling
    AMBIGUOUS = "AMBIGUOUS"  # it can be read in several ways: see `readings`


@dataclass(frozen=True, slots=True)
class Normal:
    """`readings` are all that an ambiguous value can mean, the one that was chosen first. `notes` are codes."""

    value: str
    quality: Quality = Quality.EXACT
    notes: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()


def text(raw: object) -> str:
    """NFC, without control characters and outer space. A number as a person writes it; anything else is blank."""
    if isinstance(raw, str):
        if raw.isascii() and raw.isprintable():
            return raw.strip()
        return unicodedata.normalize("NFC", _CONTROL.sub(" ", raw)).strip()
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return ""
    return str(int(raw) if isinstance(raw, float) and raw.is_integer() else raw)


def spaced(raw: object) -> str:
    """Text with single spaces."""
    return " ".join(text(raw).split())


@lru_cache(MOST_CACHED)
def folded(words: str) -> str:
    """What is left of words when case, accents, spaces and punctuation are not looked at: for look-ups."""
    plain = unicodedata.normalize("NFKD", words.replace("œ", "oe").replace("Œ", "oe"))
    return "".join(letter for letter in plain.casefold() if letter.isalnum())

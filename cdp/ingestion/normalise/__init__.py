"""Pure normalisation: two spellings of one thing become one value, and normalising twice changes nothing.

Each kind of value has a module here. What is blank, a known filler or invalid is no identifier; the raw value stays
where it came, as a trait, a field of its record or a property of its event. `VERSION` grows when a value may become
another one; records remember under which they were read, so that they can be read again (see `renormalising`).
"""

import re
from typing import Final

from cdp.ingestion.normalise.corrections import BUILT_IN, Corrections
from cdp.ingestion.normalise.dates import date
from cdp.ingestion.normalise.emails import email
from cdp.ingestion.normalise.names import name
from cdp.ingestion.normalise.phones import phone
from cdp.ingestion.normalise.traits import NORMALISERS, kind_of
from cdp.ingestion.normalise.values import Normal, Quality, text

__all__ = [
    "BUILT_IN", "FILLERS", "LONGEST_IDENTIFIER", "NORMALISERS", "OWN_KEY", "SPELLED", "VERSION", "Corrections", "Normal", "Quality", "date",
    "email", "identifier_value", "is_filler", "kind_of", "name", "phone", "text", "trait_value",
]  # fmt: skip

VERSION: Final = 2
LONGEST_IDENTIFIER: Final = 512  # of an index entry, which holds 2,700 bytes
SPELLED: Final = frozenset({"email", "phone"})  # identifiers that can be written in several ways
OWN_KEY: Final = ":id"  # the type of a source's own key, `crm:id`, ends so

FILLERS: Final = frozenset(
    {"", "-1", "null", "none", "nil", "nan", "n/a", "undefined", "anonymous", "unknown", "[object object]", "<null>"}
)
_ZEROS = re.compile(r"[0-]*")


def identifier_value(
    identifier_type: str, raw: object, *, region: str, corrections: Corrections = BUILT_IN
) -> str | None:
    """The value under which `raw` identifies somebody; None when it identifies nobody."""
    value = text(raw)
    if is_filler(identifier_type, value) or len(value) > LONGEST_IDENTIFIER:
        return None
    if identifier_type == "email":
        return email(value, corrections)
    if identifier_type == "phone":
        return phone(value, region=region)
    return value


def is_filler(identifier_type: str, value: str) -> bool:
    """Whether programs write this where they know nobody. A source may well count its own keys from 0."""
    if value.lower() in FILLERS:
        return True
    return value[0] in "0-" and not identifier_type.endswith(OWN_KEY) and bool(_ZEROS.fullmatch(value))


def trait_value(trait: str, raw: object, *, region: str, corrections: Corrections = BUILT_IN) -> object:
    """The value of a trait in its normal form, else as it came; None when there is none.

    A text that is too long to be looked up stays as it came: no cache shall hold it.
    """
    if not isinstance(raw, str | int | float) or isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and not (raw := text(raw)):
        return None
    if (kind := kind_of(trait)) and not (isinstance(raw, str) and len(raw) > LONGEST_IDENTIFIER):
        found = NORMALISERS[kind](raw, region=region, corrections=corrections)
        return found.value if found else raw
    return raw

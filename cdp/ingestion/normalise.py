"""Pure normalisation: two spellings of one thing become one value, and normalising twice changes nothing.

What is blank, a known filler or invalid is no identifier; the raw value stays where it came, as a trait or property.
"""

import re
import unicodedata
from datetime import date as calendar_date
from datetime import datetime
from functools import lru_cache
from typing import Final

import phonenumbers
from email_validator import EmailNotValidError, validate_email

LONGEST_IDENTIFIER: Final = 512  # of an index entry, which holds 2,700 bytes
OWN_KEY: Final = ":id"  # the type of a source's own key, `crm:id`, ends so

_FILLERS: Final = frozenset(
    {"", "-1", "null", "none", "nil", "nan", "n/a", "undefined", "anonymous", "unknown", "[object object]", "<null>"}
)
_LONGEST_FILLER: Final = max(map(len, _FILLERS))
_ZEROS = re.compile(r"[0-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_SPACES = re.compile(r"\s+")
_PLAIN_EMAIL = re.compile(r"[a-z0-9_]+(?:[.+-][a-z0-9_]+)*@(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+[a-z]{2,24}")
_YEAR_FIRST = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})(?:[T ].*)?")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})")
_MONTH_FIRST: Final = frozenset({"US", "PH", "FM", "GU", "PR", "VI"})
_EARLIEST_YEAR, _LATEST_YEAR = 1800, 2199

NAMES: Final = frozenset({"given_name", "surname", "full_name"})


def text(raw: object) -> str:
    """NFC, without control characters and outer space. A number as a person writes it; anything else is blank."""
    if isinstance(raw, str) and raw.isascii() and raw.isprintable():
        return raw.strip()  # nearly always, and on the hot path
    if isinstance(raw, bool) or raw is None:
        return ""
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if not isinstance(raw, str | int | float):
        return ""
    return unicodedata.normalize("NFC", _CONTROL.sub(" ", str(raw))).strip()


def name(raw: object) -> str | None:
    return _SPACES.sub(" ", text(raw)).strip() or None


@lru_cache(maxsize=8192)
def email(raw: object) -> str | None:
    """Lower case, checked for its syntax only: no look-up in DNS."""
    lowered = unicodedata.normalize("NFC", text(raw).lower())
    head, _, domain = lowered.rpartition("@")
    if _PLAIN_EMAIL.fullmatch(lowered) and len(head) <= 64 and len(domain) <= 190:
        return lowered
    try:
        checked = validate_email(lowered, check_deliverability=False, globally_deliverable=False)
    except (EmailNotValidError, UnicodeError):
        return None
    normal = unicodedata.normalize("NFC", checked.normalized.lower())
    return normal if "." in checked.domain and normal == lowered else email(normal) if normal != lowered else None


@lru_cache(maxsize=8192)
def phone(raw: object, *, region: str) -> str | None:
    """E.164. A number without `+` is read as one dialled in `region` (ISO 3166)."""
    try:
        number = phonenumbers.parse(text(raw), region.upper() or None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def date(raw: object, *, region: str = "") -> str | None:
    """ISO 8601. Of 03/04/2020 the day comes first, but where `region` writes the month first."""
    if isinstance(raw, datetime):
        raw = raw.date()
    written = raw.isoformat() if isinstance(raw, calendar_date) else text(raw)
    if found := _YEAR_FIRST.fullmatch(written):
        year, month, day = found[1], found[3], found[4]
    elif found := _YEAR_LAST.fullmatch(written):
        day, month, year = found[1], found[3], found[4]
        if region.upper() in _MONTH_FIRST:
            day, month = month, day
    else:
        return None
    return _calendar_date(int(year), int(month), int(day))


def _calendar_date(year: int, month: int, day: int) -> str | None:
    if not _EARLIEST_YEAR <= year <= _LATEST_YEAR:
        return None
    try:
        return calendar_date(year, month, day).isoformat()
    except ValueError:
        return None


def identifier_value(identifier_type: str, raw: object, *, region: str) -> str | None:
    """The value under which `raw` identifies somebody; None when it identifies nobody."""
    value = text(raw)
    if is_filler(identifier_type, value) or len(value) > LONGEST_IDENTIFIER:
        return None
    if identifier_type == "email":
        return email(value)
    if identifier_type == "phone":
        return phone(value, region=region)
    return value


def is_filler(identifier_type: str, value: str) -> bool:
    """Whether programs write this where they know nobody. A source may well count its own keys from 0."""
    if len(value) <= _LONGEST_FILLER and value.lower() in _FILLERS:
        return True
    return value[0] in "0-" and not identifier_type.endswith(OWN_KEY) and bool(_ZEROS.fullmatch(value))


def trait_value(trait: str, raw: object, *, region: str) -> object:
    """The value of a trait in its normal form, else as it came; None when there is none."""
    if not isinstance(raw, str | int | float) or isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and not (raw := text(raw)):
        return None
    return _standard(trait, raw, region) or raw


def _standard(trait: str, raw: str | float, region: str) -> str | None:
    if trait == "email":
        return email(raw)
    if trait == "phone":
        return phone(raw, region=region)
    if trait == "date_of_birth":
        return date(raw, region=region)
    return name(raw) if trait in NAMES else None

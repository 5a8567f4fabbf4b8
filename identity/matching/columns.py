"""Which column of a foreign file holds which trait: by its name, and where the name says nothing, by what is in it."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "given_name": ("given_name", "first_name", "forename", "fname", "primary_name_first", "prenom", "name_first"),
        "surname": ("surname", "last_name", "family_name", "lname", "primary_name_last", "nom", "name_last"),
        "full_name": ("full_name", "name", "fullname", "person_name", "primary_name_full", "display_name"),
        "date_of_birth": ("date_of_birth", "dob", "birth_date", "birthday", "birthdate", "born", "birth_day"),
        "email": ("email", "email_address", "e_mail", "mail", "emailaddress"),
        "phone": ("phone", "phone_number", "telephone", "mobile", "tel", "mobile_phone", "phone_1"),
        "street_number": ("street_number", "house_number", "street_no", "house_no"),
        "street": ("street", "address_1", "address", "street_address", "addr_line1", "address_line_1", "addr_full"),
        "city": ("city", "suburb", "town", "locality", "addr_city", "ville"),
        "postcode": ("postcode", "postal_code", "zip", "zip_code", "zipcode", "addr_postal_code", "code_postal"),
        "region": ("region", "state", "county", "province", "addr_state"),
        "national_id": (
            "national_id", "soc_sec_id", "ssn", "social_security_number", "nino", "tax_id", "ssn_number", "tax_id_number",
            "national_id_number",
        ),
        "organisation": (
            "organisation", "organization", "org_name", "company", "company_name", "business_name", "primary_name_org",
        ),
        "website": ("website", "url", "domain", "homepage", "web"),
    }
)  # fmt: skip

_CONTENTS: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "email": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+"),
        "date_of_birth": re.compile(r"(19|20)\d\d[-/.]?\d\d[-/.]?\d\d|\d{1,2}[-/.]\d{1,2}[-/.](19|20)\d\d"),
        "website": re.compile(r"(https?://|www\.)\S+"),
        "phone": re.compile(r"\+?\(?\d[\d ().-]{7,17}\d"),
    }
)
_MOST: Final = 0.9  # of the filled values must look like it


def recognise(
    columns: Sequence[str], sample: Iterable[Mapping[str, object]], *, excluded: Collection[str] = ()
) -> dict[str, str]:
    """Trait → column. Columns in `excluded`, the key and the truth, are not looked at."""
    free = {column: _plain(column) for column in columns if column not in excluded}
    found: dict[str, str] = {}
    for trait, names in NAMES.items():
        column = next((column for name in names for column, plain in free.items() if plain == name), None)
        if column is not None:
            found[trait] = column
            del free[column]
    rows = list(sample)
    for trait, pattern in _CONTENTS.items():
        column = next((column for column in free if trait not in found and _looks_like(pattern, column, rows)), None)
        if column is not None:
            found[trait] = column
            del free[column]
    return found


def _plain(column: str) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def _looks_like(pattern: re.Pattern[str], column: str, rows: list[Mapping[str, object]]) -> bool:
    values = [str(row[column]).strip() for row in rows if row.get(column) not in {None, ""}]
    return len(values) > 1 and sum(bool(pattern.fullmatch(value)) for value in values) >= _MOST * len(values)

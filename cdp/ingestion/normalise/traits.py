"""Which traits have a normal form: by their names, in English and French, however they are joined."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, Protocol

from cdp.ingestion.normalise import companies, countries, dates, emails, names, phones, postcodes, towns, units, words
from cdp.ingestion.normalise.corrections import Corrections
from cdp.ingestion.normalise.values import Normal, folded


class Normaliser(Protocol):
    """None for what has no normal form. `region` is that of the source (ISO 3166), blank where it is not known."""

    def __call__(self, raw: object, *, region: str, corrections: Corrections) -> Normal | None: ...


def _exact(value_of: Callable[[object], str | None]) -> Normaliser:
    """Of a kind that is the same everywhere, and of which there are no misspellings."""

    def read(raw: object, *, region: str, corrections: Corrections) -> Normal | None:  # noqa: ARG001  # as all
        found = value_of(raw)
        return Normal(found) if found else None

    return read


def _exact_in(value_of: Callable[..., str | None]) -> Normaliser:
    def read(raw: object, *, region: str, corrections: Corrections) -> Normal | None:  # noqa: ARG001  # as all
        found = value_of(raw, region=region)
        return Normal(found) if found else None

    return read


def _in_region(given: Callable[..., Normal | None]) -> Normaliser:
    def read(raw: object, *, region: str, corrections: Corrections) -> Normal | None:  # noqa: ARG001  # as all
        return given(raw, region=region)

    return read


def _email(raw: object, *, region: str, corrections: Corrections) -> Normal | None:  # noqa: ARG001  # as all
    return emails.read(raw, corrections=corrections)


NORMALISERS: Final[Mapping[str, Normaliser]] = {
    "country": _exact(countries.country),
    "currency": _exact_in(countries.currency),
    "date": _in_region(dates.read),
    "date_of_birth": _in_region(dates.date_of_birth),
    "email": _email,
    "gender": _exact(words.gender),
    "language": _exact(countries.language),
    "measure": _in_region(units.read_measure),
    "money": _in_region(units.read_money),
    "name": _in_region(names.read),
    "number": _in_region(units.read_number),
    "phone": _in_region(phones.read),
    "postcode": _in_region(postcodes.read),
    "siren": _exact(companies.siren),
    "siret": _exact(companies.siret),
    "town": towns.read,
    "truth": _exact(words.truth),
    "vat_number": _exact_in(companies.vat_number),
}

_NAMES: Final = {
    "country": "country, country code, pays, code pays",
    "currency": "currency, currency code, devise, monnaie",
    "date_of_birth": "date of birth, birth date, birthday, birth day, dob, born, né le, née le, naissance, date de naissance, date naissance, anniversaire",
    "email": "email, e-mail, email address, mail, adresse e-mail, adresse email, adresse mail, courriel",
    "gender": "gender, sex, sexe, genre",
    "language": "language, locale, preferred language, lang, langue, langue préférée",
    "name": "given name, first name, forename, prénom, surname, last name, family name, nom, nom de famille, full name, name, nom complet, middle name, maiden name, nom de naissance, nom de jeune fille",
    "phone": "phone, phone number, telephone, telephone number, mobile, mobile phone, mobile number, cell, cellphone, téléphone, téléphone mobile, numéro de téléphone, portable, tel, gsm",
    "postcode": "postcode, post code, postal code, zip, zip code, code postal",
    "siren": "siren, numéro siren",
    "siret": "siret, numéro siret",
    "town": "city, town, ville, commune, localité",
    "vat_number": "vat, vat number, tva, numéro de tva, tva intracommunautaire",
}  # fmt: skip
_KIND_BY_NAME: Final = {folded(name): kind for kind, listed in _NAMES.items() for name in listed.split(", ")}


@lru_cache(4_096)
def kind_of(trait: str) -> str | None:
    """`firstName`, `first_name` and `Prénom` are names; None for a trait that stays as it came."""
    return _KIND_BY_NAME.get(folded(trait)) if len(trait) <= 64 else None

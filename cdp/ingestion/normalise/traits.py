"""Which traits have a normal form: by their names, in English and French, however they are joined."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Protocol

from cdp.ingestion.normalise import companies, countries, dates, emails, names, phones, postcodes, towns, units, words
from cdp.ingestion.normalise.corrections import Corrections
from cdp.ingestion.normalise.values import Normal, folded


class Normaliser(Protocol):
    """None for what has no normal form. `region` is that of the source (ISO 3166), blank where it is not known."""

    def __call__(self, raw: object, *, region: str, corrections: Corrections) -> Normal | None: ...


NORMALISERS: Final[Mapping[str, Normaliser]] = {
    "country": countries.read_country,
    "currency": countries.read_currency,
    "date": dates.read,
    "date_of_birth": dates.date_of_birth,
    "email": emails.read,
    "gender": words.gender,
    "language": countries.read_language,
    "measure": units.read_measure,
    "money": units.read_money,
    "name": names.read,
    "number": units.read_number,
    "phone": phones.read,
    "postcode": postcodes.read,
    "siren": companies.siren,
    "siret": companies.siret,
    "town": towns.read,
    "truth": words.truth,
    "vat_number": companies.vat_number,
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

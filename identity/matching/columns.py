"""Which column of a foreign file holds which trait: by its name, in six languages, and by what is in it.

Contents outrank names where they can tell: no column is a date of birth whose values are no dates, whatever it is called.
"""

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from identity.matching import given_names, nicknames
from identity.matching.features import GENERATIONS, LEGAL_FORMS, PLACEHOLDERS, STREET_WORDS

NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "given_name": (
            "given_name", "first_name", "forename", "fname", "firstname", "givenname", "primary_name_first", "prenom",
            "name_first", "christian_name", "given_names", "first_names", "forenames", "vorname", "rufname", "nombre",
            "nombres", "nome", "voornaam",
            "given", "first", "f_name", "vname", "fn", "gname", "prenoms",
        ),
        "middle_name": (
            "middle_name", "middlename", "second_name", "primary_name_middle", "deuxieme_prenom", "middle_initial",
            "middle_names", "zweiter_vorname", "segundo_nombre", "secondo_nome", "middle", "mid", "name_mid", "mid_name",
            "name_middle", "midl_name", "mname", "mi", "middle_init",
        ),
        "surname": (
            "surname", "last_name", "family_name", "lname", "lastname", "primary_name_last", "nom", "name_last",
            "nom_de_famille", "nom_usage", "nom_usuel", "nom_naissance", "maiden_name", "nachname", "familienname",
            "zuname", "geburtsname", "apellido", "apellidos", "primer_apellido", "cognome", "achternaam", "sobrenome",
            "birth_name", "nom_de_naissance", "nom_de_jeune_fille",
            "family", "last", "l_name", "sname", "ln", "maiden", "segundo_apellido", "second_surname",
        ),
        "name_suffix": ("name_suffix", "suffix", "name_sufx", "sufx", "name_suffix_lbl", "generation"),
        "full_name": (
            "full_name", "name", "fullname", "person_name", "primary_name_full", "display_name", "contact_name",
            "customer_name", "nom_complet", "nom_prenom", "prenom_nom", "nom_et_prenom", "first_and_surname",
            "vollstandiger_name", "nombre_completo", "nome_completo", "volledige_naam",
            "client", "client_name", "customer", "kunde", "kundenname", "cliente", "person",
        ),
        "native_name": ("native_name", "native_name_full", "original_name", "local_name", "nom_natif", "name_native"),
        "gender": ("gender", "sex", "sexe", "genre", "civilite", "geschlecht", "anrede", "sexo", "genero", "sesso", "geslacht"),
        "date_of_birth": (
            "date_of_birth", "dob", "birth_date", "birthday", "birthdate", "born", "birth_day", "birth_year",
            "year_of_birth", "yob", "date_naissance", "date_de_naissance", "naissance", "ne_le", "annee_naissance",
            "geburtsdatum", "geb_datum", "geburtstag", "geboren", "geburtsjahr", "fecha_nacimiento", "fecha_de_nacimiento",
            "data_nascita", "data_di_nascita", "geboortedatum", "data_nascimento",
            "bday", "birth", "ddn", "date_naiss", "dnaiss", "gebdatum", "fecha_nac", "born_on",
        ),
        "birth_year": ("dob_year", "birthyear", "annee_de_naissance", "ano_nacimiento", "anno_nascita", "geboortejaar"),
        "birth_month": (
            "birth_month", "month_of_birth", "birthmonth", "dob_month", "mois_naissance", "mois_de_naissance",
            "geburtsmonat", "mes_nacimiento", "mese_nascita", "geboortemaand",
        ),
        "birth_day": (
            "birth_day", "day_of_birth", "dob_day", "jour_naissance", "jour_de_naissance", "geburtstag", "dia_nacimiento",
            "giorno_nascita", "geboortedag",
        ),
        "age": ("age", "birth_age", "age_years", "years_old", "alter", "edad", "eta", "leeftijd", "idade"),
        "birth_place": (
            "birth_place", "place_of_birth", "birthplace", "pob", "lieu_naissance", "lieu_de_naissance", "geburtsort",
            "lugar_nacimiento", "luogo_nascita", "geboorteplaats", "birth_city", "city_of_birth", "commune_naissance",
            "birth_state", "state_of_birth", "birth_country", "country_of_birth",
        ),
        "email": (
            "email", "email_address", "e_mail", "mail", "emailaddress", "courriel", "adresse_mail", "adresse_email",
            "e_mail_adresse", "correo", "correo_electronico", "mailadresse",
        ),
        "phone": (
            "phone", "phone_number", "telephone", "mobile", "tel", "mobile_phone", "phone_1", "cell", "portable",
            "numero_telephone", "gsm", "landline", "telefon", "telefonnummer", "handy", "handynummer", "mobil",
            "festnetz", "telefono", "movil", "cellulare", "telefoon", "telefone", "mobiel",
            "telefonnr", "handynr", "mobile_number", "cell_phone", "contact_number", "contact_no", "fixe",
        ),
        "street_number": (
            "street_number", "house_number", "street_no", "house_no", "numero_rue", "numero_voie", "no_rue", "st_no", "stno",
            "street_num", "house_num",
            "hausnummer", "haus_nr", "hausnr", "huisnummer", "numero_civico", "civico",
        ),
        "street": (
            "street", "address_1", "address", "street_address", "addr_line1", "address_line_1", "address1", "street_name",
            "adresse", "adresse_1", "rue", "voie", "libelle_voie", "strasse", "str", "anschrift", "direccion", "calle",
            "domicilio", "indirizzo", "via", "straat", "adres", "endereco", "morada",
            "addr", "addr_1", "address_line1", "address_line", "add1", "add_1", "straatnaam",
        ),
        "full_address": (
            "full_address", "addr_full", "address_full", "complete_address", "adresse_complete", "direccion_completa",
        ),
        "city": (
            "city", "suburb", "town", "locality", "addr_city", "ville", "commune", "localite", "ort", "stadt", "wohnort",
            "gemeinde", "ciudad", "municipio", "localidad", "citta", "comune", "plaats", "woonplaats", "gemeente", "cidade", "poblacion",
            "place", "post_town", "town_city", "city_town",
        ),
        "postcode": (
            "postcode", "postal_code", "zip", "zip_code", "zipcode", "post_code", "addr_postal_code", "code_postal", "cp",
            "plz", "postleitzahl", "codigo_postal", "cap", "codice_postale",
            "pcode", "postal", "codepostal", "cod_postal", "pin_code", "pincode", "eircode", "cep",
        ),
        "region": (
            "region", "state", "county", "province", "addr_state", "departement", "bundesland", "kanton", "provincia",
            "regione", "provincie", "estado",
        ),
        "country": ("country", "country_code", "addr_country", "pays", "nation", "land", "staat", "pais", "paese"),
        "national_id": (
            "national_id", "soc_sec_id", "ssn", "social_security_number", "nino", "tax_id", "ssn_number", "tax_id_number",
            "national_id_number", "siret", "siren", "vat_number", "company_number", "registration_number", "numero_tva",
            "tva", "numero_securite_sociale", "nir", "lei", "lei_number", "duns", "steuernummer", "steuer_id", "ust_id",
            "ustid", "handelsregisternummer", "sozialversicherungsnummer", "ahv_nummer", "dni", "nif", "cif", "nie",
            "codice_fiscale", "partita_iva", "bsn", "kvk", "nhs_number", "id_card", "id_card_number",
        ),
        "passport": (
            "passport", "passport_number", "passport_no", "passeport", "numero_passeport", "reisepass",
            "reisepassnummer", "pasaporte", "passaporto", "paspoort",
        ),
        "driving_licence": (
            "driving_licence", "driving_license", "drivers_license", "drivers_licence", "driver_license",
            "drivers_license_number", "driver_license_number", "driving_licence_number", "dl_number",
            "permis_de_conduire", "numero_permis", "fuhrerschein", "fuehrerschein", "fuhrerscheinnummer",
            "permiso_conducir", "patente", "rijbewijs",
        ),
        "organisation": (
            "organisation", "organization", "org_name", "company", "company_name", "business_name", "primary_name_org",
            "raison_sociale", "societe", "entreprise", "denomination", "nom_entreprise", "account_name", "legal_name",
            "firma", "firmenname", "unternehmen", "organisation_name", "organization_name", "empresa", "razon_social",
            "azienda", "ragione_sociale", "bedrijf", "bedrijfsnaam", "site_name", "school_name", "facility_name",
            "practice_name", "store_name", "shop_name", "hotel_name", "restaurant_name", "entity_name",
        ),
        "other_organisation": (
            "secondary_name_org", "trading_name", "trade_name", "dba", "former_name", "nom_commercial", "enseigne",
            "handelsname", "alias_name", "nombre_comercial",
        ),
        "employer": ("employer", "employer_name", "employeur", "arbeitgeber", "empleador", "datore_di_lavoro", "werkgever"),
        "website": ("website", "url", "domain", "homepage", "web", "site_web", "site", "web_site", "webseite", "sitio_web"),
        "category": (
            "category", "industry", "sector", "secteur", "activite", "categorie", "segment", "naf", "ape", "occupation",
            "profession", "branche", "beruf", "kategorie", "settore", "professione", "profesion",
        ),
        "record_type": (
            "record_type", "entity_type", "party_type", "customer_type", "person_type", "type_personne", "type_client",
            "kundentyp",
        ),
    }
)  # fmt: skip

_FROM_NAMES: Final = 0.5  # what a name in a longer name is worth at least
_NUMBERED: Final = 0.9  # and a name with a number behind it: "phone1"
_FROM_CONTENTS: Final = 0.95  # what contents alone are worth at most: an "ssn" may be written as telephones are
_MOST: Final = 0.85  # of the filled values must look like it, where the name says nothing
_SOME: Final = 0.5  # of them, where the name says it: files hold junk
_STREET: Final = frozenset(word for pair in STREET_WORDS for word in pair) | {
    "rue",
    "quai",
    "cours",
    "way",
    "close",
    "calle",
    "via",
    "plaza",
    "piazza",
}
_STREET_ENDS: Final = ("strasse", "straße", "str", "weg", "gasse", "platz", "allee", "straat", "laan")
_GIVEN_NAMES: Final = frozenset(nicknames.roots()) | frozenset(nicknames.roots().values()) | given_names.COMMON
_FORMS: Final = frozenset(LEGAL_FORMS) - {"as", "the", "se", "group", "company"}
_HOUSES: Final = frozenset((
    "school", "academy", "center", "centre", "care", "church", "clinic", "hospital", "hotel", "restaurant", "cafe", "bank",
    "university", "college", "institute", "services", "service", "systems", "solutions", "industries", "international",
    "association", "foundation", "ecole", "clinique", "hopital", "banque", "universite", "garage", "pharmacie",
    "boulangerie", "transports", "schule", "klinik", "krankenhaus", "universitat", "verein", "stiftung",
))  # fmt: skip  # no person is called so
_MONTH: Final = (
    r"(?:jan|ene|gen|f[eé]v|feb|m[aä]r|mae|a[vpb]r|ma[iyg]|ju[inl]|giu|lug|ao[uû]|aug|ago|sep|set|o[ck]t|ott|out|nov"
    r"|d[eéi][cz])[a-zéûä]*\.?"
)


def _is_date(value: str) -> bool:
    numbers = r"(18|19|20)\d\d([-/. ]?)\d\d?\2\d\d?([T ].*)?|[0-3]\d[0-3]\d(18|19|20)\d\d|\d{1,2}[-/. ]\d{1,2}[-/. ]((18|19|20)\d\d|\d\d)( .*)?"
    words = (
        rf"\d{{1,2}}(st|nd|rd|th|er|\.)?[ -]{_MONTH}[ -](\d{{4}}|\d\d)|{_MONTH} \d{{1,2}},? \d{{4}}"
        rf"|\d{{1,2}} de {_MONTH} de \d{{4}}"
    )
    return bool(re.fullmatch(rf"{numbers}|(18|19|20)\d\d|{words}", value, re.IGNORECASE))


def _is_year(value: str) -> bool:
    return bool(re.fullmatch(r"(18|19|20)\d\d(\.0)?", value))


def _is_month(value: str) -> bool:
    return bool(re.fullmatch(rf"0?[1-9](\.0)?|1[0-2](\.0)?|{_MONTH}", value, re.IGNORECASE))


def _is_day(value: str) -> bool:
    return bool(re.fullmatch(r"(0?[1-9]|[12]\d|3[01])(\.0)?", value))


def _is_phone(value: str) -> bool:
    """Written as numbers are that people dial: with a plus, a nought in front, or groups."""
    return _can_be_dialled(value) and bool(re.search(r"^[+(0]|\d[ .)/-]+\d", value)) and not _is_date(value)


def _can_be_dialled(value: str) -> bool:
    """Also if it is written as any number is; but for a number with decimals, such as a place on the map."""
    is_number = re.fullmatch(r"\+?\(?\d[\d ()./-]{5,18}\d", value) and not re.fullmatch(r"\d{1,3}\.\d+", value)
    return bool(is_number) and 7 <= len(re.sub(r"\D", "", value)) <= 15


def _is_postcode(value: str) -> bool:
    return bool(re.fullmatch(r"\d{4,5}(\.0)?|\d{5}-\d{4}|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d|[A-Z]\d{2} ?\d[A-Z]{2}", value, re.IGNORECASE))  # fmt: skip


def _is_gender(value: str) -> bool:
    return _plain(value) in {
        "m", "f", "male", "female", "man", "woman", "homme", "femme", "h", "mr", "mrs", "ms", "mme", "monsieur", "madame",
        "1", "2", "other", "autre", "masculin", "feminin", "w", "d", "u", "x", "unknown", "herr", "frau", "mannlich",
        "weiblich", "divers", "hombre", "mujer", "uomo", "donna", "maschio", "femmina", "vrouw", "v",
    }  # fmt: skip


def _is_kind(value: str) -> bool:
    """Says of a record whether it is of a person or of a company."""
    kinds = r"person\w*|individual|human|organi[sz]ation\w*|compan(y|ies)|business|corporat\w*|entreprise|societe|firma|particulier|persona \w+|personne \w+"
    return bool(re.fullmatch(kinds, value, re.IGNORECASE))


def _is_street(value: str) -> bool:
    words = re.findall(r"\w+", value.lower())
    return bool(_STREET.intersection(words)) or any(word.endswith(_STREET_ENDS) for word in words)


def _is_worded(value: str) -> bool:
    """More than half letters, but for the number of a house."""
    words = re.sub(r"^\d+\w? |,? \d+\w?$", "", value)
    return sum(letter.isalpha() for letter in words) * 2 > len(words)


def _has_legal_form(value: str) -> bool:
    return bool(_FORMS.intersection(re.findall(r"\w+", value.lower())[-2:]))


def _is_organisation(value: str) -> bool:
    return _has_legal_form(value) or bool(_HOUSES.intersection(re.findall(r"\w+", _bare(value))))


def _is_person(value: str) -> bool:
    words = re.findall(r"[^\W\d_]+", _bare(value))
    return 2 <= len(words) <= 4 and bool(_GIVEN_NAMES.intersection(words))


def _is_given_name(value: str) -> bool:
    """Of a double name the first part says it."""
    return re.split(r"[ -]", _bare(value.strip()), maxsplit=1)[0] in _GIVEN_NAMES


# What only the contents can be: none of it, and no name makes the column one.
_TELLING: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType(
    {
        "email": lambda value: bool(re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value)),
        "date_of_birth": _is_date,
        "website": lambda value: bool(
            re.fullmatch(r"((https?://|www\.)\S+|[\w-]+(\.[\w-]+)*\.[a-z]{2,})(/\S*)?", value)
        ),
        "gender": _is_gender,
        "phone": _is_phone,
        "postcode": _is_postcode,
        "record_type": _is_kind,
        "birth_year": _is_year,
        "birth_month": _is_month,
        "birth_day": _is_day,
        "age": lambda value: bool(re.fullmatch(r"(\d{1,2}|1[01]\d)(\.0)?", value)),
        "name_suffix": lambda value: _plain(value) in GENERATIONS,
    }
)
# Where the name says it, the contents need not.
_TELLING_IF_NAMED: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType({**_TELLING, "phone": _can_be_dialled})
_PARTS: Final[Sequence[str]] = ("birth_year", "birth_month", "birth_day")
# Any small number looks like a day, and a suffix like an initial.
_BY_NAME_ALONE: Final = (*_PARTS, "age", "name_suffix")
# What contents hint at: the share of typical values, and from which share on the name is not needed.
_HINTING: Final[Mapping[str, tuple[Callable[[str], bool], float]]] = MappingProxyType(
    {
        "given_name": (_is_given_name, 0.3),
        "full_name": (_is_person, 0.3),
        "full_address": (lambda value: value.count(",") >= 1 and bool(re.search(r"\d{4,5}", value)), 0.7),
        "street": (_is_street, 0.6),
        "organisation": (_has_legal_form, 0.3),
    }
)
_WORDED: Final = frozenset(
    {
        "given_name", "middle_name", "surname", "full_name", "native_name", "city", "birth_place", "region",
        "organisation", "other_organisation", "employer", "street", "full_address",
    }
)  # fmt: skip
_OTHER: Final[Mapping[str, str]] = MappingProxyType(
    {
        "surname": "other_surname", "email": "other_email", "phone": "other_phone", "national_id": "other_id",
        "organisation": "other_organisation",
    }
)  # fmt: skip
_SECOND: Final[Mapping[str, str]] = MappingProxyType({"given_name": "middle_name", **_OTHER})


def recognise(
    columns: Sequence[str], sample: Iterable[Mapping[str, object]], *, excluded: Collection[str] = ()
) -> dict[str, str]:
    """Trait → column. Columns in `excluded`, the key and the truth, are not looked at."""
    free = [column for column in columns if column not in excluded]
    rows = list(sample)
    values = {column: _values(column, rows) for column in free}
    scores = {(trait, column): score(trait, column, values[column]) for trait in NAMES for column in free}
    found = _assigned({pair: one for pair, one in scores.items() if one >= _FROM_NAMES})
    _swap_back(found, values)
    _part_with_name(found, values)
    _name_companies(found, values)
    _put_dates_together(found, values)
    _add_numbered(found, values)
    _add_by_shape(found, values)
    _add_others(found, scores)
    return _in_order_of_traits(found)


def score(trait: str, column: str, values: Sequence[str]) -> float:
    """How sure it is that this column holds the trait: from 0, not at all, to 2, by its name and by all of its values."""
    by_name = _by_name(trait, _plain(column))
    if trait == "date_of_birth" and _OF_SOMETHING_ELSE.search(_plain(column)):
        return 0.0
    if not values:
        return by_name
    if trait in _TELLING:
        return _told(trait, by_name, values)
    is_hinted = bool(by_name) or trait in _HINTING
    if not is_hinted or _is_loud(values) or (trait in _WORDED and _share(values, _is_worded) < _SOME):
        return 0.0
    if trait not in _HINTING:
        return by_name
    is_typical, needed = _HINTING[trait]
    share = _share(values, is_typical)
    return by_name + share if by_name else (_FROM_NAMES + share / 2) * (share >= needed)


def _is_loud(values: Sequence[str]) -> bool:
    return any(_share(values, _TELLING[trait]) >= _MOST for trait in _LOUD)


def _told(trait: str, by_name: float, values: Sequence[str]) -> float:
    share = _share(values, (_TELLING_IF_NAMED if by_name else _TELLING)[trait])
    if share < (_SOME if by_name else _MOST) or _is_counter(trait, values):
        return 0.0
    if by_name:
        return by_name + share
    is_another = _IS_ANOTHER.get(trait)
    return 0.0 if trait in _BY_NAME_ALONE or (is_another and is_another(values)) else _FROM_CONTENTS * share


def _are_years(values: Sequence[str]) -> bool:
    return _share(values, _is_year) >= _MOST


def _are_of_one_time(values: Sequence[str]) -> bool:
    """People are born in any year; what happens to records happens in a few."""
    years = sorted(int(year) for value in values for year in re.findall(r"(?:18|19|20)\d\d", value)[:1])
    return len(years) >= _ENOUGH and years[-1 - len(years) // 20] - years[len(years) // 20] < _A_GENERATION


_A_GENERATION: Final = 25
# What would be the trait by its contents, but is something else.
_IS_ANOTHER: Final[Mapping[str, Callable[[Sequence[str]], bool]]] = MappingProxyType(
    {"postcode": _are_years, "date_of_birth": _are_of_one_time}
)


# As part of a longer name another word.
_ALONE: Final = frozenset({
    "via", "cap", "str", "ort", "land", "patente", "given", "first", "family", "last", "client", "customer", "kunde",
    "cliente", "person", "birth", "postal", "place", "addr",
})  # fmt: skip
_LOUD: Final = ("email", "website")  # contents that nothing else looks like
_OF_SOMETHING_ELSE: Final = re.compile(
    r"(^|_)(exp[a-z]*|creat[a-z]*|registr?[a-z]*|updat[a-z]*|modif[a-z]*|order[a-z]*|card|since|sign[a-z]*|valid[a-z]*"
    r"|death[a-z]*|deces|join[a-z]*|hire[a-z]*|start[a-z]*|end|visit[a-z]*|last|issue[a-z]*|deliver[a-z]*|inscri[a-z]*)(_|$|date)"
)  # the dates of other things than a birth


def _by_name(trait: str, plain: str) -> float:
    """1 for the name itself; less, the smaller a part of a longer name it is. What it ends in says most of what it is."""
    names = NAMES[trait]
    if plain in names:
        return 1.0
    unnumbered = re.sub(r"_?\d+$", "", plain)
    if unnumbered in names:
        return _NUMBERED
    within = (name for name in names if len(name) > 2 and name not in _ALONE)
    parts = [
        0.3 * len(name) / len(plain) + 0.1 * unnumbered.endswith(f"_{name}")
        for name in within
        if f"_{name}_" in f"_{plain}_"
    ]
    return _FROM_NAMES + max(parts) if parts else 0.0


def _is_counter(trait: str, values: Sequence[str]) -> bool:
    """Numbers that go up one by one count rows; they are no telephone and no postcode."""
    if trait not in {"phone", "postcode"} or not all(value.isdecimal() for value in values) or len(values) < 3:
        return False
    steps = [int(after) - int(before) for before, after in itertools.pairwise(values)]
    return steps.count(1) * 2 > len(steps)


def _assigned(scores: Mapping[tuple[str, str], float]) -> dict[str, str]:
    """The surest first; each trait and each column once. Equal ones go by the order of the traits and of the file."""
    found: dict[str, str] = {}
    for trait, column in sorted(scores, key=lambda pair: -scores[pair]):
        if trait not in found and column not in found.values():
            found[trait] = column
    return found


def _swap_back(found: dict[str, str], values: Mapping[str, list[str]]) -> None:
    """Where the contents took a column from the trait that it is named after, the two were swapped."""
    named = {trait: column for column in values for trait in NAMES if _plain(column) in NAMES[trait]}
    for trait, column in list(found.items()):
        meant = next((one for one in named if named[one] == column and one != trait), "")
        left_over = named.get(trait, "")
        if meant and meant not in found and left_over and left_over not in found.values() and values[left_over]:
            found[meant] = left_over
    first, last = found.get("given_name", ""), found.get("surname", "")
    if first and last and _given(values[last]) > 2 * _given(values[first]) + _CHANCE:
        found["given_name"], found["surname"] = last, first


def _part_with_name(found: dict[str, str], values: Mapping[str, list[str]]) -> None:
    """Beside a given name, a "name" of single words is the surname."""
    if "given_name" in found and "surname" not in found and "full_name" in found:
        said = values[found["full_name"]]
        if said and _share(said, lambda value: " " not in value) > _MOST - _CHANCE * 2:
            found["surname"] = found.pop("full_name")


def _name_companies(found: dict[str, str], values: Mapping[str, list[str]]) -> None:
    """A "name" whose values are mostly companies' is theirs; and what is only partly called so, beside the names of people
    or of companies, names something else.
    """
    column = found.get("full_name", "")
    if not column:
        return
    if "organisation" not in found and _share(values[column], _is_organisation) > _SOME:
        found["organisation"] = found.pop("full_name")
        return
    is_beside = {"given_name", "surname"} <= set(found) or "organisation" in found
    if is_beside and _by_name("full_name", _plain(column)) < 1 and _share(values[column], _is_person) < _SOME:
        del found["full_name"]


def _put_dates_together(found: dict[str, str], values: Mapping[str, list[str]]) -> None:
    """A date of birth in three columns, by their names, or by their contents where the three stand side by side. The year
    alone is a date of birth, too, if a rough one.
    """
    named = {part: found.pop(part) for part in _PARTS if part in found}
    whole = found.pop("date_of_birth", "")
    if whole and values[whole] and not _are_years(values[whole]):
        found["date_of_birth"] = whole
        return
    rough = whole or named.get("birth_year", "")
    if rough:
        named.setdefault("birth_year", rough)
    if parts := named if len(named) == len(_PARTS) else _side_by_side(found, values):
        found.update(parts)
    elif rough:
        found["date_of_birth"] = rough


def _side_by_side(found: Mapping[str, str], values: Mapping[str, list[str]]) -> dict[str, str] | None:
    taken = set(found.values())
    for three in itertools.pairwise(itertools.pairwise(values)):
        columns = [three[0][0], *three[1]]
        if taken.isdisjoint(columns) and not any(_OF_SOMETHING_ELSE.search(_plain(one)) for one in columns):
            for year, month, day in ((0, 1, 2), (2, 1, 0), (2, 0, 1)):
                if _are_parts(*(values[columns[place]] for place in (year, month, day))):
                    return dict(zip(_PARTS, (columns[year], columns[month], columns[day]), strict=True))
    return None


def _are_parts(years: Sequence[str], months: Sequence[str], days: Sequence[str]) -> bool:
    """Days go on where months end; years are no small choice."""
    return (
        min(len(years), len(months), len(days)) >= _ENOUGH
        and _are_years(years)
        and _share(months, _is_month) >= _MOST
        and _share(days, _is_day) >= _MOST
        and _share(days, _is_month) < _MOST
        and len(set(years)) > 1
    )


def _add_numbered(found: dict[str, str], values: Mapping[str, list[str]]) -> None:
    """The second of two columns that differ in a number alone: of `fname_c1` and `fname_c2` the one that says less."""
    for trait, other in _SECOND.items():
        if trait in found and other not in found and _by_name(trait, _unnumbered(found[trait])):
            rest = (one for one in values if one not in found.values())
            twin = next((one for one in rest if _unnumbered(one) == _unnumbered(found[trait])), None)
            if twin is not None:
                found[other], found[trait] = sorted((twin, found[trait]), key=lambda one: len(values[one]))


def _unnumbered(column: str) -> str:
    return re.sub(r"\d+", "", _plain(column)).strip("_")


_CHANCE: Final = 0.05  # of surnames are given names, too


def _given(values: Sequence[str]) -> float:
    return _share(values, _is_given_name)


def _add_by_shape(found: dict[str, str], values: Mapping[str, list[str]]) -> None:
    """What is still missing, from columns of words that no name and no typical value gave away."""
    for trait, is_wanted, has_shape in _SHAPES:
        if trait not in found and is_wanted(found):
            rest = (one for one, said in values.items() if one not in found.values() and len(said) >= _ENOUGH)
            column = next((one for one in rest if has_shape(values[one])), None)
            if column is not None:
                found[trait] = column


_ENOUGH: Final = 10  # values, to judge by their shape


def _kinds(values: Sequence[str]) -> float:
    return len(set(values)) / len(values)


def _is_of_words(values: Sequence[str], least: int, most: int) -> bool:
    return (
        _share(values, lambda value: least <= len(value.split()) <= most and value.replace(" ", "").isalpha()) > _MOST
    )


_SHAPES: Final[tuple[tuple[str, Callable[[dict[str, str]], bool], Callable[[Sequence[str]], bool]], ...]] = (
    # Beside a given name, single words that hardly repeat are the surname.
    ("surname", lambda found: "given_name" in found, lambda said: _kinds(said) >= 0.4 and _is_of_words(said, 1, 1)),
    # Where nothing else names the people, pairs of words that hardly repeat do.
    (
        "full_name",
        lambda found: not {"given_name", "surname", "organisation", "full_name"} & set(found),
        lambda said: _kinds(said) >= 0.4 and _share(said, lambda value: 2 <= len(value.split()) <= 4) > 0.6 and _share(said, _is_worded) > _MOST,
    ),
    # Few words that come again and again sort the rows; more of them, beside an address, are towns.
    ("category", lambda _: True, lambda said: _kinds(said) < 0.05 and 1 < len(set(said)) <= 30 and _is_of_words(said, 1, 3)),
    (
        "city",
        lambda found: bool({"street", "postcode", "full_name", "given_name"} & set(found)),
        lambda said: 0.05 <= _kinds(said) <= 0.9 and _is_of_words(said, 1, 4),
    ),
)  # fmt: skip


def _add_others(found: dict[str, str], scores: Mapping[tuple[str, str], float]) -> None:
    for trait, other in _OTHER.items():
        rest = [
            (one, column)
            for (scored, column), one in scores.items()
            if scored == trait and one >= _FROM_CONTENTS and column not in found.values()
        ]
        if rest and other not in found:
            found[other] = max(rest, key=lambda pair: pair[0])[1]


def _in_order_of_traits(found: Mapping[str, str]) -> dict[str, str]:
    order = dict.fromkeys([*NAMES, *_OTHER.values()])
    return {trait: found[trait] for trait in order if trait in found}


def as_yaml(found: Mapping[str, str], *, key: str) -> str:
    """The choice as a mapping that a person can read and change."""
    lines = [f"  {trait}: {_quoted(column)}" for trait, column in found.items()]
    return "\n".join([f"key: {_quoted(key)}", "traits:", *lines]) + "\n"


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


def _values(column: str, rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Those that say something: what stands for a gap is none."""
    said = (str(row[column]).strip() for row in rows if row.get(column) not in {None, ""})
    return [value for value in said if _GAPS.sub(" ", _bare(value)).strip() not in PLACEHOLDERS]


_GAPS: Final = re.compile(r"\W+")


def _share(values: Sequence[str], is_one: Callable[[str], bool]) -> float:
    return sum(map(is_one, values)) / len(values) if values else 0.0


_WITHOUT_ACCENTS: Final = str.maketrans("éèêëàâáãäîïíìôóòõöûùúüçñ", "eeeeaaaaaiiiiooooouuuucn")


def _plain(column: str) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column.strip())
    return re.sub(r"[^a-z0-9]+", "_", _bare(spaced)).strip("_")


def _bare(words: str) -> str:
    """In small letters, without accents."""
    return words.lower().replace("ß", "ss").translate(_WITHOUT_ACCENTS)

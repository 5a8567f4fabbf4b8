"""Records as the matcher sees them: the standard traits, cleaned once, in SQL, the same on every path.

Empty strings and placeholders become NULL, because equal placeholders would count as agreement.
"""

from collections.abc import Iterable
from typing import Final

from duckdb import DuckDBPyConnection

from identity.matching import nicknames

TRAITS: Final = (
    "given_name", "middle_name", "surname", "full_name", "gender", "date_of_birth", "email", "other_email", "phone",
    "other_phone", "street_number", "street", "full_address", "city", "postcode", "region", "country", "national_id",
    "organisation", "website", "category",
)  # fmt: skip

PLACEHOLDERS: Final = (
    "unknown", "none", "null", "nil", "na", "n a", "nan", "undefined", "anonymous", "not provided", "not available",
    "test", "x", "xx", "xxx", "tbc", "tbd", "missing", "unspecified", "no name", "inconnu", "inconnue", "anonyme",
    "neant", "aucun", "aucune", "non renseigne", "non renseignee", "non communique", "nr",
)  # fmt: skip
# Mailboxes of a role and not of a person.
ROLE_MAILBOXES: Final = (
    "info", "contact", "admin", "office", "sales", "support", "noreply", "no-reply", "none", "test", "hello", "mail",
    "webmaster", "postmaster", "accueil", "example", "abuse", "no", "nobody", "unknown", "anonymous", "null", "na",
    "nomail", "noemail", "pasdemail", "aucun", "service", "direction", "secretariat",
)  # fmt: skip
LEGAL_FORMS: Final = (
    "ltd", "limited", "inc", "incorporated", "llc", "llp", "lp", "plc", "corp", "corporation", "company", "co", "gmbh",
    "ag", "kg", "sa", "sas", "sarl", "eurl", "bv", "nv", "srl", "spa", "oy", "ab", "as", "pty", "group", "holdings",
    "holding", "the", "sasu", "snc", "sci", "scop", "gie", "selarl", "ets", "societe", "cie", "kgaa", "ug", "se", "pte",
    "aps", "sl", "lda", "ltda", "kk",
)  # fmt: skip

TITLES: Final = (
    "mr", "mrs", "ms", "miss", "dr", "prof", "sir", "m", "mme", "mlle", "monsieur", "madame", "mademoiselle", "me",
    "herr", "frau",
)  # fmt: skip
SUFFIXES: Final = ("jr", "sr", "ii", "iii", "iv", "phd", "md", "esq")
# Written short as often as in full.
STREET_WORDS: Final = (
    ("st", "street"), ("rd", "road"), ("ave", "avenue"), ("av", "avenue"), ("blvd", "boulevard"), ("bd", "boulevard"),
    ("bld", "boulevard"), ("ln", "lane"), ("dr", "drive"), ("ct", "court"), ("pl", "place"), ("sq", "square"),
    ("cres", "crescent"), ("hwy", "highway"), ("pde", "parade"), ("tce", "terrace"), ("chem", "chemin"),
    ("imp", "impasse"), ("rte", "route"), ("all", "allee"), ("fg", "faubourg"),
)  # fmt: skip
_MONTHS: Final = (
    ("jan",), ("feb", "fev"), ("mar",), ("apr", "avr"), ("may", "mai"), ("jun", "juin"), ("jul", "juil"),
    ("aug", "aou"), ("sep",), ("oct",), ("nov",), ("dec",),
)  # fmt: skip
# Letters and groups that sound alike; what follows the first letter keeps its consonants alone.
_SOUNDS: Final = (
    ("ph", "f"), ("sch", "s"), ("sh", "s"), ("ch", "s"), ("ck", "k"), ("gh", "g"), ("ce", "se"), ("ci", "si"),
    ("cy", "si"), ("x", "ks"),
)  # fmt: skip
_DOUBLES: Final = tuple((letter * 2, letter) for letter in "bdfgklmnprst")

_LEGAL_FORM: Final = r"\b(" + "|".join(LEGAL_FORMS) + r")\b"


def _replaced(column: str, pairs: Iterable[tuple[str, str]]) -> str:
    """SQL that replaces plain texts one after the other: many times faster than regular expressions."""
    for old, new in pairs:
        column = f"replace({column}, '{old}', '{new}')"
    return column


def _month() -> str:
    """SQL for the two digits of a month that `words` names in English or French."""
    names = " ".join(
        f"WHEN regexp_matches(lower(strip_accents(words)), '\\b{name}') THEN '{number:02}'"
        for number, ways in enumerate(_MONTHS, start=1)
        for name in ways
    )
    return f"CASE {names} END"


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


# Macros, so that each rule of cleaning is written once.
_MACROS: Final = (
    r"""CREATE OR REPLACE MACRO words_of(words) AS
        NULLIF(trim(regexp_replace(lower(strip_accents(words)), '[^\p{L}\p{N}]+', ' ', 'g')), '')""",
    f"""CREATE OR REPLACE MACRO said(words) AS
        CASE WHEN words_of(words) NOT IN ({_listed(PLACEHOLDERS)}) THEN words_of(words) END""",
    "CREATE OR REPLACE MACRO compact(words) AS replace(said(words), ' ', '')",
    "CREATE OR REPLACE MACRO digits_of(words) AS NULLIF(regexp_replace(words, '[^0-9]', '', 'g'), '')",
    f"CREATE OR REPLACE MACRO month_named(words) AS {_month()}",
    # Nobody alive was born in a year that has not come: two digits up to 29 are of this century.
    "CREATE OR REPLACE MACRO century_of(year) AS CASE WHEN year < '30' THEN '20' ELSE '19' END",
    r"""CREATE OR REPLACE MACRO date_digits_of_four(words, day_first) AS
            right(words, 4) || CASE WHEN day_first
                THEN lpad(regexp_extract(words, '^\d{1,2}\D(\d{1,2})', 1), 2, '0')
                     || lpad(regexp_extract(words, '^(\d{1,2})', 1), 2, '0')
                ELSE lpad(regexp_extract(words, '^(\d{1,2})', 1), 2, '0')
                     || lpad(regexp_extract(words, '^\d{1,2}\D(\d{1,2})', 1), 2, '0') END""",
    # Whatever its notation, a date is eight digits YYYYMMDD; typing errors are kept, so that they can be compared.
    r"""CREATE OR REPLACE MACRO date_digits(words, day_first) AS CASE
        WHEN regexp_matches(words, '^\d{4}\D\d{1,2}\D\d{1,2}([T ].*)?$') THEN
            left(words, 4) || lpad(regexp_extract(words, '^\d{4}\D(\d{1,2})', 1), 2, '0')
            || lpad(regexp_extract(words, '^\d{4}\D\d{1,2}\D(\d{1,2})', 1), 2, '0')
        WHEN regexp_matches(words, '^\d{1,2}\D\d{1,2}\D\d{4}$') THEN date_digits_of_four(words, day_first)
        WHEN regexp_matches(words, '^\d{8}(\.0)?$') THEN left(words, 8)
        WHEN regexp_matches(words, '^\d{1,2}\D\d{1,2}\D\d{2}$') THEN date_digits_of_four(
            regexp_replace(words, '\d{2}$', century_of(right(words, 2)) || right(words, 2)), day_first)
        WHEN regexp_matches(words, '^\d{1,2}\D\d{1,2}\D\d{4}\D') THEN date_digits_of_four(
            regexp_extract(words, '^\d{1,2}\D\d{1,2}\D\d{4}'), day_first)
        WHEN regexp_matches(words, '^\D*\d{1,2}\D+\d{4}$') AND month_named(words) IS NOT NULL THEN
            right(words, 4) || month_named(words) || lpad(regexp_extract(words, '(\d{1,2})', 1), 2, '0')
        END""",
    rf"""CREATE OR REPLACE MACRO mailbox(words) AS CASE
        WHEN regexp_matches(lower(trim(words)), '^[^@\s]+@[^@\s]+\.[^@\s.]+$')
         AND split_part(lower(trim(words)), '@', 1) NOT IN ({_listed(ROLE_MAILBOXES)})
        THEN lower(trim(words)) END""",
    rf"""CREATE OR REPLACE MACRO without_legal_form(words) AS
        COALESCE(words_of(regexp_replace(said(words), '{_LEGAL_FORM}', ' ', 'g')), said(words))""",
    rf"""CREATE OR REPLACE MACRO given_of(words) AS
        NULLIF(trim(regexp_replace(words, '^({"|".join(TITLES)}) ', '')), '')""",
    rf"""CREATE OR REPLACE MACRO family_of(words) AS
        NULLIF(trim(regexp_replace(words, ' ({"|".join(SUFFIXES)})$', '')), '')""",
    # "Lovelace, Ada" is read from the back.
    r"""CREATE OR REPLACE MACRO person_of(words) AS family_of(given_of(said(CASE
        WHEN regexp_matches(words, '^[^,]+,[^,]+$')
        THEN split_part(words, ',', 2) || ' ' || split_part(words, ',', 1) ELSE words END)))""",
    """CREATE OR REPLACE MACRO gender_of(words) AS CASE
        WHEN said(words) IN ('m', 'male', 'man', 'h', 'homme', 'masculin', 'mr', 'monsieur', 'boy', '1') THEN 'm'
        WHEN said(words) IN ('f', 'female', 'woman', 'w', 'femme', 'feminin', 'mme', 'mrs', 'ms', 'girl', '2') THEN 'f'
        END""",
    r"CREATE OR REPLACE MACRO year_of(words) AS NULLIF(regexp_extract(words, '^\s*((?:18|19|20)\d\d)(?:\.0)?\s*$', 1), '')",
    # Nobody's number is 000000000.
    """CREATE OR REPLACE MACRO without_repetition(words) AS
        CASE WHEN replace(words, left(words, 1), '') <> '' THEN words END""",
    """CREATE OR REPLACE MACRO number_of(words) AS CASE
        WHEN length(digits_of(words)) >= 6 THEN without_repetition(right(digits_of(words), 9)) END""",
    f"""CREATE OR REPLACE MACRO street_in_full(words) AS
        trim({_replaced("' ' || words || ' '", ((f" {short} ", f" {full} ") for short, full in STREET_WORDS))})""",
    r"""CREATE OR REPLACE MACRO postcode_in(words) AS NULLIF(compact(regexp_extract(
        words, '\b(\d{5}|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2})\b[^,]*$', 1)), '')""",
    r"""CREATE OR REPLACE MACRO town_in(words) AS said(regexp_replace(
        COALESCE(NULLIF(split_part(words, ',', 2), ''), NULL), '\b([A-Z]{2}|[\w]*\d\w*)\b', '', 'g'))""",
    """CREATE OR REPLACE MACRO initials_of(words) AS
        list_aggregate(list_transform(string_split(words, ' '), lambda word: left(word, 1)), 'string_agg', '')""",
    """CREATE OR REPLACE MACRO consonants_of(words) AS
        left(words, 1) || translate(substr(words, 2), 'aeiouyhw ', '')""",
    f"""CREATE OR REPLACE MACRO sound_of(words) AS {
        _replaced(f"consonants_of(translate({_replaced('words', _SOUNDS)}, 'cqzvj', 'kksfg'))", _DOUBLES)
    }""",
    r"""CREATE OR REPLACE MACRO domain_of(words) AS NULLIF(regexp_extract(
        lower(trim(words)), '^(?:https?://)?(?:www\.)?([^/\s:]+\.[^/\s:]+)', 1), '')""",
)

_ROOTS: Final = nicknames.roots()

# Day and month can be told apart where a first part above 12 occurs more often than a second one.
_DAY_FIRST: Final = r"""
SELECT count(*) FILTER (WHERE TRY_CAST(regexp_extract(date_of_birth, '^(\d{1,2})\D\d{1,2}\D\d{4}$', 1) AS INT) > 12)
    >= count(*) FILTER (WHERE TRY_CAST(regexp_extract(date_of_birth, '^\d{1,2}\D(\d{1,2})\D\d{4}$', 1) AS INT) > 12)
FROM raw
"""

_CLEAN: Final = r"""
WITH said AS (
    SELECT unique_id, unique_in,
        given_of(said(given_name)) AS given_said, given_of(said(middle_name)) AS middle_said,
        family_of(said(surname)) AS surname_said,
        person_of(full_name) AS whole,
        gender_of(gender) AS gender,
        date_digits(trim(date_of_birth), $day_first) AS dob,
        COALESCE(left(date_digits(trim(date_of_birth), $day_first), 4), year_of(date_of_birth)) AS birth_year,
        without_repetition(compact(national_id)) AS national_id,
        COALESCE(mailbox(email), mailbox(other_email)) AS email, mailbox(other_email) AS other_email,
        COALESCE(number_of(phone), number_of(other_phone)) AS phone, number_of(other_phone) AS other_phone,
        street_in_full(COALESCE(
            CASE WHEN said(street_number) IS NULL THEN said(street)
                 ELSE said(street_number) || ' ' || COALESCE(said(street), '') END,
            said(split_part(full_address, ',', 1))
        )) AS street_found,
        COALESCE(compact(postcode), postcode_in(full_address)) AS postcode,
        COALESCE(said(city), town_in(full_address)) AS city,
        said(region) AS region, said(country) AS country, said(category) AS category,
        without_legal_form(organisation) AS organisation, domain_of(website) AS website
    FROM raw
), plain AS (
    SELECT *, COALESCE(given_said, NULLIF(regexp_extract(whole, '^(\S+) ', 1), '')) AS given_name,
        COALESCE(middle_said, NULLIF(regexp_extract(whole, '^\S+ (.+) \S+$', 1), '')) AS middle_name,
        COALESCE(surname_said, NULLIF(regexp_extract(whole, '(\S+)$', 1), '')) AS surname
    FROM said
)
SELECT unique_id, unique_in, given_name, COALESCE(n.root, given_name) AS given_root, middle_name, surname,
    sound_of(surname) AS surname_sound, given_name || ' ' || surname AS person, gender, dob, birth_year, national_id,
    email, replace(split_part(split_part(email, '@', 1), '+', 1), '.', '') AS email_name,
    NULLIF(other_email, email) AS other_email, phone, NULLIF(other_phone, phone) AS other_phone,
    NULLIF(trim(street_found), '') AS street,
    NULLIF(regexp_extract(street_found, '\b(\d+)', 1), '') AS house_number,
    words_of(regexp_replace(street_found, '\b\d+\w?\b', '', 'g')) AS street_name,
    postcode, city, region, country, organisation, initials_of(organisation) AS initials, website, category
FROM plain LEFT JOIN nickname n ON n.name = given_name
"""

COLUMNS: Final = (
    "given_name", "given_root", "middle_name", "surname", "surname_sound", "person", "gender", "dob", "birth_year",
    "national_id", "email", "email_name", "other_email", "phone", "other_phone", "street", "house_number", "street_name",
    "postcode", "city", "region", "country", "organisation", "initials", "website", "category",
)  # fmt: skip


def clean(connection: DuckDBPyConnection) -> None:
    """Make table `record` from table `raw` (unique_id, unique_in, and the standard traits as text)."""
    learn_macros(connection)
    connection.execute(f"CREATE OR REPLACE TABLE record AS {cleaning(is_day_first=says_day_first(connection))}")


def learn_macros(connection: DuckDBPyConnection) -> None:
    """And the table of nicknames, which is joined: a lookup for each row would cost more."""
    for macro in _MACROS:
        connection.execute(macro)
    connection.execute(
        "CREATE OR REPLACE TABLE nickname AS SELECT unnest($names) AS name, unnest($roots) AS root",
        {"names": list(_ROOTS), "roots": list(_ROOTS.values())},
    )


def says_day_first(connection: DuckDBPyConnection) -> bool:
    """What the dates of table `raw` say of their own order."""
    return bool(connection.execute(_DAY_FIRST).fetchall()[0][0])


def cleaning(*, is_day_first: bool) -> str:
    """The query that makes clean records of table `raw`."""
    return _CLEAN.replace("$day_first", str(is_day_first).lower())


def filled_columns(connection: DuckDBPyConnection, *, share: float = 0.01) -> frozenset[str]:
    """Columns that say something: filled in at least `share` of the records, with more than one value."""
    parts = ", ".join(f"count({column}) AS {column}, count(DISTINCT {column}) AS {column}_kinds" for column in COLUMNS)
    relation = connection.execute(f"SELECT count(*) AS rows, {parts} FROM record")  # noqa: S608  # our own names
    names = [column[0] for column in relation.description]
    counts = dict(zip(names, relation.fetchall()[0], strict=True))
    return frozenset(
        column
        for column in COLUMNS
        if counts[column] >= max(2, share * counts["rows"]) and counts[f"{column}_kinds"] > 1
    )

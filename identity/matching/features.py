"""Records as the matcher sees them: the standard traits, cleaned once, in SQL, the same on every path.

Empty strings and placeholders become NULL, because equal placeholders would count as agreement.
"""

from typing import Final

from duckdb import DuckDBPyConnection

TRAITS: Final = (
    "given_name", "surname", "full_name", "date_of_birth", "email", "phone", "street_number", "street", "city",
    "postcode", "region", "national_id", "organisation", "website",
)  # fmt: skip

PLACEHOLDERS: Final = (
    "unknown", "none", "null", "nil", "na", "n a", "nan", "undefined", "anonymous", "not provided", "not available",
    "test", "x", "xx", "xxx", "tbc", "tbd",
)  # fmt: skip
# Mailboxes of a role and not of a person.
ROLE_MAILBOXES: Final = (
    "info", "contact", "admin", "office", "sales", "support", "noreply", "no-reply", "none", "test", "hello", "mail",
    "webmaster", "postmaster", "accueil", "example",
)  # fmt: skip
LEGAL_FORMS: Final = (
    "ltd", "limited", "inc", "incorporated", "llc", "llp", "lp", "plc", "corp", "corporation", "company", "co", "gmbh",
    "ag", "kg", "sa", "sas", "sarl", "eurl", "bv", "nv", "srl", "spa", "oy", "ab", "as", "pty", "group", "holdings",
    "holding", "the",
)  # fmt: skip

_LEGAL_FORM: Final = r"\b(" + "|".join(LEGAL_FORMS) + r")\b"


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
    # Whatever its notation, a date is eight digits YYYYMMDD; typing errors are kept, so that they can be compared.
    r"""CREATE OR REPLACE MACRO date_digits(words, day_first) AS CASE
        WHEN regexp_matches(words, '^\d{4}\D\d{1,2}\D\d{1,2}([T ].*)?$') THEN
            left(words, 4) || lpad(regexp_extract(words, '^\d{4}\D(\d{1,2})', 1), 2, '0')
            || lpad(regexp_extract(words, '^\d{4}\D\d{1,2}\D(\d{1,2})', 1), 2, '0')
        WHEN regexp_matches(words, '^\d{1,2}\D\d{1,2}\D\d{4}$') THEN
            right(words, 4) || CASE WHEN day_first
                THEN lpad(regexp_extract(words, '^\d{1,2}\D(\d{1,2})', 1), 2, '0')
                     || lpad(regexp_extract(words, '^(\d{1,2})', 1), 2, '0')
                ELSE lpad(regexp_extract(words, '^(\d{1,2})', 1), 2, '0')
                     || lpad(regexp_extract(words, '^\d{1,2}\D(\d{1,2})', 1), 2, '0') END
        WHEN regexp_matches(words, '^\d{8}(\.0)?$') THEN left(words, 8)
        END""",
    rf"""CREATE OR REPLACE MACRO mailbox(words) AS CASE
        WHEN regexp_matches(lower(trim(words)), '^[^@\s]+@[^@\s]+\.[^@\s.]+$')
         AND split_part(lower(trim(words)), '@', 1) NOT IN ({_listed(ROLE_MAILBOXES)})
        THEN lower(trim(words)) END""",
    rf"""CREATE OR REPLACE MACRO without_legal_form(words) AS
        COALESCE(words_of(regexp_replace(said(words), '{_LEGAL_FORM}', ' ', 'g')), said(words))""",
    r"""CREATE OR REPLACE MACRO domain_of(words) AS NULLIF(regexp_extract(
        lower(trim(words)), '^(?:https?://)?(?:www\.)?([^/\s:]+\.[^/\s:]+)', 1), '')""",
)

# Day and month can be told apart where a first part above 12 occurs more often than a second one.
_DAY_FIRST: Final = r"""
SELECT count(*) FILTER (WHERE TRY_CAST(regexp_extract(date_of_birth, '^(\d{1,2})\D\d{1,2}\D\d{4}$', 1) AS INT) > 12)
    >= count(*) FILTER (WHERE TRY_CAST(regexp_extract(date_of_birth, '^\d{1,2}\D(\d{1,2})\D\d{4}$', 1) AS INT) > 12)
FROM raw
"""

_CLEAN: Final = r"""
WITH plain AS (
    SELECT unique_id, unique_in,
        COALESCE(said(given_name), regexp_extract(said(full_name), '^(\S+) ', 1)) AS given_found,
        COALESCE(said(surname), regexp_extract(said(full_name), '(\S+)$', 1)) AS surname_found,
        date_digits(trim(date_of_birth), $day_first) AS dob,
        compact(national_id) AS national_id,
        mailbox(email) AS email,
        right(digits_of(phone), 9) AS phone,
        CASE WHEN said(street_number) IS NULL THEN said(street)
             ELSE said(street_number) || ' ' || COALESCE(said(street), '') END AS street_found,
        compact(postcode) AS postcode, said(city) AS city, said(region) AS region,
        without_legal_form(organisation) AS organisation, domain_of(website) AS website
    FROM raw
)
SELECT unique_id, unique_in, NULLIF(given_found, '') AS given_name, NULLIF(surname_found, '') AS surname, dob,
    national_id, email, split_part(email, '@', 1) AS email_name,
    CASE WHEN length(phone) >= 6 THEN phone END AS phone,
    NULLIF(trim(street_found), '') AS street,
    NULLIF(regexp_extract(street_found, '\b(\d+)', 1), '') AS house_number,
    words_of(regexp_replace(street_found, '\b\d+\w?\b', '', 'g')) AS street_name,
    postcode, city, region, organisation, website
FROM plain
"""

COLUMNS: Final = (
    "given_name", "surname", "dob", "national_id", "email", "email_name", "phone", "street", "house_number",
    "street_name", "postcode", "city", "region", "organisation", "website",
)  # fmt: skip


def clean(connection: DuckDBPyConnection) -> None:
    """Make table `record` from table `raw` (unique_id, unique_in, and the standard traits as text)."""
    learn_macros(connection)
    connection.execute(f"CREATE OR REPLACE TABLE record AS {cleaning(is_day_first=says_day_first(connection))}")


def learn_macros(connection: DuckDBPyConnection) -> None:
    for macro in _MACROS:
        connection.execute(macro)


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

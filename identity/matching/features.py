"""Records as the matcher sees them: the standard traits, cleaned once, in SQL, the same on every path.

Empty strings and placeholders become NULL, because equal placeholders would count as agreement.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from duckdb import DuckDBPyConnection

from identity.matching import nicknames

TRAITS: Final = (
    "given_name", "middle_name", "surname", "full_name", "gender", "date_of_birth", "email", "other_email", "phone",
    "other_phone", "street_number", "street", "full_address", "city", "postcode", "region", "country", "national_id",
    "organisation", "website", "category", "other_surname", "native_name", "other_id", "passport", "driving_licence",
    "other_organisation", "employer", "record_type", "birth_place", "birth_year", "birth_month", "birth_day",
    "name_suffix", "age",
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

# Those that are no name of a person: a column of names may have companies in it.
_FORM_ALONE: Final = "ltd|limited|inc|incorporated|llc|llp|plc|corp|corporation|gmbh|sarl|eurl|sas|sasu|snc|sci|srl|bv|nv|kgaa|ug|pty|ltda"

TITLES: Final = (
    "mr", "mrs", "ms", "miss", "dr", "prof", "sir", "m", "mme", "mlle", "monsieur", "madame", "mademoiselle", "me",
    "herr", "frau", "sr", "sra", "sig", "dhr", "mevr",
)  # fmt: skip
# Father and son of one name are told apart by them.
GENERATIONS: Final[Mapping[str, str]] = {
    "jr": "jr", "junior": "jr", "sr": "sr", "senior": "sr", "ii": "ii", "iii": "iii", "iv": "iv",
}  # fmt: skip
SUFFIXES: Final = (*GENERATIONS, "phd", "md", "esq")
# Written short as often as in full.
STREET_WORDS: Final = (
    ("st", "street"), ("rd", "road"), ("ave", "avenue"), ("av", "avenue"), ("blvd", "boulevard"), ("bd", "boulevard"),
    ("bld", "boulevard"), ("ln", "lane"), ("dr", "drive"), ("ct", "court"), ("pl", "place"), ("sq", "square"),
    ("cres", "crescent"), ("hwy", "highway"), ("pde", "parade"), ("tce", "terrace"), ("chem", "chemin"),
    ("imp", "impasse"), ("rte", "route"), ("all", "allee"), ("fg", "faubourg"),
)  # fmt: skip
_MONTHS: Final = (
    ("jan", "ene", "gen"), ("feb", "fev"), ("mar", "mae"), ("apr", "avr", "abr"), ("may", "mai", "mag"),
    ("jun", "juin", "giu"), ("jul", "juil", "lug"), ("aug", "aou", "ago"), ("sep", "set"), ("oct", "okt", "ott", "out"),
    ("nov",), ("dec", "dez", "dic"),
)  # fmt: skip
# Letters and groups that sound alike; what follows the first letter keeps its consonants alone.
_SOUNDS: Final = (
    ("ph", "f"), ("sch", "s"), ("sh", "s"), ("ch", "s"), ("ck", "k"), ("gh", "g"), ("ce", "se"), ("ci", "si"),
    ("cy", "si"), ("x", "ks"),
)  # fmt: skip
# Letters that are no Latin one with an accent, as they are usually written in Latin ones.
_LETTERS: Final = (
    "øłđðıабвгдезийклмнопрстуфхыэіαβγδεζηικλμνξοπρσςτυφω",
    "olddiabvgdeziiklmnoprstufhyeiavgdeziiklmnxoprsstyfo",
)
_MORE_LETTERS: Final = (
    ("ß", "ss"), ("æ", "ae"), ("œ", "oe"), ("þ", "th"), ("ж", "zh"), ("ц", "ts"), ("ч", "ch"), ("ш", "sh"),
    ("щ", "shch"), ("ю", "yu"), ("я", "ya"), ("є", "ye"), ("ґ", "g"), ("ъ", ""), ("ь", ""), ("θ", "th"), ("χ", "ch"),
    ("ψ", "ps"),
)  # fmt: skip
_DOUBLES: Final = tuple((letter * 2, letter) for letter in "bdfgklmnprst")

_LEGAL_FORM: Final = r"\b(" + "|".join(LEGAL_FORMS) + r")\b"


def _replaced(column: str, pairs: Iterable[tuple[str, str]]) -> str:
    """SQL that replaces plain texts one after the other: many times faster than regular expressions."""
    for old, new in pairs:
        column = f"replace({column}, '{old}', '{new}')"
    return column


def _month() -> str:
    """SQL for the two digits of the month that `word`, in English or French, begins with."""
    names = " ".join(
        f"WHEN starts_with(word, '{name}') THEN '{number:02}'"
        for number, ways in enumerate(_MONTHS, start=1)
        for name in ways
    )
    return f"CASE {names} END"


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _named(names: Mapping[str, str]) -> str:
    return " ".join(f"WHEN '{name}' THEN '{meant}'" for name, meant in names.items())


# Macros, so that each rule of cleaning is written once. A macro repeats its argument wherever it stands, so those that
# name it twice are given columns only: the query below goes in steps for that.
_MACROS: Final = (
    f"""CREATE OR REPLACE MACRO latin(words) AS
        translate({_replaced("words", _MORE_LETTERS)}, '{_LETTERS[0]}', '{_LETTERS[1]}')""",
    r"""CREATE OR REPLACE MACRO words_of(words) AS NULLIF(trim(regexp_replace(
        CASE WHEN strlen(words) = length(words) THEN lower(words) ELSE latin(lower(strip_accents(words))) END,
        '[^\p{L}\p{N}]+', ' ', 'g')), '')""",
    # One look into a text is quicker than thirty comparisons; and of words none has a bar in it.
    f"""CREATE OR REPLACE MACRO said(words) AS
        CASE WHEN NOT contains('|{"|".join(PLACEHOLDERS)}|', '|' || words || '|') THEN words END""",
    "CREATE OR REPLACE MACRO digits_of(words) AS NULLIF(regexp_replace(words, '[^0-9]', '', 'g'), '')",
    f"CREATE OR REPLACE MACRO month_named(word) AS {_month()}",
    # Nobody alive was born in a year that has not come: two digits up to 29 are of this century.
    (
        "CREATE OR REPLACE MACRO year_in_full(year) AS CASE WHEN length(year) = 2 THEN"
        " CASE WHEN year < '30' THEN '20' ELSE '19' END || year ELSE year END"
    ),
    # Written so that neither the order of day and month nor the name of a month can be mistaken. Without one of them only
    # the year is known.
    r"""CREATE OR REPLACE MACRO date_of_parts(year, month, day) AS CASE
        WHEN COALESCE(month, '') = '' OR COALESCE(day, '') = '' THEN year
        WHEN regexp_matches(month, '^\d') THEN year || '-' || month || '-' || day
        ELSE day || ' ' || month || ' ' || year END""",
    # "06071981" has no gaps: of eight digits the last four can be a year only where the first four are none.
    """CREATE OR REPLACE MACRO in_parts(parts) AS CASE
        WHEN len(parts) = 1 AND length(parts[1]) = 8 AND right(parts[1], 4) BETWEEN '1800' AND '2099'
        THEN string_split(left(parts[1], 2) || '-' || substr(parts[1], 3, 2) || '-' || right(parts[1], 4), '-')
        ELSE parts END""",
    # Whatever its notation, a date is eight digits YYYYMMDD; typing errors are kept, so that they can be compared.
    """CREATE OR REPLACE MACRO date_digits(parts, word, day_first) AS CASE
        WHEN len(parts) = 1 AND length(parts[1]) = 8 THEN parts[1]
        WHEN len(parts) = 2 AND length(parts[1]) <= 2 AND length(parts[2]) IN (2, 4) AND month_named(word) IS NOT NULL
            THEN year_in_full(parts[2]) || month_named(word) || lpad(parts[1], 2, '0')
        WHEN len(parts) < 3 OR length(parts[2]) > 2 THEN NULL
        WHEN length(parts[1]) = 4 AND length(parts[3]) <= 2
            THEN parts[1] || lpad(parts[2], 2, '0') || lpad(parts[3], 2, '0')
        WHEN length(parts[1]) > 2 OR length(parts[3]) NOT IN (2, 4) THEN NULL
        WHEN (day_first AND TRY_CAST(parts[2] AS INT) <= 12) OR TRY_CAST(parts[1] AS INT) > 12
            THEN year_in_full(parts[3]) || lpad(parts[2], 2, '0') || lpad(parts[1], 2, '0')
        ELSE year_in_full(parts[3]) || lpad(parts[1], 2, '0') || lpad(parts[2], 2, '0') END""",
    """CREATE OR REPLACE MACRO year_of(parts) AS CASE
        WHEN len(parts) = 1 AND length(parts[1]) = 4 AND parts[1] BETWEEN '1800' AND '2099' THEN parts[1] END""",
    rf"""CREATE OR REPLACE MACRO mailbox(words) AS CASE
        WHEN regexp_matches(words, '^[^@\s]+@[^@\s]+\.[^@\s.]+$')
         AND split_part(words, '@', 1) NOT IN ({_listed(ROLE_MAILBOXES)}) THEN words END""",
    # "Ada Lovelace <ada@example.com>"
    r"""CREATE OR REPLACE MACRO address_in(words) AS CASE WHEN contains(words, '<')
        THEN regexp_extract(words, '<\s*([^<>\s]+)\s*>', 1) ELSE words END""",
    rf"""CREATE OR REPLACE MACRO without_legal_form(words) AS
        COALESCE(words_of(regexp_replace(words, '{_LEGAL_FORM}', ' ', 'g')), words)""",
    # "SARL Durand", "Durand Transports SAS": without the form they are compared as names are.
    rf"CREATE OR REPLACE MACRO name_in(words) AS regexp_replace(words, '^({_FORM_ALONE}) | ({_FORM_ALONE})$', '')",
    rf"CREATE OR REPLACE MACRO given_of(words) AS regexp_replace(words, '^({'|'.join(TITLES)}) ', '')",
    rf"CREATE OR REPLACE MACRO family_of(words) AS regexp_replace(words, ' ({'|'.join(SUFFIXES)})$', '')",
    f"CREATE OR REPLACE MACRO generation_of(word) AS CASE word {_named(GENERATIONS)} END",
    """CREATE OR REPLACE MACRO kind_of(words, organisation, name) AS CASE
        WHEN starts_with(words, 'pers') OR words IN ('individual', 'human', 'natural person', 'particulier', 'p') THEN 'person'
        WHEN words IS NOT NULL THEN 'organisation'
        WHEN organisation IS NOT NULL AND name IS NULL THEN 'organisation'
        WHEN organisation IS NULL AND name IS NOT NULL THEN 'person' END""",
    # "Lovelace, Ada" is read from the back.
    """CREATE OR REPLACE MACRO in_order(words) AS CASE
        WHEN split_part(words, ',', 2) <> '' AND split_part(words, ',', 3) = ''
        THEN split_part(words, ',', 2) || ' ' || split_part(words, ',', 1) ELSE words END""",
    """CREATE OR REPLACE MACRO gender_of(words) AS CASE
        WHEN words IN ('m', 'male', 'man', 'h', 'homme', 'masculin', 'mr', 'monsieur', 'boy', '1', 'herr', 'mannlich',
            'maennlich', 'hombre', 'uomo', 'maschio') THEN 'm'
        WHEN words IN ('f', 'female', 'woman', 'w', 'femme', 'feminin', 'mme', 'mrs', 'ms', 'girl', '2', 'frau', 'weiblich',
            'mujer', 'donna', 'femmina', 'v', 'vrouw') THEN 'f'
        END""",
    # Nobody's number is 000000000.
    (
        "CREATE OR REPLACE MACRO without_repetition(words) AS"
        " CASE WHEN replace(words, left(words, 1), '') <> '' THEN words END"
    ),
    (
        "CREATE OR REPLACE MACRO number_of(digits) AS"
        " CASE WHEN length(digits) >= 6 THEN without_repetition(right(digits, 9)) END"
    ),
    f"""CREATE OR REPLACE MACRO street_in_full(words) AS
        trim({_replaced("(' ' || words || ' ')", ((f" {short} ", f" {full} ") for short, full in STREET_WORDS))})""",
    r"""CREATE OR REPLACE MACRO domain_of(words) AS NULLIF(regexp_extract(
        words, '^(?:https?://)?(?:www\.)?([^/\s:]+\.[^/\s:]+)', 1), '')""",
    """CREATE OR REPLACE MACRO initials_of(words) AS
        list_aggregate(list_transform(string_split(words, ' '), lambda word: left(word, 1)), 'string_agg', '')""",
    # Words of a name that the other name has not.
    """CREATE OR REPLACE MACRO words_apart(one, other) AS list_filter(
        string_split(one, ' '), lambda word: NOT list_contains(string_split(other, ' '), word))""",
    # "ada.lovelace" of Ada Lovelace, and "alovelace" too.
    r"""CREATE OR REPLACE MACRO is_made_of_names(mailbox, given, family) AS length(regexp_replace(replace(replace(
        mailbox, replace(COALESCE(family, ''), ' ', ''), ''), replace(COALESCE(given, ''), ' ', ''), ''),
        '[^\p{L}\p{N}]+', '', 'g')) <= 1""",
    # "pkg" is short for "packaging": its letters, in their order, from the first one on.
    """CREATE OR REPLACE MACRO is_short_for(short, long) AS CASE
        WHEN left(short, 1) = left(long, 1) AND length(short) > 1 AND length(short) < length(long)
        THEN regexp_matches(long, '^' || array_to_string(string_split(short, ''), '.*')) ELSE false END""",
    """CREATE OR REPLACE MACRO is_one_word_short(one, other) AS CASE
        WHEN len(words_apart(one, other)) = 1 AND len(words_apart(other, one)) = 1
        THEN is_short_for(words_apart(one, other)[1], words_apart(other, one)[1])
          OR is_short_for(words_apart(other, one)[1], words_apart(one, other)[1]) ELSE false END""",
    f"""CREATE OR REPLACE MACRO heard(words) AS
        translate({_replaced("words", _SOUNDS)}, 'cqzvj', 'kksfg')""",
    f"""CREATE OR REPLACE MACRO consonants_of(words) AS
        {_replaced("(left(words, 1) || translate(substr(words, 2), 'aeiouyhw ', ''))", _DOUBLES)}""",
)

# Day and month can be told apart where a first part above 12 occurs more often than a second one.
_DAY_FIRST: Final = r"""
SELECT count(*) FILTER (WHERE TRY_CAST(parts[1] AS INT) > 12) >= count(*) FILTER (WHERE TRY_CAST(parts[2] AS INT) > 12)
FROM (SELECT in_parts(found) AS parts FROM (SELECT regexp_extract_all(date_of_birth, '\d+') AS found FROM raw))
WHERE len(parts) >= 3 AND length(parts[1]) <= 2
"""

_ROOTS: Final = nicknames.roots()

_TEXTS: Final = (
    "given_name", "middle_name", "surname", "gender", "national_id", "street_number", "street", "city", "postcode",
    "region", "country", "organisation", "category", "other_surname", "other_id", "passport", "driving_licence",
    "other_organisation", "employer", "record_type", "birth_place", "name_suffix",
)  # fmt: skip

_UNDOTTED: Final = {name: f"replace({name}, '.', '')" for name in ("organisation", "other_organisation", "employer")}
# S.A.R.L. is SARL

# "12 rue Pasteur, 69007 Lyon" in the column of the street, and nothing in those of the town: the whole address.
_IS_WHOLE: Final = "contains(street, ',') AND NULLIF(trim(city), '') IS NULL AND NULLIF(trim(postcode), '') IS NULL"

_CLEAN: Final = rf"""
WITH lined AS (
    SELECT * REPLACE (CASE WHEN {_IS_WHOLE} THEN NULL ELSE street END AS street,
        COALESCE(NULLIF(full_address, ''), CASE WHEN {_IS_WHOLE} THEN street END) AS full_address,
        COALESCE(NULLIF(trim(date_of_birth), ''), date_of_parts(
            year_in_full(NULLIF(regexp_extract(birth_year, '\d+'), '')),
            NULLIF(regexp_extract(lower(strip_accents(birth_month)), '\d+|[a-z]{{3,}}'), ''),
            NULLIF(regexp_extract(birth_day, '\d+'), ''))) AS date_of_birth)
    FROM raw
), worded AS (
    SELECT unique_id, unique_in, $written,
        words_of(in_order(COALESCE(NULLIF(trim(full_name), ''), native_name))) AS whole,
        regexp_extract_all(split_part(split_part(date_of_birth, 'T', 1), ':', 1), '\d+') AS date_parts,
        regexp_extract(lower(strip_accents(date_of_birth)), '[a-z]{{3,}}') AS date_word,
        NULLIF(regexp_extract(age, '^\s*(\d{{1,3}})\b', 1), '') AS years,
        lower(trim(address_in(email))) AS email, lower(trim(address_in(other_email))) AS other_email,
        digits_of(phone) AS phone, digits_of(other_phone) AS other_phone, lower(trim(website)) AS website,
        string_split(full_address, ',') AS address,
        regexp_extract(full_address, '\b(\d{{5}}|[A-Z]{{1,2}}\d[A-Z\d]? ?\d[A-Z]{{2}})\b[^,]*$', 1) AS code
    FROM lined
), told AS (
    SELECT * REPLACE ($said),
        date_digits(in_parts(date_parts), date_word, $day_first) AS dob,
        mailbox(email) AS mail, mailbox(other_email) AS other_mail,
        number_of(phone) AS number, number_of(other_phone) AS other_number
    FROM worded
), named AS (
    SELECT *, family_of(given_of(given_name)) AS given, family_of(surname) AS family,
        family_of(given_of(name_in(whole))) AS person
    FROM told
), placed AS (
    SELECT *, COALESCE(given, NULLIF(regexp_extract(person, '^(\S+) ', 1), '')) AS given_found,
        COALESCE(given_of(middle_name), NULLIF(regexp_extract(person, '^\S+ (.+) \S+$', 1), '')) AS middle_found,
        COALESCE(family, NULLIF(regexp_extract(person, '(\S+)$', 1), '')) AS family_found,
        street_in_full(COALESCE(NULLIF(concat_ws(' ', street_number, street), ''), words_of(address[1]))) AS street_found,
        replace(national_id, ' ', '') AS id_found, replace(other_id, ' ', '') AS other_id_found,
        replace(passport, ' ', '') AS passport_found, replace(driving_licence, ' ', '') AS licence_found,
        without_legal_form(organisation) AS organisation_found,
        without_legal_form(other_organisation) AS other_organisation_found,
        CASE WHEN family <> surname THEN surname WHEN person <> whole THEN whole WHEN given <> given_name THEN given_name
            END AS suffixed,
        words_of(regexp_replace(address[2], '\b([A-Z]{{2}}|\w*\d\w*)\b', '', 'g')) AS town
    FROM named
), heard AS (
    SELECT *, heard(family_found) AS family_heard, COALESCE(mail, other_mail) AS mail_found,
        COALESCE(number, other_number) AS number_found
    FROM placed
)
SELECT unique_id, unique_in, given_found AS given_name, COALESCE(n.root, given_found) AS given_root,
    middle_found AS middle_name, family_found AS surname, consonants_of(family_heard) AS surname_sound,
    gender_of(gender) AS gender, dob, COALESCE(left(dob, 4), year_of(date_parts)) AS birth_year,
    CASE WHEN TRY_CAST(years AS INT) BETWEEN 0 AND 120 THEN years END AS age,
    without_repetition(id_found) AS national_id, mail_found AS email,
    NULLIF(replace(split_part(split_part(mail_found, '@', 1), '+', 1), '.', ''), '') AS email_name,
    NULLIF(other_mail, mail_found) AS other_email, number_found AS phone,
    NULLIF(other_number, number_found) AS other_phone, street_found AS street,
    NULLIF(regexp_extract(street_found, '\b(\d+)', 1), '') AS house_number,
    words_of(regexp_replace(street_found, '\b\d+\w?\b', '', 'g')) AS street_name,
    COALESCE(replace(postcode, ' ', ''), NULLIF(lower(replace(code, ' ', '')), '')) AS postcode,
    COALESCE(city, town) AS city, region, country, organisation_found AS organisation,
    initials_of(organisation_found) AS initials, domain_of(website) AS website, category,
    NULLIF(family_of(other_surname), family_found) AS other_surname,
    COALESCE(generation_of(regexp_extract(suffixed, '(\S+)$', 1)), generation_of(name_suffix)) AS generation,
    NULLIF(without_repetition(other_id_found), id_found) AS other_id,
    without_repetition(passport_found) AS passport, without_repetition(licence_found) AS driving_licence,
    NULLIF(other_organisation_found, organisation_found) AS other_organisation,
    without_legal_form(employer) AS employer, birth_place,
    kind_of(record_type, organisation_found, COALESCE(given_found, family_found)) AS kind
FROM heard LEFT JOIN nickname n ON n.name = given_found
"""  # noqa: S608  # our own names of columns

COLUMNS: Final = (
    "given_name", "given_root", "middle_name", "surname", "surname_sound", "gender", "dob", "birth_year", "age",
    "national_id", "email", "email_name", "other_email", "phone", "other_phone", "street", "house_number", "street_name",
    "postcode", "city", "region", "country", "organisation", "initials", "website", "category", "other_surname",
    "generation", "other_id", "passport", "driving_licence", "other_organisation", "employer", "birth_place", "kind",
)  # fmt: skip


def clean(connection: DuckDBPyConnection, *, given: Collection[str] = TRAITS, is_day_first: bool | None = None) -> None:
    """Make table `record` from table `raw` (unique_id, unique_in, and the standard traits as text), in which nobody has a
    trait that is not `given`. Unless it is said, the dates themselves say how they are read.
    """
    learn_macros(connection)
    if is_day_first is None:
        is_day_first = says_day_first(connection)
    cleaned = cleaning(is_day_first=is_day_first, given=given)
    connection.execute(f"CREATE OR REPLACE TABLE record AS {cleaned}")
    connection.execute(f"SET VARIABLE is_day_first = {is_day_first}")


def learn_macros(connection: DuckDBPyConnection) -> None:
    """And the table of nicknames, which is joined: a lookup for each row would cost more."""
    for macro in _MACROS:
        connection.execute(macro)
    connection.execute(
        "CREATE OR REPLACE TABLE nickname AS SELECT unnest($names) AS name, unnest($roots) AS root",
        {"names": list(_ROOTS), "roots": list(_ROOTS.values())},
    )


def macros() -> tuple[str, ...]:
    """What `cleaning` calls by name, each as the statement that teaches it."""
    return _MACROS


def says_day_first(connection: DuckDBPyConnection) -> bool:
    """What the dates of table `raw` say of their own order."""
    return bool(connection.execute(_DAY_FIRST).fetchall()[0][0])


def were_read_day_first(connection: DuckDBPyConnection) -> bool:
    """How the dates of table `record` were read."""
    return bool(connection.execute("SELECT getvariable('is_day_first')").fetchall()[0][0])


def cleaning(*, is_day_first: bool, given: Collection[str] = TRAITS) -> str:
    """The query that makes clean records of table `raw`, in which nobody has a trait that is not `given`: to plan what would
    become of it takes longer than to clean some thousand records.
    """
    words = (f"words_of({_UNDOTTED.get(name, name)})" if name in given else "NULL::VARCHAR" for name in _TEXTS)
    written = ", ".join(f"{made} AS {name}" for made, name in zip(words, _TEXTS, strict=True))
    said = ", ".join(f"said({name}) AS {name}" for name in ("whole", *filter(frozenset(given).__contains__, _TEXTS)))
    day_first = str(is_day_first).lower()
    return _CLEAN.replace("$written", written).replace("$said", said).replace("$day_first", day_first)


# What of a record each trait becomes, where that is not called the same.
COLUMNS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "full_name": ("given_name", "surname"), "native_name": ("given_name", "surname"), "record_type": ("kind",), "date_of_birth": ("dob", "birth_year"),
    "birth_month": ("dob",), "birth_day": ("dob",), "name_suffix": ("generation",), "street_number": ("street",),
    "full_address": ("street", "city", "postcode"),
}  # fmt: skip


def unusable_values(connection: DuckDBPyConnection) -> dict[str, int]:
    """How many values of each trait were placeholders, or nothing that the trait can be."""
    parts = ", ".join(
        f"count(*) FILTER (WHERE trim(raw.{trait}) <> '' AND COALESCE({_parts(trait)}) IS NULL) AS {trait}"
        for trait in TRAITS
    )
    relation = connection.execute(f"SELECT {parts} FROM raw JOIN record USING (unique_id)")  # noqa: S608  # our own names
    names = [column[0] for column in relation.description]
    return {name: count for name, count in zip(names, relation.fetchall()[0], strict=True) if count}


def _parts(trait: str) -> str:
    return ", ".join(f"record.{column}" for column in COLUMNS_OF.get(trait, (trait,)))


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

"""A population on paper: rows about people as customer files have them, by the million, the same on every day.

Two languages; names, streets and mailbox providers as unevenly spread as they are in life (a few are everywhere, most are
rare); people who moved, changed their address or telephone, or were typed in with an error; fields left empty. All words
are built from syllables. About seven people stand behind ten rows: `entity` says who, and is for the score alone.
"""

import itertools
from typing import Final

from duckdb import DuckDBPyConnection

PEOPLE_PER_ROW: Final = 0.7
COLUMNS: Final = ("given_name", "surname", "date_of_birth", "email", "phone", "street", "city", "postcode")

_FRENCH = (
    ("ma", "jo", "lu", "be", "cla", "ge", "no", "thé", "an", "éli", "fa", "syl"),
    ("ri", "lie", "can", "no", "ro", "mi", "di", "tho", "va", "se"),
    ("ne", "th", "el", "tte", "en", "a", "an", "lle", "ce", "que", "line", "re"),
)
_ENGLISH = (
    ("wal", "har", "ed", "os", "ro", "al", "da", "ken", "mar", "ste", "gre", "hol"),
    ("li", "ber", "win", "mun", "fri", "ly", "do", "ga", "van", "phe"),
    ("a", "d", "son", "y", "rick", "na", "bert", "ret", "ley", "ie", "n", "lyn"),
)
_HOUSES = (
    ("du", "le", "mar", "ber", "fon", "bla", "whit", "hol", "ash", "gra", "pe", "ro", "cha", "bou", "wood", "tal"),
    ("mond", "ti", "tin", "nar", "tai", "ck", "man", "ham", "ford", "nge", "ley", "ssel", "rt", "ber"),
    ("", "s", "ier", "eau", "et", "ton", "ard", "er", "in", "on", "elle", "man", "well", "y"),
)
_ROADS = (
    ("rue ", "avenue ", "place ", "chemin ", "high ", "church ", "mill ", "park "),
    ("des til", "du mou", "de la ga", "saint ", "north", "old ", "green", "upper "),
    ("leuls", "lin", "re", "marc", "field", "bridge", "hill", "gate", "lane", "wood", "pré", "val"),
)
_TOWNS = (
    ("ville", "mont", "saint-", "bel", "new", "castle", "long", "west", "beau", "roche", "brad", "hart"),
    ("neuve", "aubin", "lieu", "val", "port", "ford", "ton", "ham", "bourg", "fort", "mere", "stead"),
    ("", " la rive", " on sea", " les bois"),
)
_PROVIDERS: Final = (
    "mail", "poste", "orbit", "webnet", "inbox", "clef", "letter", "home", "bureau", "free", "post", "box",
)  # fmt: skip

# Whatever is drawn depends on the number of the row or person and on what it is drawn for, and on nothing else.
_MACROS: Final = (
    "CREATE OR REPLACE MACRO drawn(number, what) AS (hash(number, what) % 1000003) / 1000003.0",
    # The k-th word comes in proportion to 1 / (k + 12): the first of thousands about once in a hundred.
    """CREATE OR REPLACE MACRO skewed(words, number, what) AS
        words[1 + floor(12 * pow(len(words) / 12 + 1, drawn(number, what)) - 12)::INT]""",
    """CREATE OR REPLACE MACRO mistyped(word, number, what, share) AS CASE
        WHEN drawn(number, what) >= share OR length(word) < 4 THEN word
        WHEN drawn(number, what || 1) < 0.4 THEN left(word, place_in(word, number, what))
             || chr(97 + (hash(number, what || 2) % 26)::INT) || substr(word, place_in(word, number, what) + 2)
        WHEN drawn(number, what || 1) < 0.7 THEN left(word, place_in(word, number, what))
             || substr(word, place_in(word, number, what) + 2)
        ELSE left(word, place_in(word, number, what)) || substr(word, place_in(word, number, what) + 2, 1)
             || substr(word, place_in(word, number, what) + 1, 1) || substr(word, place_in(word, number, what) + 3) END""",
    "CREATE OR REPLACE MACRO present(word, number, what, share) AS CASE WHEN drawn(number, what) < share THEN word END",
)
_PLACE_IN: Final = """
CREATE OR REPLACE MACRO place_in(word, number, what) AS 1 + (hash(number, what || 3) % (length(word) - 2)::UBIGINT)::INT
"""
_PERSON: Final = """
CREATE OR REPLACE TABLE person AS
WITH named AS (
    SELECT n AS id, skewed($given, n, 'given') AS given_name, skewed($houses, n, 'surname') AS surname,
        strftime(DATE '1935-01-01' + (hash(n, 'born') % 27000)::INT, '%Y-%m-%d') AS date_of_birth,
        (hash(n, 'figure') % 1000)::VARCHAR AS figure, skewed($providers, n, 'mail') AS provider
    FROM range($people) AS numbers (n)
)
SELECT *, given_name || CASE WHEN drawn(id, 'dot') < 0.7 THEN '.' ELSE '' END || surname
    || CASE WHEN drawn(id, 'bare') < 0.3 THEN '' ELSE figure END AS mailbox
FROM named
"""
# A second mailbox, telephone or home of the same person; the numbers are far from those of the people themselves.
_ROW: Final = """
CREATE OR REPLACE TABLE paper AS
WITH row_of AS (
    SELECT n, CASE WHEN n < $people THEN n ELSE (hash(n, 'whose') % $people::UBIGINT)::BIGINT END AS entity
    FROM range($first, $first + $rows) AS numbers (n)
),
lived AS (
    SELECT n, p.*, entity,
        entity + CASE WHEN drawn(n, 'moved') < 0.12 THEN 1000000007 ELSE 0 END AS home,
        entity + CASE WHEN drawn(n, 'rang') < 0.2 THEN 1000000007 ELSE 0 END AS line,
        CASE WHEN drawn(n, 'wrote') < 0.2 THEN surname || figure ELSE mailbox END AS box
    FROM row_of JOIN person p ON p.id = row_of.entity
)
SELECT row_number() OVER (ORDER BY hash(n, 'order')) + $first AS unique_id, entity,
    mistyped(given_name, n, 'g', 0.06) AS given_name,
    mistyped(surname, n, 's', 0.06) AS surname,
    present(mistyped(date_of_birth, n, 'd', 0.03), n, 'has born', 0.85) AS date_of_birth,
    present(mistyped(box, n, 'e', 0.03) || '@' || provider || '.example', n, 'has mail', 0.75) AS email,
    present('+336' || lpad((hash(line, 'phone') % 100000000)::VARCHAR, 8, '0'), n, 'has phone', 0.7) AS phone,
    present(1 + hash(home, 'house') % 180 || ' ' || mistyped(skewed($roads, home, 'road'), n, 'r', 0.05), n, 'has home',
            0.8) AS street,
    mistyped(skewed($towns, home, 'town'), n, 't', 0.02) AS city,
    present(lpad((hash(skewed($towns, home, 'town'), 'code') % 95000 + hash(home, 'quarter') % 4)::VARCHAR, 5, '0'), n,
            'has code', 0.9) AS postcode
FROM lived
"""


def make(connection: DuckDBPyConnection, *, rows: int, first: int = 0) -> None:
    """Table `paper`: unique_id from `first` + 1, entity, and COLUMNS. The rows that follow on the `first` of the same file:
    each one about somebody of all its people.
    """
    for statement in (_MACROS[0], _MACROS[1], _PLACE_IN, *_MACROS[2:]):
        connection.execute(statement)
    people = round((first + rows) * PEOPLE_PER_ROW)
    given = [one for pair in zip(_words(_FRENCH), _words(_ENGLISH), strict=True) for one in pair]
    connection.execute(
        _PERSON, {"given": given, "houses": _words(_HOUSES), "providers": list(_PROVIDERS), "people": people}
    )
    lists = {"roads": _words(_ROADS), "towns": _words(_TOWNS)}
    connection.execute(_ROW, {**lists, "people": people, "rows": rows, "first": first})
    connection.execute("DROP TABLE person")


def _words(syllables: tuple[tuple[str, ...], ...]) -> list[str]:
    """All there are, those of any beginning mixed, so that the most common do not resemble each other."""
    return sorted(map("".join, itertools.product(*syllables)), key=lambda word: (hash_of(word), word))


def hash_of(word: str) -> int:
    return sum(place * ord(letter) * 7919 for place, letter in enumerate(word, start=1)) % 10_007

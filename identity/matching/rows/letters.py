"""What DuckDB knows of letters that are not ASCII, asked of DuckDB itself once: no two libraries know the same Unicode."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import duckdb

_ASKED: Final = r"""
WITH letter AS (
    SELECT place, chr(place::INTEGER) AS c FROM range(128, 1114112) AS t (place) WHERE place NOT BETWEEN 55296 AND 57343
)
SELECT place, lower(c), strip_accents(c), regexp_matches(c, '\p{L}'), regexp_matches(c, '\p{N}'), trim(c) = ''
FROM letter WHERE lower(c) <> c OR strip_accents(c) <> c OR regexp_matches(c, '[\p{L}\p{N}]') OR trim(c) = ''
"""
# Korean letters that are written in parts: only the whole text says what they become.
_IN_PARTS: Final = ((0x1100, 0x11FF), (0xA960, 0xA97F), (0xD7B0, 0xD7FF))


@dataclass(frozen=True, slots=True)
class Letters:
    """Beyond ASCII. `classes` are those of regular expressions, as Python writes them within brackets."""

    lowered: Mapping[int, str]
    bare: Mapping[int, str]
    classes: Mapping[str, str]
    spaces: str


@cache
def known() -> Letters:
    with duckdb.connect(":memory:", config={"threads": 1}) as duck:
        rows = duck.execute(_ASKED).fetchall()
    return Letters(
        lowered={place: lowered for place, lowered, *_ in rows if lowered != chr(place)},
        bare={place: bare for place, _, bare, *_ in rows if bare != chr(place)},
        classes={
            r"\p{L}": _spans(row[0] for row in rows if row[3]),
            r"\p{N}": _spans(row[0] for row in rows if row[4]),
        },
        spaces=" " + "".join(chr(row[0]) for row in rows if row[5]),
    )


def lower(text: str) -> str:
    return text.lower() if text.isascii() else text.translate(known().lowered).translate(_ASCII_LOWER)


def strip_accents(text: str) -> str:
    if text.isascii():
        return text
    bare = text.translate(known().bare)
    return unicodedata.normalize("NFC", bare) if any(map(_is_in_parts, text)) else bare


def trim(text: str) -> str:
    return text.strip(" ") if text.isascii() else text.strip(known().spaces)


_ASCII_LOWER: Final = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def _is_in_parts(letter: str) -> bool:
    return any(first <= ord(letter) <= last for first, last in _IN_PARTS)


def _spans(places: Iterable[int]) -> str:
    spans: list[list[int]] = []
    for place in sorted(places):
        if spans and spans[-1][1] == place - 1:
            spans[-1][1] = place
        else:
            spans.append([place, place])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in spans)

"""Names of people: one form of spaces, apostrophes and hyphens; case repaired where it says nothing; split into parts.

A name in mixed case is as its bearer writes it. In capitals or in lower case alone it came from a form or a file.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from nameparser import HumanName

from cdp.ingestion.normalise.values import MOST_CACHED, Normal, Quality, spaced

LONGEST: Final = 200  # what is longer is no name, and stays as it is

_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u201b\u02bc\u02b9\u00b4\u0060\u2032\uff07", "'"))
_HYPHENS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d", "-"))
_MARKS = re.compile("[-'`]")
_AROUND_HYPHEN = re.compile(r"\s*-+\s*")
_AROUND_APOSTROPHE = re.compile(r"(?<=\w)\s*'\s*(?=\w)")
_WORD = re.compile(r"[^\s\-]+|[\s\-]+")

_LOWER: Final = frozenset(
    {"da", "das", "de", "del", "den", "der", "des", "do", "dos", "du", "e", "ten", "ter", "van", "vom", "von", "y", "zu",
     "zum", "zur"}
)  # fmt: skip
_ARTICLES: Final = frozenset({"la", "las", "los"})  # `de La Fontaine` in French, `de la Cruz` elsewhere
_FRENCH: Final = frozenset({"FR", "BE", "LU", "MC", "RE", "YT", "GP", "MQ", "GF", "PM", "BL", "MF"})
_ELIDED: Final = frozenset({"d"})
_SUFFIXES: Final = frozenset({"ii", "iii", "iv", "vii", "viii", "ix", "xiii", "xiv", "xvi"})  # Vi and Xi are names
_GENERATIONS: Final = frozenset({"II", "III", "IV", "JR", "SR"})

_TITLES: Final = {
    "m": "M.", "mr": "Mr", "monsieur": "M.", "mme": "Mme", "madame": "Mme", "mlle": "Mlle", "mademoiselle": "Mlle",
    "mrs": "Mrs", "ms": "Ms", "miss": "Miss", "dr": "Dr", "docteur": "Dr", "pr": "Pr", "prof": "Prof",
    "professeur": "Pr", "me": "Me", "maitre": "Me", "herr": "Herr", "frau": "Frau", "sir": "Sir",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NameParts:
    """Empty text where a name has no such part. `surname` has its particles: `de La Fontaine`."""

    title: str = ""
    given_name: str = ""
    middle_name: str = ""
    surname: str = ""
    suffix: str = ""


def name(raw: object, *, region: str = "") -> str | None:
    return _name(spaced(raw), region.upper()) or None


def read(raw: object, *, region: str = "") -> Normal | None:
    written = spaced(raw)
    normal = _name(written, region.upper())
    if not normal:
        return None
    is_as_written = normal in {written, _spelt(written)}
    return Normal(normal) if is_as_written else Normal(normal, Quality.REPAIRED, ("case",))


def name_parts(raw: object, *, region: str = "") -> NameParts | None:
    """Title, given, middle and family name, suffix; None when there is no name.

    Where a part is written in capitals and the rest is not, the capitals are the family name: `DUPONT Jean-Pierre`.
    """
    written = spaced(raw)
    if not written or len(written) > LONGEST:
        return None
    title, rest = _title_and_rest(_spelt(written))
    surname, given = _by_capitals(rest)
    if surname and given:
        return NameParts(title, _name(given, region.upper()), "", _name(surname.upper(), region.upper()))
    return _parsed(title, _name(rest, region.upper())) if rest else NameParts(title)


def full_name(parts: NameParts) -> str:
    words = (parts.title, parts.given_name, parts.middle_name, parts.surname, parts.suffix)
    return " ".join(word for word in words if word)


# -- spelling and case ----------------------------------------------------------------------------------------------


@lru_cache(MOST_CACHED)
def _name(written: str, region: str) -> str:
    spelt = _spelt(written)
    if len(spelt) > LONGEST or not (spelt.isupper() or spelt.islower()):
        return spelt
    repaired = _spelt(_in_case(spelt, region))
    # Some scripts do not go to capitals and back; such a name is left alone, so that repairing twice changes nothing.
    is_settled = not (repaired.isupper() or repaired.islower()) or _spelt(_in_case(repaired, region)) == repaired
    return repaired if is_settled else spelt


def _spelt(written: str) -> str:
    """`written` has single spaces and is in NFC already."""
    if written.isascii() and not _MARKS.search(written):
        return written
    plain = written.translate(_APOSTROPHES).translate(_HYPHENS)
    tight = _AROUND_APOSTROPHE.sub("'", _AROUND_HYPHEN.sub("-", plain))
    return unicodedata.normalize("NFC", spaced(tight.strip("- ")))


def _in_case(words: str, region: str) -> str:
    parts = _WORD.findall(words)
    if len(parts) == 1 and len(parts[0]) == 1:
        return words.upper()
    return "".join(_word(part, region, is_last=place == len(parts) - 1) for place, part in enumerate(parts))


@lru_cache(MOST_CACHED)
def _word(written: str, region: str, *, is_last: bool) -> str:
    word = _each(str.lower, written)
    if not is_last and (word in _LOWER or (word in _ARTICLES and region not in _FRENCH)):
        return word
    if word in _SUFFIXES:
        return word.upper()
    before, apostrophe, after = word.partition("'")
    if apostrophe and before in _ELIDED and after:
        return f"{before}'{_capital(after)}"
    if apostrophe and len(before) == 1 and after:
        return f"{_capital(before)}'{_capital(after)}"
    if word.startswith("mc") and len(word) > 4:
        return f"Mc{_capital(word[2:])}"
    return _capital(word)


def _capital(word: str) -> str:
    return _each(str.upper, word[:1]) + word[1:]


def _each(change: Callable[[str], str], word: str) -> str:
    """Letter by letter, and those alone that stay one letter: `ß` has no capital that comes back."""
    if word.isascii():
        return change(word)
    return "".join(new if len(new := change(letter)) == 1 else letter for letter in word)


# -- parts ----------------------------------------------------------------------------------------------------------


def _title_and_rest(words: str) -> tuple[str, str]:
    first, _, rest = words.partition(" ")
    title = _TITLES.get(unicodedata.normalize("NFKD", first.rstrip(".").lower()).replace("\u0302", ""), "")
    return (title, rest) if title and rest else ("", words)


def _by_capitals(words: str) -> tuple[str, str]:
    """(`DE LA TOUR`, `Anne`) of `DE LA TOUR Anne` and of `Anne DE LA TOUR`; nothing where case does not tell."""
    parts = words.replace(",", " ").split()
    loud = [part.isupper() and len(part) > 1 and not part.endswith(".") and part not in _GENERATIONS for part in parts]
    if not any(loud) or all(loud):
        return "", ""
    begin, end = loud.index(True), len(loud) - loud[::-1].index(True)
    is_at_an_end = all(loud[begin:end]) and (begin == 0 or end == len(parts))
    if not is_at_an_end:
        return "", ""
    begin -= _particles_before(parts, begin)
    return " ".join(parts[begin:end]), " ".join((*parts[:begin], *parts[end:]))


def _particles_before(parts: list[str], begin: int) -> int:
    """How many words before the capitals belong to them: `Jean de LA FONTAINE`."""
    count = 0
    while count < begin - 1 and parts[begin - count - 1].lower() in _LOWER:
        count += 1
    return count


def _parsed(title: str, words: str) -> NameParts:
    found = HumanName(words)
    return NameParts(title or str(found.title), str(found.first), str(found.middle), str(found.last), str(found.suffix))

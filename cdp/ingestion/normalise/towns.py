"""Names of towns. Where French is written, `ST DENIS CEDEX 2` is Saint-Denis; misspellings are the dictionary's."""

import re
from functools import lru_cache
from typing import Final

from cdp.ingestion.normalise import names
from cdp.ingestion.normalise.corrections import BUILT_IN, Corrections
from cdp.ingestion.normalise.values import MOST_CACHED, Normal, Quality, folded, spaced

_FRENCH: Final = frozenset({"FR", "RE", "YT", "GP", "MQ", "GF", "PM", "BL", "MF", "MC"})
_SPEAKS_FRENCH: Final = _FRENCH | {"BE", "CH", "LU"}
_JOINING: Final = frozenset(
    {"sur", "sous", "lès", "les", "lez", "en", "de", "du", "des", "d", "la", "le", "aux", "au", "et", "à", "près"}
)
_CEDEX = re.compile(r"[\s,-]*\bcedex\b.*", re.IGNORECASE)
_POSTCODE_BEFORE = re.compile(r"^(?:F-)?\d{5}\s+(?=\D)")
_SAINT = re.compile(r"\b(S(?:ain)?t)(e?)\b\.?[\s-]+(?=[^\W\d_])", re.IGNORECASE)
_QUARTER = re.compile(
    r"(Paris|Lyon|Marseille)\s*-?\s*0?(\d{1,2}|[IVX]+)\s*(?:er|e|è|ème|eme|ième|nd)?(?:\s*arr(?:ondissement|dt)?\.?)?",
    re.IGNORECASE,
)
_ROMAN: Final = {
    word: number
    for number, word in enumerate(
        ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII", "XIV", "XV", "XVI", "XVII",
         "XVIII", "XIX", "XX"), start=1,
    )
}  # fmt: skip
_MOST_ROUNDS: Final = 5
_LAST_QUARTER: Final = {"Paris": 20, "Lyon": 9, "Marseille": 16}
_SPACED_JOIN = re.compile(r"(?<=\w)[\s-]+(sur|sous|lès|les|lez|en|aux)[\s-]+(?=\w)", re.IGNORECASE)
_PARTS = re.compile(r"[\s-]+|'|[^\s'-]+")


def town(raw: object, *, region: str = "", corrections: Corrections = BUILT_IN) -> str | None:
    found = _town(spaced(raw), region.upper(), corrections)
    return found.value if found else None


def read(raw: object, *, region: str = "", corrections: Corrections = BUILT_IN) -> Normal | None:
    return _town(spaced(raw), region.upper(), corrections)


@lru_cache(MOST_CACHED)
def _town(written: str, region: str, corrections: Corrections) -> Normal | None:
    usual = _usual(written, region)
    key = folded(usual)
    right = corrections.own_towns.get(key) or (corrections.towns.get(key) if region in _SPEAKS_FRENCH else None)
    if right and folded(right) != key:
        return Normal(right, Quality.CORRECTED, ("town",))
    usual = right or usual
    return Normal(usual, Quality.EXACT if usual == written else Quality.REPAIRED) if usual else None


def _usual(written: str, region: str) -> str:
    if len(written) > names.LONGEST or region not in _FRENCH:
        return names.name(written, region=region) or ""
    return _in_french(written, region)


def _in_french(written: str, region: str) -> str:
    """By the rules of the official list, until nothing changes: each may make room for another."""
    before = written
    for _ in range(_MOST_ROUNDS):
        usual = _one_round(before, region)
        if usual == before:
            return usual
        before = usual
    return names.name(written, region=region) or ""


def _one_round(written: str, region: str) -> str:
    bare = _POSTCODE_BEFORE.sub("", _CEDEX.sub("", written))
    if quarter := _quarter(bare):
        return quarter
    named = names.name(bare, region=region) or ""
    joined = _SPACED_JOIN.sub(lambda found: f"-{found[1].lower()}-", _SAINT.sub(_written_out, named))
    return _with_small_words(joined) if "-" in joined else joined


def _quarter(bare: str) -> str:
    """`Paris 15e` of `PARIS 15`, `Paris 15ème`, `paris-15e`."""
    found = _QUARTER.fullmatch(bare)
    if not found:
        return ""
    town, written = found[1].capitalize(), found[2].upper()
    number = int(written) if written.isdigit() else _ROMAN.get(written, 0)
    return f"{town} {number}{'er' if number == 1 else 'e'}" if 1 <= number <= _LAST_QUARTER[town] else ""


def _written_out(found: re.Match[str]) -> str:
    return f"Saint{found[2].lower()}-"


def _with_small_words(joined: str) -> str:
    """`Neuilly-Sur-Seine` → `Neuilly-sur-Seine`; the first word, and an article of its own, keep their capital."""
    parts = _PARTS.findall(joined)
    return "".join(
        part.lower() if place and parts[place - 1] == "-" and part.lower() in _JOINING else part
        for place, part in enumerate(parts)
    )

"""The error dictionary: how mail domains and towns are often misspelt. What a workspace adds goes before what is built in.

Only what is listed is corrected. A domain that somebody may own is not listed, however much it looks like an error.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Final

from cdp.ingestion.normalise.values import folded, spaced

_FOLDER: Final = files("cdp.ingestion.normalise") / "dictionaries"
_LONGEST_CHAIN: Final = 10


class CorrectionKind(StrEnum):
    DOMAIN = "DOMAIN"
    TOWN = "TOWN"


@dataclass(frozen=True, slots=True, eq=False)
class Corrections:
    """Misspelt → right. Towns are found by their folded form; those that a workspace added hold in every region.

    Compared by identity, for it is a key of caches: make one for each state of a dictionary and keep it.
    """

    domains: Mapping[str, str]
    towns: Mapping[str, str]
    own_towns: Mapping[str, str]
    digest: str


def corrections_from(entries: Iterable[tuple[str, str, str]]) -> Corrections:
    """The built-in dictionary with these entries (kind, wrong, right) put over it.

    A chain leads to its end, and a circle corrects nothing; an entry that corrects a word to itself switches off.
    """
    given = sorted(set(entries))
    if not given:
        return BUILT_IN
    domains, towns = (
        {key_of(kind, wrong): right for kind, wrong, right in given if kind == wanted}
        for wanted in (CorrectionKind.DOMAIN, CorrectionKind.TOWN)
    )
    return _made({**BUILT_IN.domains, **domains}, {**BUILT_IN.towns, **towns}, towns)


def key_of(kind: str, wrong: str) -> str:
    """Under what a misspelling is looked up."""
    return folded(wrong) if kind == CorrectionKind.TOWN else spaced(wrong).lower()


def _made(domains: dict[str, str], towns: dict[str, str], own: Iterable[str]) -> Corrections:
    right_domains = {wrong: right for wrong, right in _ended(CorrectionKind.DOMAIN, domains).items() if right != wrong}
    right_towns = _ended(CorrectionKind.TOWN, towns)
    own_towns = {wrong: right_towns[wrong] for wrong in own if wrong in right_towns}
    tables = (right_domains, right_towns, own_towns)
    written = "\n".join(f"{wrong}\t{right}" for table in tables for wrong, right in sorted(table.items()))
    return Corrections(*tables, hashlib.sha256(written.encode(errors="replace")).hexdigest()[:32])


def _ended(kind: str, table: Mapping[str, str]) -> dict[str, str]:
    ends = {wrong: _end(kind, table, wrong) for wrong in table}
    return {wrong: right for wrong, right in ends.items() if right}


def _end(kind: str, table: Mapping[str, str], wrong: str) -> str:
    right = table[wrong]
    for _ in range(_LONGEST_CHAIN):
        following = table.get(key_of(kind, right), right)
        if following == right:
            return right
        right = following
    return ""


def _domains() -> dict[str, str]:
    return {wrong: right for right, wrongs in _lines("mail_domains") for wrong in wrongs}


def _towns() -> dict[str, str]:
    """The right ones too, which gives them their accents and hyphens."""
    return {folded(town): right for right, wrongs in _lines("towns") for town in (right, *wrongs)}


def _lines(name: str) -> Iterator[tuple[str, list[str]]]:
    """A line of a dictionary is `right: wrong, wrong, …`."""
    for line in (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        right, colon, wrongs = line.partition(": ")
        if colon and not line.startswith("#"):
            yield right, [wrong.strip() for wrong in wrongs.split(",")]


BUILT_IN: Final = _made(_domains(), _towns(), ())

"""Short answers to fixed questions, in English and French: gender, yes or no."""

from functools import lru_cache
from typing import Final

from cdp.ingestion.normalise.values import MOST_CACHED, folded, text

LONGEST: Final = 40


def _answers(table: dict[str, str]) -> dict[str, str]:
    return {folded(word): answer for answer, words in table.items() for word in words.split(", ")}


_GENDERS: Final = _answers(
    {
        "f": "f, female, woman, femme, féminin, girl, fille, mme, madame, mlle, mrs, ms, miss, w, weiblich",
        "m": "m, male, man, homme, masculin, boy, garçon, monsieur, mr, h, männlich",
        "x": "x, other, autre, non binary, non binaire, nonbinary, diverse, divers",
    }
)
_TRUTHS: Final = _answers(
    {
        "true": "true, yes, y, oui, o, vrai, v, 1, on, t, ja, sí",
        "false": "false, no, n, non, faux, 0, off, f, nein",
    }
)


def gender(raw: object) -> str | None:
    """`f`, `m` or `x`; None for what says nothing, as `unknown`."""
    return _answer("gender", text(raw))


def truth(raw: object) -> str | None:
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return _answer("truth", text(raw))


@lru_cache(MOST_CACHED)
def _answer(question: str, written: str) -> str | None:
    table = _GENDERS if question == "gender" else _TRUTHS
    return table.get(folded(written)) if len(written) <= LONGEST else None

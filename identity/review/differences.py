"""Where two texts differ, character by character."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from itertools import groupby
from typing import Final, NamedTuple

LONGEST: Final = 300  # beyond it nobody looks for a letter, and comparing takes its square


class Part(NamedTuple):
    text: str
    is_different: bool


def marked(text: str, others: Iterable[str]) -> list[Part]:
    """`text` in parts: those that it shares with the most similar of `others`, and those that it has alone.

    The case of a letter is no difference. Joined, the parts are the text.
    """
    candidates = [(_matcher(text, other), other) for other in others]
    if not candidates or len(text) > LONGEST:
        return [Part(text, is_different=False)] if text else []
    matcher, _ = max(candidates, key=lambda candidate: candidate[0].ratio())
    parts, place = [], 0
    for start, _, size in matcher.get_matching_blocks():
        parts += [Part(text[place:start], is_different=True), Part(text[start : start + size], is_different=False)]
        place = start + size
    runs = groupby((part for part in parts if part.text), key=lambda part: part.is_different)
    return [Part("".join(part.text for part in run), is_different) for is_different, run in runs]


def _matcher(text: str, other: str) -> "SequenceMatcher[str]":
    return SequenceMatcher(None, _folded(text), _folded(other[:LONGEST]), autojunk=False)


def _folded(text: str) -> str:
    """In lower case, as long as the text: a few letters become two, and stay as they are."""
    return "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)

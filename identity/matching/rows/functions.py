"""Functions of DuckDB in Python. None of them is given NULL: that is settled before, as it is there."""

import math
import re
from collections.abc import Sequence
from typing import Any, Final

from identity.matching.rows.patterns import Pattern

_LARGEST_INTEGER: Final = 2**31 - 1
_WHOLE_NUMBER: Final = re.compile(r"[0-9]+", re.ASCII)


def integer(text: str) -> int | None:
    """TRY_CAST(digits AS INT)."""
    if not _WHOLE_NUMBER.fullmatch(text) or len(text) > 18:
        return None
    number = int(text)
    return number if number <= _LARGEST_INTEGER else None


def rounded(number: float, digits: int) -> float:
    """Halves go away from nought, where Python's go to the even digit."""
    scaled = number * 10.0**digits
    return math.copysign(math.floor(abs(scaled) + 0.5), scaled) / 10.0**digits


def left(text: str, length: int) -> str:
    return text[:length]


def right(text: str, length: int) -> str:
    return text[-length:] if length else ""


def substring(text: str, start: int, length: int | None = None) -> str:
    return text[start - 1 :] if length is None else text[start - 1 : start - 1 + length]


def padded_left(text: str, length: int, filler: str) -> str:
    return text[:length] if len(text) >= length else (filler * length)[: length - len(text)] + text


def split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def first_place(text: str) -> int:
    """Of the first letter among all letters that there are; -1 where there is none."""
    return ord(text[0]) if text else -1


def split_part(text: str, separator: str, place: int) -> str:
    """`place` counts from one; from the end, where it is negative."""
    parts = text.split(separator)
    at = place - 1 if place > 0 else len(parts) + place
    return parts[at] if 0 <= at < len(parts) else ""


def replaced_text(text: str, old: str, new: str) -> str:
    return text.replace(old, new) if old else text


def item(things: Sequence[Any], place: int) -> Any:  # noqa: ANN401  # of a list of anything
    """`place` counts from nought."""
    return things[place] if place < len(things) else None


def written_together(texts: Sequence[str | None], separator: str) -> str:
    return separator.join(text for text in texts if text is not None)


def joined(texts: Sequence[str | None], separator: str) -> str | None:
    said = [text for text in texts if text is not None]
    return separator.join(said) if said else None


def in_common(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    return list(set(one).intersection(other) - {None})


def distinct(things: Sequence[Any]) -> list[Any]:
    return [thing for thing in dict.fromkeys(things) if thing is not None]


def extracted(text: str, pattern: Pattern, group: int) -> str:
    found = pattern.of(text).search(text)
    return (found[group] or "") if found else ""


def extracted_all(text: str, pattern: Pattern, group: int) -> list[str]:
    return [found[group] or "" for found in pattern.of(text).finditer(text)]


def replaced(text: str, pattern: Pattern, replacement: str, most: int) -> str:
    """`most` as Python counts: 0 for all of them."""
    return pattern.of(text).sub(replacement, text, count=most)


# -- likeness: of bytes, as DuckDB looks at them ----------------------------------------------------------------------

_PREFIX: Final = 4
_PREFIX_FROM: Final = 0.7
_PREFIX_WEIGHT: Final = 0.1


def jaro_winkler(one: str, other: str) -> float:
    left, right = _bytes(one), _bytes(other)
    alike = _jaro(left, right)
    if alike <= _PREFIX_FROM:
        return alike
    prefix = _common_prefix(left[:_PREFIX], right[:_PREFIX])
    return alike + prefix * _PREFIX_WEIGHT * (1.0 - alike)


def jaro(one: str, other: str) -> float:
    return _jaro(_bytes(one), _bytes(other))


def _bytes(text: str) -> str:
    """A character for each byte."""
    return text if text.isascii() else text.encode().decode("latin-1")


def _jaro(one: str, other: str) -> float:
    mine, theirs = _matching(one, other)
    if not mine:
        return 0.0
    common = len(mine)
    transposed = sum(letter != found for letter, found in zip(mine, theirs, strict=True)) // 2
    return (common / len(one) + common / len(other) + (common - transposed) / common) / 3.0


def _matching(one: str, other: str) -> tuple[list[str], list[str]]:
    """The letters of each that the other has about the same place, in their own order. A bit for each place of the other."""
    reach = max(max(len(one), len(other)) // 2 - 1, 0)
    places: dict[str, int] = {}
    for place, letter in enumerate(other):
        places[letter] = places.get(letter, 0) | 1 << place
    free = (1 << len(other)) - 1
    near = (1 << reach + 1) - 1
    mine, taken = [], 0
    for place, letter in enumerate(one):
        found = places.get(letter, 0) & free & near
        if found:
            first = found & -found
            free ^= first
            taken |= first
            mine.append(letter)
        near = near << 1 | (place < reach)
    return mine, [letter for place, letter in enumerate(other) if taken >> place & 1]


def _common_prefix(one: str, other: str) -> int:
    for place, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return place
    return min(len(one), len(other))


def levenshtein(one: str, other: str) -> int:
    """Insertions, deletions and substitutions."""
    left, right = _bytes(one), _bytes(other)
    above: list[int] = list(range(len(right) + 1))
    for row, mine in enumerate(left, start=1):
        current: list[int] = [row]
        for column, theirs in enumerate(right):
            current.append(min(above[column] + (mine != theirs), above[column + 1] + 1, current[column] + 1))
        above = current
    return above[-1]


def damerau_levenshtein(one: str, other: str) -> int:
    """Insertions, deletions, substitutions, and swaps of neighbours, between which more may be written."""
    left, right = _bytes(one), _bytes(other)
    if left == right:
        return 0
    if not left or not right:
        return max(len(left), len(right))
    return _edits(left, right)


def may_be_within(one: str, other: str, most: int) -> bool:
    """Whether `damerau_levenshtein(one, other)` can be as little: no edit brings more than one letter."""
    left, right = _bytes(one), _bytes(other)
    if abs(len(left) - len(right)) > most:
        return False
    lacking = sum(max(left.count(letter) - right.count(letter), 0) for letter in set(left))
    return lacking <= most and lacking + len(right) - len(left) <= most


def _edits(one: str, other: str) -> int:
    width, farthest = len(other), len(one) + len(other)
    above: list[int] = [farthest, *range(width + 1)]
    table = [[farthest] * (width + 2), above]
    seen: dict[str, int] = {}
    for row, mine in enumerate(one, start=1):
        current = [farthest, row]
        matched = 0
        for column, theirs in enumerate(other, start=1):
            before: int = seen.get(theirs, 0)
            was: int = matched
            if mine == theirs:
                edits = above[column]
                matched = column
            else:
                edits = 1 + min(above[column], current[column], above[column + 1])
            swapped = table[before][was] + row - before + column - was - 1
            current.append(min(edits, swapped))
        seen[mine] = row
        table.append(current)
        above = current
    return above[-1]

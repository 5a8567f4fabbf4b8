"""The bits behind base64url, read from left to right; whatever does not fit is told with its place. Pure.

Strings come from strangers: reading costs time in proportion to their length, and their length has a limit.
"""

import re
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from cdp.kernel.errors import TesseraError

LONGEST: Final = 32_768
LARGEST_ID: Final = 65_535

ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_BITS: Final = {character: f"{value:06b}" for value, character in enumerate(ALPHABET)}
_ANOTHER: Final = re.compile(r"[^A-Za-z0-9_-]")
_ONES: Final = re.compile("1+")

Range = tuple[int, int]
T = TypeVar("T")


class MalformedSignalError(TesseraError):
    """The signal cannot be read: `details` say where and why. Nothing was concluded from it."""

    code = "malformed_signal"

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(
            f"The signal cannot be read at character {position}: {reason}.", reason=reason, position=position
        )


@dataclass(frozen=True, slots=True)
class Ids:
    """Numbers of vendors as ranges, both ends included, ascending and apart: however many they are, they are few ranges."""

    ranges: tuple[Range, ...] = ()

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self.ranges)

    @classmethod
    def of(cls, ranges: Iterable[Range]) -> "Ids":
        joined: list[Range] = []
        for first, last in sorted(ranges):
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(joined[-1][1], last))
            else:
                joined.append((first, last))
        return cls(tuple(joined))


@dataclass(slots=True)
class Bits:
    """`start` is where the text begins within the whole signal, so that errors name the place there."""

    text: str
    start: int = 0
    at: int = 0
    bits: str = field(init=False)

    def __post_init__(self) -> None:
        if odd := _ANOTHER.search(self.text):
            raise MalformedSignalError("not a character of base64url", self.start + odd.start())
        self.bits = "".join([_BITS[character] for character in self.text])

    def refuse(self, reason: str) -> MalformedSignalError:
        return MalformedSignalError(reason, self.start + min(self.at // 6, len(self.text)))

    def take(self, length: int) -> str:
        end = self.at + length
        if end > len(self.bits):
            self.at = len(self.bits)
            raise self.refuse("it ends too early")
        taken = self.bits[self.at : end]
        self.at = end
        return taken

    def number(self, length: int) -> int:
        return int(self.take(length), 2)

    def flag(self) -> bool:
        return self.take(1) == "1"

    def set_among(self, length: int) -> tuple[int, ...]:
        """Which of the first numbers, from 1, have their bit set."""
        return tuple(number for number, bit in enumerate(self.take(length), start=1) if bit == "1")

    def letters(self, count: int) -> str:
        return "".join(self._letter() for _ in range(count))

    def _letter(self) -> str:
        place = self.number(6)
        if place > 25:
            raise self.refuse("not a letter")
        return chr(ord("A") + place)

    # -- ids of vendors ---------------------------------------------------------------------------------------------

    def ids(self) -> Ids:
        """One bit each, or ranges with numbers of 16 bits."""
        most = self.number(16)
        return self.ranges(most) if self.flag() else self._field(most)

    def fibonacci_ids(self) -> Ids:
        """The same with ranges as GPP writes them."""
        most = self.number(16)
        return self.fibonacci_ranges(most) if self.flag() else self._field(most)

    def _field(self, most: int) -> Ids:
        return Ids(tuple((run.start() + 1, run.end()) for run in _ONES.finditer(self.take(most))))

    def ranges(self, most: int = LARGEST_ID) -> Ids:
        return Ids.of([self._range(most) for _ in range(self.number(12))])

    def _range(self, most: int) -> Range:
        is_group = self.flag()
        first = self.number(16)
        last = self.number(16) if is_group else first
        if not 0 < first <= last <= most:
            raise self.refuse("a range that does not ascend or goes past the largest number")
        return first, last

    def fibonacci_ranges(self, most: int = LARGEST_ID) -> Ids:
        found: list[Range] = []
        before = 0
        for _ in range(self.number(12)):
            is_group = self.flag()
            first = before + self.fibonacci()
            before = first + self.fibonacci() if is_group else first
            if before > most:
                raise self.refuse("a range goes past the largest number")
            found.append((first, before))
        return Ids.of(found)

    def fibonacci(self) -> int:
        """A number as a sum of Fibonacci numbers, smallest first; a second 1 in succession ends it."""
        end = self.bits.find("11", self.at)
        if end < 0 or end - self.at > _LONGEST_FIBONACCI:
            raise self.refuse("a Fibonacci number does not end")
        return sum(
            worth for worth, bit in zip(_FIBONACCI, self.take(end + 2 - self.at)[:-1], strict=False) if bit == "1"
        )


_LONGEST_FIBONACCI: Final = 24


def _fibonacci_numbers(count: int) -> tuple[int, ...]:
    numbers = [1, 2]
    while len(numbers) < count:
        numbers.append(numbers[-1] + numbers[-2])
    return tuple(numbers)


_FIBONACCI: Final = _fibonacci_numbers(_LONGEST_FIBONACCI + 1)


def refuse_long(text: str) -> None:
    if len(text) > LONGEST:
        raise MalformedSignalError(f"a signal has at most {LONGEST} characters", LONGEST)


def segments(
    texts: Sequence[str], start: int, read: Callable[["Bits"], tuple[str, T]], *, besides: Container[str]
) -> dict[str, T]:
    """What the segments behind the first one say, by name: each once, and none of a name that was said `besides`."""
    said: dict[str, T] = {}
    for text in texts:
        name, value = read(Bits(text, start))
        if name in said or name in besides:
            raise MalformedSignalError("a segment comes twice", start)
        said[name] = value
        start += len(text) + 1
    return said

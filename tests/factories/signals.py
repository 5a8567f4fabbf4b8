"""Writes signals for tests. The product only reads them: making one is for registered CMPs."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Self

from consent.signals.bits import ALPHABET

MARCH = datetime(2026, 3, 2, tzinfo=UTC)


class Writer:
    """Bits, from left to right."""

    def __init__(self) -> None:
        self.bits = ""

    def number(self, value: int, length: int) -> Self:
        self.bits += f"{value:0{length}b}"
        return self

    def flag(self, value: bool) -> Self:
        return self.number(int(value), 1)

    def letters(self, text: str) -> Self:
        for letter in text:
            self.number(ord(letter) - ord("A") if letter.isalpha() else 63, 6)
        return self

    def moment(self, value: datetime) -> Self:
        return self.number(round(value.timestamp() * 10), 36)

    def set_among(self, numbers: Collection[int], length: int) -> Self:
        self.bits += "".join("1" if place in numbers else "0" for place in range(1, length + 1))
        return self

    def ids(self, numbers: Collection[int], *, in_ranges: bool = False) -> Self:
        most = max(numbers, default=0)
        self.number(most, 16).flag(in_ranges)
        return self.ranges(numbers) if in_ranges else self.set_among(numbers, most)

    def ranges(self, numbers: Iterable[int]) -> Self:
        groups = grouped(numbers)
        self.number(len(groups), 12)
        for first, last in groups:
            self.flag(first < last).number(first, 16)
            if first < last:
                self.number(last, 16)
        return self

    def fibonacci(self, value: int) -> Self:
        numbers = [1, 2]
        while numbers[-1] <= value:
            numbers.append(numbers[-1] + numbers[-2])
        digits = ""
        for number in reversed(numbers):
            digits = ("1" if number <= value else "0") + digits
            value -= number if number <= value else 0
        self.bits += digits.rstrip("0") + "1"
        return self

    def text(self) -> str:
        padded = self.bits + "0" * (-len(self.bits) % 6)
        return "".join(ALPHABET[int(padded[start : start + 6], 2)] for start in range(0, len(padded), 6))


def grouped(numbers: Iterable[int]) -> list[tuple[int, int]]:
    groups: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if groups and groups[-1][1] == number - 1:
            groups[-1] = (groups[-1][0], number)
        else:
            groups.append((number, number))
    return groups


def tc_core(
    *,
    created: datetime = MARCH,
    updated: datetime | None = None,
    language: str = "EN",
    policy: int = 5,
    is_service_specific: bool = True,
    consents: Collection[int] = (),
    interests: Collection[int] = (),
    purpose_one: bool = False,
    vendors: Collection[int] = (),
    vendor_interests: Collection[int] = (),
    restrictions: Collection[tuple[int, int, Collection[int]]] = (),
    in_ranges: bool = False,
) -> str:
    """The first segment of a TC string."""
    bits = Writer().number(2, 6).moment(created).moment(updated or created).number(880, 12).number(1, 12).number(1, 6)
    bits.letters(language).number(120, 12).number(policy, 6).flag(is_service_specific).flag(False)
    bits.set_among((), 12).set_among(consents, 24).set_among(interests, 24).flag(purpose_one).letters("FR")
    bits.ids(vendors, in_ranges=in_ranges).ids(vendor_interests, in_ranges=in_ranges).number(len(restrictions), 12)
    for purpose, kind, restricted in restrictions:
        bits.number(purpose, 6).number(kind, 2).ranges(restricted)
    return bits.text()


def tc_vendors(segment: int, vendors: Collection[int]) -> str:
    """The segment of the vendors that were disclosed (1) or are allowed (2)."""
    return Writer().number(segment, 3).ids(vendors).text()


def gpp_header(ids: Iterable[int]) -> str:
    groups = grouped(ids)
    bits = Writer().number(3, 6).number(1, 6).number(len(groups), 12)
    before = 0
    for first, last in groups:
        bits.flag(first < last).fibonacci(first - before)
        if first < last:
            bits.fibonacci(last - first)
        before = last
    return bits.text()

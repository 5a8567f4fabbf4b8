"""What is in a column, from a sample of its values: shares of what they could be. Pure."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from stdnum.fr import siren, siret

from cdp.ingestion import messages, normalise

_DIGITS = re.compile(r"\d")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?")
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_POSTCODE = re.compile(r"(?=.*\d)[A-Za-z0-9][A-Za-z0-9 -]{1,8}[A-Za-z0-9]")
_COUNTRY = re.compile(r"[A-Z]{2,3}|[^\d@]{4,40}")
_DAY_AND_MONTH = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.]\d{4}")
_SECONDS = re.compile(r"\d{9,13}(?:\.\d+)?")
_TELEPHONE = re.compile(r"[+(]?[\d ().\-/\u00a0]{6,20}\d")
_NEARLY_ALL: Final = 0.9
_REGIONS: Final = ("FR", "US", "GB", "DE", "AU", "ES", "IT", "BE", "CH")


@dataclass(frozen=True)
class Contents:
    """`values` are those of the sample that are not blank, as text; `rows` is how many there could be."""

    values: Sequence[str]
    rows: int
    is_plain: bool = True  # no objects or lists

    @cached_property
    def distinct(self) -> int:
        return len(set(self.values))

    @property
    def is_filled(self) -> bool:
        return bool(self.values) and len(self.values) == self.rows

    @property
    def is_unique(self) -> bool:
        """All different, and there but for a few bad rows."""
        is_there = len(self.values) >= _NEARLY_ALL * self.rows > 0
        return is_there and self.is_plain and self.distinct == len(self.values)

    @property
    def is_constant(self) -> bool:
        return self.rows > 1 and self.distinct == 1 and self.is_filled

    @property
    def is_category(self) -> bool:
        """Few values, again and again."""
        return 0 < self.distinct <= max(20, len(self.values) // 10) and self.distinct < max(len(self.values), 2)

    def share(self, is_one: Callable[[str], object]) -> float:
        if not self.values:
            return 0.0
        counted = Counter(self.values)
        return sum(times for value, times in counted.items() if is_one(value)) / len(self.values)

    @cached_property
    def emails(self) -> float:
        return self.share(lambda value: "@" in value and normalise.email(value))

    def phones(self, region: str) -> float:
        return self.share(lambda value: _TELEPHONE.fullmatch(value) and normalise.phone(value, region=region))

    def best_region(self, likely: Sequence[str]) -> str:
        """The first region, the `likely` ones before others, in which most of the values are telephone numbers."""
        regions = dict.fromkeys([*likely, *_REGIONS])
        return next((region for region in regions if region and self.phones(region) >= 0.8), "")

    def dates(self, region: str) -> float:
        return self.share(lambda value: normalise.date(value, region=region))

    @cached_property
    def date_order(self) -> str:
        """`day` or `month`, whichever must come first for these dates to exist; blank where nothing tells."""
        pairs = [(int(found[1]), int(found[2])) for value in self.values if (found := _DAY_AND_MONTH.fullmatch(value))]
        day_first = sum(first > 12 for first, _ in pairs)
        month_first = sum(second > 12 for _, second in pairs)
        if day_first == month_first:
            return ""
        return "day" if day_first > month_first else "month"

    @cached_property
    def times(self) -> float:
        """In the forms that a time of an event or record may have: ISO 8601, or seconds since 1970."""
        return self.share(lambda value: messages.moment(float(value) if _SECONDS.fullmatch(value) else value))

    @cached_property
    def numbers(self) -> float:
        return self.share(_NUMBER.fullmatch)

    @cached_property
    def uuids(self) -> float:
        return self.share(_UUID.fullmatch)

    @cached_property
    def sirens(self) -> float:
        return self.share(siren.is_valid)

    @cached_property
    def sirets(self) -> float:
        return self.share(siret.is_valid)

    @cached_property
    def postcodes(self) -> float:
        return self.share(_POSTCODE.fullmatch)

    @cached_property
    def countries(self) -> float:
        return self.share(_COUNTRY.fullmatch)

    @cached_property
    def with_digits(self) -> float:
        return self.share(_DIGITS.search)


def contents_of(given: Sequence[Any]) -> Contents:
    plain = [value for value in given if not isinstance(value, dict | list)]
    values = [written for value in plain if (written := normalise.text(value))]
    return Contents(values, len(given), is_plain=len(plain) == len(given))

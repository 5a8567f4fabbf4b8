"""What somebody asks to be learnt, read from YAML or JSON and checked."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from cdp.kernel.errors import TesseraError

SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")
KNOWN_MODELS = ("rfm",)
PURCHASE_COLUMNS = frozenset({"customer", "date", "money"})
SUMMARY_COLUMNS = frozenset({"customer", "recency", "frequency", "monetary"})


class SpecificationError(TesseraError):
    """The specification of the learned segment cannot be used: mend the key that is named."""

    code = "learned_specification"


@dataclass(frozen=True, slots=True)
class KRange:
    """How many groups may come out."""

    min: int = 2
    max: int = 12


@dataclass(frozen=True, slots=True)
class Specification:
    """`event` and `money` say which events are purchases and which of their properties is the amount.

    For a plain file `columns` names the columns: `customer, date, money` when a row is a purchase, or `customer,
    recency, frequency, monetary` when a row is a customer.
    """

    model: str = "rfm"
    name: str = "rfm"
    event: str = "Order Completed"
    money: str = "revenue"
    at: datetime | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    k: KRange = KRange()
    seed: int = 20
    minimum_size: int = 30
    minimum_share: float = 0.02
    minimum_stability: float = 0.8
    resamples: int = 20

    def as_document(self) -> dict[str, Any]:
        """Every key with its value, defaults included: what is stored beside the result."""
        return {**asdict(self), "columns": dict(self.columns), "at": self.at and self.at.isoformat()}

    def smallest_allowed(self, rows: int) -> int:
        return max(self.minimum_size, round(self.minimum_share * rows))


def read(document: Mapping[str, Any]) -> Specification:
    """Raises `SpecificationError` with the key that is wrong and what it may be."""
    known = {each.name for each in fields(Specification)}
    if unknown := sorted(document.keys() - known):
        raise SpecificationError(f"Unknown key {unknown[0]!r}: known are {', '.join(sorted(known))}.", key=unknown[0])
    given = dict(document)
    if "k" in given:
        given["k"] = _k_range(given["k"])
    if given.get("at") is not None:
        given["at"] = _time(given["at"])
    given.setdefault("name", given.get("model", "rfm"))
    made = Specification(**given)
    _check(made)
    return made


def _k_range(given: object) -> KRange:
    if type(given) is int:
        return KRange(given, given)
    if not isinstance(given, Mapping) or given.keys() - {"min", "max"}:
        raise SpecificationError("`k` is a number, or {min: 2, max: 12}.", key="k")
    return KRange(**given)


def _time(given: object) -> datetime:
    """YAML makes dates of what looks like one; a time without a zone is in UTC."""
    try:
        made = datetime.fromisoformat(str(given))
    except ValueError as error:
        raise SpecificationError("`at` is an ISO time, for example 1998-07-01T00:00:00Z.", key="at") from error
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _check(made: Specification) -> None:
    """One rule a line: the key, whether its value will do, and what to write instead."""
    rules = {
        "model": (made.model in KNOWN_MODELS, f"is one of {', '.join(KNOWN_MODELS)}"),
        "name": (_is_text(made.name) and bool(SLUG.fullmatch(made.name)), "is a slug: small letters, digits, - and _"),
        "event": (_is_text(made.event), "is the name of the event that is a purchase"),
        "money": (_is_text(made.money), "is the property, or column, that holds the amount"),
        "columns": (
            _are_columns(made.columns),
            "names customer, date, money or customer, recency, frequency, monetary",
        ),
        "k": (_is_count(made.k.min, 2) and _is_count(made.k.max, made.k.min, 50), "lies between 2 and 50, min first"),
        "seed": (_is_count(made.seed, 0, 2**32 - 1), "is a whole number from 0"),
        "minimum_size": (_is_count(made.minimum_size, 1), "is a whole number from 1"),
        "minimum_share": (_is_share(made.minimum_share) and made.minimum_share < 1, "is a share from 0 to below 1"),
        "minimum_stability": (_is_share(made.minimum_stability), "lies between 0 and 1"),
        "resamples": (_is_count(made.resamples, 2, 1000), "is a whole number from 2 to 1000"),
    }
    for key, (is_fine, advice) in rules.items():
        if not is_fine:
            raise SpecificationError(f"`{key}` {advice}.", key=key)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_count(value: object, least: int, most: int | None = None) -> bool:
    return type(value) is int and least <= value and (most is None or value <= most)


def _is_share(value: object) -> bool:
    return type(value) in {int, float} and 0 <= value <= 1  # type: ignore[operator]  # the type was just tested


def _are_columns(columns: object) -> bool:
    if not isinstance(columns, Mapping) or not all(map(_is_text, columns.values())):
        return False
    return not columns or columns.keys() in (PURCHASE_COLUMNS, SUMMARY_COLUMNS)

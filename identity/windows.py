"""Limits in time: so many new identifiers of a type within so many days, for one person.

What counts is when an identifier was first seen with another one. That follows from the events, not from the order in
which they arrived.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple


class Window(NamedTuple):
    """At most so many in any period of so many days."""

    most: int
    days: int


Dates = tuple[tuple[str, datetime], ...]  # of the limited identifiers of a person: type, and when first seen


@dataclass(frozen=True, slots=True)
class Windows:
    by_type: Mapping[str, Window] = field(default_factory=dict)
    first_seen: Mapping[int, datetime] = field(default_factory=dict)

    def dates_of(self, identifiers: Mapping[int, str]) -> dict[int, Dates]:
        """Of each identifier of a limited type by itself. One that was never seen with another has no date."""
        if not self.by_type:
            return {}
        return {
            one: ((kind, self.first_seen[one]),)
            for one, kind in identifiers.items()
            if kind in self.by_type and one in self.first_seen
        }

    def may_object(self, ends: Collection[int], identifiers: Mapping[int, str]) -> bool:
        """Whether there is anything to count among these."""
        return bool(self.by_type) and any(identifiers[one] in self.by_type for one in ends)

    def exceeded_by(self, one: Dates, other: Dates, accounts: int = 1) -> str | None:
        """The type of which the two together have too many somewhere; `accounts` people may have so many times more."""
        times = defaultdict(list)
        for kind, seen_at in one + other:
            times[kind].append(seen_at)
        return next((kind for kind, seen in times.items() if _is_crowded(seen, self.by_type[kind], accounts)), None)


def _is_crowded(times: Iterable[datetime], window: Window, accounts: int) -> bool:
    """Periods are half-open: what comes exactly `days` later is no longer within."""
    ordered, most = sorted(times), window.most * accounts
    within = timedelta(days=window.days)
    return any(last - first < within for first, last in zip(ordered, ordered[most:], strict=False))


NO_WINDOWS: Final = Windows()

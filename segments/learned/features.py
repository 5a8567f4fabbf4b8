"""Recency, frequency and money of every customer, and the scale on which they are compared.

Purchases are skewed: most people buy once, a few buy a hundred times. On the raw scale the best clustering only splits
off those few, so the logarithm is taken first, and then each column is standardised.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from consent.gate import Learning, Permit

FEATURES = ("recency", "frequency", "monetary")
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Customers:
    """One row of `values` for each of `ids`, in the order of FEATURES: days, purchases, money."""

    ids: Sequence[int] | Sequence[str]
    values: Values
    at: datetime
    set_aside: int = 0

    def digest(self) -> str:
        """Equal for equal input, so that what was already learnt can be recognised."""
        ids = "\n".join(map(str, self.ids)).encode()
        return hashlib.sha256(ids + self.values.tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Scale:
    """Frozen with the model: new customers are measured as those were from whom it was learnt."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, values: Values) -> "Scale":
        logs = _logs(values)
        deviation = logs.std(axis=0)
        return cls(tuple(logs.mean(axis=0).tolist()), tuple(np.where(deviation > 0, deviation, 1.0).tolist()))

    def apply(self, values: Values) -> Values:
        scaled: Values = (_logs(values) - np.array(self.mean)) / np.array(self.deviation)
        return scaled


def _logs(values: Values) -> Values:
    """Who got back more than was paid counts as having paid nothing."""
    logs: Values = np.log1p(np.maximum(values, 0.0))
    return logs


# Whole days, and ordered by what they did and not by id: the same customers give the same groups when they are sent
# again, though the skew of the sender's clock moves each event by some milliseconds.
# An amount may be a JSON number or a text that reads as one; anything else is no money.
_PURCHASES = r"""
SELECT profile_id,
       floor(extract(epoch FROM %(at)s - max(occurred_at)) / 86400)::float8,
       count(*)::float8,
       coalesce(sum(CASE WHEN properties ->> %(money)s ~ '^-?[0-9]{1,15}(\.[0-9]{1,20})?$'
                         THEN (properties ->> %(money)s)::numeric END), 0)::float8
FROM event
WHERE workspace_id = %(workspace)s AND name = %(event)s AND occurred_at <= %(at)s
GROUP BY profile_id ORDER BY 2, 3, 4, profile_id
"""


def customers_in(permit: Permit[Learning], *, event: str, money: str, at: datetime) -> Customers:
    """Everybody who has bought until `at`, as far as they permit learning."""
    with connection.cursor() as cursor:
        cursor.execute(_PURCHASES, {"workspace": permit.workspace_id, "event": event, "money": money, "at": at})
        rows = cursor.fetchall()
    return Customers([row[0] for row in rows], np.array([row[1:] for row in rows], float).reshape(-1, 3), at)

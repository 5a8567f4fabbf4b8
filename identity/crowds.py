"""Whose very many identifiers are, as arrays: read once, in place of a join with everybody in each statement."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from cdp.kernel.arrays import bigints
from cdp.models import planning
from identity import records
from identity.glance import Flags, Numbers

BY_KEY: Final = 100_000  # up to so many are quicker read by key than everybody in a row

_SEEN: Final = "COPY (SELECT id, profile_id FROM identifier {chosen}) TO STDOUT (FORMAT csv)"
_AMONG: Final = "WHERE id = ANY(%(ids)s::bigint[])"
_ROW: Final = pa.schema([("id", pa.int64()), ("profile", pa.int64())])


@dataclass(frozen=True, slots=True)
class Seen:
    """Identifiers that the purpose sees, in the order of their ids, each with its profile."""

    ids: Numbers
    profiles: Numbers

    def of(self, pairs: pa.Table) -> pa.Table:
        """Those of which both ends are known."""
        left, right = (places(self.ids, pairs[end].to_numpy())[1] for end in ("left_id", "right_id"))
        return pairs.filter(left & right)

    def are_apart(self, left: Numbers, right: Numbers) -> Flags:
        """Known, and of two profiles."""
        (one, is_one), (other, is_other) = (places(self.ids, end) for end in (left, right))
        found = is_one & is_other
        found[found] = self.profiles[one[found]] != self.profiles[other[found]]
        return found

    def people_behind(self, identifiers: Numbers) -> int:
        where, are_known = places(self.ids, identifiers)
        return len(np.unique(self.profiles[where[are_known]]))


def seen(identifier_ids: Collection[int]) -> Seen:
    """At least these, so far as they are seen."""
    if len(identifier_ids) > BY_KEY:
        found = records.table(_SEEN.format(chosen=""), {}, _ROW)
    else:
        with planning.by_key():
            found = records.table(_SEEN.format(chosen=_AMONG), {"ids": bigints(identifier_ids)}, _ROW)
    ids = found["id"].to_numpy()
    order = np.argsort(ids, kind="stable")
    return Seen(ids[order], found["profile"].to_numpy()[order])


def places(ids: Numbers, wanted: Numbers) -> tuple[Numbers, Flags]:
    """Where these stand among the ids, which are in order, and which of them are there at all."""
    where = np.minimum(np.searchsorted(ids, wanted), max(len(ids) - 1, 0))
    return where, ids[where] == wanted if len(ids) else np.zeros(len(wanted), dtype=np.bool_)

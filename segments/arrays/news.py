"""What is new of a batch: where the answers differ from the open memberships and the deadlines that are known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from cdp.kernel.arrays import bigints
from consent.gate import Permit, Segmentation
from segments import serving
from segments.arrays.answers import Answers, answers_of
from segments.arrays.streams import MOST_PROFILES, NEVER, Batch, UncountableError, micros, numbers
from segments.queries import LiveVersion

News = Mapping[str, Any]
"""Arrays of equal length, as the statement that writes them takes them."""


def news(
    permit: Permit[Segmentation],
    live: Mapping[int, LiveVersion],
    profiles: Sequence[int],
    instants: Sequence[datetime],
    *,
    is_deadline: bool,
) -> Iterator[News]:
    """Of these segments and profiles, each as of its instant. Of those whose deadline came, only the segments that waited
    for it are told: another one may have been computed as of a later instant already.
    """
    if not live:
        return
    versions = np.array([version.id for version in live.values()])
    for batch in _batches(profiles, instants):
        found = _compared(_answers(permit, live, batch), _known(list(live), batch), batch, is_deadline=is_deadline)
        if len(found.rules):
            yield _written(found, list(live), versions, batch)


def _answers(permit: Permit[Segmentation], live: Mapping[int, LiveVersion], batch: Batch) -> Answers:
    try:
        return answers_of(serving.planned(permit, live), batch)
    except UncountableError:
        return answers_of(serving.planned(permit, live, counts_events=False), batch)


def _batches(profiles: Sequence[int], instants: Sequence[datetime]) -> Iterator[Batch]:
    order = np.argsort(np.array(profiles, np.int64), kind="stable")
    ids, at = np.array(profiles, np.int64)[order], np.array([micros(each) for each in instants], np.int64)[order]
    for start in range(0, len(ids), MOST_PROFILES):
        yield Batch(ids[start : start + MOST_PROFILES], at[start : start + MOST_PROFILES])


# -- what is known --------------------------------------------------------------------------------------------------

# By person alone, for which there are indexes: whoever is in a segment that is not asked about is passed over here.
_KNOWN: Final = """
SELECT * FROM (
    SELECT string_agg(int8send(segment_id), ''), string_agg(int8send(profile_id), ''), string_agg(int8send(id), '')
    FROM membership WHERE left_at IS NULL AND profile_id = ANY(%(profiles)s::bigint[])
) AS open, (
    SELECT string_agg(int8send(segment_id), ''), string_agg(int8send(profile_id), ''),
           string_agg(timestamptz_send(due_at), '')
    FROM deadline WHERE profile_id = ANY(%(profiles)s::bigint[])
) AS awaited
"""


@dataclass(frozen=True, slots=True)
class _Known:
    """A row for each segment, a column for each profile."""

    memberships: NDArray[np.int64]
    """The id of the open one, or 0."""
    due: NDArray[np.int64]
    """Or NEVER."""


def _known(segments: Sequence[int], batch: Batch) -> _Known:
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, {"profiles": bigints(batch.profiles.tolist())})
        columns = [numbers(column) for column in cursor.fetchone()]
    ids = np.array(segments, np.int64)
    return _Known(_table(columns[:3], ids, batch, 0), _table(columns[3:], ids, batch, NEVER))


def _table(
    columns: Sequence[NDArray[np.int64]], segments: NDArray[np.int64], batch: Batch, nothing: int
) -> NDArray[np.int64]:
    rows, profiles, values = columns
    order = np.argsort(segments)
    places = np.searchsorted(segments[order], rows)
    is_asked = segments[order].take(places, mode="clip") == rows
    table = np.full((len(segments), len(batch.profiles)), nothing, np.int64)
    table[order[places[is_asked]], np.searchsorted(batch.profiles, profiles[is_asked])] = values[is_asked]
    return table


# -- what differs ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """Each found by the places of its rule and its profile."""

    rules: NDArray[np.int64]
    profiles: NDArray[np.int64]
    are_in: NDArray[np.bool_]
    changes: NDArray[np.int64]
    memberships: NDArray[np.int64]
    due: NDArray[np.int64]


def _compared(answers: Answers, known: _Known, batch: Batch, *, is_deadline: bool) -> _Found:
    are_in = np.stack([rule.is_true for rule in answers.rules])
    changes = np.stack([rule.change for rule in answers.rules])
    is_due = known.due <= batch.at
    is_new = (are_in != (known.memberships != 0)) | ((changes == NEVER) != (known.due == NEVER))
    is_new |= (changes < known.due) | is_due
    is_new &= answers.seen & (is_due if is_deadline else True)
    rules, profiles = np.nonzero(is_new)
    of = (rules, profiles)
    return _Found(rules, profiles, are_in[of], changes[of], known.memberships[of], known.due[of])


def _written(found: _Found, segments: Sequence[int], versions: NDArray[np.int64], batch: Batch) -> News:
    return {
        "segments": bigints(np.array(segments, np.int64)[found.rules].tolist()),
        "profiles": bigints(batch.profiles[found.profiles].tolist()),
        "versions": bigints(versions[found.rules].tolist()),
        "memberships": _optional(found.memberships, 0),
        "are_in": bigints(found.are_in.astype(np.int64).tolist()),
        "at": bigints(batch.at[found.profiles].tolist()),
        "changes": _optional(found.changes, NEVER),
        "due": _optional(found.due, NEVER),
    }


def _optional(values: NDArray[np.int64], nothing: int) -> str:
    return "{" + ",".join("NULL" if value == nothing else str(value) for value in values.tolist()) + "}"

"""What is new of a batch: where the answers differ from the open memberships and the deadlines that are known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from cdp.kernel.arrays import bigints, texts
from cdp.models import planning
from consent.gate import Permit, Segmentation
from segments import serving
from segments.arrays.answers import Answers, answers_of
from segments.arrays.streams import MOST_PROFILES, NEVER, Batch, Instants, UncountableError, micros, numbers
from segments.looks import Look
from segments.queries import LiveVersion

News = Mapping[str, Any]
"""Arrays as the statement that writes them takes them: of memberships, and of deadlines."""


def news(permit: Permit[Segmentation], live: Mapping[int, LiveVersion], looks: Mapping[int, Look]) -> Iterator[News]:
    """Of these segments and profiles, each as of its instant."""
    if not live:
        return
    segments = np.array(list(live), np.int64)
    versions = np.array([version.id for version in live.values()], np.int64)
    for batch in _batches(looks):
        answers, known = _answers(permit, live, batch), _known(segments, batch)
        changed = _changed(answers, known, _told(segments, batch, looks))
        awaited, due = _awaited(answers, known)
        if len(changed[0]) or len(due):
            yield {
                **_memberships(changed, known, segments, versions, batch),
                "causes": texts(looks[profile].cause for profile in batch.profiles[changed[1]].tolist()),
                "who_waits": bigints(batch.profiles[awaited[1]].tolist()),
                "where": bigints(segments[awaited[0]].tolist()),
                "due": bigints(due.tolist()),
            }


def _answers(permit: Permit[Segmentation], live: Mapping[int, LiveVersion], batch: Batch) -> Answers:
    """Whatever is read is named, so joins only put together what was read."""
    with planning.in_bulk():
        try:
            return answers_of(serving.planned(permit, live), batch)
        except UncountableError:
            return answers_of(serving.planned(permit, live, counts_events=False), batch)


def _batches(looks: Mapping[int, Look]) -> Iterator[Batch]:
    profiles = sorted(looks)
    for start in range(0, len(profiles), MOST_PROFILES):
        some = profiles[start : start + MOST_PROFILES]
        yield Batch(np.array(some, np.int64), np.array([micros(looks[profile].at) for profile in some], np.int64))


# -- what is known --------------------------------------------------------------------------------------------------

# By person alone, for which there are indexes: whoever is in a segment that is not asked about is passed over here.
_KNOWN: Final = """
SELECT * FROM (
    SELECT string_agg(int8send(segment_id), ''), string_agg(int8send(profile_id), ''), string_agg(int8send(id), '')
    FROM membership WHERE left_at IS NULL AND profile_id = ANY(%(profiles)s::bigint[])
) AS open, (
    SELECT string_agg(int8send(segment_id), ''), string_agg(int8send(profile_id), ''),
           string_agg(timestamptz_send(due_at), '')
    FROM deadline, unnest(segments) AS segment_id WHERE profile_id = ANY(%(profiles)s::bigint[])
) AS awaited
"""


@dataclass(frozen=True, slots=True)
class _Known:
    """In the tables a row for each segment, a column for each profile."""

    memberships: NDArray[np.int64]
    """The id of the open one, or 0."""
    due: NDArray[np.int64]
    """Where the segment waits for the deadline of the profile, that; or NEVER."""
    first: NDArray[np.int64]
    """The deadline of each profile, whoever waits for it; or NEVER."""


def _known(segments: NDArray[np.int64], batch: Batch) -> _Known:
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, {"profiles": bigints(batch.profiles.tolist())})
        columns = [numbers(column) for column in cursor.fetchone()]
    first = np.full(len(batch.profiles), NEVER)
    first[np.searchsorted(batch.profiles, columns[4])] = columns[5]
    return _Known(_table(columns[:3], segments, batch, 0), _table(columns[3:], segments, batch, NEVER), first)


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

_Pairs = tuple[NDArray[np.int64], ...]
"""Places of segments, and of profiles."""


def _told(segments: NDArray[np.int64], batch: Batch, looks: Mapping[int, Look]) -> NDArray[np.bool_]:
    told = np.ones((len(segments), len(batch.profiles)), np.bool_)
    for place, profile in enumerate(batch.profiles.tolist()):
        waiting = looks[profile].waiting
        if waiting is not None:
            told[:, place] = [segment in waiting for segment in segments.tolist()]
    return told


def _changed(answers: Answers, known: _Known, told: NDArray[np.bool_]) -> _Pairs:
    are_in = np.stack([rule.is_true for rule in answers.rules])
    return np.nonzero((are_in != (known.memberships != 0)) & answers.seen & told)


def _awaited(answers: Answers, known: _Known) -> tuple[_Pairs, Instants]:
    """Those whose next change is the first of their profile, as far as that is not known; and when it is."""
    changes = np.stack([rule.change for rule in answers.rules])
    first = changes.min(axis=0)
    is_sooner = (first < known.first) | ((first == known.first) & (known.due != first))
    pairs = np.nonzero((changes == first) & is_sooner & answers.seen & (first != NEVER))
    return pairs, first[pairs[1]]


def _memberships(
    pairs: _Pairs, known: _Known, segments: NDArray[np.int64], versions: NDArray[np.int64], batch: Batch
) -> News:
    """Whoever is in leaves, and whoever is not enters: else nothing would be new."""
    rules, profiles = pairs
    ids = known.memberships[pairs].tolist()
    return {
        "segments": bigints(segments[rules].tolist()),
        "profiles": bigints(batch.profiles[profiles].tolist()),
        "versions": bigints(versions[rules].tolist()),
        "memberships": "{" + ",".join("NULL" if each == 0 else str(each) for each in ids) + "}",
        "at": bigints(batch.at[profiles].tolist()),
    }

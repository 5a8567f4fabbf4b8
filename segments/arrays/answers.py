"""The batch evaluated: its events are read and sorted, its conditions answered, its rules joined."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from cdp.kernel.arrays import bigints, texts
from segments.arrays import counting, sequences
from segments.arrays.algebra import Until, until
from segments.arrays.calendars import Clocks
from segments.arrays.counting import Answer
from segments.arrays.periods import Counts
from segments.arrays.plan import Counting, Plan, earliest_of
from segments.arrays.streams import NEVER, Batch, events_of, moment, numbers
from segments.language.compile import Asked
from segments.language.periods import zone_named
from segments.language.tree import Event

_WHO = """
SELECT (SELECT string_agg(int8send(id), '') FROM profile WHERE id = ANY(%(profiles)s::bigint[])),
       (SELECT COALESCE(array_agg(id), '{}')::text FROM identifier WHERE profile_id = ANY(%(profiles)s::bigint[]))
"""
_ZONES = """
SELECT zone, workspace_zone, string_agg(int8send(profile_id), '') FROM ({zones}) AS zones GROUP BY zone, workspace_zone
"""
_OTHERS = """
SELECT rule, string_agg(int8send(profile_id), ''), string_agg(int4send(is_in::integer), ''),
       string_agg(timestamptz_send(COALESCE(next_change_at, 'infinity')), '')
FROM ({answers}) AS answer GROUP BY rule
"""


@dataclass(frozen=True, slots=True)
class Answers:
    """Of each rule, in the order of the plan, for each profile of the batch."""

    rules: Sequence[Answer]
    seen: NDArray[np.bool_]
    """Profiles that live and permit it. Of the others nothing is known."""


def answers_of(plan: Plan, batch: Batch) -> Answers:
    """Raises `UncountableError` when an event does not fit into arrays."""
    seen, given = _who(batch)
    leaves: list[Until | None] = [None] * plan.size
    for place, answer in _counted(plan, batch, given):
        leaves[place] = until(answer)
    for place, answer in _others(plan, batch, given):
        leaves[place] = until(answer)
    nothing = until(Answer(np.zeros(len(batch.at), np.bool_), np.full(len(batch.at), NEVER)))
    known = [leaf or nothing for leaf in leaves]
    return Answers([rule(known).answer for rule in plan.rules], seen)


def _who(batch: Batch) -> tuple[NDArray[np.bool_], Mapping[str, Any]]:
    """Who of them is seen, and what every query about them takes. The instants travel with each profile unless they are all
    the same, when they bound what is read.
    """
    profiles = bigints(batch.profiles.tolist())
    instants = [moment(at).isoformat() for at in batch.at.tolist()]
    seen, identifiers = _row(_WHO, {"profiles": profiles})
    given = {"profiles": profiles, "identifiers": identifiers, "now": instants[0], "instants": texts(instants)}
    return np.isin(batch.profiles, numbers(seen)), given


# -- events ---------------------------------------------------------------------------------------------------------


def _counted(plan: Plan, batch: Batch, given: Mapping[str, Any]) -> Iterator[tuple[int, Answer]]:
    if plan.events is None:
        return
    since = earliest_of(plan, moment(int(batch.at.min())))
    row = _row(plan.events.sql, {**plan.events.parameters, **given, "since": since})
    counts = Counts(events_of(batch, row, plan.kind_columns), _clocks(plan, batch, given))
    for each in plan.counted:
        yield each.place, _answer(each, counts)


def _answer(of: Counting, counts: Counts) -> Answer:
    if isinstance(of.leaf, Event):
        return counting.answer(of.leaf, of.kinds[0], counts)
    return sequences.answer(of.leaf, of.kinds, counts)


def _clocks(plan: Plan, batch: Batch, given: Mapping[str, Any]) -> Clocks:
    if plan.zones is None:
        return Clocks(batch, [], UTC)
    rows = _rows(_ZONES.format(zones=plan.zones.sql), {**plan.zones.parameters, **given})
    workspace = next((zone_named(zone) for _, zone, _ in rows), None) or UTC
    zones = [
        (zone_named(zone) or workspace, np.searchsorted(batch.profiles, numbers(profiles)))
        for zone, _, profiles in rows
    ]
    return Clocks(batch, zones, workspace)


# -- everything else ------------------------------------------------------------------------------------------------


def _others(plan: Plan, batch: Batch, given: Mapping[str, Any]) -> Iterator[tuple[int, Answer]]:
    asked = Asked.SOME if (batch.at == batch.at[0]).all() else Asked.EACH_AT_ITS_INSTANT
    for query in plan.others(asked):
        rows = _rows(_OTHERS.format(answers=query.sql), {**query.parameters, **given})
        for place, profiles, truths, changes in rows:
            yield place, _scattered(batch, numbers(profiles), numbers(truths, ">i4"), numbers(changes))


def _scattered(
    batch: Batch, profiles: NDArray[np.int64], truths: NDArray[np.int64], changes: NDArray[np.int64]
) -> Answer:
    places = np.searchsorted(batch.profiles, profiles)
    is_true, change = np.zeros(len(batch.at), np.bool_), np.full(len(batch.at), NEVER)
    is_true[places] = truths != 0
    change[places] = np.minimum(changes, NEVER)
    return Answer(is_true, change)


def _rows(sql: str, given: Mapping[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, given)
        return list(cursor.fetchall())


def _row(sql: str, given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # columns of different kinds
    with connection.cursor() as cursor:
        cursor.execute(sql, given)
        return cursor.fetchone()

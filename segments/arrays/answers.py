"""The batch evaluated: its events are read and sorted, its conditions answered, its rules joined."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from cdp.kernel.arrays import bigints, texts
from segments.arrays import counting
from segments.arrays.algebra import Until, until
from segments.arrays.counting import Answer
from segments.arrays.plan import Counting, Plan, longest_of
from segments.arrays.streams import NEVER, Batch, Events, Stream, events_of, moment, numbers
from segments.language.compile import Asked, Query

BEFORE_ALL: Final = "-infinity"

_WHO = """
SELECT (SELECT string_agg(int8send(id), '') FROM profile WHERE id = ANY(%(profiles)s::bigint[])),
       (SELECT COALESCE(array_agg(id), '{}')::text FROM identifier WHERE profile_id = ANY(%(profiles)s::bigint[]))
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
    row = _row(plan.events.sql, {**plan.events.parameters, **given, "since": _since(plan, batch)})
    events = events_of(batch, row, plan.kind_columns)
    streams: dict[tuple[int, int | None], Stream] = {}
    for each in plan.counted:
        yield each.place, counting.answer(each.leaf, _stream(each, events, streams))


def _since(plan: Plan, batch: Batch) -> str:
    longest = longest_of(plan)
    return BEFORE_ALL if longest is None else moment(int(batch.at.min()) - longest * 10**6).isoformat()


def _stream(of: Counting, events: Events, known: dict[tuple[int, int | None], Stream]) -> Stream:
    key = (of.kind, of.value)
    if key not in known:
        known[key] = events.stream(*key)
    return known[key]


# -- everything else ------------------------------------------------------------------------------------------------


def _others(plan: Plan, batch: Batch, given: Mapping[str, Any]) -> Iterator[tuple[int, Answer]]:
    asked = Asked.SOME if (batch.at == batch.at[0]).all() else Asked.EACH_AT_ITS_INSTANT
    for query in plan.others(asked):
        for place, profiles, truths, changes in _rows(query, given):
            yield place, _scattered(batch, numbers(profiles), numbers(truths, ">i4"), numbers(changes))


def _scattered(
    batch: Batch, profiles: NDArray[np.int64], truths: NDArray[np.int64], changes: NDArray[np.int64]
) -> Answer:
    places = np.searchsorted(batch.profiles, profiles)
    is_true, change = np.zeros(len(batch.at), np.bool_), np.full(len(batch.at), NEVER)
    is_true[places] = truths != 0
    change[places] = np.minimum(changes, NEVER)
    return Answer(is_true, change)


def _rows(query: Query, given: Mapping[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(_OTHERS.format(answers=query.sql), {**query.parameters, **given})
        return list(cursor.fetchall())


def _row(sql: str, given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # columns of different kinds
    with connection.cursor() as cursor:
        cursor.execute(sql, given)
        return cursor.fetchone()

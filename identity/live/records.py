"""What is read to judge an arrival, all of it by key: its record, the candidates that share a blocking key, theirs."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from django.db import connection

from cdp.kernel.arrays import bigints, texts
from cdp.models import planning
from identity.live.index import of_keys
from identity.matching import features
from identity.queries import Rules

Pair = tuple[int, int]

MOST_OF_A_KEY: Final = 1_000  # records that share one key: one that more share says little, and is left to the batch
MOST_CANDIDATES: Final = 2_000  # of one record, by its rarest keys first

# As the batch reads them (`identity.training`): the newest value of each trait, two traits at least, nothing bought.
_RECORDS: Final = """
WITH known AS MATERIALIZED (
    SELECT identifier_id, source_id, name, value #>> '{}' AS value, observed_at FROM identifier_trait
    WHERE identifier_id = ANY(%(ids)s::bigint[]) AND name = ANY(%(traits)s::text[])
),
newest AS (
    SELECT DISTINCT ON (t.identifier_id, t.name) t.identifier_id, t.name, t.value
    FROM known t JOIN source s ON s.id = t.source_id WHERE s.kind <> 'ENRICHMENT'
    ORDER BY t.identifier_id, t.name, t.observed_at DESC, t.source_id
),
people AS MATERIALIZED (SELECT id, type FROM identifier WHERE id = ANY(%(ids)s::bigint[]))
SELECT i.id, CASE WHEN i.type = ANY(%(unique_types)s::text[]) THEN i.type END, json_object_agg(n.name, n.value)
FROM newest n JOIN people i ON i.id = n.identifier_id
GROUP BY i.id, i.type HAVING count(*) > 1
"""
_TRAITS: Final = texts(features.TRAITS)


def records_of(identifier_ids: Collection[int], rules: Rules) -> list[tuple[Any, ...]]:
    """Through the gate: of whoever does not permit it there is none."""
    if not identifier_ids:
        return []
    given = {
        "ids": bigints(identifier_ids),
        "traits": _TRAITS,
        "unique_types": texts(kind for kind, limit in rules.limits.items() if limit == 1),
    }
    with planning.by_key(), connection.cursor() as cursor:
        cursor.execute(_RECORDS, given)
        return [(one, kind, *map(known.get, features.TRAITS)) for one, kind, known in cursor.fetchall()]


_SHARING: Final = """
WITH asked AS (SELECT * FROM unnest(%(ones)s::bigint[], %(keys)s::bigint[]) AS a (one, key)),
found AS (
    SELECT asked.one, asked.key, b.identifier_id AS other, count(*) OVER (PARTITION BY asked.one, asked.key) AS size
    FROM asked CROSS JOIN LATERAL (
        SELECT identifier_id FROM blocking_key WHERE blocking_key.key = asked.key LIMIT %(most_of_a_key)s + 1
    ) AS b
),
ranked AS (
    SELECT one, other, row_number() OVER (PARTITION BY one ORDER BY size, key, other) AS place
    FROM found WHERE size <= %(most_of_a_key)s AND one <> other
)
SELECT DISTINCT LEAST(one, other), GREATEST(one, other) FROM ranked WHERE place <= %(most_candidates)s
"""


def pairs_sharing(asked: Collection[tuple[int, int]]) -> set[Pair]:
    """Of (record, key): that record with every other one that has the key."""
    given: dict[str, Any] = {
        **of_keys(asked),
        "most_of_a_key": MOST_OF_A_KEY,
        "most_candidates": MOST_CANDIDATES,
    }
    with planning.by_key(), connection.cursor() as cursor:
        cursor.execute(_SHARING, given)
        return set(cursor.fetchall())


# Of whom it was judged or asked before whether they are one. (one of the records, the other)
_DECIDED: Final = """
SELECT left_id AS one, right_id AS other FROM judgement
WHERE left_id = ANY(%(ids)s::bigint[]) AND kind = 'PROBABILISTIC' AND retracts_id IS NULL
UNION
SELECT right_id, left_id FROM judgement
WHERE right_id = ANY(%(ids)s::bigint[]) AND kind = 'PROBABILISTIC' AND retracts_id IS NULL
UNION
SELECT left_id, right_id FROM review_pair WHERE left_id = ANY(%(ids)s::bigint[])
UNION
SELECT right_id, left_id FROM review_pair WHERE right_id = ANY(%(ids)s::bigint[])
"""


def decided_of(identifier_ids: Iterable[int]) -> set[Pair]:
    """(record, other) of all that was judged by a model or asked of these records, retracted or not."""
    with planning.by_key(), connection.cursor() as cursor:
        cursor.execute(_DECIDED, {"ids": bigints(identifier_ids)})
        return set(cursor.fetchall())


_STILL_SHARING: Final = """
WITH asked AS (SELECT * FROM unnest(%(ones)s::bigint[], %(keys)s::bigint[]) AS a (one, key))
SELECT LEAST(one, other), GREATEST(one, other)
FROM unnest(%(decided)s::bigint[], %(others)s::bigint[]) AS decided (one, other) WHERE EXISTS (
    SELECT FROM asked JOIN blocking_key b ON b.key = asked.key
    WHERE asked.one = decided.one AND b.identifier_id = decided.other
)
"""


def still_sharing(decided: Collection[Pair], asked: Collection[tuple[int, int]]) -> set[Pair]:
    """Of what was decided before, what still shares a key, however many others have it."""
    if not decided:
        return set()
    given: dict[str, Any] = {
        **of_keys(asked),
        "decided": bigints(one for one, _ in decided),
        "others": bigints(other for _, other in decided),
    }
    with planning.by_key(), connection.cursor() as cursor:
        cursor.execute(_STILL_SHARING, given)
        return set(cursor.fetchall())

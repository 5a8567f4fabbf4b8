"""What is written of the pairs of some records: the same as the batch would, of these records alone.

The batch rewrites no judgement whose weight has changed. Here it is retracted and written anew, since another order of
arrival would have written the newer weight alone.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.db import connection

from cdp.kernel.arrays import bigints, floats, texts
from cdp.models import planning
from identity.scored import ASK, IS_JUDGED

if TYPE_CHECKING:
    from identity.matching.compiled import Pair

Pairs = list[tuple[int, int]]

_SCORED: Final = """
WITH scored AS MATERIALIZED (
    SELECT * FROM unnest(%(left)s::bigint[], %(right)s::bigint[], %(weight)s::float8[], %(parts)s::text[])
        AS s (left_id, right_id, weight, parts)
),
"""
_TOUCHING: Final = """
touching AS MATERIALIZED (
    SELECT id, left_id, right_id, verdict, kind, weight, retracts_id FROM judgement WHERE left_id = ANY(%(ends)s::bigint[])
    UNION
    SELECT id, left_id, right_id, verdict, kind, weight, retracts_id FROM judgement WHERE right_id = ANY(%(ends)s::bigint[])
),
visible AS MATERIALIZED (
    SELECT id, profile_id FROM identifier WHERE id = ANY(ARRAY(
        SELECT left_id FROM touching UNION SELECT right_id FROM touching
        UNION SELECT left_id FROM scored UNION SELECT right_id FROM scored
    ))
)
"""

_RETRACT_OUTDATED: Final = """
INSERT INTO judgement (workspace_id, left_id, right_id, verdict, kind, weight, evidence, model_id, retracts_id, created_at)
SELECT %(workspace)s, j.left_id, j.right_id, j.verdict, j.kind, 0, '{}', %(model)s, j.id, %(now)s
FROM touching j JOIN visible l ON l.id = j.left_id JOIN visible r ON r.id = j.right_id
LEFT JOIN scored s ON s.left_id = j.left_id AND s.right_id = j.right_id
WHERE j.kind = 'PROBABILISTIC' AND j.retracts_id IS NULL
  AND NOT EXISTS (SELECT 1 FROM judgement later WHERE later.retracts_id = j.id)
  AND (s.left_id IS NULL OR abs(s.weight - j.weight) > 1e-9)
RETURNING left_id, right_id
"""
_JUDGE: Final = f"""
INSERT INTO judgement (workspace_id, left_id, right_id, verdict, kind, weight, evidence, model_id, created_at)
SELECT %(workspace)s, s.left_id, s.right_id, 'SAME', 'PROBABILISTIC', s.weight, s.parts::jsonb, %(model)s, %(now)s
FROM scored s
WHERE NOT {IS_JUDGED.format(judgements="touching")}
RETURNING left_id, right_id
"""  # noqa: S608  # our own constant


def judge(changed: Collection[int], alike: Sequence["Pair"], origin: Mapping[str, Any]) -> set[int]:
    """Write what these records support. Returns the ends of what was written."""
    judged = _written(_TOUCHING + _JUDGE, changed, alike, origin) if alike else []
    return {end for pair in judged for end in pair}


def retract_outdated(changed: Collection[int], alike: Sequence["Pair"], origin: Mapping[str, Any]) -> set[int]:
    """Take back what they no longer support, or with another weight: before `judge`. Returns its ends, too."""
    return {end for pair in _written(_TOUCHING + _RETRACT_OUTDATED, changed, alike, origin) for end in pair}


# Between the thresholds, or refused by a guard: two people still. Asked when the identifiers are where they belong.
_QUESTION: Final = """
visible AS MATERIALIZED (
    SELECT id, profile_id FROM identifier
    WHERE id = ANY(ARRAY(SELECT left_id FROM scored UNION SELECT right_id FROM scored))
),
word AS MATERIALIZED (
    SELECT j.left_id, j.right_id FROM judgement j
    WHERE j.left_id = ANY(ARRAY(SELECT left_id FROM scored)) AND j.kind = 'STEWARD' AND j.retracts_id IS NULL
    AND NOT EXISTS (SELECT 1 FROM judgement later WHERE later.retracts_id = j.id)
),
question AS (
    SELECT s.* FROM scored s JOIN visible l ON l.id = s.left_id JOIN visible r ON r.id = s.right_id
    WHERE l.profile_id <> r.profile_id AND (s.left_id, s.right_id) NOT IN (SELECT left_id, right_id FROM word)
)
"""
_FORGET_ASKED: Final = """
DELETE FROM review_pair p WHERE p.id IN (
    SELECT id FROM review_pair WHERE left_id = ANY(%(ends)s::bigint[])
    UNION SELECT id FROM review_pair WHERE right_id = ANY(%(ends)s::bigint[])
) AND p.judgement_id IS NULL AND (p.left_id, p.right_id) NOT IN (SELECT left_id, right_id FROM question)
RETURNING left_id, right_id
"""


def forget_asked(changed: Collection[int], scored: Sequence["Pair"], origin: Mapping[str, Any]) -> None:
    """What is no question any more is not asked."""
    _write(_QUESTION + _FORGET_ASKED, changed, scored, origin)


def ask(changed: Collection[int], scored: Sequence["Pair"], origin: Mapping[str, Any]) -> None:
    """What has become a question waits for a steward."""
    if scored:
        _write(_QUESTION + ASK, changed, scored, origin)


def origin_of(*, workspace_id: int, model_id: int, now: datetime) -> dict[str, Any]:
    return {"workspace": workspace_id, "model": model_id, "now": now}


def _written(statement: str, changed: Collection[int], pairs: Sequence["Pair"], origin: Mapping[str, Any]) -> Pairs:
    with planning.by_key(), connection.cursor() as cursor:
        cursor.execute(_SCORED + statement, _given(changed, pairs, origin))
        rows: Pairs = cursor.fetchall()
        return rows


def _write(statement: str, changed: Collection[int], pairs: Sequence["Pair"], origin: Mapping[str, Any]) -> None:
    """As `_written`, where nobody asks what was: so nobody need wait for it."""
    with planning.by_key(), connection.cursor() as cursor:
        cursor.execute(_SCORED + statement, _given(changed, pairs, origin))


def _given(changed: Collection[int], pairs: Sequence["Pair"], origin: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **origin,
        "ends": bigints(changed),
        "left": bigints(pair[0] for pair in pairs),
        "right": bigints(pair[1] for pair in pairs),
        "weight": floats(pair[2] for pair in pairs),
        "parts": texts(json.dumps(pair[3]) for pair in pairs),
    }

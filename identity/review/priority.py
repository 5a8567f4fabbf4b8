"""What an answer is worth: how uncertain the pair is, times what hangs on it. The queue is ordered by it.

Uncertainty is the entropy of the match weight in bits, and a second opinion that differs from it adds by how much. What
hangs on a pair grows with the sizes of its two people and with the segments and audiences that they are in, by
logarithms: a person with a thousand identifiers is worth more than one with ten, but not a hundred times.
"""

from django.db import connection

from cdp.kernel.purposes import Purpose
from cdp.models import planning
from consent import gate
from consent.gate import Identity, Permit

# Sizes and counts are gathered once for each person of the queue, however many pairs ask for them.
_WEIGH = """
WITH waiting AS MATERIALIZED (
    SELECT p.id, l.profile_id AS left_profile, r.profile_id AS right_profile, p.opinion,
           1 / (1 + exp(ln(2.0::float8) * greatest(-500, least(500, -p.weight)))) AS probability
    FROM review_pair p JOIN identifier l ON l.id = p.left_id JOIN identifier r ON r.id = p.right_id
    WHERE p.workspace_id = %(workspace)s AND p.judgement_id IS NULL
),
person AS MATERIALIZED (SELECT left_profile AS id FROM waiting UNION SELECT right_profile FROM waiting),
size AS (
    SELECT i.profile_id, count(*) AS identifiers FROM identifier i
    WHERE i.profile_id = ANY(ARRAY(SELECT id FROM person)) GROUP BY i.profile_id
),
hanging AS (
    SELECT profile_id, count(*) AS places FROM (
        SELECT profile_id FROM membership
        WHERE profile_id = ANY(ARRAY(SELECT id FROM person)) AND left_at IS NULL
        UNION ALL
        SELECT profile_id FROM (
            SELECT DISTINCT profile_id, audience_id FROM audience_member
            WHERE profile_id = ANY(ARRAY(SELECT id FROM person)) AND state IN ('ADDING', 'PRESENT')
        ) AS audience
    ) AS place GROUP BY profile_id
),
weighed AS (
    SELECT w.id,
           (CASE WHEN w.probability IN (0, 1) THEN 0
                 ELSE -(w.probability * ln(w.probability) + (1 - w.probability) * ln(1 - w.probability)) / ln(2.0) END
            + COALESCE(abs(w.probability - w.opinion), 0))
           * (1 + ln(COALESCE(ls.identifiers, 1) * COALESCE(rs.identifiers, 1))
                + ln(1 + COALESCE(lh.places, 0) + COALESCE(rh.places, 0))) AS priority
    FROM waiting w
    LEFT JOIN size ls ON ls.profile_id = w.left_profile LEFT JOIN size rs ON rs.profile_id = w.right_profile
    LEFT JOIN hanging lh ON lh.profile_id = w.left_profile LEFT JOIN hanging rh ON rh.profile_id = w.right_profile
)
UPDATE review_pair p SET priority = weighed.priority FROM weighed
WHERE p.id = weighed.id AND p.priority IS DISTINCT FROM weighed.priority
"""


def order_queue(*, workspace_id: int) -> int:
    """Give every waiting pair its priority anew. Returns how many changed."""
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
        return weigh(permit)


def weigh(permit: Permit[Identity]) -> int:
    with planning.in_bulk(), connection.cursor() as cursor:
        cursor.execute(_WEIGH, {"workspace": permit.workspace_id})
        return int(cursor.rowcount)

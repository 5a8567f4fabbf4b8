"""How the stewards work: how many answers, how fast, and how often two agree. An answer taken back counts nowhere."""

from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from cdp.models.tenancy import workspace_scope

PAUSE: Final = "5 minutes"  # who gives no answer for so long is away, and the time does not count


@dataclass(frozen=True, slots=True)
class Steward:
    """Agreements are shares between 0 and 1; None where there was nothing to compare."""

    username: str
    same: int
    not_same: int
    unsure: int
    pairs_an_hour: float | None
    agrees_with_stewards: float | None
    agrees_with_opinion: float | None


@dataclass(frozen=True, slots=True)
class Statistics:
    waiting: int
    proposed: int
    judged: int
    stewards: tuple[Steward, ...]


_STEWARDS = """
WITH verdict AS (
    SELECT v.*, v.given_at - lag(v.given_at) OVER (PARTITION BY v.author_id ORDER BY v.given_at, v.id) AS gap
    FROM review_verdict v WHERE v.workspace_id = %(workspace)s AND v.withdrawn_at IS NULL
),
compared AS (
    SELECT a.author_id, avg((a.answer = b.answer)::integer) AS agreed
    FROM verdict a JOIN verdict b ON b.pair_id = a.pair_id AND b.author_id <> a.author_id
    WHERE 'UNSURE' NOT IN (a.answer, b.answer) GROUP BY a.author_id
),
counted AS (
    SELECT author_id,
           count(*) FILTER (WHERE answer = 'SAME') AS same,
           count(*) FILTER (WHERE answer = 'NOT_SAME') AS not_same,
           count(*) FILTER (WHERE answer = 'UNSURE') AS unsure,
           count(gap) FILTER (WHERE gap <= %(pause)s::interval) * 3600
               / NULLIF(extract(epoch FROM sum(gap) FILTER (WHERE gap <= %(pause)s::interval)), 0) AS pairs_an_hour,
           avg(((answer = 'SAME') = (opinion >= 0.5))::integer)
               FILTER (WHERE answer <> 'UNSURE' AND opinion IS NOT NULL) AS agreed_with_opinion
    FROM verdict GROUP BY author_id
)
SELECT u.username, c.same, c.not_same, c.unsure, round(c.pairs_an_hour, 1)::float8, round(compared.agreed, 4)::float8,
       round(c.agreed_with_opinion, 4)::float8
FROM counted c JOIN auth_user u ON u.id = c.author_id LEFT JOIN compared USING (author_id)
ORDER BY c.same + c.not_same + c.unsure DESC, u.username
"""

_PAIRS = """
SELECT count(*) FILTER (WHERE judgement_id IS NULL), count(*) FILTER (WHERE judgement_id IS NULL AND look = 'PROPOSED'),
       count(judgement_id)
FROM review_pair WHERE workspace_id = %(workspace)s
"""


def statistics_of(*, workspace_id: int) -> Statistics:
    asked: dict[str, Any] = {"workspace": workspace_id, "pause": PAUSE}
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(_PAIRS, asked)
        waiting, proposed, judged = cursor.fetchone()
        cursor.execute(_STEWARDS, asked)
        stewards = tuple(Steward(*row) for row in cursor.fetchall())
    return Statistics(waiting, proposed, judged, stewards)

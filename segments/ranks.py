"""Rankings: where each ends is found over everybody, kept, and found anew when it is due.

It is found when a definition that ranks is published. When it is due it is found anew, and everybody whose answer differs
is handed to the evaluation of segments: nobody else. That is a step of its own, so neither holds up the other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Stage
from cdp.models.outbox import PACK
from consent import gate
from consent.gate import Permit, Segmentation
from segments.language import Measured, Node, Rank, Since, canonical, parse_json, to_json, to_text
from segments.language.compile import Asked, Query, compile_rules
from segments.language.compile.rankable import compile_values
from segments.language.ranks import Threshold
from segments.models import RankThreshold, Segment
from segments.queries import live_versions
from segments.references import needs_of, needs_of_stored
from segments.serving import frozen_ends, key_of


def compiled_anew(permit: Permit[Segmentation], rules: Mapping[int, Node], asked: Asked, *, now: datetime) -> Query:
    """The query of rules that begin to serve: their rankings are computed now, unless they were before."""
    return compile_rules(rules, asked, ends_kept(permit, rules.values(), now=now))


def ends_as_of(permit: Permit[Segmentation], rules: Iterable[Node], *, now: datetime) -> Mapping[str, Threshold]:
    """Where the rankings of rules that are only asked about end at this instant. Nothing is kept."""
    return {canonical(rank): _found(permit, rank, now)[0] for rank in _ranks_in(rules)}


def ends_kept(permit: Permit[Segmentation], rules: Iterable[Node], *, now: datetime) -> Mapping[str, Threshold]:
    """Where the rankings of these rules end. Those that were never computed are, and are kept."""
    ranks = _ranks_in(rules)
    kept = frozen_ends(permit.workspace_id, ranks)
    missing = [rank for rank in ranks if canonical(rank) not in kept]
    for rank in missing:
        _keep(permit, rank, now)
    return frozen_ends(permit.workspace_id, ranks) if missing else kept


def _ranks_in(rules: Iterable[Node]) -> list[Rank]:
    return list({canonical(rank): rank for rule in rules for rank in needs_of(rule).ranks}.values())


def _keep(permit: Permit[Segmentation], rank: Rank, now: datetime) -> None:
    end, population = _found(permit, rank, now)
    RankThreshold.objects.get_or_create(
        workspace_id=permit.workspace_id,
        key=key_of(rank),
        defaults={
            "leaf": to_json(rank), "value": end.value, "profile_id": end.profile_id, "population": population,
            "computed_at": now, "refresh_at": _next_refresh(rank, now),
        },
    )  # fmt: skip


def _next_refresh(rank: Rank, now: datetime) -> datetime:
    return now + timedelta(seconds=rank.refresh.seconds)


@dataclass(frozen=True, slots=True)
class End:
    """Since when a ranking of a segment ends where it does, and when it is computed anew: shown beside its members."""

    rank: str
    population: int
    computed_at: datetime
    refresh_at: datetime


def ends_of(segment: Segment) -> Sequence[End]:
    """Of the version that serves, in the order of its rule."""
    version = segment.live_version
    ranks = {key_of(rank): rank for rank in needs_of(parse_json(version.definition)).ranks} if version else {}
    columns = ("key", "population", "computed_at", "refresh_at")
    rows = RankThreshold.objects.filter(workspace_id=segment.workspace_id, key__in=list(ranks)).values_list(*columns)
    found = {key: End(to_text(ranks[key]), *rest) for key, *rest in rows} if ranks else {}
    return [found[key] for key in ranks if key in found]


# -- finding the end ------------------------------------------------------------------------------------------------

# `values` gives a row for each profile, its value null where it has none.
_RANKED = """
ranked AS MATERIALIZED (
    SELECT v.profile_id, v.value FROM ({values}) AS v WHERE v.value IS NOT NULL AND (%(among)s::text IS NULL OR EXISTS (
        SELECT 1 FROM membership m JOIN segment s ON s.id = m.segment_id
        WHERE s.workspace_id = %(workspace)s AND s.slug = %(among)s AND m.profile_id = v.profile_id
        AND m.entered_at <= %(now)s AND (m.left_at IS NULL OR m.left_at > %(now)s)
    ))
)
"""

# So many percent of a number that is no whole one are rounded up: of ten, the first 5% are one.
_LAST_INSIDE = """
WITH {ranked},
many AS (
    SELECT count(*) AS population,
           CASE WHEN %(is_percent)s THEN ceil(count(*) * %(amount)s / 100) ELSE %(amount)s END AS wanted
    FROM ranked
)
SELECT many.population, last.value, last.profile_id FROM many LEFT JOIN LATERAL (
    SELECT value, profile_id FROM ranked ORDER BY value {direction}, profile_id
    LIMIT 1 OFFSET greatest(least(many.wanted, many.population), 1)::bigint - 1
) AS last ON true
"""


def _found(permit: Permit[Segmentation], rank: Rank, now: datetime) -> tuple[Threshold, int]:
    """Where the ranking ends at this instant, and how many were ranked. Of fewer than are asked for, the last one."""
    values, given = _ranked(permit, rank, now)
    sql = _LAST_INSIDE.format(ranked=values, direction="ASC" if rank.is_lowest else "DESC")
    with connection.cursor() as cursor:
        cursor.execute(sql, {**given, "is_percent": rank.top.is_percent, "amount": rank.top.amount})
        population, value, profile = cursor.fetchone()
    return Threshold(value, None if rank.top.is_percent else profile, now), population


def _ranked(permit: Permit[Segmentation], rank: Rank, now: datetime) -> tuple[str, dict[str, Any]]:
    query = compile_values(rank.of, Asked.EVERYBODY)
    given = {**query.parameters, "workspace": permit.workspace_id, "among": rank.among, "now": now}
    return _RANKED.format(values=query.sql), given


# -- finding it anew ------------------------------------------------------------------------------------------------


def refresh_due(*, workspace_id: int, now: datetime) -> int:
    """Find anew every ranking that is due, and hand over whose answer differs. Returns how many were found anew."""
    refreshed = 0
    while _refresh_next(workspace_id, now):
        refreshed += 1
    while _spread_next(workspace_id, now):
        pass
    return refreshed


def _refresh_next(workspace_id: int, now: datetime) -> bool:
    """What is evaluated from its commit on is evaluated with the new end: so whoever is handed over next are all."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        due = RankThreshold.objects.select_for_update(skip_locked=True).filter(
            workspace_id=workspace_id, refresh_at__lte=now, is_spread=True
        )
        row = due.order_by("refresh_at").first()
        if row is None:
            return False
        if not _is_needed(workspace_id, row.key):
            row.delete()
            return True
        rank = _rank_of(row)
        end, row.population = _found(permit, rank, now)
        row.former_value, row.former_profile_id = row.value, row.profile_id
        row.value, row.profile_id = end.value, end.profile_id
        row.computed_at, row.refresh_at, row.is_spread = now, _next_refresh(rank, now), False
        row.save()
    return True


def _is_needed(workspace_id: int, key: str) -> bool:
    live = live_versions(workspace_id)
    return any(key_of(rank) == key for version in live.values() for rank in needs_of_stored(version.definition).ranks)


def _rank_of(row: RankThreshold) -> Rank:
    leaf = parse_json(row.leaf)
    if not isinstance(leaf, Rank):
        raise TypeError(row.key)
    return leaf


_INSIDE: Final = """
(COALESCE(value {beyond} %({end}_value)s::numeric, false) OR COALESCE(value = %({end}_value)s::numeric
    AND (%({end}_profile)s::bigint IS NULL OR profile_id <= %({end}_profile)s::bigint), false))
"""

_SPREAD = """
WITH {ranked},
differing AS (
    SELECT profile_id, row_number() OVER (ORDER BY profile_id) - 1 AS place
    FROM ranked WHERE %(is_everybody)s OR {was_inside} <> {is_inside}
)
INSERT INTO outbox (workspace_id, stage, cause, subjects)
SELECT %(workspace)s, %(stage)s, %(cause)s, array_agg(profile_id ORDER BY profile_id) FROM differing GROUP BY place / %(pack)s
"""


def _spread_next(workspace_id: int, now: datetime) -> bool:
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        waiting = RankThreshold.objects.select_for_update(skip_locked=True).filter(
            workspace_id=workspace_id, is_spread=False
        )
        row = waiting.first()
        if row is None:
            return False
        _hand_over_differing(permit, row, now)
        row.former_value, row.former_profile_id, row.is_spread = None, None, True
        row.save(update_fields=["former_value", "former_profile_id", "is_spread"])
    return True


def _hand_over_differing(permit: Permit[Segmentation], row: RankThreshold, now: datetime) -> None:
    rank = _rank_of(row)
    values, given = _ranked(permit, rank, now)
    beyond = "<" if rank.is_lowest else ">"
    was, now_is = (_INSIDE.format(beyond=beyond, end=end) for end in ("former", "present"))
    # How long something is ago grows by itself, and reaches another end at another time: everybody's deadline moves.
    is_everybody = isinstance(rank.of, Measured) and isinstance(rank.of.measure, Since)
    with connection.cursor() as cursor:
        cursor.execute(
            _SPREAD.format(ranked=values, was_inside=was, is_inside=now_is),
            {
                **given, "is_everybody": is_everybody, "stage": Stage.SEGMENTS, "cause": Cause.RANK, "pack": PACK,
                "former_value": row.former_value, "former_profile": row.former_profile_id,
                "present_value": row.value, "present_profile": row.profile_id,
            },
        )  # fmt: skip

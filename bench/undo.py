"""A merge is undone: from a steward's word until the pointers are back, in a workspace of 100,000 identifiers.

50,000 people of a number and a mailbox each, with three values; 200 times two of them are merged by a steward and parted
again by `undo_merge` and the worker's stage: ledger, resolver, pointers, golden records, hand-over to the next stage. The
baseline is what a platform without a ledger would do: the plain UPDATE of the same pointers, there and back.
"""

import time
from statistics import median, quantiles
from typing import Any, Final

import psycopg

from bench import events, harness

IDENTIFIERS: Final = 100_000
MERGES: Final = 200

_ENTER: Final = "SELECT set_config('tessera.workspace', %s, false)"  # what triggers write is under row security too
_FILL: Final = """
INSERT INTO core.identifier (workspace_id, type, value, digest)
SELECT %(workspace)s, kind, n || '@example.com', sha256((kind || n)::bytea)
FROM generate_series(1, %(people)s) AS n, unnest(ARRAY['user_id', 'email']) AS kind ORDER BY n, kind;
"""
_KNOW: Final = """
INSERT INTO core.identifier_trait (workspace_id, identifier_id, source_id, name, value, observed_at)
SELECT %(workspace)s, id, %(source)s, name, to_jsonb(name || id), %(now)s
FROM core.identifier, unnest(ARRAY['city', 'first_name', 'last_name']) AS name
WHERE workspace_id = %(workspace)s AND type = 'user_id'
"""
_MEET: Final = """
INSERT INTO core.sighting (workspace_id, left_id, right_id, source_id, seen_at)
SELECT %(workspace)s, least(u.id, e.id), greatest(u.id, e.id), %(source)s, %(now)s
FROM core.identifier u JOIN core.identifier e ON e.workspace_id = u.workspace_id AND e.value = u.value
WHERE u.workspace_id = %(workspace)s AND u.type = 'user_id' AND e.type = 'email'
"""
_COUPLES: Final = """
SELECT id FROM core.identifier WHERE workspace_id = %s AND type = 'user_id' ORDER BY hashint8(id), id LIMIT %s
"""
_POINTERS: Final = "SELECT id, profile_id FROM core.identifier WHERE id = ANY(%s)"
_PERSON: Final = """
SELECT id, profile_id FROM core.identifier
WHERE profile_id = (SELECT profile_id FROM core.identifier WHERE id = %s)
"""
_MOVE: Final = """
UPDATE core.identifier SET profile_id = move.profile_id FROM unnest(%s::bigint[], %s::bigint[]) AS move (id, profile_id)
WHERE identifier.id = move.id
"""
_REDIRECT: Final = """
UPDATE core.profile SET merged_into_id = NULLIF(move.profile_id, profile.id)
FROM unnest(%s::bigint[], %s::bigint[]) AS move (id, profile_id) WHERE profile.id = move.id
"""


def run() -> dict[str, Any]:
    source, _ = events.source("undo")
    workspace_id = source.workspace_id
    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as admin:
        admin.execute(_ENTER, [str(workspace_id)])
        couples = _fill(admin, workspace_id, source.pk)
        ours = [_merge_and_undo(workspace_id, *couple) for couple in couples]
        theirs = [_move_and_back(admin, *couple) for couple in couples]
        left = admin.execute(_POINTERS, [[one for couple in couples for one in couple]]).fetchall()
    assert len({profile for _, profile in left}) == 2 * MERGES, "a merge was not undone"
    figures, baseline = _figures(ours), _figures(theirs)
    return {
        "name": "undo",
        "what": f"{MERGES} merges undone one by one in {IDENTIFIERS} identifiers; baseline: UPDATE of the same pointers",
        "figures": figures,
        "baseline": baseline,
        "ratio": round(figures["median_ms"] / baseline["median_ms"], 2),
    }


def _fill(admin: psycopg.Connection[Any], workspace_id: int, source_id: int) -> list[tuple[int, int]]:
    from cdp import pipeline
    from cdp.kernel.purposes import Purpose
    from cdp.models import Stage
    from consent import gate
    from identity import services

    given = {"workspace": workspace_id, "source": source_id, "people": IDENTIFIERS // 2, "now": harness.NOW}
    for statement in (_FILL, _KNOW, _MEET):
        admin.execute(statement, given)
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id):
        services.resolve_all_anew(workspace_id=workspace_id)
    pipeline.run_until_idle(Stage.IDENTITY, workspace_id=workspace_id, now=lambda: harness.NOW, seconds=300)
    admin.execute("VACUUM ANALYZE")
    chosen = [one for (one,) in admin.execute(_COUPLES, [workspace_id, 2 * MERGES]).fetchall()]
    return list(zip(chosen[::2], chosen[1::2], strict=True))


def _merge_and_undo(workspace_id: int, left: int, right: int) -> float:
    """Milliseconds of the undoing alone."""
    from cdp.kernel.purposes import Purpose
    from consent import gate
    from identity import services
    from identity.models import Verdict

    told = {"workspace_id": workspace_id, "left_id": left, "right_id": right, "author": None, "now": harness.NOW}
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id):
        services.judge(verdict=Verdict.SAME, evidence={}, **told)  # type: ignore[arg-type]  # one mapping for two calls
    _work_off(workspace_id)
    began = time.perf_counter()
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id):
        services.undo_merge(**told)  # type: ignore[arg-type]  # one mapping for two calls
    _work_off(workspace_id)
    return (time.perf_counter() - began) * 1000


def _work_off(workspace_id: int) -> None:
    from cdp import pipeline
    from cdp.models import Stage

    assert pipeline.advance(Stage.IDENTITY, workspace_id=workspace_id, now=harness.NOW), "nothing waited"


def _move_and_back(admin: psycopg.Connection[Any], left: int, right: int) -> float:
    """Milliseconds of the way back, of everybody who belongs to the person of `right`."""
    home = dict(admin.execute(_PERSON, [right]).fetchall())
    away = dict.fromkeys(home, dict(admin.execute(_PERSON, [left]).fetchall())[left])
    _update(admin, away)
    began = time.perf_counter()
    _update(admin, home)
    return (time.perf_counter() - began) * 1000


def _update(admin: psycopg.Connection[Any], moves: dict[int, int]) -> None:
    with admin.transaction():
        admin.execute(_MOVE, [list(moves), list(moves.values())])
        admin.execute(_REDIRECT, [list(moves), list(moves.values())])


def _figures(milliseconds: list[float]) -> dict[str, float]:
    return {"median_ms": round(median(milliseconds), 2), "p95_ms": round(quantiles(milliseconds, n=20)[-1], 2)}

"""Link identifiers to people, and hear the stewards.

`link` is the pipeline's stage. What a steward says is written to the ledger and nothing more: the worker resolves the
two identifiers anew, under the purpose that may see them.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from django.db import connection

from cdp.kernel.arrays import bigints
from cdp.kernel.errors import TesseraError
from cdp.models import Cause, Identifier, OutboxRow, Stage, User, planning
from cdp.models.tenancy import workspace_scope
from consent.gate import Identity, Permit
from identity import disputes, golden, households, queries, refusals, resolver
from identity.models import Judgement, JudgementKind, ReviewPair, Verdict
from identity.resolver import Kind

log = structlog.get_logger()

SEEN_TOGETHER = 30.0  # bits: one in a thousand million that two identifiers of one event belong to two people
STEWARDS_WORD = 40.0


class NotRetractableError(TesseraError):
    """Only a judgement can be retracted, not a retraction: judge the pair anew instead."""

    code = "not_retractable"


class UnknownIdentifierError(TesseraError):
    """There is no such identifier in this workspace."""

    code = "unknown_identifier"


class SameIdentifierError(TesseraError):
    """A judgement is about two identifiers: name two different ones."""

    code = "same_identifier"


# -- the stage ------------------------------------------------------------------------------------------------------


def link(
    permit: Permit[Identity], subjects: Mapping[int, Cause], *, now: datetime, rules: queries.Rules | None = None
) -> Mapping[int, Cause]:
    """Resolve the people behind the identifiers `subjects`. Returns every profile that may look different now. Who
    gives `rules`, those of the workspace, has taken its turn.

    An identifier that was only seen again (`Cause.EVENT`) is still whose it was: its event goes on to that profile.
    """
    anew = {one: cause for one, cause in subjects.items() if cause is not Cause.EVENT}
    seen = {one: cause for one, cause in subjects.items() if cause is Cause.EVENT}
    if rules is None:
        golden.take_turn(permit)
    resolved = _resolve(permit, anew, rules or queries.rules_of(permit.workspace_id), now) if anew else {}
    return {**(_profiles_touched(seen) if seen else {}), **resolved}


_ALL_ANEW = """
INSERT INTO outbox (workspace_id, stage, subject_id, cause)
SELECT workspace_id, 'IDENTITY', id, 'DEFINITION' FROM identifier WHERE workspace_id = %s
"""


def resolve_all_anew(*, workspace_id: int) -> int:
    """After a change of the rules: everybody waits for the worker. Returns how many identifiers that are."""
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(_ALL_ANEW, [workspace_id])
        return int(cursor.rowcount)


def _resolve(
    permit: Permit[Identity], subjects: Mapping[int, Cause], rules: queries.Rules, now: datetime
) -> dict[int, Cause]:
    with planning.by_key():
        touched = _link(permit, subjects, rules, now)
    golden.refresh_traits(permit, touched)
    households.relate(permit, touched, now=now)
    return touched


def _link(
    permit: Permit[Identity], subjects: Mapping[int, Cause], rules: queries.Rules, now: datetime
) -> dict[int, Cause]:
    judge_sightings(subjects, rules, now)
    before = queries.neighbourhood_of(subjects, rules)
    resolution = disputes.resolve(before, rules)
    moves = {one: profile for one, profile in resolution.clusters.items() if profile != before.profiles[one]}
    move(moves, moves.values(), merged_away=[one for one in moves if one == before.profiles[one]])
    refusals.keep(permit, before.types, resolution.refusals, now=now)
    log.info("identifiers.linked", workspace=permit.workspace_id, identifiers=len(subjects), moved=len(moves))
    return {**_profiles_touched(subjects), **causes(before.profiles, resolution.clusters)}


# What once was judged is not judged again, so that a replay brings nothing back that was retracted, and a later word
# of a steward stands. Asked by key, as in `queries`, and of most batches the answer is: nothing.
_UNJUDGED = """
WITH seen AS (
    SELECT id, left_id, right_id FROM sighting WHERE left_id = ANY(%(ids)s::bigint[])
    UNION
    SELECT id, left_id, right_id FROM sighting WHERE right_id = ANY(%(ids)s::bigint[])
),
judged AS (
    SELECT left_id, right_id, kind FROM judgement WHERE left_id = ANY(%(ids)s::bigint[])
    UNION
    SELECT left_id, right_id, kind FROM judgement WHERE right_id = ANY(%(ids)s::bigint[])
)
SELECT seen.id, seen.left_id, seen.right_id FROM seen WHERE NOT EXISTS (
    SELECT FROM judged j
    WHERE (j.left_id, j.right_id) = (seen.left_id, seen.right_id) AND j.kind IN ('DETERMINISTIC', 'STEWARD')
)
"""
_JUDGE_SIGHTINGS = f"""
WITH speaking AS MATERIALIZED (
    SELECT id FROM identifier WHERE id = ANY(%(ends)s::bigint[]) AND NOT {queries.IS_BLOCKED}
)
INSERT INTO judgement (workspace_id, left_id, right_id, verdict, kind, weight, evidence, created_at)
SELECT s.workspace_id, s.left_id, s.right_id, 'SAME', 'DETERMINISTIC', %(weight)s,
       jsonb_build_object('source', source.name, 'seen_at', s.seen_at), %(now)s
FROM sighting s JOIN source ON source.id = s.source_id
JOIN speaking l ON l.id = s.left_id JOIN speaking r ON r.id = s.right_id
WHERE s.id = ANY(%(sightings)s::bigint[])
ORDER BY s.seen_at, s.id
"""  # noqa: S608  # our own constant


def judge_sightings(subjects: Iterable[int], rules: queries.Rules, now: datetime) -> set[int]:
    """Returns the identifiers that the sightings which were not judged before are about."""
    with connection.cursor() as cursor:
        cursor.execute(_UNJUDGED, {"ids": bigints(subjects)})
        unjudged = cursor.fetchall()
        ends = {end for _, *pair in unjudged for end in pair}
        if not unjudged:
            return ends
        cursor.execute(
            _JUDGE_SIGHTINGS,
            {
                "sightings": bigints(sighting for sighting, _, _ in unjudged),
                "ends": bigints(ends),
                "weight": SEEN_TOGETHER,
                "now": now,
                **rules.blocking,
            },
        )
    return ends


# The golden record of a profile that is merged away goes first: once nobody belongs to it, nobody permits anything on
# it, and the gate would hide what must go.
_FORGET_TRAITS = "DELETE FROM trait WHERE profile_id = ANY(%s::bigint[])"
_FORGET_TRAITS_OF_FEW = f"DELETE FROM trait WHERE profile_id = ANY({planning.UNCOUNTED.format(ids='%s')})"  # noqa: S608  # our own
_FEW: Final = 50_000

_MOVE = """
UPDATE identifier SET profile_id = move.profile_id FROM unnest(%s::bigint[], %s::bigint[]) AS move (id, profile_id)
WHERE identifier.id = move.id
"""
_REDIRECT = """
UPDATE core.profile SET merged_into_id = NULLIF(move.profile_id, profile.id)
FROM unnest(%s::bigint[], %s::bigint[]) AS move (id, profile_id)
WHERE profile.id = move.id AND profile.merged_into_id IS DISTINCT FROM NULLIF(move.profile_id, profile.id)
"""


def move(identifier_ids: Collection[int], profile_ids: Iterable[int], *, merged_away: Collection[int]) -> None:
    """An identifier that goes to another person takes the profile that it founded with it, as a redirect. `merged_away`
    are those among them who leave the profile that they founded.
    """
    if not identifier_ids:
        return
    moves = [bigints(identifier_ids), bigints(profile_ids)]
    with connection.cursor() as cursor:
        cursor.execute(_FORGET_TRAITS_OF_FEW if len(merged_away) <= _FEW else _FORGET_TRAITS, [bigints(merged_away)])
        cursor.execute(_MOVE, moves)
        cursor.execute(_REDIRECT, moves)


def causes(before: Mapping[int, int], after: Mapping[int, int]) -> dict[int, Cause]:
    """MERGE for profiles that gained people or went into another one, SPLIT for those that lost some or came back."""
    members_before, members_after = _members(before), _members(after)
    causes = {}
    for profile in members_before.keys() | members_after.keys():
        had, has = members_before[profile], members_after[profile]
        if had == has:
            continue
        is_merged_away = not has
        is_split = bool(had - has) if had else any(before[one] != one for one in has)
        causes[profile] = Cause.SPLIT if is_split and not is_merged_away else Cause.MERGE
    return causes


def _members(profiles: Mapping[int, int]) -> defaultdict[int, set[int]]:
    members = defaultdict(set)
    for one, profile in profiles.items():
        members[profile].add(one)
    return members


# Ids only, also of those who object to being recognised: their events go on to purposes that they do permit.
_PROFILES_TOUCHED = "SELECT id, COALESCE(merged_into_id, id) FROM core.profile WHERE id = ANY(%s::bigint[])"


def _profiles_touched(subjects: Mapping[int, Cause]) -> dict[int, Cause]:
    with connection.cursor() as cursor:
        cursor.execute(_PROFILES_TOUCHED, [bigints(subjects)])
        return {profile: _cause_onward(subjects[one]) for one, profile in cursor.fetchall()}


def _cause_onward(cause: Cause) -> Cause:
    """That a merge was asked for does not mean that one happened: `causes` says what did."""
    return Cause.EVENT if cause in {Cause.MERGE, Cause.SPLIT} else cause


# -- the stewards' word ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Undone:
    """What undid a merge: the judgements retracted, and the one that keeps the two apart."""

    retracted: tuple[int, ...]
    judgement: Judgement


def judge(
    *,
    workspace_id: int,
    left_id: int,
    right_id: int,
    verdict: Verdict,
    author: User | None,
    evidence: Mapping[str, Any],
    now: datetime,
) -> Judgement:
    """Write down a steward's word on two identifiers. The same word again changes nothing; the opposite one retracts
    the former. A pair that waited for review is marked as judged.
    """
    left_id, right_id = _ordered(left_id, right_id)
    with workspace_scope(workspace_id):
        _require_identifiers(left_id, right_id)
        _lock_pair(left_id, right_id)
        mine = queries.current_judgements().filter(left=left_id, right=right_id, kind=JudgementKind.STEWARD)
        for former in mine.exclude(verdict=verdict):
            _retract(former, author, now)
        made = mine.filter(verdict=verdict).first() or _write(
            workspace_id, left_id, right_id, verdict, author, evidence, now
        )
        ReviewPair.objects.filter(left=left_id, right=right_id).update(judgement=made)
    return made


def retract(*, workspace_id: int, judgement_id: int, author: User | None, now: datetime) -> Judgement:
    """Take a judgement back by a later row. Retracting it twice gives the first retraction."""
    with workspace_scope(workspace_id):
        judgement = Judgement.objects.get(pk=judgement_id)
        if judgement.retracts_id:
            raise NotRetractableError(judgement=judgement_id)
        _lock_pair(judgement.left_id, judgement.right_id)
        return _retract(judgement, author, now)


def undo_merge(*, workspace_id: int, left_id: int, right_id: int, author: User | None, now: datetime) -> Undone:
    """Part two identifiers of one person so that all is as it was before they came together.

    A "not the same" alone would not do that: the resolver refuses the weakest link between the two, and that need not
    be the one which once united them. A steward's mistaken "same" would hold its own two ends together and tear
    another, true link. So the judgements are replayed in the order of the ledger, and each one that brings the two
    together is retracted: what remains is exactly what stood without them. "Not the same" is added for the future,
    so that no later sighting or score brings the two together again.
    """
    left_id, right_id = _ordered(left_id, right_id)
    with workspace_scope(workspace_id):
        _require_identifiers(left_id, right_id)
        _lock_pair(left_id, right_id)
        uniting = _uniting_judgements(left_id, right_id)
        for judgement in uniting:
            _retract(judgement, author, now)
        parted = judge(
            workspace_id=workspace_id,
            left_id=left_id,
            right_id=right_id,
            verdict=Verdict.NOT_SAME,
            author=author,
            evidence={"undone": [judgement.pk for judgement in uniting]},
            now=now,
        )
    return Undone(tuple(judgement.pk for judgement in uniting), parted)


def _uniting_judgements(left_id: int, right_id: int) -> list[Judgement]:
    # By key: through the view of a purpose a subquery would read every identifier of the workspace.
    profiles = list(Identifier.objects.filter(pk__in=[left_id, right_id]).values_list("profile_id", flat=True))
    members = list(Identifier.objects.filter(profile_id__in=profiles).values_list("pk", flat=True))
    ledger = list(
        queries.current_judgements().filter(verdict=Verdict.SAME, left__in=members, right__in=members).order_by("pk")
    )
    edges = [resolver.Judgement(one.left_id, one.right_id, True, Kind(one.kind), one.weight) for one in ledger]
    return [ledger[place] for place in resolver.uniting(edges, left_id, right_id)]


def _write(
    workspace_id: int,
    left_id: int,
    right_id: int,
    verdict: Verdict,
    author: User | None,
    evidence: Mapping[str, Any],
    now: datetime,
) -> Judgement:
    made = Judgement.objects.create(
        workspace_id=workspace_id,
        left_id=left_id,
        right_id=right_id,
        verdict=verdict,
        kind=JudgementKind.STEWARD,
        weight=math.copysign(STEWARDS_WORD, 1 if verdict == Verdict.SAME else -1),
        evidence=dict(evidence),
        author=author,
        created_at=now,
    )
    _resolve_anew(made)
    return made


def _retract(judgement: Judgement, author: User | None, now: datetime) -> Judgement:
    """The unique key on `retracts` is the lock: of two at once, one finds the other's row."""
    retraction, is_new = Judgement.objects.get_or_create(
        retracts=judgement,
        defaults={
            "workspace_id": judgement.workspace_id,
            "left_id": judgement.left_id,
            "right_id": judgement.right_id,
            "verdict": judgement.verdict,
            "kind": JudgementKind.STEWARD,
            "weight": 0.0,
            "author": author,
            "created_at": now,
        },
    )
    if is_new:
        ReviewPair.objects.filter(judgement=judgement).update(judgement=None)
        _resolve_anew(judgement)
    return retraction


def _resolve_anew(judgement: Judgement) -> None:
    cause = Cause.MERGE if judgement.verdict == Verdict.SAME else Cause.SPLIT
    OutboxRow.objects.bulk_create(
        OutboxRow(workspace_id=judgement.workspace_id, stage=Stage.IDENTITY, subject_id=subject, cause=cause)
        for subject in (judgement.left_id, judgement.right_id)
    )


_LOCK_PAIR = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


def _lock_pair(left_id: int, right_id: int) -> None:
    """Two stewards who judge one pair at once would each write a row."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_PAIR, [f"judgement {left_id} {right_id}"])


def _ordered(left_id: int, right_id: int) -> tuple[int, int]:
    if left_id == right_id:
        raise SameIdentifierError
    return min(left_id, right_id), max(left_id, right_id)


def _require_identifiers(*identifier_ids: int) -> None:
    if Identifier.objects.filter(pk__in=identifier_ids).count() != len(identifier_ids):
        raise UnknownIdentifierError(identifiers=identifier_ids)

"""What becomes of a steward's answer, and how the last one is taken back.

"The same" and "not the same" go to the ledger of judgements. "Unsure" keeps the pair from this steward and for others.
A large merge is only proposed: a second steward confirms it by the same answer, or refuses it by the other one.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cdp.kernel.errors import TesseraError
from cdp.models import User
from cdp.models.tenancy import workspace_scope
from identity import services
from identity.models import Answer, Judgement, Look, ReviewPair, ReviewVerdict, Verdict
from identity.review.queue import LEASE
from identity.review.second_look import merge_of


class UnknownPairError(TesseraError):
    """There is no such pair in this workspace."""

    code = "unknown_pair"


class JudgedAlreadyError(TesseraError):
    """Somebody has judged this pair: take the next one, or retract their judgement."""

    code = "judged_already"


class ClaimedByAnotherError(TesseraError):
    """Another steward looks at this pair just now: take the next one."""

    code = "claimed_by_another"


class SecondStewardNeededError(TesseraError):
    """You proposed this merge: somebody else must confirm it."""

    code = "second_steward_needed"


class NothingToUndoError(TesseraError):
    """You have given no answer that could be taken back."""

    code = "nothing_to_undo"


class Outcome(StrEnum):
    """What an answer did."""

    JUDGED = "JUDGED"
    PROPOSED = "PROPOSED"
    UNSURE = "UNSURE"


@dataclass(frozen=True, slots=True)
class Given:
    verdict: ReviewVerdict
    outcome: Outcome


def give_verdict(*, workspace_id: int, pair_id: int, answer: Answer, steward: User, now: datetime) -> Given:
    """Write down what `steward` says of a pair that is theirs or nobody's. The same answer again changes nothing."""
    with workspace_scope(workspace_id):
        pair = _locked(workspace_id, pair_id)
        former = ReviewVerdict.objects.filter(pair=pair, author=steward, withdrawn_at=None).first()
        if former and former.answer == answer and former.judgement_id == pair.judgement_id:
            return Given(former, _outcome(former))
        _require_free(pair, steward, now)
        if former:
            _withdraw(former, now)
        outcome, judgement = _follow(pair, answer, steward, now)
        _leave(pair)
        verdict = ReviewVerdict.objects.create(
            workspace_id=workspace_id, pair=pair, author=steward, answer=answer, opinion=pair.opinion,
            judgement=judgement, given_at=now,
        )  # fmt: skip
    return Given(verdict, outcome)


def undo_last(*, workspace_id: int, steward: User, now: datetime) -> ReviewPair:
    """Take back the newest answer of `steward` whose pair is still there, whatever it did; the pair is theirs again."""
    with workspace_scope(workspace_id):
        last = ReviewVerdict.objects.filter(workspace=workspace_id, author=steward, withdrawn_at=None)
        waiting = ReviewPair.objects.filter(workspace=workspace_id).values("pk")
        verdict = last.filter(pair__in=waiting).order_by("-pk").first()
        if verdict is None:
            raise NothingToUndoError
        pair = _locked(workspace_id, verdict.pair_id)
        is_others = pair.judgement_id is not None and pair.judgement_id != verdict.judgement_id
        if is_others and verdict.answer != Answer.UNSURE:
            raise JudgedAlreadyError(pair=pair.pk)
        if pair.judgement_id and not is_others:
            services.retract(
                workspace_id=workspace_id, judgement_id=pair.judgement_id, author=steward, now=now
            )  # fmt: skip
        _withdraw(verdict, now)
        if not is_others:
            _step_back(pair, steward)
            _take(pair, steward, now)
    return pair


def split_here(*, workspace_id: int, left_id: int, right_id: int, steward: User, now: datetime) -> services.Undone:
    """Part the person that the two identifiers belong to, where these two hold together."""
    return services.undo_merge(workspace_id=workspace_id, left_id=left_id, right_id=right_id, author=steward, now=now)


# -- the states of a pair -------------------------------------------------------------------------------------------


def _locked(workspace_id: int, pair_id: int) -> ReviewPair:
    pair = ReviewPair.objects.select_for_update().filter(workspace=workspace_id, pk=pair_id).first()
    if pair is None:
        raise UnknownPairError(pair=pair_id)
    return pair


def _require_free(pair: ReviewPair, steward: User, now: datetime) -> None:
    if pair.judgement_id:
        raise JudgedAlreadyError(pair=pair.pk)
    is_claimed = pair.claimed_until is not None and pair.claimed_until > now
    if is_claimed and pair.claimed_by_id != steward.pk:
        raise ClaimedByAnotherError(pair=pair.pk)
    if pair.look == Look.PROPOSED and pair.proposed_by_id == steward.pk:
        raise SecondStewardNeededError(pair=pair.pk)


def _follow(pair: ReviewPair, answer: Answer, steward: User, now: datetime) -> tuple[Outcome, Judgement | None]:
    if answer == Answer.UNSURE:
        return Outcome.UNSURE, None
    if pair.look in {Look.CONFIRMED, Look.REFUSED}:  # of a judgement that was retracted since: all begins anew
        pair.look, pair.proposed_by, pair.second = Look.NONE, None, None
    if pair.look == Look.PROPOSED:
        pair.look = Look.CONFIRMED if answer == Answer.SAME else Look.REFUSED
        pair.second = steward
    elif answer == Answer.SAME and merge_of(pair).needs_second:
        pair.look, pair.proposed_by, pair.second = Look.PROPOSED, steward, None
        return Outcome.PROPOSED, None
    judgement = services.judge(
        workspace_id=pair.workspace_id, left_id=pair.left_id, right_id=pair.right_id, verdict=Verdict(answer),
        author=steward, evidence={"weight": pair.weight, "model": pair.model.version, **_proposal(pair)}, now=now,
    )  # fmt: skip
    return Outcome.JUDGED, judgement


def _proposal(pair: ReviewPair) -> dict[str, int]:
    return {"proposed_by": pair.proposed_by_id} if pair.look == Look.CONFIRMED and pair.proposed_by_id else {}


def _step_back(pair: ReviewPair, steward: User) -> None:
    """A confirmation that is taken back leaves the proposal; a proposal that is taken back leaves nothing."""
    if pair.second_id == steward.pk:
        pair.look, pair.second = Look.PROPOSED, None
    elif pair.proposed_by_id == steward.pk:
        pair.look, pair.proposed_by, pair.second = Look.NONE, None, None


def _take(pair: ReviewPair, steward: User, now: datetime) -> None:
    pair.claimed_by, pair.claimed_until = steward, now + LEASE
    _save(pair)


def _leave(pair: ReviewPair) -> None:
    pair.claimed_by = pair.claimed_until = None
    _save(pair)


def _save(pair: ReviewPair) -> None:
    """Not the judgement, which the ledger's own services note."""
    pair.save(update_fields=["look", "proposed_by", "second", "claimed_by", "claimed_until"])


def _withdraw(verdict: ReviewVerdict, now: datetime) -> None:
    ReviewVerdict.objects.filter(pk=verdict.pk).update(withdrawn_at=now)


def _outcome(verdict: ReviewVerdict) -> Outcome:
    if verdict.answer == Answer.UNSURE:
        return Outcome.UNSURE
    return Outcome.JUDGED if verdict.judgement_id else Outcome.PROPOSED

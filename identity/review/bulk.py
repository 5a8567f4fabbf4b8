"""One answer for many pairs: all that wait above a weight, or below one, after a look at what that would do.

What was looked at is what is judged: if meanwhile other pairs wait, nothing is written and the look is to be repeated.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Q, QuerySet

from cdp.kernel.errors import TesseraError
from cdp.models import User
from cdp.models.tenancy import workspace_scope
from identity.models import Answer, Look, ReviewPair, ReviewVerdict
from identity.review.verdicts import Outcome, give_verdict

MOST_AT_ONCE: Final = 200  # somebody waits for the page
SAMPLE: Final = 10


class ChangedMeanwhileError(TesseraError):
    """Other pairs wait now than those that you looked at: nothing was judged. Look again."""

    code = "changed_meanwhile"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Pairs that wait with a weight in [least, most); either end may be open."""

    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """`total` pairs are meant, and the heaviest `len(ids)` would be judged now. `looked` confirms just these."""

    total: int
    ids: tuple[int, ...]
    looked: str
    sample: tuple[ReviewPair, ...]


@dataclass(frozen=True, slots=True)
class Done:
    judged: int
    proposed: int


def preview(*, workspace_id: int, chosen: Chosen, answer: Answer, steward: User, now: datetime) -> Preview:
    with workspace_scope(workspace_id):
        meant = _meant(workspace_id, chosen, steward, now)
        first = tuple(meant.select_related("left", "right").order_by("-weight", "pk")[:MOST_AT_ONCE])
        total = meant.count()
    ids = tuple(pair.pk for pair in first)
    return Preview(total, ids, _digest(ids, answer), first[:SAMPLE])


def judge_all(*, workspace_id: int, chosen: Chosen, answer: Answer, looked: str, steward: User, now: datetime) -> Done:
    """Judge what `preview` showed, all of it or nothing. Large merges are proposed."""
    with workspace_scope(workspace_id):
        seen = preview(workspace_id=workspace_id, chosen=chosen, answer=answer, steward=steward, now=now)
        if seen.looked != looked:
            raise ChangedMeanwhileError
        given = [
            give_verdict(workspace_id=workspace_id, pair_id=pk, answer=answer, steward=steward, now=now)
            for pk in sorted(seen.ids)
        ]
    outcomes = [one.outcome for one in given]
    return Done(outcomes.count(Outcome.JUDGED), outcomes.count(Outcome.PROPOSED))


def _meant(workspace_id: int, chosen: Chosen, steward: User, now: datetime) -> QuerySet[ReviewPair]:
    """Nothing that somebody else looks at, that this steward has answered, or that a second look is about."""
    mine = ReviewVerdict.objects.filter(workspace=workspace_id, author=steward, withdrawn_at=None)
    waiting = ReviewPair.objects.filter(workspace=workspace_id, judgement=None).exclude(look=Look.PROPOSED)
    free = Q(claimed_until=None) | Q(claimed_until__lte=now) | Q(claimed_by=steward)
    waiting = waiting.filter(free).exclude(pk__in=mine.values("pair_id"))
    if chosen.least is not None:
        waiting = waiting.filter(weight__gte=chosen.least)
    if chosen.most is not None:
        waiting = waiting.filter(weight__lt=chosen.most)
    return waiting


def _digest(ids: tuple[int, ...], answer: Answer) -> str:
    return hashlib.sha256(f"{answer}:{ids}".encode()).hexdigest()

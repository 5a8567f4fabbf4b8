"""Pairs that wait for stewards, for a steward's own tools: the next one, an answer, taking it back, and statistics."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView, permit_of, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.kernel.errors import TesseraError
from cdp.models import Identifier, Scope, User
from identity.models import Answer, ReviewPair
from identity.review import queue, statistics, verdicts

PERMISSION = "identity.add_judgement"


class UnknownStewardError(TesseraError):
    """There is no such steward in this workspace: name a member who may judge pairs."""

    code = "unknown_steward"


class Asked(serializers.Serializer[Any]):
    steward = serializers.CharField(max_length=150, help_text="username of the member in whose name it is done")


class NextAsked(Asked):
    besides = serializers.ListField(
        child=serializers.IntegerField(min_value=1), max_length=1_000, required=False, default=list,
        help_text="pairs that the steward has already before them, or skipped",
    )  # fmt: skip


class NewVerdict(Asked):
    answer = serializers.ChoiceField(choices=Answer.choices)


class SideBody(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    profile = serializers.IntegerField(source="profile_id")
    name = serializers.CharField(
        allow_null=True, help_text="`type:value`; null where the person does not permit the purpose of the key"
    )


class PairBody(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    left = SideBody()
    right = SideBody()
    weight = serializers.FloatField(help_text="log2 of the odds that the two are one person")
    evidence = serializers.DictField(help_text="what each comparison weighed")
    priority = serializers.FloatField(help_text="what an answer is worth")
    opinion = serializers.FloatField(allow_null=True, help_text="second opinion: probability of one person")
    opinion_basis = serializers.DictField()
    look = serializers.CharField(help_text="`PROPOSED`: a large merge waits for a second steward")
    claimed_until = serializers.DateTimeField(allow_null=True)


class NextBody(serializers.Serializer[Any]):
    pair = PairBody(allow_null=True, help_text="null when nothing waits for this steward")


class VerdictBody(serializers.Serializer[Any]):
    outcome = serializers.CharField(help_text="`JUDGED`, `PROPOSED` (a second steward must confirm it) or `UNSURE`")
    judgement = serializers.IntegerField(allow_null=True)


class SkippedBody(serializers.Serializer[Any]):
    released = serializers.IntegerField()


class StewardBody(serializers.Serializer[Any]):
    username = serializers.CharField()
    same = serializers.IntegerField()
    not_same = serializers.IntegerField()
    unsure = serializers.IntegerField()
    pairs_an_hour = serializers.FloatField(allow_null=True, help_text="pauses above five minutes left out")
    agrees_with_stewards = serializers.FloatField(allow_null=True, help_text="share, of pairs that two answered")
    agrees_with_opinion = serializers.FloatField(allow_null=True)


class StatisticsBody(serializers.Serializer[Any]):
    waiting = serializers.IntegerField()
    proposed = serializers.IntegerField(help_text="of those that wait: for a second steward")
    judged = serializers.IntegerField()
    stewards = StewardBody(many=True)


class NextView(KeyedView):
    scopes = {"POST": Scope.REVIEW_WRITE}

    @extend_schema(
        operation_id="next_pair",
        summary="The pair whose answer is worth most; it is the steward's for ten minutes",
        request=NextAsked,
        responses={200: NextBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = _valid(NextAsked, request)
        pair_id = queue.claim_next(
            workspace_id=workspace_of(request), steward=_steward(request, asked), now=timezone.now(),
            besides=asked["besides"],
        )  # fmt: skip
        return Response(NextBody({"pair": _shown(request, pair_id) if pair_id else None}).data)


class JudgeView(KeyedView):
    scopes = {"POST": Scope.REVIEW_WRITE}

    @extend_schema(
        operation_id="judge_pair",
        summary="What the steward says of a pair",
        request=NewVerdict,
        responses={200: VerdictBody, **REFUSALS},
    )
    def post(self, request: Request, pair: int) -> Response:
        asked = _valid(NewVerdict, request)
        given = verdicts.give_verdict(
            workspace_id=workspace_of(request), pair_id=pair, answer=Answer(asked["answer"]),
            steward=_steward(request, asked), now=timezone.now(),
        )  # fmt: skip
        return Response(VerdictBody({"outcome": given.outcome, "judgement": given.verdict.judgement_id}).data)


class SkipView(KeyedView):
    scopes = {"POST": Scope.REVIEW_WRITE}

    @extend_schema(
        operation_id="skip_pair",
        summary="Leave a pair to others without an answer",
        request=Asked,
        responses={200: SkippedBody, **REFUSALS},
    )
    def post(self, request: Request, pair: int) -> Response:
        steward = _steward(request, _valid(Asked, request))
        released = queue.release(workspace_id=workspace_of(request), steward=steward, pair_ids=[pair])
        return Response(SkippedBody({"released": released}).data)


class UndoView(KeyedView):
    scopes = {"POST": Scope.REVIEW_WRITE}

    @extend_schema(
        operation_id="undo_verdict",
        summary="Take the steward's last answer back; its pair is theirs again",
        request=Asked,
        responses={200: NextBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        steward = _steward(request, _valid(Asked, request))
        pair = verdicts.undo_last(workspace_id=workspace_of(request), steward=steward, now=timezone.now())
        return Response(NextBody({"pair": _shown(request, pair.pk)}).data)


class StatisticsView(KeyedView):
    scopes = {"GET": Scope.REVIEW_READ}

    @extend_schema(
        operation_id="review_statistics",
        summary="How much waits, how the stewards work, and how often they agree",
        responses={200: StatisticsBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        return Response(StatisticsBody(statistics.statistics_of(workspace_id=workspace_of(request))).data)


def _valid(asked: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    body = asked(data=request.data)
    body.is_valid(raise_exception=True)
    said: dict[str, Any] = body.validated_data
    return said


def _steward(request: Request, asked: dict[str, Any]) -> User:
    members = User.objects.filter(member__workspace=workspace_of(request), is_active=True)
    steward = members.filter(username=asked["steward"]).first()
    if steward is None or not steward.has_perm(PERMISSION):
        raise UnknownStewardError
    return steward


def _shown(request: Request, pair_id: int) -> ReviewPair:
    """People are named as far as they permit the purpose of the key."""
    with scope_of(request):
        pair = ReviewPair.objects.select_related("left", "right").filter(pk=pair_id).first()
    if pair is None:
        raise verdicts.UnknownPairError(pair=pair_id)
    with permit_of(request):
        ends = Identifier.objects.filter(pk__in=[pair.left_id, pair.right_id])
        names = {one.pk: str(one) for one in ends.only("pk", "type", "value")}
    for side in (pair.left, pair.right):
        side.name = names.get(side.pk)  # type: ignore[attr-defined]  # read by SideBody
    return pair

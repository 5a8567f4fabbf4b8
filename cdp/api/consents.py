"""What people permit: the ledger, the purposes that it is about, and the notices that people were shown."""

from collections.abc import Sequence
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.identifiers import read_identifier
from cdp.api.keys import KeyedView, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.problems import NotFoundError
from cdp.api.wakeups import wake_on_commit
from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from cdp.models import Scope, Stage
from consent import gathering, queries, services
from consent.models import JURISDICTION, ConsentState, Notice, PurposePolicy
from consent.models import Scope as PurposeScope

PURPOSES = [purpose.value for purpose in Purpose]


class Statement(serializers.Serializer[Any]):
    identifier = serializers.CharField(max_length=600, help_text="`TYPE:VALUE`")
    purpose = serializers.ChoiceField(PURPOSES)
    state = serializers.ChoiceField(ConsentState.values)
    occurred_at = serializers.DateTimeField(help_text="never in the future")
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    is_verified = serializers.BooleanField(
        required=False, default=False, help_text="the person was logged in, or confirmed by double opt-in"
    )
    notice = serializers.IntegerField(required=False, allow_null=True, default=None, help_text="id of the notice shown")
    key = serializers.CharField(
        required=False, max_length=100, default="", help_text="yours: the same key again records nothing"
    )
    recipient = serializers.CharField(
        required=False, max_length=64, default="", help_text="the platform or channel that alone is meant"
    )
    jurisdiction = serializers.CharField(required=False, max_length=6, default="", help_text="`FR`, `US-CA`")


class Withdrawal(serializers.Serializer[Any]):
    identifier = serializers.CharField(max_length=600, help_text="`TYPE:VALUE`")
    purpose = serializers.ChoiceField(PURPOSES)
    recipient = serializers.CharField(
        required=False, max_length=64, default="", help_text="for this one alone; empty: the purpose as a whole"
    )
    key = serializers.CharField(required=False, max_length=100, default="")


class EffectiveParameters(serializers.Serializer[Any]):
    identifier = serializers.CharField(max_length=600, help_text="`TYPE:VALUE`")
    purpose = serializers.ChoiceField(PURPOSES)
    at = serializers.DateTimeField(
        required=False, help_text="default: now; later than now: if nobody says anything until then"
    )
    recipient = serializers.RegexField(services.RECIPIENT, required=False, default="")
    jurisdiction = serializers.RegexField(JURISDICTION, required=False, default="")


class EffectiveBody(serializers.Serializer[Any]):
    allow = serializers.BooleanField(source="decision.allowed", help_text="what the merge rule answers")
    rule = serializers.CharField(source="decision.rule")
    reason = serializers.CharField(source="decision.reason")
    evidence = serializers.ListField(child=serializers.IntegerField(), help_text="ids of the records that count")
    legal_basis = serializers.CharField(allow_null=True)
    changes_at = serializers.DateTimeField(source="decision.changes_at", allow_null=True)
    gate = serializers.BooleanField(help_text="whether the gate lets the purpose see the person now")


class Statements(serializers.Serializer[Any]):
    consents = Statement(many=True, allow_empty=False)


class RecordedBody(serializers.Serializer[Any]):
    recorded = serializers.IntegerField()
    duplicates = serializers.IntegerField(help_text="statements whose key was there already")


class LedgerEntry(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    identifier_type = serializers.CharField()
    purpose = serializers.CharField()
    state = serializers.CharField()
    occurred_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    is_verified = serializers.BooleanField()
    source = serializers.CharField(allow_null=True)  # type: ignore[assignment]  # a field of this name is not Field.source
    notice = serializers.CharField(allow_null=True)
    recorded_at = serializers.DateTimeField()
    recipient = serializers.CharField(allow_blank=True)
    jurisdiction = serializers.CharField(allow_blank=True)


class LedgerEntries(serializers.Serializer[Any]):
    records = LedgerEntry(many=True, help_text="of all identifiers of the person, newest first")


class EffectiveConsent(serializers.Serializer[Any]):
    purpose = serializers.CharField()
    allowed = serializers.BooleanField()
    rule = serializers.CharField()
    why = serializers.ListField(child=serializers.CharField())
    changes_at = serializers.DateTimeField(
        allow_null=True, help_text="when the answer could next change if nobody says anything"
    )


class ConsentsBody(serializers.Serializer[Any]):
    purposes = EffectiveConsent(many=True)
    records = LedgerEntry(many=True, help_text="of all identifiers of the person, newest first")


class PurposeBody(serializers.Serializer[Any]):
    purpose = serializers.CharField()
    legal_basis = serializers.CharField()
    description = serializers.CharField()
    scope = serializers.ChoiceField(
        [each.value for each in PurposeScope], help_text="`DEVICE`: judged device by device, by what was said on each"
    )
    is_special = serializers.BooleanField(help_text="data of GDPR Art. 9")
    data_categories = serializers.ListField(child=serializers.CharField())
    retention_days = serializers.IntegerField(allow_null=True)
    consent_days = serializers.IntegerField(
        allow_null=True, help_text="a consent ends that many days after it was given, if not before"
    )
    regimes = serializers.DictField(child=serializers.CharField(), help_text="OPT_IN or OPT_OUT by jurisdiction")
    version = serializers.IntegerField()
    fingerprint = serializers.CharField(help_text="SHA-256 of the rule: records name it as `rule`")


class PurposesBody(serializers.Serializer[Any]):
    purposes = PurposeBody(many=True)


class NoticeBody(serializers.Serializer[Any]):
    id = serializers.IntegerField(read_only=True)
    key = serializers.SlugField(max_length=50)
    version = serializers.IntegerField(min_value=1, max_value=2**31 - 1)
    locale = serializers.CharField(max_length=10)
    text = serializers.CharField(max_length=200_000, trim_whitespace=False)
    digest = serializers.CharField(read_only=True, help_text="SHA-256 of the text")
    valid_from = serializers.DateTimeField()


class NoticesBody(serializers.Serializer[Any]):
    notices = NoticeBody(many=True)


class ConsentsView(KeyedView):
    scopes = {"GET": Scope.CONSENTS_READ, "POST": Scope.CONSENTS_WRITE}

    @extend_schema(
        operation_id="consents",
        summary="What the person behind an identifier permits, and the ledger that it follows from",
        parameters=[OpenApiParameter("identifier", str, required=True, description="`TYPE:VALUE`")],
        responses={200: ConsentsBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        named = read_identifier(request, request.query_params.get("identifier", ""))
        with scope_of(request):
            body = {
                "purposes": effective_consents(workspace_of(request), named),
                "records": queries.history(workspace_id=workspace_of(request), identifier=named),
            }
        return Response(ConsentsBody(body).data)

    @extend_schema(
        operation_id="record_consents",
        summary="Record what people said: all of the batch or none of it",
        request=Statements,
        responses={200: RecordedBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = Statements(data=request.data)
        asked.is_valid(raise_exception=True)
        counts = gathering.record(
            workspace_id=workspace_of(request),
            statements=_statements(request, asked.validated_data["consents"]),
            now=timezone.now(),
        )
        # Every view feels a withdrawal already; this makes audiences and segments follow at once.
        wake_on_commit(Stage.ACTIVATION, workspace_id=workspace_of(request))
        wake_on_commit(Stage.SEGMENTS, workspace_id=workspace_of(request))
        return Response(RecordedBody(counts).data)


class WithdrawalsView(KeyedView):
    scopes = {"POST": Scope.CONSENTS_WRITE}

    @extend_schema(
        operation_id="withdraw_consent",
        summary="Record that a person withdraws, from now on",
        request=Withdrawal,
        responses={200: RecordedBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = Withdrawal(data=request.data)
        asked.is_valid(raise_exception=True)
        named = read_identifier(request, asked.validated_data.pop("identifier"))
        now = timezone.now()
        said = services.withdrawal(identifier=named, now=now, **asked.validated_data)
        counts = gathering.record(workspace_id=workspace_of(request), statements=[said], now=now)
        wake_on_commit(Stage.ACTIVATION, workspace_id=workspace_of(request))
        wake_on_commit(Stage.SEGMENTS, workspace_id=workspace_of(request))
        return Response(RecordedBody(counts).data)


class EffectiveView(KeyedView):
    scopes = {"GET": Scope.CONSENTS_READ}

    @extend_schema(
        operation_id="effective_consent",
        summary="May the person's data be used for a purpose, why, and by which records",
        parameters=[EffectiveParameters],
        responses={200: EffectiveBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        asked = EffectiveParameters(data=request.query_params)
        asked.is_valid(raise_exception=True)
        now, given = timezone.now(), asked.validated_data
        named = read_identifier(request, given["identifier"])
        with scope_of(request):
            answer = queries.effective(
                workspace_id=workspace_of(request), identifier=named, purpose=Purpose(given["purpose"]),
                at=given.get("at", now), now=now, recipient=given["recipient"], jurisdiction=given["jurisdiction"],
            )  # fmt: skip
        return Response(EffectiveBody(answer).data)


class HistoryView(KeyedView):
    scopes = {"GET": Scope.CONSENTS_READ}

    @extend_schema(
        operation_id="consent_history",
        summary="All that the person behind an identifier ever said",
        parameters=[OpenApiParameter("identifier", str, required=True, description="`TYPE:VALUE`")],
        responses={200: LedgerEntries, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        named = read_identifier(request, request.query_params.get("identifier", ""))
        with scope_of(request):
            records = queries.history(workspace_id=workspace_of(request), identifier=named)
        return Response(LedgerEntries({"records": records}).data)


class PurposesView(KeyedView):
    scopes = {"GET": Scope.CONSENTS_READ}

    @extend_schema(
        operation_id="purposes",
        summary="What the workspace uses data for, and on what ground",
        responses={200: PurposesBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        with scope_of(request):
            purposes = list(PurposePolicy.objects.filter(workspace=workspace_of(request)).order_by("bit"))
        return Response(PurposesBody({"purposes": purposes}).data)


class NoticesView(KeyedView):
    scopes = {"GET": Scope.CONSENTS_READ, "POST": Scope.CONSENTS_WRITE}

    @extend_schema(operation_id="notices", summary="All notices", responses={200: NoticesBody, **REFUSALS})
    def get(self, request: Request) -> Response:
        with scope_of(request):
            notices = list(Notice.objects.filter(workspace=workspace_of(request)).order_by("key", "version", "locale"))
        return Response(NoticesBody({"notices": notices}).data)

    @extend_schema(
        operation_id="publish_notice",
        summary="Keep a notice: the same one again changes nothing, another text of the same version is refused",
        request=NoticeBody,
        responses={200: NoticeBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = NoticeBody(data=request.data)
        asked.is_valid(raise_exception=True)
        notice = services.publish_notice(workspace_id=workspace_of(request), **asked.validated_data)
        return Response(NoticeBody(notice).data)


class NoticeVersionsView(KeyedView):
    scopes = {"GET": Scope.CONSENTS_READ}

    @extend_schema(
        operation_id="notice_versions",
        summary="The versions of a notice in every language, newest first",
        parameters=[OpenApiParameter("key", str, OpenApiParameter.PATH, description="the key of the notice")],
        responses={200: NoticesBody, **REFUSALS},
    )
    def get(self, request: Request, key: str) -> Response:
        with scope_of(request):
            notices = list(
                Notice.objects.filter(workspace=workspace_of(request), key=key).order_by("-version", "locale")
            )
        if not notices:
            raise NotFoundError
        return Response(NoticesBody({"notices": notices}).data)


def effective_consents(workspace_id: int, identifier: Identifier) -> list[dict[str, object]]:
    """The answer for every purpose. In the scope of the workspace."""
    answers = queries.explain_all(workspace_id=workspace_id, identifier=identifier, now=timezone.now())
    return [
        {
            "purpose": purpose.value,
            "allowed": answer.allowed,
            "rule": answer.decision.rule.value,
            "why": [text for _, text in answer.rules],
            "changes_at": answer.decision.changes_at,
        }
        for purpose, answer in answers.items()
    ]


def _statements(request: Request, given: Sequence[dict[str, Any]]) -> list[services.ConsentStatement]:
    identifiers: list[Identifier] = []
    faults = []
    for place, statement in enumerate(given):
        try:
            identifiers.append(read_identifier(request, statement["identifier"]))
        except TesseraError as error:
            faults.append({"statement": place, "fault": error.code})
    if faults:
        raise services.InvalidStatementError(faults=faults)
    return [_statement(identifier, each) for identifier, each in zip(identifiers, given, strict=True)]


def _statement(identifier: Identifier, given: dict[str, Any]) -> services.ConsentStatement:
    return services.ConsentStatement(
        identifier=identifier,
        purpose=given["purpose"],
        state=given["state"],
        occurred_at=given["occurred_at"],
        expires_at=given["expires_at"],
        is_verified=given["is_verified"],
        notice_id=given["notice"],
        key=given["key"],
        recipient=given["recipient"],
        jurisdiction=given["jurisdiction"],
    )

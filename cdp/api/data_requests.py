"""Requests of people under the GDPR: received, verified, answered. Nothing here says whether a person is known."""

from collections.abc import Callable
from typing import Any, Final

from django.db import transaction
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import View
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp import tasks
from cdp.api.identifiers import read_identifier
from cdp.api.keys import KeyedView, key_of, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.paging import PageParameters, next_cursor, page_of
from cdp.ingestion.rectifying import normal_values
from cdp.kernel.purposes import Purpose
from cdp.models import Scope
from consent import answers, execution, packaging, requests, verifying
from consent.models import DataPackage, DataRequest
from consent.rights import Right

ID = OpenApiParameter("number", int, OpenApiParameter.PATH, description="the id of the request")
BOTH: Final = {"GET": Scope.RIGHTS_READ, "POST": Scope.RIGHTS_WRITE}


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]})
class Plain(serializers.Field[Any, Any, Any, Any]):
    """A text, a number, or yes or no."""

    def to_internal_value(self, data: object) -> object:
        if not isinstance(data, str | int | float):
            message = "A text, a number, true or false is wanted."
            raise serializers.ValidationError(message)
        return data

    def to_representation(self, value: object) -> object:
        return value


class Corrections(serializers.DictField):
    def __init__(self) -> None:
        super().__init__(
            child=Plain(), required=False, allow_empty=True, help_text="right values by the name of the trait"
        )


class NewRequest(serializers.Serializer[Any]):
    kind = serializers.ChoiceField([right.value for right in Right])
    identifiers = serializers.ListField(
        child=serializers.CharField(max_length=600), min_length=1, max_length=requests.MOST_IDENTIFIERS,
        help_text="`TYPE:VALUE`; a code is sent to the first one",
    )  # fmt: skip
    received_at = serializers.DateTimeField(help_text="when the person asked: the month runs from here")
    is_logged_in = serializers.BooleanField(
        default=False, help_text="you know by their login that all of these identifiers are the person's"
    )
    key = serializers.CharField(
        required=False, max_length=100, default="", help_text="yours: the same key again is the same request"
    )
    purposes = serializers.ListField(
        child=serializers.ChoiceField([purpose.value for purpose in Purpose]), required=False, max_length=len(Purpose),
        help_text="of an objection or a withdrawal; left out: all that may be objected to or withdrawn",
    )  # fmt: skip
    corrections = Corrections()
    locale = serializers.ChoiceField(DataRequest.Locale.values, default="en", help_text="the language of the person")


class RequestBody(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    kind = serializers.CharField()
    state = serializers.CharField()
    locale = serializers.CharField()
    verification = serializers.CharField(allow_blank=True, help_text="empty until the person is verified")
    received_at = serializers.DateTimeField()
    first_due_at = serializers.DateTimeField(help_text="for a refusal, or the notice of an extension")
    due_at = serializers.DateTimeField()
    extension_reason = serializers.CharField(allow_blank=True)
    refusal_reason = serializers.CharField(allow_blank=True)
    duplicate_of = serializers.IntegerField(source="duplicate_of_id", allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)


class StepBody(serializers.Serializer[Any]):
    step = serializers.CharField()
    from_state = serializers.CharField(allow_blank=True)
    to_state = serializers.CharField()
    stepped_at = serializers.DateTimeField()
    stepped_by = serializers.CharField()
    note = serializers.CharField(allow_blank=True)


class RequestDetail(RequestBody):
    steps = StepBody(many=True, help_text="all that happened to it, oldest first")


class RequestsBody(serializers.Serializer[Any]):
    requests = RequestBody(many=True)
    next = serializers.CharField(allow_null=True, help_text="the cursor of the next page; null on the last one")


class RightBody(serializers.Serializer[Any]):
    kind = serializers.CharField(source="right.value")
    is_offered = serializers.BooleanField()
    is_limited = serializers.BooleanField(help_text="the law makes you keep some of it")
    bases = serializers.ListField(child=serializers.CharField(), help_text="the legal bases that give the right")
    reason = serializers.CharField(allow_blank=True, help_text="why it is not offered")


class RightsBody(serializers.Serializer[Any]):
    rights = RightBody(many=True)


class CodeBody(serializers.Serializer[Any]):
    code = serializers.CharField(help_text="send it to the first identifier, and show it nowhere else")
    valid_seconds = serializers.IntegerField()


class Proof(serializers.Serializer[Any]):
    code = serializers.CharField(required=False, max_length=20, default="")
    identifier = serializers.CharField(
        required=False, max_length=600, default="", help_text="a second one of the same person, `TYPE:VALUE`"
    )
    is_logged_in = serializers.BooleanField(required=False, default=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if bool(attrs["code"]) is attrs["is_logged_in"]:
            message = "Send a code, or is_logged_in."
            raise serializers.ValidationError(message)
        return attrs


class Nothing(serializers.Serializer[Any]):
    pass


class Reason(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=5_000, help_text="what the person was told")


class Beginning(serializers.Serializer[Any]):
    corrections = Corrections()


class Outcome(serializers.Serializer[Any]):
    outcome = serializers.CharField(max_length=5_000, help_text="what a human decided, or mended")


class CertificateBody(serializers.Serializer[Any]):
    erasure = serializers.CharField()
    erased_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True, help_text="when the last destination had answered")
    ledger_line = serializers.IntegerField()
    rows = serializers.DictField(child=serializers.IntegerField())
    kept = serializers.DictField(child=serializers.CharField(), help_text="what stays, and why")
    not_searched = serializers.DictField(
        child=serializers.CharField(), help_text="what nobody looks for by itself, and why"
    )
    destinations = serializers.ListField(child=serializers.DictField())


class WorkBody(serializers.Serializer[Any]):
    state = serializers.ChoiceField([state.value for state in execution.WorkState])
    done = serializers.DictField(child=serializers.IntegerField(), help_text="what was done how often")
    outcome = serializers.CharField(allow_blank=True, help_text="of work by hand")
    failures = serializers.IntegerField()
    error = serializers.CharField(allow_blank=True, help_text="the class of the last failure; it is tried again")
    done_at = serializers.DateTimeField(allow_null=True)
    certificate = CertificateBody(allow_null=True, help_text="of an erasure")


class RecipientBody(serializers.Serializer[Any]):
    destination = serializers.CharField()
    answer = serializers.CharField(allow_blank=True, help_text="of an erasure: what it said")


class AnswerBody(serializers.Serializer[Any]):
    locale = serializers.CharField()
    text = serializers.CharField(help_text="what to tell the person; nothing in it says who they are")
    recipients = RecipientBody(many=True, help_text="who got their data (Art. 19)")


class Other(serializers.Serializer[Any]):
    of = serializers.IntegerField(min_value=1, max_value=2**63 - 1, help_text="the id of the earlier request")


class ResultsBody(serializers.Serializer[Any]):
    state = serializers.ChoiceField(["BUILDING", "BUILT", "FAILED", "DELETED"])
    rows = serializers.DictField(source="counts", child=serializers.IntegerField(), help_text="by section")
    bytes = serializers.IntegerField(source="size")
    built_at = serializers.DateTimeField(allow_null=True)
    link_expires_at = serializers.DateTimeField(allow_null=True)
    downloads_left = serializers.IntegerField()


class LinkBody(serializers.Serializer[Any]):
    path = serializers.CharField(help_text="opens without a key: give it to the person alone")
    link_expires_at = serializers.DateTimeField()
    downloads_left = serializers.IntegerField()


class RequestsView(KeyedView):
    scopes = BOTH

    @extend_schema(
        operation_id="data_requests",
        summary="Requests of people, the newest first",
        parameters=[PageParameters],
        responses={200: RequestsBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        page = page_of(request, int)
        with scope_of(request):
            rows = DataRequest.objects.filter(workspace=workspace_of(request)).order_by("-pk")
            rows = rows.filter(pk__lt=page.after[0]) if page.after else rows
            found = list(rows[: page.limit])
        following = next_cursor(found, page.limit, (found[-1].pk,)) if found else None
        return Response(RequestsBody({"requests": found, "next": following}).data)

    @extend_schema(
        operation_id="receive_data_request",
        summary="Keep what a person asks for. The answer is the same whether or not anything is known about them",
        request=NewRequest,
        responses={200: RequestBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = NewRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        given = {**asked.validated_data, "kind": Right(asked.validated_data["kind"])}
        given["identifiers"] = [read_identifier(request, text) for text in given["identifiers"]]
        given["purposes"] = [Purpose(purpose) for purpose in given.get("purposes", ())]
        given["corrections"] = _normal(request, given.get("corrections", {}))
        made = requests.receive_request(
            workspace_id=workspace_of(request), by=_who(request), now=timezone.now(), **given
        )
        return Response(RequestBody(made).data)


class RightsView(KeyedView):
    scopes = {"GET": Scope.RIGHTS_READ}

    @extend_schema(
        operation_id="rights",
        summary="Which rights the workspace offers on its legal bases: what a form should show",
        responses={200: RightsBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        with scope_of(request):
            offered = requests.offered_rights(workspace_id=workspace_of(request))
        return Response(RightsBody({"rights": list(offered.values())}).data)


class RequestView(KeyedView):
    scopes = BOTH

    @extend_schema(
        operation_id="data_request",
        summary="A request and all that happened to it",
        parameters=[ID],
        responses={200: RequestDetail, **REFUSALS},
    )
    def get(self, request: Request, number: int) -> Response:
        with scope_of(request):
            found = DataRequest.objects.filter(workspace=workspace_of(request), pk=number).first()
            if found is None:
                raise requests.UnknownRequestError
            steps = list(found.steps.order_by("pk"))
        return Response({**RequestBody(found).data, "steps": StepBody(steps, many=True).data})


class CodeView(KeyedView):
    scopes = BOTH

    @extend_schema(
        operation_id="data_request_code",
        summary="A new code for the person; the one before is void",
        parameters=[ID],
        request=None,
        responses={200: CodeBody, **REFUSALS},
    )
    def post(self, request: Request, number: int) -> Response:
        code = verifying.issue_code(**_named(request, number))
        return Response({"code": code, "valid_seconds": int(verifying.VALID.total_seconds())})


class VerifyView(KeyedView):
    scopes = BOTH

    @extend_schema(
        operation_id="verify_data_request",
        summary="Verify that the person asks themselves: five tries for each code",
        parameters=[ID],
        request=Proof,
        responses={200: RequestBody, **REFUSALS},
    )
    def post(self, request: Request, number: int) -> Response:
        asked = Proof(data=request.data)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        if given["is_logged_in"]:
            return Response(RequestBody(requests.verify_by_login(**_named(request, number))).data)
        second = read_identifier(request, given["identifier"]) if given["identifier"] else None
        verified = verifying.verify_by_code(**_named(request, number), code=given["code"], second=second)
        return Response(RequestBody(verified).data)


def _step(
    name: str, summary: str, asks: type[serializers.Serializer[Any]], service: Callable[..., DataRequest]
) -> type[KeyedView]:
    """The view of one step of the officer."""

    class StepView(KeyedView):
        scopes = BOTH

        @extend_schema(
            operation_id=name,
            summary=summary,
            parameters=[ID],
            request=None if asks is Nothing else asks,
            responses={200: RequestBody, **REFUSALS},
        )
        def post(self, request: Request, number: int) -> Response:
            asked = asks(data=request.data)
            asked.is_valid(raise_exception=True)
            return Response(RequestBody(service(**_named(request, number), **asked.validated_data)).data)

    return StepView


def _waking(service: Callable[..., DataRequest]) -> Callable[..., DataRequest]:
    """The worker of rights hears of it when it is committed."""

    def called(**named: Any) -> DataRequest:
        begun = service(**named)
        transaction.on_commit(tasks.wake_rights, robust=True)
        return begun

    return called


class StartView(KeyedView):
    scopes = BOTH

    @extend_schema(
        operation_id="start_data_request",
        summary="Begin to answer: the package is built, or what was asked for is carried out",
        parameters=[ID],
        request=Beginning,
        responses={200: RequestBody, **REFUSALS},
    )
    def post(self, request: Request, number: int) -> Response:
        asked = Beginning(data=request.data)
        asked.is_valid(raise_exception=True)
        corrections = _normal(request, asked.validated_data.get("corrections", {}))
        begun = _waking(requests.start_request)(**_named(request, number), corrections=corrections)
        return Response(RequestBody(begun).data)


STEPS: Final[dict[str, type[KeyedView]]] = {
    "start": StartView,
    "try-again": _step(
        "try_data_request_again",
        "Carry out at once what failed, or was never ordered",
        Nothing,
        _waking(requests.carry_out_again),
    ),
    "outcome": _step(
        "data_request_outcome",
        "What a human decided or mended: the work by hand is done",
        Outcome,
        requests.note_outcome,
    ),
    "doubt": _step(
        "doubt_data_request", "It is doubted who asks: the clock stands still", Reason, requests.doubt_identity
    ),
    "settle": _step("settle_data_request", "The doubt is over: the clock runs again", Nothing, requests.settle_doubt),
    "extend": _step("extend_data_request", "The person was told: two more months", Reason, requests.extend_request),
    "refuse": _step("refuse_data_request", "The person was told why nothing is done", Reason, requests.refuse_request),
    "duplicate": _step("duplicate_data_request", "The same as an earlier request", Other, requests.mark_duplicate),
    "take-back": _step("take_back_data_request", "The person no longer asks", Nothing, requests.take_back),
    "complete": _step(
        "complete_data_request", "It is done, and the person was told", Nothing, requests.complete_request
    ),
}


class WorkView(KeyedView):
    scopes = {"GET": Scope.RIGHTS_READ}

    @extend_schema(
        operation_id="data_request_work",
        summary="How far the carrying out of a request is; with the certificate of an erasure",
        parameters=[ID],
        responses={200: WorkBody, **REFUSALS},
    )
    def get(self, request: Request, number: int) -> Response:
        found = execution.work_of(workspace_id=workspace_of(request), request_id=number, now=timezone.now())
        return Response(WorkBody(found).data)


class AnswerView(KeyedView):
    scopes = {"GET": Scope.RIGHTS_READ}

    @extend_schema(
        operation_id="data_request_answer",
        summary="What to tell the person, in their language, and who got their data",
        parameters=[ID],
        responses={200: AnswerBody, **REFUSALS},
    )
    def get(self, request: Request, number: int) -> Response:
        return Response(AnswerBody(answers.answer_to(workspace_id=workspace_of(request), request_id=number)).data)


class ResultsView(KeyedView):
    scopes = BOTH

    @extend_schema(
        operation_id="data_request_results",
        summary="How far the package of an access or portability request is",
        parameters=[ID],
        responses={200: ResultsBody, **REFUSALS},
    )
    def get(self, request: Request, number: int) -> Response:
        package = packaging.package_of(workspace_id=workspace_of(request), request_id=number)
        package.state = _state_of(package)  # type: ignore[attr-defined]  # for the answer alone
        return Response(ResultsBody(package).data)

    @extend_schema(
        operation_id="link_data_request_results",
        summary="A new link to the package, for 7 days and 3 downloads; the link before it ends",
        parameters=[ID],
        request=None,
        responses={200: LinkBody, **REFUSALS},
    )
    def post(self, request: Request, number: int) -> Response:
        token, package = packaging.make_link(**_named(request, number))
        package.path = reverse("data_package", args=[token])  # type: ignore[attr-defined]  # for the answer alone
        return Response(LinkBody(package).data)


class PackageView(View):
    """What a link opens. It needs no key: the token is the key, ends, and is counted."""

    @method_decorator(never_cache)
    def get(self, _: HttpRequest, token: str) -> StreamingHttpResponse:
        content = packaging.open_package(token, now=timezone.now())
        answer = StreamingHttpResponse(content, content_type="application/zip")
        answer["Content-Disposition"] = 'attachment; filename="your-data.zip"'
        answer["Referrer-Policy"] = "no-referrer"
        return answer


def _state_of(package: DataPackage) -> str:
    if package.built_at is None:
        return "FAILED" if package.failures >= packaging.MOST_FAILURES else "BUILDING"
    return "BUILT" if package.stored_as else "DELETED"


def _normal(request: Request, corrections: dict[str, Any]) -> dict[str, Any]:
    return normal_values(corrections, workspace=key_of(request).workspace)


def _who(request: Request) -> str:
    return f"key:{key_of(request).pk}"


def _named(request: Request, number: int) -> dict[str, Any]:
    return {"workspace_id": workspace_of(request), "request_id": number, "by": _who(request), "now": timezone.now()}

"""What was refused on arrival: listed, looked at, mended and replayed."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.paging import PageParameters, next_cursor, page_of
from cdp.api.problems import NotFoundError
from cdp.api.wakeups import wake_quarantine_on_commit
from cdp.ingestion import quarantine, replaying
from cdp.ingestion.mending import parse_mend
from cdp.ingestion.quarantine import Chosen
from cdp.ingestion.rereading import Correction
from cdp.models import QuarantinedItem, Run, Scope

MOST_PREVIEWED = 10_000  # in one request


class Filters(serializers.Serializer[Any]):
    ids = serializers.ListField(child=serializers.IntegerField(min_value=1), max_length=1_000, required=False)
    source = serializers.CharField(required=False, help_text="its name")  # type: ignore[assignment]  # the word for it
    code = serializers.CharField(required=False, help_text="why it was refused")
    place = serializers.CharField(required=False, max_length=500, help_text="`*` stands for anything: `people.csv:*`")
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    text = serializers.CharField(required=False, max_length=500, help_text="what came holds this text")


class ListParameters(PageParameters, Filters):
    pass


class ItemBody(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    source = serializers.CharField(source="source.name")  # type: ignore[assignment]  # as in the filters
    received_at = serializers.DateTimeField()
    place = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()
    tried_code = serializers.CharField(help_text="with which the last replay was refused; empty where there was none")


class WholeItemBody(ItemBody):
    tried_at = serializers.DateTimeField(allow_null=True)
    replayed_at = serializers.DateTimeField(allow_null=True)
    discarded_at = serializers.DateTimeField(allow_null=True)
    run = serializers.IntegerField(source="run_id", allow_null=True)
    reading = serializers.JSONField(
        source="reading.body", default=None, allow_null=True, help_text="how it was to be read"
    )
    raw = serializers.CharField(help_text="as it came; empty when it was discarded")


class ItemsBody(serializers.Serializer[Any]):
    items = ItemBody(many=True)
    next = serializers.CharField(allow_null=True, help_text="the cursor of the next page; null on the last one")


class Remedy(serializers.Serializer[Any]):
    chosen = Filters(required=False, help_text="without any: everything that waits")
    mend = serializers.ListField(
        child=serializers.DictField(), required=False, default=list, help_text="operations, see docs/quarantine.md"
    )
    mapping = serializers.DictField(
        required=False, allow_null=True, default=None, help_text="for rows of files, in place of the one that they had"
    )


class NewDiscard(serializers.Serializer[Any]):
    chosen = Filters(required=False, help_text="without any: everything that waits")
    reason = serializers.CharField(max_length=1_000)


class DifferenceBody(serializers.Serializer[Any]):
    path = serializers.CharField()
    before = serializers.JSONField(required=False)
    after = serializers.JSONField(required=False)


class PreviewedItem(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    place = serializers.CharField()
    code = serializers.CharField()
    outcome = serializers.CharField(help_text="`accepted`, `duplicate`, or the code of the refusal")
    message = serializers.CharField()
    differences = DifferenceBody(many=True)


class PreviewOfReplay(serializers.Serializer[Any]):
    chosen = serializers.IntegerField()
    read = serializers.IntegerField(help_text=f"the numbers below are of these, at most {MOST_PREVIEWED:,}")
    changed = serializers.IntegerField(help_text="by the mend")
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    refused = serializers.IntegerField()
    refused_by_code = serializers.DictField(child=serializers.IntegerField())
    items = PreviewedItem(many=True)


class RunBody(serializers.Serializer[Any]):
    run = serializers.IntegerField(source="pk")
    state = serializers.CharField()
    counts = serializers.DictField(child=serializers.IntegerField())
    error = serializers.CharField()
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


class ItemsView(KeyedView):
    scopes = {"GET": Scope.QUARANTINE_READ}

    @extend_schema(
        operation_id="quarantine",
        summary="What waits in quarantine, newest first",
        parameters=[ListParameters],
        responses={200: ItemsBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        page = page_of(request, int)
        asked = ListParameters(data=request.query_params)
        asked.is_valid(raise_exception=True)
        chosen = Chosen(**{name: value for name, value in asked.validated_data.items() if name in Filters().fields})
        with scope_of(request):
            waiting = quarantine.waiting_in(chosen, workspace_id=workspace_of(request))
            if page.after:
                waiting = waiting.filter(pk__lt=page.after[0])
            rows = list(waiting.select_related("source").order_by("-pk")[: page.limit])
        place = (rows[-1].pk,) if rows else ()
        return Response(ItemsBody({"items": rows, "next": next_cursor(rows, page.limit, place)}).data)


class ItemView(KeyedView):
    scopes = {"GET": Scope.QUARANTINE_READ}

    @extend_schema(
        operation_id="quarantined_item",
        summary="One item, whole, whatever became of it",
        responses={200: WholeItemBody, **REFUSALS},
    )
    def get(self, request: Request, item: int) -> Response:
        with scope_of(request):
            found = QuarantinedItem.objects.filter(workspace=workspace_of(request), pk=item)
            row = found.select_related("source", "reading").first()
        if row is None:
            raise NotFoundError
        return Response(WholeItemBody(row).data)


class PreviewView(KeyedView):
    scopes = {"POST": Scope.QUARANTINE_READ}

    @extend_schema(
        operation_id="preview_replay",
        summary="What would become of items that are mended and replayed; nothing is written",
        request=Remedy,
        responses={200: PreviewOfReplay, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        chosen, correction = _asked(request)
        with scope_of(request):
            seen = replaying.preview(
                workspace_id=workspace_of(request), chosen=chosen, correction=correction, most=MOST_PREVIEWED
            )
        return Response(PreviewOfReplay(seen.as_json()).data)


class ReplaysView(KeyedView):
    scopes = {"POST": Scope.QUARANTINE_WRITE}

    @extend_schema(
        operation_id="replay",
        summary="Mend and replay items: a run begins",
        request=Remedy,
        responses={202: RunBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        chosen, correction = _asked(request)
        run = replaying.order_replay(
            workspace_id=workspace_of(request), chosen=chosen, correction=correction, asked_by=None,
            now=timezone.now(),
        )  # fmt: skip
        return _begun(request, run)


class DiscardsView(KeyedView):
    scopes = {"POST": Scope.QUARANTINE_WRITE}

    @extend_schema(
        operation_id="discard",
        summary="Erase the text of items: a run begins",
        request=NewDiscard,
        responses={202: RunBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = NewDiscard(data=request.data)
        asked.is_valid(raise_exception=True)
        run = replaying.order_discard(
            workspace_id=workspace_of(request), chosen=Chosen(**asked.validated_data.get("chosen", {})),
            reason=asked.validated_data["reason"], asked_by=None, now=timezone.now(),
        )  # fmt: skip
        return _begun(request, run)


class RunView(KeyedView):
    scopes = {"GET": Scope.QUARANTINE_READ, "DELETE": Scope.QUARANTINE_WRITE}

    @extend_schema(
        operation_id="quarantine_run", summary="How far a run has come", responses={200: RunBody, **REFUSALS}
    )
    def get(self, request: Request, run: int) -> Response:
        with scope_of(request):
            runs = Run.objects.filter(workspace=workspace_of(request), kind__in=replaying.RUN_KINDS.values())
            found = runs.filter(pk=run).first()
        if found is None:
            raise NotFoundError
        return Response(RunBody(found).data)

    @extend_schema(
        operation_id="cancel_quarantine_run",
        summary="Stop a run; what was done stays done",
        responses={204: None, **REFUSALS},
    )
    def delete(self, request: Request, run: int) -> Response:
        replaying.cancel(workspace_id=workspace_of(request), run_id=run, now=timezone.now())
        return Response(status=204)


def _asked(request: Request) -> tuple[Chosen, Correction]:
    asked = Remedy(data=request.data)
    asked.is_valid(raise_exception=True)
    said = asked.validated_data
    return Chosen(**said.get("chosen", {})), Correction(parse_mend(said["mend"]), said["mapping"])


def _begun(request: Request, run: Run) -> Response:
    wake_quarantine_on_commit(workspace_id=workspace_of(request))
    return Response(RunBody(run).data, status=202)

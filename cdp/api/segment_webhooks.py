"""Addresses that are told who enters and leaves segments."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView, key_of, purpose_of, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.segment_changes import ids_of
from cdp.models import Scope
from segments import webhooks
from segments.models import SegmentWebhook
from segments.webhooks import Made, UnknownWebhookError

ID = OpenApiParameter("webhook", int, OpenApiParameter.PATH, description="the id of the webhook")


class NewWebhook(serializers.Serializer[Any]):
    url = serializers.CharField(max_length=2_000, help_text="an address with TLS, never one inside the house")
    segments = serializers.ListField(
        child=serializers.SlugField(), required=False, default=list, max_length=1_000, help_text="none: all of them"
    )


class WebhookBody(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    url = serializers.CharField()
    segments = serializers.ListField(child=serializers.CharField(), help_text="none: all of them")
    purpose = serializers.CharField(help_text="that of the key that made it: only people who permit it are told of")
    created_at = serializers.DateTimeField()
    delivered_at = serializers.DateTimeField(allow_null=True, help_text="when something was taken the last time")
    failing_since = serializers.DateTimeField(allow_null=True)
    attempts = serializers.IntegerField(help_text="since something was taken the last time")
    next_attempt_at = serializers.DateTimeField(source="due_at")
    error = serializers.CharField(help_text="why the last attempt failed; empty when it did not")
    disabled_at = serializers.DateTimeField(allow_null=True, help_text="after a day of failures; `error` says why")


class WebhooksBody(serializers.Serializer[Any]):
    webhooks = WebhookBody(many=True)


class WebhookWithSecret(WebhookBody):
    secret = serializers.CharField(help_text="signs what is sent; shown this once")


class WebhooksView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ, "POST": Scope.SEGMENTS_WRITE}

    @extend_schema(operation_id="segment_webhooks", summary="All webhooks", responses={200: WebhooksBody, **REFUSALS})
    def get(self, request: Request) -> Response:
        with scope_of(request):
            rows = SegmentWebhook.objects.filter(workspace=workspace_of(request)).order_by("pk")
            return Response(WebhooksBody({"webhooks": rows}).data)

    @extend_schema(
        operation_id="create_segment_webhook",
        summary="Tell an address who enters and leaves from now on",
        request=NewWebhook,
        responses={201: WebhookWithSecret, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = NewWebhook(data=request.data)
        asked.is_valid(raise_exception=True)
        with scope_of(request):
            ids_of(request, asked.validated_data["segments"])
        made = webhooks.subscribe(
            workspace_id=workspace_of(request), purpose=purpose_of(key_of(request)), now=timezone.now(),
            **asked.validated_data,
        )  # fmt: skip
        return Response(_with_secret(made), status=201)


class WebhookView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ, "DELETE": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="segment_webhook",
        summary="A webhook, and how it does",
        parameters=[ID],
        responses={200: WebhookBody, **REFUSALS},
    )
    def get(self, request: Request, webhook: int) -> Response:
        with scope_of(request):
            found = SegmentWebhook.objects.filter(workspace=workspace_of(request), pk=webhook).first()
            if found is None:
                raise UnknownWebhookError
            return Response(WebhookBody(found).data)

    @extend_schema(
        operation_id="delete_segment_webhook",
        summary="Tell the address nothing more",
        parameters=[ID],
        responses={204: None, **REFUSALS},
    )
    def delete(self, request: Request, webhook: int) -> Response:
        webhooks.unsubscribe(workspace_id=workspace_of(request), webhook_id=webhook)
        return Response(status=204)


class RotateView(KeyedView):
    scopes = {"POST": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="rotate_segment_webhook",
        summary="A new secret; for a day the one before signs too",
        parameters=[ID],
        request=None,
        responses={200: WebhookWithSecret, **REFUSALS},
    )
    def post(self, request: Request, webhook: int) -> Response:
        made = webhooks.rotate_secret(workspace_id=workspace_of(request), webhook_id=webhook, now=timezone.now())
        return Response(_with_secret(made))


class EnableView(KeyedView):
    scopes = {"POST": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="enable_segment_webhook",
        summary="Go on where a disabled webhook stopped, or from now on where that is not kept any more",
        parameters=[ID],
        request=None,
        responses={200: WebhookBody, **REFUSALS},
    )
    def post(self, request: Request, webhook: int) -> Response:
        found = webhooks.enable(workspace_id=workspace_of(request), webhook_id=webhook, now=timezone.now())
        return Response(WebhookBody(found).data)


def _with_secret(made: Made) -> dict[str, Any]:
    return {**WebhookBody(made.webhook).data, "secret": made.secret}

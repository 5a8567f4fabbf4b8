"""Whom entries and exits are pushed to, and how that goes. They are made and enabled by the API, with a key's purpose."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from cdp.admin import LedgerAdmin, column
from segments.models import SegmentWebhook


@admin.register(SegmentWebhook)
class SegmentWebhookAdmin(LedgerAdmin):
    list_display = ("url", "shown_segments", "purpose", "shown_state", "delivered_at", "error")
    ordering = ("pk",)
    fields = (
        "url", "shown_segments", "purpose", "shown_state", "created_at", "delivered_at", "failing_since", "error",
        "disabled_at",
    )  # fmt: skip
    readonly_fields = ("shown_segments", "shown_state")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("secret")

    @column(description=_("segments"))
    def shown_segments(self, webhook: SegmentWebhook) -> Any:
        return ", ".join(webhook.segments) or _("all of them")

    @column(description=_("state"), label={"works": "success", "fails": "warning", "disabled": "danger"})
    def shown_state(self, webhook: SegmentWebhook) -> Any:
        if webhook.disabled_at:
            return "disabled", _("disabled")
        return ("fails", _("fails")) if webhook.failing_since else ("works", _("works"))

"""What signals in events mean, and a box to try what an event would record."""

import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from cdp.admin import WorkspaceAdmin, workspace_of
from cdp.ingestion.signalling import preview_signals
from cdp.kernel.purposes import Purpose
from consent import services
from consent.models import SignalMapping

LONGEST_TRIED = 40_000
EXAMPLE = '{"context": {"consent": {"categoryPreferences": {"Marketing": true}}}}'


@admin.register(SignalMapping)
class SignalMappingAdmin(WorkspaceAdmin):
    """A row is added and deleted, and never changed: what was recorded by it stays."""

    list_display = ("kind", "category", "purpose")
    list_filter = ("kind", "purpose")
    ordering = ("kind", "category", "purpose")
    fields = ("kind", "category", "purpose")
    list_before_template = "console/signals.html"

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        own = path("try/", self.admin_site.admin_view(self.try_event), name="consent_signalmapping_try")
        return [own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return super().changelist_view(request, {"example": EXAMPLE, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        kept = services.map_signal(
            workspace_id=obj.workspace_id, kind=obj.kind, category=obj.category, purpose=Purpose(obj.purpose)
        )
        obj.pk = kept.pk

    @method_decorator(require_POST)
    def try_event(self, request: HttpRequest) -> HttpResponse:
        workspace = workspace_of(request)
        if workspace is None or not self.has_view_permission(request):
            raise PermissionDenied
        try:
            event = json.loads(request.POST.get("event", "")[:LONGEST_TRIED])
        except (ValueError, RecursionError):
            return TemplateResponse(request, "console/signals_tried.html", {"error": gettext("This is no JSON.")})
        found = preview_signals(workspace_id=workspace.pk, event=event, now=timezone.now())
        return TemplateResponse(request, "console/signals_tried.html", {"found": found, "said": found.said.items()})

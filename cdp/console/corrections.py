"""The error dictionary of the workspace: listed, added to, imported from CSV; and a box to try what becomes of a value."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from cdp.admin import WorkspaceAdmin, WorkspaceForm, workspace_of
from cdp.ingestion.corrections import (
    LARGEST_FILE,
    add_corrections,
    checked_entry,
    corrections_of,
    entries_in,
    forget_corrections,
)
from cdp.ingestion.normalise import NORMALISERS
from cdp.kernel.errors import TesseraError
from cdp.models import Correction, Workspace

LONGEST_TRIED = 500
QUALITIES = {
    "EXACT": _("another spelling of the same"),
    "REPAIRED": _("put in order by a rule"),
    "CORRECTED": _("a misspelling by the dictionary"),
    "AMBIGUOUS": _("it can be read in several ways"),
}


class CorrectionForm(WorkspaceForm):
    def clean(self) -> Any:
        cleaned: dict[str, Any] = super().clean() or {}
        try:
            entry = checked_entry(*(str(cleaned.get(name, "")) for name in ("kind", "wrong", "right")))
        except TesseraError as error:
            raise forms.ValidationError(error.message) from None
        self.instance.key = entry.key
        return {**cleaned, "wrong": entry.wrong, "right": entry.right}

    def _get_validation_exclusions(self) -> set[str]:
        """`key` is no field of the form, and yet part of what must be unique; a bad entry has none."""
        return super()._get_validation_exclusions() - ({"key"} if self.instance.key else set())


@admin.register(Correction)
class CorrectionAdmin(WorkspaceAdmin):
    form = CorrectionForm
    list_display = ("wrong", "right", "kind", "created_at")
    list_filter = ("kind",)
    search_fields = ("wrong", "right")
    ordering = ("kind", "wrong")
    fields = ("kind", "wrong", "right")
    list_before_template = "console/corrections.html"

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("import/", self.admin_site.admin_view(self.import_file), name="cdp_correction_import"),
            path("try/", self.admin_site.admin_view(self.try_value), name="cdp_correction_try"),
        ]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        workspace = workspace_of(request)
        shown = {"kinds": sorted(NORMALISERS), "region": workspace.default_region if workspace else ""}
        return super().changelist_view(request, {**shown, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        super().save_model(request, obj, form, change)
        forget_corrections()

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        super().delete_model(request, obj)
        forget_corrections()

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        super().delete_queryset(request, queryset)
        forget_corrections()

    @method_decorator(require_POST)
    def import_file(self, request: HttpRequest) -> HttpResponse:
        workspace = self._workspace(request, may=self.has_add_permission(request))
        given = request.FILES.get("file")
        try:
            entries = entries_in(given.read(LARGEST_FILE + 1) if given else b"")
            number = add_corrections(workspace_id=workspace.pk, entries=entries, now=timezone.now())
        except TesseraError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            told = ngettext("%d correction was imported.", "%d corrections were imported.", number) % number
            self.message_user(request, told, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:cdp_correction_changelist"))

    @method_decorator(require_POST)
    def try_value(self, request: HttpRequest) -> HttpResponse:
        """The value is of a person, so it comes in the body, which no log of addresses shows."""
        workspace = self._workspace(request, may=self.has_view_permission(request))
        value, kind = request.POST.get("value", "")[:LONGEST_TRIED], request.POST.get("kind", "")
        if kind not in NORMALISERS:
            return TemplateResponse(request, "console/tried.html", {"error": gettext("There is no such kind.")})
        region = request.POST.get("region", "").strip().upper()[:2]
        found = NORMALISERS[kind](value, region=region, corrections=corrections_of(workspace.pk))
        quality = QUALITIES[found.quality.value] if found else ""
        return TemplateResponse(request, "console/tried.html", {"value": value, "found": found, "quality": quality})

    def _workspace(self, request: HttpRequest, *, may: bool) -> Workspace:
        workspace = workspace_of(request)
        if workspace is None or not may:
            raise PermissionDenied
        return workspace

"""The rules that people are recognised by and that their golden record is chosen by: checked, tried, laid down."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminTextareaWidget

from cdp.admin import KeptAdmin, WorkspaceAdmin, WorkspaceForm, column, workspace_of
from cdp.kernel.errors import TesseraError
from cdp.models import Workspace
from identity import rules, survivorship
from identity.models import IdentityRules, SurvivorshipRule


class LinesField(forms.CharField):
    """A list, one entry on a line: values and patterns may hold commas."""

    widget = UnfoldAdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [line.strip() for line in str(value or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(list(initial or ()) != self.to_python(data))


class IdentityRulesForm(WorkspaceForm):
    priority = LinesField(
        label=_("priority of types"), required=False, help_text=_("One on a line, the most trusted first.")
    )
    blocked_values = LinesField(label=_("blocked values"), required=False, help_text=_("One on a line."))
    blocked_patterns = LinesField(
        label=_("blocked patterns"),
        required=False,
        help_text=_("One on a line: regular expressions for type:value in small letters."),
    )

    def clean(self) -> Any:
        cleaned: dict[str, Any] = super().clean() or {}
        if self.errors:
            return cleaned
        try:
            return rules.checked({name: cleaned[name] for name in rules.document_of(self.instance)})
        except rules.InvalidRulesError as error:
            field = str(error.details["place"]).partition(".")[0].partition("[")[0]
            raise forms.ValidationError({field: error.message}) from None


@admin.register(IdentityRules)
class IdentityRulesAdmin(KeptAdmin):
    """One row for a workspace, or none: then the defaults hold."""

    form = IdentityRulesForm
    list_display = ("__str__", "blocked_values")
    fields = (
        "priority", "limits", "windows", "shared_after", "has_role_addresses_blocked", "blocked_values",
        "blocked_patterns",
    )  # fmt: skip
    change_form_outer_after_template = "console/identity_rules.html"
    list_after_template = "console/set_aside.html"

    def get_urls(self) -> list[URLPattern]:
        preview = self.admin_site.admin_view(self.preview)
        return [path("preview/", preview, name="identity_identityrules_preview"), *super().get_urls()]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not self.get_queryset(request).exists()

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        workspace = workspace_of(request)
        may = self.has_view_permission(request)
        found = rules.set_aside_in(workspace.pk) if workspace and may else ()
        return super().changelist_view(request, {"set_aside": found, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: IdentityRules, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's signature
        waiting = rules.change_rules(workspace_id=obj.workspace_id, document=rules.document_of(obj))
        told = ngettext("%d identifier is looked at anew.", "%d identifiers are looked at anew.", waiting) % waiting
        self.message_user(request, told, messages.INFO)

    @method_decorator(require_POST)
    def preview(self, request: HttpRequest) -> HttpResponse:
        workspace = asked_workspace(self, request)
        form = self.get_form(request)(request.POST)
        if not form.is_valid():
            return TemplateResponse(request, "console/rules_preview.html", {"errors": errors_of(form)})
        document = rules.document_of(form.instance)
        found = rules.preview_rules(workspace_id=workspace.pk, document=document, now=timezone.now())
        return TemplateResponse(request, "console/rules_preview.html", {"people": found})


class SurvivorshipForm(WorkspaceForm):
    sources = LinesField(
        label=_("sources"),
        required=False,
        help_text=_("One on a line, the most trusted first. Others follow by their own trust."),
    )

    def clean(self) -> Any:
        cleaned: dict[str, Any] = super().clean() or {}
        if self.errors or self.instance.workspace_id is None:
            return cleaned
        try:
            survivorship.checked([cleaned], workspace_id=self.instance.workspace_id)
        except survivorship.InvalidSurvivorshipError as error:
            field = str(error.details["place"]).rpartition(".")[2]
            raise forms.ValidationError({field: error.details["why"]}) from None
        return cleaned


@admin.register(SurvivorshipRule)
class SurvivorshipRuleAdmin(WorkspaceAdmin):
    form = SurvivorshipForm
    list_display = ("trait", "choice", "shown_sources")
    fields = ("trait", "choice", "sources")
    fixed_fields = ("trait",)
    ordering = ("trait",)
    actions: "tuple[str, ...] | None" = None
    change_form_outer_after_template = "console/survivorship.html"

    @column(description=_("sources"))
    def shown_sources(self, rule: SurvivorshipRule) -> str:
        return ", ".join(rule.sources) or "–"

    def get_urls(self) -> list[URLPattern]:
        preview = self.admin_site.admin_view(self.preview)
        return [path("preview/", preview, name="identity_survivorshiprule_preview"), *super().get_urls()]

    def save_model(self, request: HttpRequest, obj: SurvivorshipRule, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's signature
        super().save_model(request, obj, form, change)
        self._choose_anew(request, obj)

    def delete_model(self, request: HttpRequest, obj: SurvivorshipRule) -> None:
        super().delete_model(request, obj)
        self._choose_anew(request, obj)

    def _choose_anew(self, request: HttpRequest, rule: SurvivorshipRule) -> None:
        waiting = survivorship.choose_anew(workspace_id=rule.workspace_id, traits=[rule.trait])
        told = ngettext("%d profile is chosen anew.", "%d profiles are chosen anew.", waiting) % waiting
        self.message_user(request, told, messages.INFO)

    @method_decorator(require_POST)
    def preview(self, request: HttpRequest) -> HttpResponse:
        """Of this rule beside the others as they are."""
        workspace = asked_workspace(self, request)
        asked = {
            "trait": request.POST.get("trait", ""),
            "choice": request.POST.get("choice", ""),
            "sources": LinesField().to_python(request.POST.get("sources")),
        }
        try:
            found = survivorship.preview_one(workspace_id=workspace.pk, row=asked)
        except TesseraError as error:
            return TemplateResponse(request, "console/rules_preview.html", {"errors": [error.message]})
        return TemplateResponse(request, "console/rules_preview.html", {"values": found})


def asked_workspace(page: WorkspaceAdmin, request: HttpRequest) -> Workspace:
    workspace = workspace_of(request)
    if workspace is None or not page.has_view_permission(request):
        raise PermissionDenied
    return workspace


def errors_of(form: Any) -> list[str]:
    return [str(error) for errors in form.errors.values() for error in errors] or [gettext("Not understood")]

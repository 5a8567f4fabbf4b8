"""Tracking plans: what sources promised to send, and what broke it."""

import json
from datetime import timedelta
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldBooleanSwitchWidget

from cdp.admin import KeptAdmin, WorkspaceForm, WorkspaceRelatedFilter, column, number_in, preformatted, workspace_of
from cdp.ingestion import plan_queries, plans
from cdp.ingestion.plan_check import PlanError, compile_plan
from cdp.models import TrackingPlanVersion, User

SHOWN_DAYS = 30
EXAMPLE = """{
  "unplanned": "ALLOW",
  "rules": [
    {
      "kind": "track",
      "event": "Order Completed",
      "on_violation": "WARN",
      "schema": {
        "type": "object",
        "required": ["order_id"],
        "properties": {"order_id": {"type": "string"}, "revenue": {"type": "number"}}
      }
    }
  ]
}"""


class PlanForm(WorkspaceForm):
    document = forms.CharField(
        label=_("Plan"),
        strip=False,
        initial=EXAMPLE,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 24, "spellcheck": "false"}),
        help_text=_("JSON: rules with the schema of what each event says, and what happens when it is broken."),
    )
    is_live = forms.BooleanField(
        label=_("Let it hold from now on"), required=False, initial=True, widget=UnfoldBooleanSwitchWidget
    )

    def clean_document(self) -> Any:
        try:
            document = json.loads(self.cleaned_data["document"])
            compile_plan(document)
        except PlanError as error:
            raise ValidationError(error.message, code=error.code) from error
        except (ValueError, RecursionError) as error:
            raise ValidationError(gettext("This is no JSON: %s.") % error) from error
        return document


@admin.register(TrackingPlanVersion)
class TrackingPlanAdmin(KeptAdmin):
    """A version is written once. Another plan is another version."""

    form = PlanForm
    list_display = ("source", "version", "is_live", "number_of_rules", "author", "created_at")
    list_filter = (("source", WorkspaceRelatedFilter),)
    list_select_related = ("source", "author")
    ordering = ("-pk",)
    change_form_outer_after_template = "console/plan.html"

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return ("source", "version", "author", "created_at", "plan") if obj else ("source", "document", "is_live")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return self.get_fields(request, obj) if obj else ()

    def get_form(self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002  # Django's signature
        """Of a version nothing is edited, so its form has no fields of its own."""
        return super().get_form(request, obj, change, **({**kwargs, "form": WorkspaceForm} if obj else kwargs))

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def may_hold(self, request: HttpRequest) -> bool:
        return workspace_of(request) is not None and request.user.has_perm("cdp.change_trackingplanversion")

    @column(description=_("version"), ordering="number")
    def version(self, version: TrackingPlanVersion) -> str:
        return f"v{version.number}"

    @column(description=_("live"), boolean=True)
    def is_live(self, version: TrackingPlanVersion) -> bool:
        return version.source.live_plan_id == version.pk

    @column(description=_("rules"))
    def number_of_rules(self, version: TrackingPlanVersion) -> int:
        return len(version.document["rules"])

    @column(description=_("plan"))
    def plan(self, version: TrackingPlanVersion) -> Any:
        return preformatted(readable(version.document))

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """`?from=` begins with what another version says."""
        before = self.get_queryset(request).filter(pk=number_in(request.GET.get("from", ""))).first()
        return {"source": before.source_id, "document": readable(before.document)} if before else {}

    # -- writing ----------------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        made = plans.add_version(
            source=obj.source, document=form.cleaned_data["document"], author=cast("User", request.user),
            now=timezone.now(), is_live=form.cleaned_data["is_live"],
        )  # fmt: skip
        obj.pk, obj.number = made.pk, made.number

    def get_urls(self) -> list[URLPattern]:
        hold, off = self.admin_site.admin_view(self.hold), self.admin_site.admin_view(self.take_off)
        own = [
            path("<int:pk>/hold/", hold, name="cdp_trackingplanversion_hold"),
            path("<int:pk>/off/", off, name="cdp_trackingplanversion_off"),
        ]
        return [*own, *super().get_urls()]

    @method_decorator(require_POST)
    def hold(self, request: HttpRequest, pk: int) -> HttpResponse:
        version = self._version_to_change(request, pk)
        plans.make_live(source=version.source, number=version.number)
        return self._done(request, version, gettext("Version %s holds from now on.") % version.number)

    @method_decorator(require_POST)
    def take_off(self, request: HttpRequest, pk: int) -> HttpResponse:
        version = self._version_to_change(request, pk)
        plans.take_off(source=version.source)
        return self._done(request, version, gettext("%s has no plan that holds any more.") % version.source)

    def _version_to_change(self, request: HttpRequest, pk: int) -> TrackingPlanVersion:
        if not self.may_hold(request):
            raise PermissionDenied
        return cast("TrackingPlanVersion", get_object_or_404(self.get_queryset(request), pk=pk))

    def _done(self, request: HttpRequest, version: TrackingPlanVersion, told: str) -> HttpResponse:
        self.log_change(request, version, told)
        self.message_user(request, told, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:cdp_trackingplanversion_change", args=[version.pk]))

    # -- looking ----------------------------------------------------------------------------------------------------

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        found = self.get_queryset(request).filter(pk=number_in(object_id)).first()
        shown = facts_about(found) if found else {}
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **shown, "may_hold": self.may_hold(request)}
        )


def readable(document: dict[str, Any]) -> str:
    """As people write it: the database keeps no order of keys."""
    order = ("kind", "event", "on_violation", "schema")
    rules = [{name: rule[name] for name in order if name in rule} for rule in document["rules"]]
    return json.dumps({**document, "rules": rules}, indent=2, ensure_ascii=False)


def facts_about(version: TrackingPlanVersion) -> dict[str, Any]:
    """What broke the plans of the source in the last days, whichever version held."""
    now, source = timezone.now(), version.source
    days = plan_queries.violations_by_day(source, SHOWN_DAYS, now=now)
    return {
        "version": version,
        "is_live": source.live_plan_id == version.pk,
        "days": [(one, bar_height(one.events, [each.events for each in days])) for one in days],
        "violations": plan_queries.violations_since(source, now.date() - timedelta(days=SHOWN_DAYS - 1)),
        "quarantined": plan_queries.refused_examples(source),
    }


def bar_height(value: int, values: list[int]) -> int:
    """Of a hundred; what is there at all is seen."""
    return max(4, round(100 * value / max(values))) if value else 0

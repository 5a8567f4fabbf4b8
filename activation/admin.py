"""Where audiences go, what was sent, and what became of it."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget

from activation import registry, services
from activation.destination import DestinationConfigError
from activation.models import Audience, AudienceMember, Destination, MemberState, SyncRun
from cdp.admin import (
    KeptAdmin,
    LedgerAdmin,
    WorkspaceForm,
    WorkspaceRelatedFilter,
    column,
    number_in,
    profile_link,
    workspace_of,
)
from cdp.models.secrets import encrypted

SHOWN_MEMBERS = 20
SHOWN_RUNS = 20
STATE_COLOURS = {
    **dict.fromkeys(MemberState.values, ""),
    MemberState.PRESENT.value: "success",
    MemberState.ADDING.value: "info",
    MemberState.REMOVING.value: "warning",
    MemberState.REJECTED.value: "danger",
}


class DestinationForm(WorkspaceForm):
    """Secrets go in and never come out: an empty field keeps what is stored."""

    kind = forms.ChoiceField(label=_("Kind"), widget=UnfoldAdminSelectWidget)
    new_secrets = forms.CharField(
        label=_("Secrets"),
        required=False,
        strip=True,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text=_(
            'A JSON object, for example {"secret": "…"}. It is stored encrypted and never shown; leave it empty to keep it.'
        ),
    )

    class Meta:
        model = Destination
        fields = ("slug", "kind", "recipient", "config", "is_enabled", "paused_until")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "kind" in self.fields:
            self.fields["kind"].choices = [(kind, kind) for kind in registry.KINDS]  # type: ignore[attr-defined]  # a choice field

    def clean_new_secrets(self) -> dict[str, str]:
        text = self.cleaned_data["new_secrets"]
        if not text:
            return {}
        try:
            secrets = json.loads(text)
        except json.JSONDecodeError:
            secrets = None
        if not isinstance(secrets, dict) or not all(isinstance(value, str) for value in secrets.values()):
            raise ValidationError(_("A JSON object of names and texts is needed."), code="secrets")
        return secrets

    def clean(self) -> dict[str, Any] | None:
        """The destination itself says whether it can work with this configuration."""
        cleaned = super().clean() or self.cleaned_data
        kind = cleaned.get("kind") or self.instance.kind
        if kind and "config" in cleaned:
            try:
                registry.destination(kind, cleaned["config"] or {}, cleaned.get("new_secrets"))
            except DestinationConfigError as error:
                self.add_error("config", ValidationError(error.message, code=error.code))
        return cleaned


@admin.register(Destination)
class DestinationAdmin(KeptAdmin):
    form = DestinationForm
    list_display = ("slug", "kind", "is_enabled", "paused_until", "failure")
    list_filter = ("is_enabled",)
    search_fields = ("slug",)
    ordering = ("slug",)
    fields = ("slug", "kind", "recipient", "config", "new_secrets", "is_enabled", "paused_until", "failure")
    add_fieldsets = ((None, {"fields": ("slug", "kind", "recipient", "config", "new_secrets")}),)
    readonly_fields = ("failure",)
    fixed_fields = ("slug", "kind", "recipient")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        if change:
            if given := form.cleaned_data["new_secrets"]:
                obj.secrets = encrypted(given)
            super().save_model(request, obj, form, change)
            return
        given = form.cleaned_data
        made = services.create_destination(
            workspace_id=obj.workspace_id, slug=obj.slug, kind=obj.kind, recipient=obj.recipient, config=obj.config or {},
            secrets=given["new_secrets"], now=timezone.now(),
        )  # fmt: skip
        obj.pk = made.pk


@admin.register(Audience)
class AudienceAdmin(KeptAdmin):
    """A segment kept in step on a destination."""

    list_display = ("external_id", "segment", "destination", "is_enabled", "present", "under_way", "rejected")
    list_filter = (("destination", WorkspaceRelatedFilter), "is_enabled")
    list_select_related = ("segment", "destination")
    search_fields = ("external_id",)
    ordering = ("external_id",)
    fields = ("segment", "destination", "external_id", "identifier_types", "is_enabled")
    add_fieldsets = ((None, {"fields": ("segment", "destination", "external_id", "identifier_types")}),)
    fixed_fields = ("segment", "destination", "external_id")
    change_form_outer_after_template = "console/audience.html"

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Count the members of the audiences on this page by state, in one query."""
        changes = super().get_changelist_instance(request)
        rows = list(changes.result_list)
        counts = states_of([row.pk for row in rows])
        for row in rows:
            row.states = counts.get(row.pk, {})
        changes.result_list = rows
        return changes

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        """Whoever is or was in it is looked at again in the background."""
        if change:
            super().save_model(request, obj, form, change)
            services.refresh_audience(workspace_id=obj.workspace_id, audience=obj, now=timezone.now())
            return
        made = services.create_audience(
            workspace_id=obj.workspace_id, destination=obj.destination, segment=obj.segment,
            external_id=obj.external_id, identifier_types=obj.identifier_types, now=timezone.now(),
        )  # fmt: skip
        obj.pk = made.pk

    @column(description=_("present"))
    def present(self, audience: Any) -> int:
        return int(audience.states.get(MemberState.PRESENT, 0))

    @column(description=_("under way"))
    def under_way(self, audience: Any) -> str:
        states = audience.states
        return f"+{states.get(MemberState.ADDING, 0)} −{states.get(MemberState.REMOVING, 0)}"

    @column(description=_("rejected"))
    def rejected(self, audience: Any) -> int:
        return int(audience.states.get(MemberState.REJECTED, 0))

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **facts_about(request, object_id)}
        )


def facts_about(request: HttpRequest, object_id: str) -> dict[str, Any]:
    """What the destination holds, and the newest requests to it."""
    audience = Audience.objects.filter(workspace=workspace_of(request), pk=number_in(object_id)).first()
    if audience is None:
        return {}
    counts = states_of([audience.pk]).get(audience.pk, {})
    newest = AudienceMember.objects.filter(audience=audience).order_by("-pk")[:SHOWN_MEMBERS]
    return {
        "states": [(state.label, counts.get(state.value, 0)) for state in MemberState],
        "members": newest,
        "sync_runs": SyncRun.objects.filter(audience=audience).order_by("-pk")[:SHOWN_RUNS],
    }


def states_of(audience_ids: Iterable[int]) -> Mapping[int, Mapping[str, int]]:
    """How many members of each of these audiences are in which state."""
    members = AudienceMember.objects.filter(audience__in=list(audience_ids))
    counted: dict[int, dict[str, int]] = {}
    for audience, state, number in members.order_by().values_list("audience", "state").annotate(Count("pk")):
        counted.setdefault(audience, {})[state] = number
    return counted


@admin.register(AudienceMember)
class AudienceMemberAdmin(LedgerAdmin):
    """The ledger of what was sent: hashes, never addresses."""

    list_display = ("key", "identifier_type", "audience", "person", "coloured_state", "reason", "changed_at")
    list_filter = (("audience", WorkspaceRelatedFilter), "state")
    list_select_related = ("audience",)
    search_fields = ("=key",)
    search_help_text = _("the whole key that was sent")
    ordering = ("-pk",)
    fields = ("audience", "person", "identifier_type", "key", "state", "reason", "attempts", "run", "changed_at")
    readonly_fields = ("person",)

    @column(description=_("profile"))
    def person(self, member: AudienceMember) -> Any:
        return profile_link(member.profile_id)

    @column(description=_("state"), label=STATE_COLOURS, ordering="state")
    def coloured_state(self, member: AudienceMember) -> tuple[str, str]:
        return member.state, str(member.get_state_display())


@admin.register(SyncRun)
class SyncRunAdmin(LedgerAdmin):
    list_display = ("started_at", "audience", "operation", "members", "rejected", "error", "finished_at")
    list_filter = (("audience", WorkspaceRelatedFilter), "operation")
    list_select_related = ("audience",)
    ordering = ("-pk",)
    fields = ("audience", "operation", "members", "rejected", "error", "key", "started_at", "finished_at")

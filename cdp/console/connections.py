"""Systems that are read from: their settings and mappings, how they fare, and buttons to check and to read them now."""

from collections.abc import Mapping
from typing import Any

import yaml
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from cdp.admin import KeptAdmin, WorkspaceForm, column, number_in, preformatted, row_to_change, workspace_of
from cdp.ingestion import connecting
from cdp.ingestion.connecting import ConnectionState
from cdp.ingestion.connector import ConnectorError
from cdp.ingestion.connector_registry import KINDS
from cdp.models import Connection, Source, SourceKind
from cdp.models.secrets import decrypted

STATE_COLOURS = {
    ConnectionState.OFF.label: "",
    ConnectionState.PAUSED.label: "danger",
    ConnectionState.READING.label: "info",
    ConnectionState.FAILING.label: "warning",
    ConnectionState.WAITING.label: "success",
}


class ConnectionForm(WorkspaceForm):
    """Secrets go in and never come out: an empty field keeps what is stored."""

    name = forms.SlugField(
        label=_("Source"), max_length=50, widget=UnfoldAdminTextInputWidget, help_text=_("the name of the new source")
    )
    kind = forms.ChoiceField(
        label=_("Kind"), widget=UnfoldAdminSelectWidget, choices=[(kind, SourceKind(kind).label) for kind in KINDS]
    )
    settings_text = forms.CharField(
        label=_("Settings"),
        required=False,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 18, "spellcheck": "false", "placeholder": "domain: acme.my"}),
        help_text=_("YAML. `objects` says what is read, `mappings` what its fields mean; without them as shipped."),
    )
    secrets_text = forms.CharField(
        label=_("Secrets"),
        required=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text=_(
            'A JSON object, for example {"client_id": "…", "client_secret": "…"}. It is stored encrypted and never'
            " shown; leave it empty to keep it."
        ),
    )

    class Meta:
        model = Connection
        fields = ("every_seconds", "is_enabled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            del self.fields["name"], self.fields["kind"]  # written once
            self.initial["settings_text"] = as_yaml(self.instance.config)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if Source.objects.filter(workspace=self.instance.workspace_id, name=name).exists():
            raise ValidationError(_("There is a source of this name already."), code="source_exists")
        return name

    def clean_settings_text(self) -> dict[str, Any]:
        return table_in(self.cleaned_data["settings_text"])

    def clean_secrets_text(self) -> dict[str, str]:
        secrets = table_in(self.cleaned_data["secrets_text"])
        if not all(isinstance(value, str) for value in secrets.values()):
            raise ValidationError(_("A JSON object of names and texts is needed."), code="secrets")
        return secrets

    def clean(self) -> dict[str, Any] | None:
        """The connector itself says whether it can work with these settings."""
        cleaned = super().clean() or self.cleaned_data
        is_new = self.instance.pk is None
        kind = cleaned.get("kind", "") if is_new else self.instance.source.kind
        if kind in KINDS and not self.errors:
            name = cleaned["name"] if is_new else self.instance.source.name
            secrets = cleaned["secrets_text"] or ({} if is_new else decrypted(self.instance.secrets))
            try:
                connecting.check_settings(kind=kind, name=name, config=cleaned["settings_text"], secrets=secrets)
            except ConnectorError as error:
                self.add_error("settings_text", ValidationError(error.message, code=error.code))
        return cleaned


@admin.register(Connection)
class ConnectionAdmin(KeptAdmin):
    form = ConnectionForm
    list_display = ("source", "kind_in_words", "coloured_state", "last_reading", "due_at", "error")
    list_select_related = ("source", "run")
    list_filter = ("is_enabled",)
    ordering = ("source__name",)
    fields = (
        "source", "coloured_state", "last_reading", "due_at", "failures", "error", "settings_text", "secrets_text",
        "every_seconds", "is_enabled", "shipped",
    )  # fmt: skip
    add_fieldsets = ((None, {"fields": ("name", "kind", "settings_text", "secrets_text", "every_seconds")}),)
    readonly_fields = ("source", "coloured_state", "last_reading", "due_at", "failures", "error", "shipped")
    change_form_outer_before_template = "console/connection.html"

    @column(description=_("kind"), ordering="source__kind")
    def kind_in_words(self, connection: Connection) -> str:
        return connection.source.get_kind_display()

    @column(description=_("state"), label=STATE_COLOURS)
    def coloured_state(self, connection: Connection) -> Any:
        return connecting.state_of(connection, now=timezone.now()).label

    @column(description=_("last reading"))
    def last_reading(self, connection: Connection) -> SafeString | str:
        run = connection.run
        if run is None:
            return "–"
        counts = ", ".join(f"{name} {number}" for name, number in run.counts.items())
        link = reverse("admin:cdp_run_change", args=[run.pk])
        return format_html('<a href="{}" class="console-link">{}</a> {}', link, run.get_state_display(), counts)

    @column(description=_("shipped settings, to start from"))
    def shipped(self, connection: Connection) -> SafeString | str:
        kind = connection.source.kind
        return preformatted(as_yaml(connecting.shipped_settings(kind))) if kind in KINDS else "–"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        """By the services: a worker may be writing other fields of the row."""
        given, now = form.cleaned_data, timezone.now()
        what = {"config": given["settings_text"], "secrets": given["secrets_text"]}
        if change:
            connecting.change_connection(
                obj, **what, every_seconds=given["every_seconds"], is_enabled=given["is_enabled"], now=now
            )
            return
        made = connecting.create_connection(
            workspace_id=obj.workspace_id, name=given["name"], kind=given["kind"], **what,
            every_seconds=given["every_seconds"], now=now,
        )  # fmt: skip
        obj.pk, obj.source = made.pk, made.source

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("<int:pk>/read/", view(self.read), name="cdp_connection_read"),
            path("<int:pk>/check/", view(self.check_now), name="cdp_connection_check"),
        ]
        return [*own, *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        pulled = Connection.objects.filter(
            workspace=workspace_of(request), pk=number_in(object_id), source__kind__in=KINDS
        )
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "is_read": pulled.exists()})

    @method_decorator(require_POST)
    def read(self, request: HttpRequest, pk: int) -> HttpResponse:
        connection = row_to_change(self, request, pk)
        connecting.ask_reading(connection, now=timezone.now())
        self.log_change(request, connection, "asked to be read")
        self.message_user(request, gettext("It is read in a few seconds."), messages.SUCCESS)
        return self._back(pk)

    @method_decorator(require_POST)
    def check_now(self, request: HttpRequest, pk: int) -> HttpResponse:
        connection = row_to_change(self, request, pk)
        try:
            self._tell(request, connecting.check_connection(connection))
        except ConnectorError as error:
            self.message_user(request, f"{error.reason}: {error.message}", messages.ERROR)
        return self._back(pk)

    def _tell(self, request: HttpRequest, said: Mapping[str, str]) -> None:
        for stream, refusal in said.items():
            if refusal:
                self.message_user(request, f"{stream}: {refusal}", messages.ERROR)
        if not any(said.values()):
            told = gettext("The system answers, and shows: %s.") % ", ".join(said)
            self.message_user(request, told, messages.SUCCESS)

    def _back(self, pk: int) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:cdp_connection_change", args=[pk]))


def as_yaml(settings: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True) if settings else ""


def table_in(text: str) -> dict[str, Any]:
    """YAML, of which JSON is a part."""
    try:
        given = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = gettext("This is no YAML, at line %d.") % (mark.line + 1) if mark else gettext("This is no YAML.")
        raise ValidationError(place, code="yaml") from None
    if not isinstance(given, dict):
        raise ValidationError(_("A table of names and values is needed."), code="yaml")
    return given

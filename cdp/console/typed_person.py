"""Pages about people whom their table knows by digests alone: whoever is meant is typed, looked for, and not shown again.

What was typed comes in the body of a request and goes nowhere else: into no address, no message and no history.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from cdp.admin import LedgerAdmin, column, workspace_of
from cdp.ingestion.naming import normal_identifier
from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import Identifier
from cdp.models import Workspace

SHOWN_OF_DIGEST = 12


class ReasonMissingError(TesseraError):
    """Say why: whoever reads the history later will ask."""

    code = "reason_missing"


class TypedForm(forms.Form):
    """`until` is the first day on which it holds no more."""

    identifier = forms.CharField(max_length=600)
    reason = forms.CharField(max_length=500, required=False)
    until = forms.DateField(required=False)
    purpose = forms.CharField(max_length=20, required=False)


class TypedPersonAdmin(LedgerAdmin):
    """`deeds` are the buttons: name → (right that it needs, method that does it and returns what to tell)."""

    deeds: ClassVar[Mapping[str, tuple[str, Callable[..., Any]]]]
    list_before_template = "console/typed_person.html"
    labels: ClassVar[Mapping[str, Promise]]
    readonly_fields: Any = ("short_digest",)

    @column(description=_("digest of the identifier"))
    def short_digest(self, row: Any) -> str:
        return bytes(row.identifier_digest).hex()[:SHOWN_OF_DIGEST] + "…"

    def get_urls(self) -> list[URLPattern]:
        place = path("typed/<str:deed>/", self.admin_site.admin_view(self.do), name=self._named("typed"))
        return [place, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        buttons = [
            (name, self.labels[name], reverse(f"admin:{self._named('typed')}", args=[name]))
            for name, (right, _deed) in self.deeds.items()
            if self._may(request, right)
        ]
        return super().changelist_view(request, {"buttons": buttons, **(extra_context or {})})

    @method_decorator(require_POST)
    def do(self, request: HttpRequest, deed: str) -> HttpResponse:
        workspace, typed = workspace_of(request), TypedForm(request.POST)
        if workspace is None or deed not in self.deeds or not self._may(request, self.deeds[deed][0]):
            raise PermissionDenied
        if not typed.is_valid():
            self.message_user(request, _("Write an identifier as email:ada@example.com."), messages.ERROR)
        else:
            self._tell(request, deed, workspace, typed.cleaned_data)
        return HttpResponseRedirect(reverse(f"admin:{self._named('changelist')}"))

    def _tell(self, request: HttpRequest, deed: str, workspace: Workspace, typed: Mapping[str, Any]) -> None:
        try:
            told = self.deeds[deed][1](self, request, person_typed(typed["identifier"], workspace), typed)
        except TesseraError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            self.message_user(request, told, messages.SUCCESS)

    def _may(self, request: HttpRequest, right: str) -> bool:
        return request.user.has_perm(f"consent.{right}_{self.opts.model_name}")

    def _named(self, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"


def person_typed(text: str, workspace: Workspace) -> Identifier:
    """As ingestion would read it. Raises `IdentifierSyntaxError` and `InvalidIdentifierError`."""
    return normal_identifier(workspace, Identifier.parse(text.replace("\0", "").strip()))


def beginning_of(day: Any) -> datetime | None:
    return datetime.combine(day, time.min, tzinfo=UTC) if day else None


def reason_in(typed: Mapping[str, Any]) -> str:
    """Raises `ReasonMissingError`."""
    if not typed["reason"].strip():
        raise ReasonMissingError
    return str(typed["reason"])


def workspace_id_of(request: HttpRequest) -> int:
    workspace = workspace_of(request)
    if workspace is None:
        raise PermissionDenied
    return int(workspace.pk)

"""Who is not stored. The list holds digests, so it is asked and cannot be read out."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from cdp.console.typed_person import TypedPersonAdmin, beginning_of, reason_in, workspace_id_of
from cdp.kernel.identifiers import Identifier
from consent import suppression
from consent.models import Suppression, SuppressionReason


@admin.register(Suppression)
class SuppressionAdmin(TypedPersonAdmin):
    list_display = ("created_at", "identifier_type", "short_digest", "reason", "until")
    list_filter = ("reason", "identifier_type")
    ordering = ("-pk",)
    fields = ("identifier_type", "short_digest", "reason", "until", "created_at")
    labels = {"find": _("Is it on the list?"), "put": _("Put on the list"), "lift": _("Take off the list")}

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return super().changelist_view(request, {"asks_reason": True, "asks_until": True, **(extra_context or {})})

    def find(self, request: HttpRequest, person: Identifier, _typed: Mapping[str, Any]) -> str:
        listed = suppression.entries_of(workspace_id=workspace_id_of(request), identifier=person)
        if not listed:
            return gettext("It is not on the list.")
        until = (
            gettext("until %(day)s") % {"day": f"{listed[0].until:%Y-%m-%d}"}
            if listed[0].until
            else gettext("for ever")
        )
        told = {"since": f"{listed[0].created_at:%Y-%m-%d}", "until": until, "reason": listed[0].get_reason_display()}
        return gettext("It is on the list since %(since)s, %(until)s: %(reason)s.") % told

    def put(self, request: HttpRequest, person: Identifier, typed: Mapping[str, Any]) -> str:
        reason = reason_in(typed)
        kept = suppression.suppress(
            workspace_id=workspace_id_of(request),
            identifier=person,
            now=timezone.now(),
            reason=SuppressionReason.OPERATOR,
            until=beginning_of(typed["until"]),
        )
        self.log_change(request, kept, reason)
        return gettext(
            "Nobody with this identifier is stored any more. What is stored already stays until it is erased."
        )

    def lift(self, request: HttpRequest, person: Identifier, typed: Mapping[str, Any]) -> str:
        reason = reason_in(typed)
        for entry in suppression.entries_of(workspace_id=workspace_id_of(request), identifier=person):
            self.log_change(request, entry, reason)
        if not suppression.unsuppress(workspace_id=workspace_id_of(request), identifier=person):
            return gettext("It is not on the list.")
        return gettext("Whoever has this identifier may be stored again.")

    deeds = {"find": ("view", find), "put": ("add", put), "lift": ("delete", lift)}

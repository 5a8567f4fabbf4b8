"""Who is shown to no purpose (Art. 18), or not to one of them (Art. 21)."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from cdp import tasks
from cdp.admin import column
from cdp.console.typed_person import TypedPersonAdmin, reason_in, workspace_id_of
from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from cdp.models import Stage
from consent import restriction
from consent.models import Restriction, RestrictionKind

GATED = [purpose for purpose in Purpose if purpose.is_gated]


@admin.register(Restriction)
class RestrictionAdmin(TypedPersonAdmin):
    list_display = ("created_at", "identifier_type", "short_digest", "coloured_kind", "denied", "lifted_at")
    list_filter = ("kind", ("lifted_at", admin.EmptyFieldListFilter))
    ordering = ("-pk",)
    fields = ("identifier_type", "short_digest", "kind", "denied", "created_at", "lifted_at")
    readonly_fields = ("short_digest", "denied")
    labels = {"find": _("Is it restricted?"), "put": _("Restrict"), "lift": _("Lift")}

    @column(description=_("kind"), label={"open": "warning", "lifted": ""}, ordering="kind")
    def coloured_kind(self, row: Restriction) -> tuple[str, str]:
        return ("lifted" if row.lifted_at else "open"), str(row.get_kind_display())

    @column(description=_("denied"))
    def denied(self, row: Restriction) -> str:
        if row.kind == RestrictionKind.RESTRICTION:
            return gettext("every purpose")
        return ", ".join(purpose.value for purpose in Purpose if row.denies & purpose.bit)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        purposes = [purpose.value for purpose in GATED]
        return super().changelist_view(request, {"purposes": purposes, **(extra_context or {})})

    def find(self, request: HttpRequest, person: Identifier, _typed: Mapping[str, Any]) -> str:
        standing = restriction.standing(workspace_id=workspace_id_of(request), identifier=person)
        if not standing:
            return gettext("It is not restricted, and objects to nothing.")
        told = [f"{row.get_kind_display()}: {self.denied(row)} ({row.created_at:%Y-%m-%d})" for row in standing]
        return "; ".join(told)

    def put(self, request: HttpRequest, person: Identifier, typed: Mapping[str, Any]) -> str:
        reason, workspace_id = reason_in(typed), workspace_id_of(request)
        kept = restriction.deny(
            workspace_id=workspace_id, identifier=person, purpose=_purpose(typed), now=timezone.now()
        )
        self.log_change(request, kept, reason)
        _wake(workspace_id)
        return gettext("From now on withheld from: %(denied)s.") % {"denied": self.denied(kept)}

    def lift(self, request: HttpRequest, person: Identifier, typed: Mapping[str, Any]) -> str:
        reason, workspace_id, purpose = reason_in(typed), workspace_id_of(request), _purpose(typed)
        for row in restriction.standing(workspace_id=workspace_id, identifier=person):
            if row.denies == (purpose.bit if purpose else restriction.EVERYTHING):
                self.log_change(request, row, reason)
        lifted = restriction.lift(workspace_id=workspace_id, identifier=person, purpose=purpose, now=timezone.now())
        _wake(workspace_id)
        return gettext("It is lifted.") if lifted else gettext("There was nothing to lift.")

    deeds = {"find": ("view", find), "put": ("add", put), "lift": ("change", lift)}


def _purpose(typed: Mapping[str, Any]) -> Purpose | None:
    return next((purpose for purpose in GATED if purpose.value == typed["purpose"]), None)


def _wake(workspace_id: int) -> None:
    transaction.on_commit(partial(tasks.wake, Stage.SEGMENTS, workspace_id=workspace_id), robust=True)

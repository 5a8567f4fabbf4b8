"""Purposes, notices, and the ledger of what people said."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from cdp.admin import KeptAdmin, LedgerAdmin, WorkspaceForm, column, workspace_of
from cdp.kernel.purposes import Purpose
from consent import services
from consent.models import (
    Breach,
    BreachEvidence,
    ConsentRecord,
    ConsentSettings,
    ConsentState,
    ConsentString,
    ControllerDetails,
    Notice,
    PurposePolicy,
    RetentionEvidence,
    RetentionPeriod,
)
from consent.register_models import TIME_TO_NOTIFY
from consent.schedules import SCHEDULES

SHOWN_OF_DIGEST = 12
STATE_COLOURS = {
    **dict.fromkeys(ConsentState.values, ""),
    ConsentState.GIVEN.value: "success",
    ConsentState.RENEWED.value: "success",
    ConsentState.REFUSED.value: "danger",
    ConsentState.WITHDRAWN.value: "danger",
}


@admin.register(PurposePolicy)
class PurposePolicyAdmin(KeptAdmin):
    list_display = ("purpose", "legal_basis", "scope", "retention_days", "consent_days", "version", "description")
    ordering = ("bit",)
    fields = (
        "purpose", "legal_basis", "scope", "description", "is_special", "data_categories", "retention_days", "consent_days",
        "regimes", "version",
    )  # fmt: skip
    readonly_fields = ("version",)
    fixed_fields = ("purpose",)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        """Another legal basis or scope decides for everybody anew, in this very transaction."""
        obj.bit = Purpose(obj.purpose).bit
        super().save_model(request, obj, form, change)


@admin.register(ConsentRecord)
class ConsentRecordAdmin(LedgerAdmin):
    """Keyed by digests: who said it is seen on the page of the person."""

    list_display = (
        "recorded_at", "identifier_type", "short_digest", "purpose", "recipient", "coloured_state", "occurred_at", "expires_at",
        "is_verified", "source",
    )  # fmt: skip
    list_filter = ("purpose", "state", "is_verified")
    list_select_related = ("source",)
    ordering = ("-pk",)
    fields = (
        "identifier_type", "short_digest", "purpose", "state", "occurred_at", "expires_at", "is_verified", "source",
        "notice", "recipient", "jurisdiction", "rule", "key", "recorded_at",
    )  # fmt: skip
    readonly_fields = ("short_digest",)

    @column(description=_("digest of the identifier"))
    def short_digest(self, record: ConsentRecord) -> str:
        return bytes(record.identifier_digest).hex()[:SHOWN_OF_DIGEST] + "…"

    @column(description=_("state"), label=STATE_COLOURS, ordering="state")
    def coloured_state(self, record: ConsentRecord) -> tuple[str, str]:
        return record.state, str(record.get_state_display())


@admin.register(Notice)
class NoticeAdmin(LedgerAdmin):
    """What people were shown. A text is never changed: another wording is another version."""

    list_display = ("key", "version", "locale", "valid_from")
    list_filter = ("key", "locale")
    ordering = ("key", "-version", "locale")
    fields = ("key", "version", "locale", "text", "valid_from")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return workspace_of(request) is not None and request.user.has_perm("consent.add_notice")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        kept = services.publish_notice(workspace_id=obj.workspace_id, **form.cleaned_data)
        obj.pk = kept.pk


@admin.register(ConsentSettings)
class ConsentSettingsAdmin(KeptAdmin):
    """One row."""

    list_display = ("confirmation_hours", "keeps_addresses", "vendor_id")
    ordering = ("pk",)
    fields = ("confirmation_hours", "keeps_addresses", "vendor_id")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not self.get_queryset(request).exists()


@admin.register(ConsentString)
class ConsentStringAdmin(LedgerAdmin):
    """What strings in events said; those that could not be read say why. The strings themselves are in the events."""

    list_display = ("last_seen_at", "kind", "worth", "permitted", "opted_out", "times_seen")
    list_filter = ("kind", ("unreadable", admin.EmptyFieldListFilter))
    ordering = ("-last_seen_at",)
    fields = (
        "kind", "sha256", "vendor_id", "worth", "permitted", "opted_out", "times_seen", "first_seen_at", "last_seen_at",
    )  # fmt: skip
    readonly_fields = ("sha256", "worth", "permitted", "opted_out")

    @column(description=_("worth"), label={"unread": "danger", "faulty": "warning", "valid": "success"})
    def worth(self, string: ConsentString) -> tuple[str, Any]:
        if string.unreadable:
            return "unread", string.unreadable
        return ("faulty", ", ".join(string.faults)) if string.faults else ("valid", _("valid"))

    @column(description=_("purposes of TCF that the vendor may pursue"))
    def permitted(self, string: ConsentString) -> str:
        return ", ".join(purpose for purpose, is_yes in string.purposes.items() if is_yes)

    @column(description=_("opted out of"))
    def opted_out(self, string: ConsentString) -> str:
        return ", ".join(name for name, is_out in string.opt_outs.items() if is_out)

    @column(description="SHA-256")
    def sha256(self, string: ConsentString) -> str:
        return bytes(string.digest).hex()


@admin.register(ControllerDetails)
class ControllerDetailsAdmin(KeptAdmin):
    """What the register says and no table knows: one row."""

    list_display = ("controller", "contact", "dpo")
    ordering = ("pk",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not self.get_queryset(request).exists()


class RetentionPeriodForm(WorkspaceForm):
    schedule = forms.ChoiceField(
        label=_("schedule"), choices=[(key, f"{key} ({each.table})") for key, each in SCHEDULES.items() if each.column]
    )


@admin.register(RetentionPeriod)
class RetentionPeriodAdmin(KeptAdmin):
    form = RetentionPeriodForm
    list_display = ("schedule", "days", "reason")
    ordering = ("schedule",)
    fields = ("schedule", "days", "reason")
    fixed_fields = ("schedule",)


@admin.register(RetentionEvidence)
class RetentionEvidenceAdmin(LedgerAdmin):
    list_display = ("deleted_at", "schedule", "table", "rows", "partition", "days", "cutoff")
    list_filter = ("schedule",)
    ordering = ("-pk",)
    fields = ("schedule", "table", "purpose", "days", "cutoff", "rows", "partition", "reason", "deleted_at")


class BreachForm(WorkspaceForm):
    def clean(self) -> dict[str, Any]:
        """The clock cannot begin later than now, and past its end the authority must hear why."""
        given = super().clean() or {}
        noticed_at, told_at = given.get("noticed_at"), given.get("authority_told_at")
        if noticed_at and noticed_at > timezone.now():
            self.add_error("noticed_at", _("A breach cannot be noticed later than now."))
        if noticed_at and told_at and told_at > noticed_at + TIME_TO_NOTIFY and not given.get("untold_reason"):
            self.add_error("untold_reason", _("The 72 hours were over: say why the authority was told late."))
        return given


@admin.register(Breach)
class BreachAdmin(KeptAdmin):
    """Every breach, newest first. A breach is never deleted."""

    form = BreachForm
    list_display = ("noticed_at", "nature", "is_high_risk", "clock", "people_told_at")
    list_filter = ("nature", "is_high_risk")
    ordering = ("-pk",)
    fields = (
        "nature", "facts", "effects", "measures", "data_categories", "occurred_at", "noticed_at", "is_high_risk",
        "authority_told_at", "untold_reason", "people_told_at",
    )  # fmt: skip

    @column(description=_("authority"), label={"told": "success", "waits": "warning", "late": "danger", "not": ""})
    def clock(self, breach: Breach) -> tuple[str, Any]:
        if breach.authority_told_at:
            return "told", _("told")
        if breach.untold_reason:
            return "not", _("need not be told")
        hours = int((breach.due_at - timezone.now()).total_seconds() // 3600)
        return ("waits" if hours >= 0 else "late"), _("%(hours)s hours left") % {"hours": hours}


@admin.register(BreachEvidence)
class BreachEvidenceAdmin(LedgerAdmin):
    list_display = ("taken_at", "breach", "people")
    list_select_related = ("breach",)
    ordering = ("-pk",)
    fields = ("breach", "query", "people", "taken_at")

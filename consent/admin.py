"""Purposes, notices, and the ledger of what people said."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from cdp.admin import KeptAdmin, LedgerAdmin, column, workspace_of
from cdp.kernel.purposes import Purpose
from consent import services
from consent.models import ConsentRecord, ConsentState, Notice, PurposePolicy

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
    list_display = ("purpose", "legal_basis", "retention_days", "version", "description")
    ordering = ("bit",)
    fields = (
        "purpose", "legal_basis", "description", "is_special", "data_categories", "retention_days", "regimes", "version",
    )  # fmt: skip
    readonly_fields = ("version",)
    fixed_fields = ("purpose",)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        """Another legal basis decides for everybody anew, in this very transaction."""
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

"""What was refused on arrival: kept whole, with the reason."""

from typing import Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from cdp.admin import LedgerAdmin, WorkspaceRelatedFilter, column, preformatted
from cdp.models import QuarantinedItem

SHOWN_IN_LIST = 120


@admin.register(QuarantinedItem)
class QuarantineAdmin(LedgerAdmin):
    list_display = ("received_at", "source", "code", "message", "beginning", "replayed_at")
    list_filter = (("source", WorkspaceRelatedFilter), "code", ("replayed_at", admin.EmptyFieldListFilter))
    list_select_related = ("source",)
    ordering = ("-pk",)
    fields = ("source", "received_at", "place", "code", "message", "raw_text", "replayed_at")
    readonly_fields = ("raw_text",)

    @column(description=_("as it came"))
    def beginning(self, item: QuarantinedItem) -> str:
        return item.raw[:SHOWN_IN_LIST] + ("…" if len(item.raw) > SHOWN_IN_LIST else "")

    @column(description=_("as it came"))
    def raw_text(self, item: QuarantinedItem) -> Any:
        return preformatted(item.raw)

"""What was asked of which provider, and what it cost."""

from django.contrib import admin

from cdp.admin import LedgerAdmin, WorkspaceRelatedFilter
from enrichment.models import Lookup


@admin.register(Lookup)
class LookupAdmin(LedgerAdmin):
    list_display = ("looked_up_at", "source", "identifier", "provider_version", "is_found", "cost")
    list_filter = (("source", WorkspaceRelatedFilter), "is_found")
    list_select_related = ("source", "identifier")
    ordering = ("-pk",)
    fields = ("source", "identifier", "provider_version", "is_found", "cost", "looked_up_at")

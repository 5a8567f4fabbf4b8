"""Sources and their write keys. A secret is shown once, on the page that answers its creation."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from cdp.admin import KeptAdmin, column, number_in, row_to_change, workspace_of
from cdp.console.keys import show_secret
from cdp.models import Source, WriteKey
from cdp.models.keys import digest_of, new_secret
from identity import services as identity
from segments import zones


@admin.register(Source)
class SourceAdmin(KeptAdmin):
    list_display = ("name", "kind", "trust", "has_unique_people", "is_enabled", "live_keys", "created_at")
    list_filter = ("kind", "is_enabled")
    search_fields = ("name",)
    ordering = ("name",)
    fields = (
        "name", "kind", "default_region", "time_zone", "trust", "has_unique_people", "events_per_second", "burst", "public_keys",
        "is_enabled",
    )  # fmt: skip
    fixed_fields = ("name", "kind")
    change_form_outer_after_template = "console/write_keys.html"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).annotate(keys=Count("write_keys", filter=Q(write_keys__revoked_at=None)))

    def save_model(self, request: HttpRequest, obj: Source, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's signature
        super().save_model(request, obj, form, change)
        if change and "has_unique_people" in form.changed_data:  # one of the rules by which people are told apart
            identity.resolve_all_anew(workspace_id=obj.workspace_id)
        if change and "time_zone" in form.changed_data:
            zones.evaluate_people_of_source(obj)

    @column(description=_("write keys"))
    def live_keys(self, source: Any) -> int:
        return int(source.keys)

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("<int:pk>/keys/", self.admin_site.admin_view(self.create_key), name="cdp_source_create_key"),
            path("<int:pk>/keys/<int:key>/revoke/", self.admin_site.admin_view(self.revoke_key), name="cdp_source_revoke_key"),
        ]  # fmt: skip
        return [*own, *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        keys = WriteKey.objects.filter(source__workspace=workspace_of(request), source=number_in(object_id)).order_by(
            "-pk"
        )[:100]
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "write_keys": keys})

    @method_decorator(require_POST)
    def create_key(self, request: HttpRequest, pk: int) -> HttpResponse:
        source = row_to_change(self, request, pk)
        secret = new_secret("wk")
        WriteKey.objects.create(source=source, digest=digest_of(secret), hint=secret[:10])
        self.log_change(request, source, "write key created")
        return show_secret(self, request, secret, gettext("Write key of %s") % source, source)

    @method_decorator(require_POST)
    def revoke_key(self, request: HttpRequest, pk: int, key: int) -> HttpResponse:
        source = row_to_change(self, request, pk)
        if WriteKey.objects.filter(pk=key, source=source, revoked_at=None).update(revoked_at=timezone.now()):
            self.log_change(request, source, f"write key {key} revoked")
        return HttpResponseRedirect(reverse("admin:cdp_source_change", args=[pk]))

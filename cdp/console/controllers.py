"""Controllers that send requests by OpenDSR. Of a token only the digest is stored, so it is shown once."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from cdp.admin import KeptAdmin, WorkspaceForm
from cdp.console.keys import show_secret
from consent.models import DsrController
from consent.opendsr import controllers


class DsrControllerForm(WorkspaceForm):
    def clean_callback_hosts(self) -> list[str]:
        hosts: list[str] = self.cleaned_data["callback_hosts"]
        if not controllers.are_hosts(hosts):
            raise ValidationError(_("Write example.com or example.com:8443, in lower case."), code="bad_host")
        return hosts


@admin.register(DsrController)
class DsrControllerAdmin(KeptAdmin):
    form = DsrControllerForm
    list_display = ("slug", "hint", "callback_hosts", "email", "is_lenient", "created_at", "revoked_at")
    search_fields = ("slug",)
    ordering = ("slug",)
    fields = ("slug", "callback_hosts", "email", "is_lenient")
    fixed_fields = ("slug", "hint", "created_at")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return (*self.fields, "hint", "created_at", "revoked_at") if obj else self.fields

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        if change:
            super().save_model(request, obj, form, change)
            return
        given = form.cleaned_data
        made, obj.secret = controllers.register_controller(
            workspace_id=obj.workspace_id, slug=given["slug"], hosts=given["callback_hosts"], email=given["email"],
            is_lenient=given["is_lenient"], now=timezone.now(),
        )  # fmt: skip
        obj.pk = made.pk

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return show_secret(self, request, obj.secret, gettext("Token of %s") % obj, obj)

"""API keys. Only a digest is stored, so the secret is shown once: on the page that answers its creation."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from cdp.admin import KeptAdmin, WorkspaceForm
from cdp.models import ApiKey, Scope
from cdp.models.keys import digest_of, new_secret


class ApiKeyForm(WorkspaceForm):
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"), choices=Scope.choices, widget=UnfoldAdminCheckboxSelectMultipleWidget
    )


@admin.register(ApiKey)
class ApiKeyAdmin(KeptAdmin):
    form = ApiKeyForm
    list_display = ("name", "hint", "purpose", "scopes", "created_at", "revoked_at")
    search_fields = ("name",)
    ordering = ("-pk",)
    fields = ("name", "scopes", "purpose")
    fixed_fields = ("purpose", "hint", "created_at")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return (*self.fields, "hint", "created_at", "revoked_at") if obj else self.fields

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        if not change:
            obj.secret = new_secret("ak")
            obj.digest, obj.hint = digest_of(obj.secret), obj.secret[:10]
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return show_secret(self, request, obj.secret, gettext("API key %s") % obj, obj)


def show_secret(page: Any, request: HttpRequest, secret: str, title: str, row: Model) -> HttpResponse:
    opts = page.model._meta  # noqa: SLF001  # Django's documented name
    back = reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[row.pk])
    context = {**page.admin_site.each_context(request), "title": title, "secret": secret, "back": back}
    return TemplateResponse(request, "console/secret.html", context)

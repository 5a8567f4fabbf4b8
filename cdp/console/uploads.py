"""Files to load: chosen, looked at under a guessed mapping, started, and followed on the page of their run."""

from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextareaWidget

from cdp import tasks
from cdp.admin import WorkspaceAdmin, WorkspaceForm, column, number_in, row_to_change
from cdp.console.receiving import REFUSED, place_of
from cdp.console.runs import STATE_COLOURS
from cdp.ingestion import uploads
from cdp.ingestion.files import is_known_kind
from cdp.ingestion.mapping import mapping_in
from cdp.kernel.errors import TesseraError
from cdp.models import RunState, Upload, UploadKind, User


class NewUploadForm(WorkspaceForm):
    """The file is taken over when all else of the form is right, because only its contents tell whether it will do."""

    file = forms.FileField(
        label=_("File"),
        required=False,
        widget=UnfoldAdminFileFieldWidget,
        help_text=_("CSV, TSV, JSON lines, a JSON array or Parquet; the text files also packed as .gz or .zst"),
    )
    request: HttpRequest

    class Meta:
        model = Upload
        fields = ("source", "kind")

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if self.request.META.get(REFUSED):
            largest = filesizeformat(settings.UPLOAD_BYTES)
            raise ValidationError(gettext("The file is larger than %s. Load it with the command instead.") % largest)
        if not file:
            raise ValidationError(gettext("Choose a file."))
        if not is_known_kind(file.name):
            raise ValidationError(gettext("Files end in .csv, .tsv, .jsonl, .ndjson, .json or .parquet."))
        return file

    def clean(self) -> Any:
        cleaned = super().clean()
        if not self.errors:
            file = self.cleaned_data["file"]
            try:
                self.received = uploads.receive_file(
                    content=place_of(file), name=file.name, source=self.cleaned_data["source"],
                    kind=self.cleaned_data["kind"],
                )  # fmt: skip
            except TesseraError as error:
                self.add_error("file", ValidationError(error.message, code=error.code))
        return cleaned


class UploadForm(WorkspaceForm):
    class Meta:
        model = Upload
        fields = ("mapping",)
        widgets = {"mapping": UnfoldAdminTextareaWidget(attrs={"rows": 18, "spellcheck": "false"})}

    def clean_mapping(self) -> str:
        text: str = self.cleaned_data["mapping"]
        try:
            if text.strip():
                mapping_in(text, of_events=self.instance.kind == UploadKind.EVENTS)
        except TesseraError as error:
            raise ValidationError(error.message, code=error.code) from error
        return text


@admin.register(Upload)
class UploadAdmin(WorkspaceAdmin):
    list_display = ("name", "source", "kind", "size_in_words", "state", "uploaded_by", "uploaded_at")
    list_filter = ("kind",)
    list_select_related = ("source", "run", "uploaded_by")
    search_fields = ("name",)
    ordering = ("-pk",)
    actions = None
    change_form_outer_after_template = "console/upload.html"

    @column(description=_("size"), ordering="size")
    def size_in_words(self, upload: Upload) -> str:
        return filesizeformat(upload.size)

    @column(description=_("state"), label={**STATE_COLOURS, "": "warning"})
    def state(self, upload: Upload) -> tuple[str, str]:
        return (upload.run.state, upload.run.get_state_display()) if upload.run else ("", gettext("not started"))

    @column(description=_("run"))
    def run_link(self, upload: Upload) -> Any:
        link = reverse("admin:cdp_run_change", args=[upload.run_id])
        return format_html('<a href="{}" class="console-link">{}</a>', link, upload.run)

    # -- which fields -----------------------------------------------------------------------------------------------

    def get_form(self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002  # Django's signature
        form = super().get_form(request, obj, change, form=UploadForm if obj else NewUploadForm, **kwargs)
        form.request = request
        return form

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ("source", "kind", "file")
        return ("source", "kind", "size_in_words", *(("run_link",) if obj.run_id else ()), "mapping")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        return ("source", "kind", "size_in_words", "run_link", *(("mapping",) if not may_be_mended(obj) else ()))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or may_be_mended(obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_loading = obj is not None and obj.run is not None and obj.run.state == RunState.RUNNING
        return super().has_delete_permission(request, obj) and not is_loading

    # -- writing ----------------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        if change:
            super().save_model(request, obj, form, change)
            return
        made = uploads.add_upload(
            form.received, name=form.cleaned_data["file"].name, source=obj.source, kind=obj.kind,
            by=cast("User", request.user), now=timezone.now(),
        )  # fmt: skip
        obj.__dict__.update(made.__dict__)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        uploads.discard_upload(obj)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return HttpResponseRedirect(page_of_upload(obj))

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        """To the same page: what the changed mapping makes of the rows is seen there."""
        return HttpResponseRedirect(page_of_upload(obj))

    # -- looking and starting ---------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        own = [path("<int:pk>/start/", self.admin_site.admin_view(self.start), name="cdp_upload_start")]
        return [*own, *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        upload = self.get_queryset(request).filter(pk=number_in(object_id)).first()
        shown = preview_of(upload) if upload is not None and may_be_mended(upload) else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})

    @method_decorator(require_POST)
    def start(self, request: HttpRequest, pk: int) -> HttpResponse:
        upload = row_to_change(self, request, pk)
        try:
            run = uploads.start_upload(upload, by=cast("User", request.user), now=timezone.now())
        except TesseraError as error:
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(page_of_upload(upload))
        self.log_change(request, upload, "started")
        transaction.on_commit(tasks.wake_uploads, robust=True)
        return HttpResponseRedirect(reverse("admin:cdp_run_change", args=[run.pk]))


def may_be_mended(upload: Upload) -> bool:
    """Not started yet, or stopped: what was loaded already was loaded under the mapping of then."""
    return upload.run is None or upload.run.state in {RunState.FAILED, RunState.CANCELLED}


def page_of_upload(upload: Upload) -> str:
    return reverse("admin:cdp_upload_change", args=[upload.pk])


def preview_of(upload: Upload) -> dict[str, Any]:
    """What would be stored of the first rows, or why nothing can be."""
    try:
        rows = uploads.preview_rows(upload, now=timezone.now())
    except TesseraError as error:
        return {"problem": error.message}
    refused = sum(bool(row.code) for row in rows)
    return {"previewed": rows, "refused": refused, "of_events": upload.kind == UploadKind.EVENTS}

"""Long pieces of work, and subjects that the pipeline set aside after an error."""

from copy import copy
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from cdp.admin import LedgerAdmin, column, number_in, profile_link, workspace_of
from cdp.console import words
from cdp.ingestion import loading
from cdp.models import OutboxRow, QualityReport, Run, RunState, Stage
from identity.undoing import KIND_OF_RUN

REFRESH_SECONDS = 2
OF_FILES = (loading.RECORDS, loading.EVENTS)
CANCELLABLE = (*OF_FILES, KIND_OF_RUN)
STATE_COLOURS = {
    RunState.RUNNING.value: "info",
    RunState.DONE.value: "success",
    RunState.FAILED.value: "danger",
    RunState.CANCELLED.value: "warning",
}


@admin.register(Run)
class RunAdmin(LedgerAdmin):
    list_display = ("what", "on_what", "coloured_state", "counts_in_words", "started_at", "finished_at")
    list_filter = ("state", "kind")
    search_fields = ("subject",)
    ordering = ("-pk",)
    fields = (
        "what", "on_what", "state", "counts_in_words", "position", "error", "asked_by", "started_at", "heartbeat_at",
        "finished_at",
    )  # fmt: skip
    readonly_fields = ("what", "on_what", "counts_in_words")
    change_form_outer_after_template = "console/run.html"

    @column(description=_("kind"), ordering="kind")
    def what(self, run: Run) -> Any:
        return words.run_in_words(run.kind)

    @column(description=_("subject"), ordering="subject")
    def on_what(self, run: Run) -> Any:
        return words.subject_in_words(run.subject)

    @column(description=_("state"), label=STATE_COLOURS, ordering="state")
    def coloured_state(self, run: Run) -> tuple[str, str]:
        return run.state, str(run.get_state_display())

    @column(description=_("counts"))
    def counts_in_words(self, run: Run) -> str:
        return words.counted(run.counts)

    def get_urls(self) -> list[URLPattern]:
        own = [path("<int:pk>/cancel/", self.admin_site.admin_view(self.cancel), name="cdp_run_cancel")]
        return [*own, *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        """While it runs the page asks for itself again."""
        run = self.get_queryset(request).select_related("upload").filter(pk=number_in(object_id)).first()
        shown = progress_of(run) if run is not None else {}
        may_cancel = request.user.has_perm("cdp.change_run")
        is_undoable = run is not None and run.kind == KIND_OF_RUN
        context = {"may_cancel": may_cancel, "is_undoable": is_undoable, **(extra_context or {}), **shown}
        answer = super().change_view(request, object_id, form_url, context)
        if run is not None and run.state == RunState.RUNNING:
            answer.headers["Refresh"] = str(REFRESH_SECONDS)
        return answer

    @method_decorator(require_POST)
    def cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What works on it finds out by itself."""
        if workspace_of(request) is None or not request.user.has_perm("cdp.change_run"):
            raise PermissionDenied
        chosen = self.get_queryset(request).filter(pk=pk, kind__in=CANCELLABLE).values("pk")
        if Run.objects.filter(pk__in=chosen).cancel(now=timezone.now()):
            said = gettext("Cancelled: it stops as soon as what it is at is whole.")
            self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:cdp_run_change", args=[pk]))


def progress_of(run: Run) -> dict[str, Any]:
    """How much of an uploaded file is read, in percent; of other runs only the counts are known."""
    upload = getattr(run, "upload", None)
    share = min(100, round(100 * run.bookmark.get("offset", 0) / upload.size)) if upload and upload.size else None
    share = 100 if run.state == RunState.DONE and upload else share
    is_of_file = run.kind in OF_FILES
    return {
        "upload": upload,
        "share": share,
        "counts": words.counts_in_words(run.counts),
        "is_cancellable": run.kind in CANCELLABLE and run.state == RunState.RUNNING,
        "refused": urlencode({"place": f"{file_of(run)}:*"}) if is_of_file else "",
        "report": QualityReport.objects.filter(run=run).values_list("pk", flat=True).first(),
    }


def file_of(run: Run) -> str:
    """What the file of a load is called, which ends its subject."""
    upload = getattr(run, "upload", None)
    return upload.name if upload else run.subject.split(" ", 2)[-1]


@admin.register(OutboxRow)
class SetAsideAdmin(LedgerAdmin):
    """Ids and the class of the error alone: what the subject holds is seen on its own page."""

    list_display = ("shown_stage", "shown_subject", "shown_cause", "shown_error", "shown_failed_at")
    list_filter = ("stage",)
    ordering = ("pk",)
    actions = ("put_back",)
    fields = list_display
    readonly_fields = list_display

    def __init__(self, model: type[OutboxRow], admin_site: Any) -> None:
        """The table holds all that waits; this page shows those alone that failed, and says so."""
        super().__init__(model, admin_site)
        self.opts = copy(model._meta)  # noqa: SLF001  # Django's documented name
        self.opts.verbose_name, self.opts.verbose_name_plural = _("subject set aside"), _("subjects set aside")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).exclude(failed_at=None)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes = super().get_changelist_instance(request)
        changes.opts = self.opts
        return changes

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return super().changelist_view(request, {**(extra_context or {}), "opts": self.opts})

    @column(description=_("stage"), ordering="stage")
    def shown_stage(self, row: OutboxRow) -> str:
        return row.get_stage_display()

    @column(description=_("subject"))
    def shown_subject(self, row: OutboxRow) -> Any:
        """A batch, an identifier, or a profile: only the last has a page."""
        if row.subject_id is None or row.stage in {Stage.INGESTION, Stage.IDENTITY}:
            return row.subject_id
        return profile_link(row.subject_id)

    @column(description=_("cause"), ordering="cause")
    def shown_cause(self, row: OutboxRow) -> str:
        return row.get_cause_display()

    @column(description=_("error"), ordering="error")
    def shown_error(self, row: OutboxRow) -> str:
        return row.error

    @column(description=_("set aside at"), ordering="failed_at")
    def shown_failed_at(self, row: OutboxRow) -> Any:
        return row.failed_at

    def has_put_back_permission(self, request: HttpRequest) -> bool:
        return workspace_of(request) is not None and request.user.has_perm("cdp.change_outboxrow")

    @admin.action(description=_("Put back, to be tried again"), permissions=["put_back"])
    def put_back(self, request: HttpRequest, rows: QuerySet[OutboxRow]) -> None:
        number = rows.update(failed_at=None, error="")
        told = ngettext("%d subject was put back.", "%d subjects were put back.", number) % number
        self.message_user(request, told, messages.SUCCESS)

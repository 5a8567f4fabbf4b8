"""Requests of people: how long there is, what happened, and the officer's next step."""

from collections.abc import Callable
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from cdp import tasks
from cdp.admin import LedgerAdmin, column, number_in
from cdp.console import mentions as mentions_page
from cdp.ingestion.rectifying import normal_values
from cdp.kernel.errors import TesseraError
from consent import answers, execution, packaging, requests
from consent.deadlines import days_left
from consent.models import DataPackage, DataRequest, RequestWork
from consent.request_states import OPEN
from consent.rights import Right

MAY_ANSWER: Final = "consent.change_datarequest"
SOON_DAYS: Final = 7
URGENCY_COLOURS: Final = {"late": "danger", "soon": "warning", "far": "success", "closed": ""}
WORK_WORDS: Final = {
    execution.WorkState.WAITING: (_("It waits for the worker."), "is-wait"),
    execution.WorkState.UNDER_WAY: (_("It is being carried out."), "is-wait"),
    execution.WorkState.FAILED: (_("It failed, and is tried again."), "is-no"),
    execution.WorkState.BY_HAND: (_("A human must do it: note here what came of it."), "is-wait"),
    execution.WorkState.DONE: (_("It is done."), "is-yes"),
}
STATE_COLOURS: Final = {"RECEIVED": "warning", "IN_PROGRESS": "info", "COMPLETED": "success", "REFUSED": "danger"}

# The service of each button, its words, and the name under which the service takes what was written beside it.
STEPS: Final[dict[str, tuple[Callable[..., Any], Any, str]]] = {
    "verify": (requests.verify_by_hand, _("Verified by hand"), "how"),
    "doubt": (requests.doubt_identity, _("Identity is doubted"), "reason"),
    "settle": (requests.settle_doubt, _("The doubt is over"), ""),
    "start": (requests.start_request, _("Begin to answer"), ""),
    "carry_out": (requests.start_request, _("Carry out"), ""),
    "correct": (requests.start_request, _("Carry out with these values"), "corrections"),
    "try_again": (requests.carry_out_again, _("Carry out now"), ""),
    "outcome": (requests.note_outcome, _("Done by hand"), "outcome"),
    "extend": (requests.extend_request, _("The person was told: two more months"), "reason"),
    "refuse": (requests.refuse_request, _("The person was told: refused"), "reason"),
    "duplicate": (requests.mark_duplicate, _("Duplicate of number"), "of"),
    "take_back": (requests.take_back, _("The person no longer asks"), ""),
    "complete": (requests.complete_request, _("Done, and the person was told"), ""),
}


def corrections_in(text: str, found: DataRequest) -> dict[str, Any]:
    """`city: Paris; given_name: Ada`. A value has no semicolon."""
    pairs = [part.partition(":") for part in text.split(";") if part.strip()]
    if not pairs or not all(name.strip() and value.strip() for name, _colon, value in pairs):
        raise UnreadableCorrectionsError
    written = {name.strip(): value.strip() for name, _colon, value in pairs}
    return normal_values(written, workspace=found.workspace)


def as_written(text: str, _: DataRequest) -> str:
    return text


class UnreadableCorrectionsError(TesseraError):
    """Write the right values as `city: Paris; given_name: Ada`."""

    code = "unreadable_corrections"


READ: Final[dict[str, Callable[[str, DataRequest], Any]]] = {
    "of": lambda text, _: number_in(text.strip()),
    "corrections": corrections_in,
}


class WrittenForm(forms.Form):
    """What was written beside the button."""

    written = forms.CharField(required=False, max_length=5_000)


@admin.register(DataRequest)
class DataRequestAdmin(LedgerAdmin):
    list_display = ("pk", "kind", "coloured_state", "days", "due_at", "verification", "received_at")
    list_display_links = ("pk", "kind")
    list_filter = ("state", "kind")
    ordering = ("closed_at", "due_at")
    change_form_outer_after_template = "console/data_request.html"
    fields = (
        "kind", "coloured_state", "who", "verification", "verified_at", "received_at", "first_due_at", "due_at", "days",
        "notified_at", "extension_reason", "refusal_reason", "duplicate_of", "closed_at",
    )  # fmt: skip
    readonly_fields = ("who", "days", "coloured_state")

    @column(description=_("state"), label=STATE_COLOURS, ordering="state")
    def coloured_state(self, request: DataRequest) -> tuple[str, str]:
        return request.state, str(request.get_state_display())

    @column(description=_("time left"), label=URGENCY_COLOURS, ordering="due_at")
    def days(self, request: DataRequest) -> tuple[str, str]:
        """Days of the calendar; words say it as well as the colour."""
        if request.closed_at is not None:
            return "closed", gettext("closed")
        left = days_left(request.due_at, timezone.now(), timezone.get_current_timezone())
        if left < 0:
            return "late", ngettext("%d day late", "%d days late", -left) % -left
        return "soon" if left <= SOON_DAYS else "far", ngettext("%d day", "%d days", left) % left

    @column(description=_("who asks"))
    def who(self, request: DataRequest) -> str:
        try:
            return ", ".join(f"{one.type}:{one.value}" for one in requests.identifiers_of(request))
        except TesseraError as error:
            return error.message

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                "<int:pk>/step/<str:name>/", self.admin_site.admin_view(self.take_step), name="consent_datarequest_step"
            ),
            path("<int:pk>/link/", self.admin_site.admin_view(self.link), name="consent_datarequest_link"),
            path("<int:pk>/mentions/", self.admin_site.admin_view(self.mentions), name="consent_datarequest_mentions"),
        ]
        return [*own, *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        found = self.get_queryset(request).filter(pk=number_in(object_id)).first()
        shown = facts_about(found) if found is not None and self.has_view_permission(request) else {}
        may_answer = request.user.has_perm(MAY_ANSWER)
        context = {**(extra_context or {}), **shown, "may_answer": may_answer}
        return super().change_view(request, object_id, form_url, context)

    @method_decorator(require_POST)
    def take_step(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        found = self._to_answer(request, pk)
        written = WrittenForm(request.POST)
        if name not in STEPS or not written.is_valid():
            raise PermissionDenied
        service, _words, takes = STEPS[name]
        text = written.cleaned_data["written"]
        try:
            given = {takes: READ.get(takes, as_written)(text, found)} if takes else {}
            service(**_named(request, found), **given)
        except TesseraError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            self.log_change(request, found, name)
            transaction.on_commit(tasks.wake_rights, robust=True)
        return HttpResponseRedirect(page_of(found))

    @method_decorator(require_POST)
    def link(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The link is shown once, to be given to the person."""
        found = self._to_answer(request, pk)
        try:
            token, _package = packaging.make_link(**_named(request, found))
        except TesseraError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            self.log_change(request, found, "link")
            address = request.build_absolute_uri(reverse("data_package", args=[token]))
            told = gettext("Give this link to the person alone. It lasts 7 days and 3 downloads: %(address)s")
            self.message_user(request, told % {"address": address}, messages.SUCCESS)
        return HttpResponseRedirect(page_of(found))

    def mentions(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What others said of the person: looked for, ticked, and blotted out."""
        found = self._to_answer(request, pk)
        page = mentions_page.answer_to(request, found, _named(request, found))
        if page is None:
            self.log_change(request, found, "mentions")
            return HttpResponseRedirect(page_of(found))
        context = {**self.admin_site.each_context(request), "opts": self.opts, "original": found, **page}
        return TemplateResponse(request, "console/mentions.html", context)

    def _to_answer(self, request: HttpRequest, pk: int) -> DataRequest:
        if not request.user.has_perm(MAY_ANSWER):
            raise PermissionDenied
        found: DataRequest = get_object_or_404(self.get_queryset(request), pk=pk)
        return found


HINTS: Final = {
    "of": _("number"),
    "corrections": _("city: Paris; given_name: Ada"),
    "outcome": _("outcome"),
}


def _named(request: HttpRequest, found: DataRequest) -> dict[str, Any]:
    by = f"user:{request.user.pk}"
    return {"workspace_id": found.workspace_id, "request_id": found.pk, "by": by, "now": timezone.now()}


def page_of(found: DataRequest) -> str:
    return reverse("admin:consent_datarequest_change", args=[found.pk])


def facts_about(found: DataRequest) -> dict[str, Any]:
    now = timezone.now()
    named = {"workspace_id": found.workspace_id, "request_id": found.pk}
    has_work = RequestWork.objects.filter(request=found).exists()
    work = execution.work_of(**named, now=now) if has_work else None
    answer = answers.answer_to(**named)
    return {
        "steps": list(found.steps.order_by("pk")),
        "doubts": list(found.doubts.order_by("pk")),
        "package": DataPackage.objects.filter(request=found).first(),
        "is_searchable": bool(found.verification) and found.state == DataRequest.State.IN_PROGRESS,
        "work": work,
        "work_words": WORK_WORDS[work.state] if work else None,
        "told": answer,
        "recipients": [(each.destination, answers.words_for(each)) for each in answer.recipients],
        "next_steps": [
            (name, words, bool(takes), HINTS.get(takes, _("reason")))
            for name, (_service, words, takes) in STEPS.items()
            if name in possible(found)
        ],
    }


def possible(found: DataRequest) -> set[str]:
    """The buttons that make sense now. The services refuse the others all the same."""
    if found.state not in OPEN:
        return set()
    is_doubted = found.doubts.filter(ended_at=None).exists()
    names = {"refuse", "take_back"} | ({"extend"} if found.notified_at is None else set())
    if not found.verification:
        return names | {"verify", "settle" if is_doubted else "doubt"}
    if found.state == DataRequest.State.RECEIVED:
        return names | {"duplicate"} | beginnings(found)
    if Right(found.kind) in requests.ANSWERED_BY_PACKAGE:
        is_built = DataPackage.objects.filter(request=found).exclude(built_at=None).exists()
        return names | {"duplicate"} | ({"complete"} if is_built else set())
    return of_work(found, names)


def beginnings(found: DataRequest) -> set[str]:
    """A rectification that came without values can be given them, or is done by hand."""
    if Right(found.kind) in requests.ANSWERED_BY_PACKAGE:
        return {"start"}
    is_uncorrected = found.kind == Right.RECTIFICATION and found.details is None
    return {"carry_out", "correct"} if is_uncorrected else {"carry_out"}


def of_work(found: DataRequest, names: set[str]) -> set[str]:
    """What is done is completed; what is being done can be neither refused nor taken back."""
    work = RequestWork.objects.filter(request=found).first()
    if work is None:
        return names | {"try_again", "duplicate"}
    if work.done_at:
        return {"complete"} | (names & {"extend"})
    return names | {"duplicate"} | ({"outcome"} if work.is_by_hand else {"try_again"} if work.failures else set())

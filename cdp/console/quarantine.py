"""What was refused on arrival: looked through, looked at, mended and replayed, or discarded."""

import hashlib
import json
import re
from typing import Any, Final, cast

import yaml
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.views import ChangeList

from cdp import tasks
from cdp.admin import LedgerAdmin, column, number_in, workspace_of
from cdp.console.remedies import ChosenForm, RemedyForm
from cdp.ingestion import quarantine, replaying
from cdp.ingestion.mending import write_mend
from cdp.kernel.errors import TesseraError
from cdp.models import OrderKind, QuarantinedItem, QuarantineOrder, Run, RunState, User

SHOWN_IN_LIST: Final = 120
PREVIEWED: Final = 1_000  # somebody waits for the page
SHOWN_DIFFERENCES: Final = 20
LATEST_ORDERS: Final = 5
MAY_MEND: Final = "cdp.change_quarantineditem"

_NAMED = re.compile(r"[`']([^`']+)[`']")


class QuarantineList(ChangeList):
    """Filtered by the form above it, which has the same words as the page that mends."""

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        others = super().get_filters_params(params)
        return {name: value for name, value in others.items() if name not in ChosenForm.base_fields}

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        return chosen_form(request).listed(rows)


@admin.register(QuarantinedItem)
class QuarantineAdmin(LedgerAdmin):
    list_display = ("received_at", "source", "place", "code", "message", "beginning")
    list_select_related = ("source",)
    list_before_template = "console/quarantine_list.html"
    change_form_outer_before_template = "console/quarantine_item.html"
    ordering = ("-pk",)
    fields = (
        "source", "received_at", "place", "code", "message", "tried_code", "tried_at", "replayed_at", "discarded_at",
        "run",
    )  # fmt: skip
    actions = ("mend_these",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """What did not happen is not told."""
        return tuple(name for name in self.fields if getattr(obj, name, None))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return QuarantineList

    @column(description=_("as it came"))
    def beginning(self, item: QuarantinedItem) -> str:
        return item.raw[:SHOWN_IN_LIST] + ("…" if len(item.raw) > SHOWN_IN_LIST else "")

    # -- looking ----------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("mend/", self.admin_site.admin_view(self.mend), name="cdp_quarantineditem_mend"),
            path("mend/preview/", self.admin_site.admin_view(self.preview), name="cdp_quarantineditem_preview"),
            path("run/<int:pk>/", self.admin_site.admin_view(self.show_run), name="cdp_quarantineditem_run"),
        ]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        workspace = workspace_of(request)
        if workspace is None:
            return super().changelist_view(request, extra_context)
        shown = {
            "codes": quarantine.waiting_by_code(workspace_id=workspace.pk),
            "orders": latest_orders(workspace.pk),
            "chosen_form": chosen_form(request),
            "may_mend": may_mend(request),
        }
        return super().changelist_view(request, {**(extra_context or {}), **shown})

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        item = self.get_queryset(request).select_related("reading").filter(pk=number_in(object_id)).first()
        shown = {**facts_about(item), "may_mend": may_mend(request)} if item else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})

    def has_mend_permission(self, request: HttpRequest) -> bool:
        return may_mend(request)

    @admin.action(description=_("Mend, replay or discard"), permissions=["mend"])
    def mend_these(self, request: HttpRequest, rows: QuerySet[QuarantinedItem]) -> HttpResponse:
        """The chosen ones of this page, or all that the filters leave."""
        if request.POST.get("select_across") == "1":
            query = request.GET.urlencode()
        else:
            query = "ids=" + ",".join(str(key) for key in rows.values_list("pk", flat=True))
        return HttpResponseRedirect(f"{reverse('admin:cdp_quarantineditem_mend')}?{query}")

    # -- mending ----------------------------------------------------------------------------------------------------

    def mend(self, request: HttpRequest) -> HttpResponse:
        """The page that says which items, how they are mended, and what would become of them."""
        check_may_mend(request)
        chosen, remedy = chosen_form(request), RemedyForm(request.POST if request.method == "POST" else {})
        order = {"replay": self._replay, "discard": self._discard}.get(request.POST.get("do", ""))
        if order and chosen.is_valid() and remedy.is_valid():
            if request.POST.get("looked") != digest_of(chosen, remedy):
                self.message_user(request, gettext("Look at what would become of them, then say it again."))
            elif answer := order(request, chosen, remedy):
                return answer
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Mend and replay"),
            "opts": self.opts,
            "chosen_form": chosen,
            "remedy": remedy,
            **seen(chosen, remedy),
        }
        return TemplateResponse(request, "console/quarantine_mend.html", context)

    @method_decorator(require_POST)
    def preview(self, request: HttpRequest) -> HttpResponse:
        """The part of the page below the operations, while somebody writes them."""
        check_may_mend(request)
        chosen, remedy = chosen_form(request), RemedyForm(request.POST)
        return render(request, "console/quarantine_preview.html", {"remedy": remedy, **seen(chosen, remedy)})

    def _replay(self, request: HttpRequest, chosen: ChosenForm, remedy: RemedyForm) -> HttpResponse | None:
        return self._ordered(
            request,
            lambda: replaying.order_replay(
                workspace_id=chosen.workspace_id, chosen=chosen.chosen(), correction=remedy.correction(),
                asked_by=cast("User", request.user), now=timezone.now(),
            ),
        )  # fmt: skip

    def _discard(self, request: HttpRequest, chosen: ChosenForm, remedy: RemedyForm) -> HttpResponse | None:
        reason = remedy.cleaned_data["reason"]
        if not reason:
            remedy.add_error("reason", gettext("Say why: it stays on record."))
            return None
        return self._ordered(
            request,
            lambda: replaying.order_discard(
                workspace_id=chosen.workspace_id, chosen=chosen.chosen(), reason=reason,
                asked_by=cast("User", request.user), now=timezone.now(),
            ),
        )  # fmt: skip

    def _ordered(self, request: HttpRequest, order: Any) -> HttpResponse | None:
        try:
            run: Run = order()
        except TesseraError as error:
            self.message_user(request, error.message, messages.ERROR)
            return None
        wake_on_commit(run.workspace_id)
        return redirect("admin:cdp_quarantineditem_run", run.pk)

    # -- the run ----------------------------------------------------------------------------------------------------

    def show_run(self, request: HttpRequest, pk: int) -> HttpResponse:
        """How far it has come. The button stops it, or lets it go on."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        orders = QuarantineOrder.objects.filter(workspace=workspace_of(request)).select_related("run__asked_by")
        order = get_object_or_404(orders, pk=pk)
        if request.method == "POST":
            check_may_mend(request)
            self._steer(request, order)
            return redirect("admin:cdp_quarantineditem_run", pk)
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Replay") if order.kind == OrderKind.REPLAY else gettext("Discarding"),
            "opts": self.opts,
            "may_mend": may_mend(request),
            **progress_of(order),
        }
        return TemplateResponse(request, "console/quarantine_run.html", context)

    def _steer(self, request: HttpRequest, order: QuarantineOrder) -> None:
        steer = replaying.resume if request.POST.get("do") == "resume" else replaying.cancel
        try:
            steer(workspace_id=order.workspace_id, run_id=order.pk, now=timezone.now())
        except TesseraError as error:
            self.message_user(request, error.message, messages.ERROR)
        wake_on_commit(order.workspace_id)


def chosen_form(request: HttpRequest) -> ChosenForm:
    workspace = workspace_of(request)
    if workspace is None:
        raise PermissionDenied
    is_sent = request.method == "POST" and not request.POST.get("action")  # the list's own actions say ids otherwise
    return ChosenForm(request.POST if is_sent else request.GET, workspace_id=workspace.pk)


def latest_orders(workspace_id: int) -> list[QuarantineOrder]:
    orders = QuarantineOrder.objects.filter(workspace=workspace_id).select_related("run__asked_by")
    return list(orders.order_by("-pk")[:LATEST_ORDERS])


def may_mend(request: HttpRequest) -> bool:
    return workspace_of(request) is not None and request.user.has_perm(MAY_MEND)


def check_may_mend(request: HttpRequest) -> None:
    if not may_mend(request):
        raise PermissionDenied


def wake_on_commit(workspace_id: int) -> None:
    transaction.on_commit(lambda: tasks.wake_quarantine(workspace_id=workspace_id), robust=True)


def seen(chosen: ChosenForm, remedy: RemedyForm) -> dict[str, Any]:
    """What would become of the first of them; nothing while the operations cannot be read."""
    if not (chosen.is_valid() and remedy.is_valid()):
        return {}
    preview = replaying.preview(
        workspace_id=chosen.workspace_id, chosen=chosen.chosen(), correction=remedy.correction(), most=PREVIEWED,
        shown=SHOWN_DIFFERENCES,
    )  # fmt: skip
    return {
        "preview": preview,
        "looked": digest_of(chosen, remedy),
        "codes": preview.refused_by_code.most_common(),
        "items": preview.as_json()["items"],
    }


def digest_of(chosen: ChosenForm, remedy: RemedyForm) -> str:
    """Nobody orders what they have not looked at: the page that shows it carries this, and the order repeats it."""
    correction = remedy.correction()
    said = [chosen.chosen().as_json(), correction.mend.written, correction.mapping]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def progress_of(order: QuarantineOrder) -> dict[str, Any]:
    counts = order.run.counts
    done, chosen = counts.get("read", 0), counts.get("chosen", 0)
    return {
        "order": order,
        "run": order.run,
        "is_running": order.run.state == RunState.RUNNING,
        "can_go_on": order.run.state in {RunState.FAILED, RunState.CANCELLED},
        "counts": counts,
        "percent": 100 if order.run.state == RunState.DONE else min(100 * done // max(chosen, 1), 100),
        "mend": write_mend(order.mend) if order.mend else "",
        "mapping": yaml.safe_dump(order.mapping, allow_unicode=True) if order.mapping else "",
    }


def facts_about(item: QuarantinedItem) -> dict[str, Any]:
    reading = json.dumps(item.reading.body, ensure_ascii=False, indent=2) if item.reading else ""
    start, end = place_of_error(item.raw, item.message)
    marked = {"before": item.raw[:start], "at": item.raw[start:end], "after": item.raw[end:]}
    is_waiting = item.replayed_at is None and item.discarded_at is None
    return {"item": item, "reading": reading, "is_waiting": is_waiting, **marked}


def place_of_error(raw: str, message: str) -> tuple[int, int]:
    """Where to look: the character at which JSON ends to be JSON, or the name that the reason names."""
    for name in _NAMED.findall(message):
        found = re.search(
            re.escape(json.dumps(name, ensure_ascii=False)) + r"\s*:\s*(\"(?:[^\"\\]|\\.)*\"|[^,}\]\s]*)", raw
        )
        if found:
            return found.span()
    try:
        json.loads(raw)
    except json.JSONDecodeError as error:
        return error.pos, error.pos + 1
    except (ValueError, RecursionError):
        pass
    return 0, 0

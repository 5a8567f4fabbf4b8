"""The desk of a steward: one pair after the other, by keyboard; many at once; and how the stewards work."""

from collections.abc import Callable
from typing import Any, Final, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from cdp.admin import KeptAdmin, LedgerAdmin, column, number_in, workspace_of
from cdp.kernel.errors import TesseraError
from cdp.models import User
from identity.models import Answer, Look, ReviewPair, ReviewRules
from identity.review import bulk, queue, statistics, verdicts
from identity.review.showing import shown

PAGE: Final = "identity_reviewpair"
MOST_COUNTED: Final = 1_000
MOST_BESIDES: Final = 1_000
FIELD: Final = {"class": "console-field", "step": "any"}

REFUSALS: Final = {
    "unknown_pair": _("This pair is no question any more: take the next one."),
    "judged_already": _("Somebody has judged this pair: take the next one."),
    "claimed_by_another": _("Another steward looks at this pair just now: take the next one."),
    "second_steward_needed": _("You proposed this merge: somebody else must confirm it."),
    "nothing_to_undo": _("You have given no answer that could be taken back."),
    "changed_meanwhile": _("Other pairs wait now than those that you looked at: nothing was judged. Look again."),
}


class BulkForm(forms.Form):
    """Which pairs are meant, and what is to be said of them."""

    answer = forms.ChoiceField(
        label=_("answer"), choices=[(one.value, one.label) for one in (Answer.SAME, Answer.NOT_SAME)],
        widget=forms.Select(attrs=FIELD),
    )  # fmt: skip
    least = forms.FloatField(label=_("match weight from"), required=False, widget=forms.NumberInput(attrs=FIELD))
    most = forms.FloatField(label=_("match weight below"), required=False, widget=forms.NumberInput(attrs=FIELD))

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        if said.get("least") is None and said.get("most") is None:
            raise forms.ValidationError(gettext("Give at least one weight."))
        return said


@admin.register(ReviewPair)
class ReviewPairAdmin(LedgerAdmin):
    """The list is for looking; *Review* opens the desk, where the pair that is worth most comes first."""

    list_display = ("left_name", "right_name", "shown_weight", "shown_opinion", "shown_priority", "look", "created_at")
    list_display_links = ("left_name", "right_name")
    list_filter = (("judgement", admin.EmptyFieldListFilter), "look")
    list_select_related = ("left", "right", "model")
    list_before_template = "console/review_list.html"
    ordering = ("-priority", "pk")

    @column(description=_("one side"))
    def left_name(self, pair: ReviewPair) -> str:
        return str(pair.left)

    @column(description=_("other side"))
    def right_name(self, pair: ReviewPair) -> str:
        return str(pair.right)

    @column(description=_("match weight"), ordering="weight")
    def shown_weight(self, pair: ReviewPair) -> str:
        return f"{pair.weight:+.1f}"

    @column(description=_("second opinion"), ordering="opinion")
    def shown_opinion(self, pair: ReviewPair) -> str:
        return "–" if pair.opinion is None else f"{pair.opinion:.0%}"

    @column(description=_("priority"), ordering="priority")
    def shown_priority(self, pair: ReviewPair) -> str:
        return f"{pair.priority:.2f}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("left", "right", "model", "judgement", "proposed_by")

    def get_urls(self) -> list[URLPattern]:
        own: dict[str, Any] = {
            "desk/": self.desk, "desk/next/": self.next_pair, "desk/undo/": self.undo, "desk/release/": self.release,
            "bulk/": self.bulk, "statistics/": self.statistics, "<int:pk>/judge/": self.judge,
            "<int:pk>/split/": self.split, "<int:pk>/shown/": self.shown_pair,
        }  # fmt: skip
        return [
            *(path(route, self.admin_site.admin_view(view), name=_name(view)) for route, view in own.items()),
            *super().get_urls(),
        ]

    # -- the desk ---------------------------------------------------------------------------------------------------

    def desk(self, request: HttpRequest) -> HttpResponse:
        """The pair that this steward should judge next; it is theirs for ten minutes."""
        steward = steward_of(request)
        pair_id = queue.claim_next(workspace_id=_workspace(request), steward=steward, now=timezone.now())
        return self._page(request, self._pair(request, pair_id) if pair_id else None)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self._page(request, self._pair(request, number_in(object_id)))

    def shown_pair(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self._part(request, self._pair(request, pk))

    @method_decorator(require_POST)
    def next_pair(self, request: HttpRequest) -> HttpResponse:
        """One more pair, fetched while the steward looks at another: 204 when nothing else waits."""
        besides = [number_in(one) for one in request.POST.get("besides", "").split(",")[-MOST_BESIDES:]]
        pair_id = queue.claim_next(
            workspace_id=_workspace(request), steward=steward_of(request), now=timezone.now(), besides=besides
        )
        return self._part(request, self._pair(request, pair_id)) if pair_id else HttpResponse(status=204)

    @method_decorator(require_POST)
    def judge(self, request: HttpRequest, pk: int) -> HttpResponse:
        steward = steward_of(request)
        answer = request.POST.get("answer")
        if answer not in Answer.values:
            return _refused(request, verdicts.UnknownPairError())

        def give() -> str:
            given = verdicts.give_verdict(
                workspace_id=_workspace(request), pair_id=pk, answer=Answer(answer), steward=steward, now=timezone.now()
            )
            return told(given)

        return _done(request, give)

    @method_decorator(require_POST)
    def split(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Part a person where two of their identifiers hold together; the question stays."""
        steward, pair = steward_of(request), self._pair(request, pk)
        left, _, right = request.POST.get("edge", "").partition("-")

        def part() -> str:
            verdicts.split_here(
                workspace_id=pair.workspace_id, left_id=number_in(left), right_id=number_in(right), steward=steward,
                now=timezone.now(),
            )  # fmt: skip
            return gettext("Split. The two people part in a moment.")

        return _done(request, part)

    @method_decorator(require_POST)
    def undo(self, request: HttpRequest) -> HttpResponse:
        """Take the last answer back. The pair is shown again."""
        steward = steward_of(request)
        try:
            pair = verdicts.undo_last(workspace_id=_workspace(request), steward=steward, now=timezone.now())
        except TesseraError as error:
            return _refused(request, error)
        if is_fetched(request):
            return JsonResponse({"message": gettext("Taken back."), "pair": pair.pk})
        return HttpResponseRedirect(reverse(f"admin:{PAGE}_change", args=[pair.pk]))

    @method_decorator(require_POST)
    def release(self, request: HttpRequest) -> HttpResponse:
        """The steward leaves: what they have not judged is anybody's."""
        queue.release(workspace_id=_workspace(request), steward=steward_of(request))
        return HttpResponse(status=204)

    # -- many at once, and statistics -------------------------------------------------------------------------------

    def bulk(self, request: HttpRequest) -> HttpResponse:
        steward, form = steward_of(request), BulkForm(request.GET or request.POST or None)
        seen = None
        if form.is_valid():
            meant: dict[str, Any] = {
                "workspace_id": _workspace(request), "answer": Answer(form.cleaned_data["answer"]), "steward": steward,
                "chosen": bulk.Chosen(form.cleaned_data["least"], form.cleaned_data["most"]), "now": timezone.now(),
            }  # fmt: skip
            if request.method == "POST" and request.POST.get("looked"):
                self._judge_all(request, meant)
            seen = bulk.preview(**meant)
        return self._render(
            request, "console/review_bulk.html", title=gettext("Judge many pairs"), form=form, seen=seen
        )

    def _judge_all(self, request: HttpRequest, meant: dict[str, Any]) -> None:
        try:
            done = bulk.judge_all(**meant, looked=request.POST["looked"])
        except TesseraError as error:
            self.message_user(request, in_words(error), messages.ERROR)
            return
        said = ngettext("%(number)d pair judged.", "%(number)d pairs judged.", done.judged) % {"number": done.judged}
        if done.proposed:
            said += " " + ngettext(
                "%(number)d large merge waits for a second steward.",
                "%(number)d large merges wait for a second steward.",
                done.proposed,
            ) % {"number": done.proposed}
        self.message_user(request, said, messages.SUCCESS)

    def statistics(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = statistics.statistics_of(workspace_id=_workspace(request))
        return self._render(
            request, "console/review_statistics.html", title=gettext("How pairs are reviewed"), found=found
        )

    # -- pages ------------------------------------------------------------------------------------------------------

    def _pair(self, request: HttpRequest, pk: int) -> ReviewPair:
        pair = self.get_queryset(request).filter(pk=pk).first()
        if pair is None:
            raise Http404
        return cast("ReviewPair", pair)

    def _page(self, request: HttpRequest, pair: ReviewPair | None) -> HttpResponse:
        waiting = self.get_queryset(request).filter(judgement=None)[:MOST_COUNTED].count()
        return self._render(
            request, "console/review_desk.html", title=gettext("Pair to review"), waiting=waiting,
            most_counted=MOST_COUNTED, **self._shown(request, pair),
        )  # fmt: skip

    def _part(self, request: HttpRequest, pair: ReviewPair) -> HttpResponse:
        return TemplateResponse(request, "console/review_shown.html", self._shown(request, pair))

    def _shown(self, request: HttpRequest, pair: ReviewPair | None) -> dict[str, Any]:
        if pair is None:
            return {"pair": None, "may_judge": may_judge(request)}
        seen = shown(pair)
        return {
            "pair": pair, "seen": seen, "lines": seen.lines, "may_judge": may_judge(request),
            "is_proposed": pair.look == Look.PROPOSED, "is_mine": pair.proposed_by == request.user,
        }  # fmt: skip

    def _render(self, request: HttpRequest, template: str, **shown_there: Any) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **shown_there}
        return TemplateResponse(request, template, context)


def told(given: verdicts.Given) -> str:
    if given.outcome == verdicts.Outcome.PROPOSED:
        return gettext("A large merge: a second steward must confirm it.")
    return gettext("Judged: %s.") % Answer(given.verdict.answer).label


def in_words(error: TesseraError) -> str:
    return str(REFUSALS.get(error.code, error.message))


def steward_of(request: HttpRequest) -> User:
    if not may_judge(request):
        raise PermissionDenied
    return cast("User", request.user)


def may_judge(request: HttpRequest) -> bool:
    return workspace_of(request) is not None and request.user.has_perm("identity.add_judgement")


def is_fetched(request: HttpRequest) -> bool:
    """By the script of the desk, which stays on its page."""
    return request.headers.get("X-Requested-With") == "desk"


def _done(request: HttpRequest, do: Callable[[], str]) -> HttpResponse:
    try:
        message = do()
    except TesseraError as error:
        return _refused(request, error)
    if is_fetched(request):
        return JsonResponse({"message": message})
    messages.success(request, message)
    return HttpResponseRedirect(reverse(f"admin:{PAGE}_desk"))


def _refused(request: HttpRequest, error: TesseraError) -> HttpResponse:
    """409 for the script: what it showed is not so any more."""
    if is_fetched(request):
        return JsonResponse({"code": error.code, "message": in_words(error)}, status=409)
    messages.error(request, in_words(error))
    return HttpResponseRedirect(reverse(f"admin:{PAGE}_desk"))


def _name(view: Callable[..., Any]) -> str:
    return f"{PAGE}_{view.__name__}"


def _workspace(request: HttpRequest) -> int:
    workspace = workspace_of(request)
    if workspace is None:
        raise PermissionDenied
    return workspace.pk


@admin.register(ReviewRules)
class ReviewRulesAdmin(KeptAdmin):
    """One row for a workspace, or none: then the defaults hold."""

    list_display = ("__str__", "largest_alone", "most_audiences_alone")
    fields = ("largest_alone", "most_audiences_alone")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not self.get_queryset(request).exists()

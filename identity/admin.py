"""What a data steward works with: pairs to judge, the ledger of judgements, the rules."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from cdp.admin import KeptAdmin, LedgerAdmin, column, number_in, preformatted, profile_link
from cdp.models import IdentifierTrait, User
from identity import services
from identity.models import IdentityRules, Judgement, ReviewPair, Verdict

VERDICT_COLOURS = {Verdict.SAME.value: "success", Verdict.NOT_SAME.value: "danger"}


@dataclass(frozen=True)
class Line:
    """One trait of both sides of a pair, and what its comparison weighed."""

    name: str
    left: Sequence[str]
    right: Sequence[str]
    weight: float | None

    @property
    def is_different(self) -> bool:
        """No value of one side is a value of the other, whatever the case."""
        return {value.casefold() for value in self.left}.isdisjoint(value.casefold() for value in self.right)


@admin.register(ReviewPair)
class ReviewPairAdmin(LedgerAdmin):
    """The strongest of those that wait come first; after a judgement the next one opens."""

    list_display = ("left_name", "right_name", "shown_weight", "model", "created_at")
    list_display_links = ("left_name", "right_name")
    list_filter = (("judgement", admin.EmptyFieldListFilter),)
    list_select_related = ("left", "right", "model")
    ordering = ("-weight", "pk")

    @column(description=_("one side"))
    def left_name(self, pair: ReviewPair) -> str:
        return str(pair.left)

    @column(description=_("other side"))
    def right_name(self, pair: ReviewPair) -> str:
        return str(pair.right)

    @column(description=_("match weight"), ordering="weight")
    def shown_weight(self, pair: ReviewPair) -> str:
        return f"{pair.weight:+.1f}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("left", "right", "model", "judgement")

    def get_urls(self) -> list[URLPattern]:
        judge = self.admin_site.admin_view(self.judge)
        return [path("<int:pk>/judge/", judge, name="identity_reviewpair_judge"), *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        pair = get_object_or_404(self.get_queryset(request), pk=number_in(object_id))
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Pair to review"),
            "opts": self.opts,
            "pair": pair,
            "lines": lines_of(pair),
            "waiting": self._waiting(request)[:100].count(),
            "may_judge": request.user.has_perm("identity.add_judgement"),
        }
        return TemplateResponse(request, "console/review_pair.html", context)

    @method_decorator(require_POST)
    def judge(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not request.user.has_perm("identity.add_judgement"):
            raise PermissionDenied
        pair = get_object_or_404(self._waiting(request), pk=pk)
        verdict = Verdict.SAME if request.POST.get("verdict") == Verdict.SAME else Verdict.NOT_SAME
        services.judge(
            workspace_id=pair.workspace_id,
            left_id=pair.left_id,
            right_id=pair.right_id,
            verdict=verdict,
            author=cast("User", request.user),
            evidence={"weight": pair.weight, "model": pair.model.version},
            now=timezone.now(),
        )
        self.message_user(request, gettext("Judged: %s.") % verdict.label, messages.SUCCESS)
        following = self._waiting(request).order_by(*self.ordering).values_list("pk", flat=True).first()
        if following is None:
            return HttpResponseRedirect(reverse("admin:identity_reviewpair_changelist"))
        return HttpResponseRedirect(reverse("admin:identity_reviewpair_change", args=[following]))

    def _waiting(self, request: HttpRequest) -> QuerySet[Any]:
        return self.get_queryset(request).filter(judgement=None)


def lines_of(pair: ReviewPair) -> list[Line]:
    """Both sides beside each other. Where sources differ about one side, each value is shown."""
    sides: dict[int, dict[str, list[str]]] = {pair.left_id: {}, pair.right_id: {}}
    seen = IdentifierTrait.objects.filter(identifier__in=sides).order_by("name", "-observed_at")
    for identifier, name, value in seen.values_list("identifier", "name", "value"):
        values = sides[identifier].setdefault(name, [])
        if str(value) not in values:
            values.append(str(value))
    names = sorted({name for side in sides.values() for name in side})
    return [
        _line(name, sides[pair.left_id].get(name, ()), sides[pair.right_id].get(name, ()), pair.evidence)
        for name in names
    ]


def _line(name: str, left: Sequence[str], right: Sequence[str], evidence: Mapping[str, Any]) -> Line:
    weight = evidence.get(name)
    return Line(name, sorted(left), sorted(right), weight if isinstance(weight, int | float) else None)


@admin.register(Judgement)
class JudgementAdmin(LedgerAdmin):
    list_display = (
        "created_at",
        "coloured_verdict",
        "one_side",
        "other_side",
        "kind",
        "shown_weight",
        "author",
        "retracts",
    )
    list_filter = ("verdict", "kind")
    list_select_related = ("left", "right", "author", "retracts")
    ordering = ("-pk",)
    fields = ("verdict", "kind", "one_side", "other_side", "people", "weight", "shown_evidence", "model", "author", "retracts",
        "created_at",
    )  # fmt: skip
    readonly_fields = ("one_side", "other_side", "people", "shown_evidence")

    @column(description=_("one side"))
    def one_side(self, judgement: Judgement) -> str:
        return str(judgement.left)

    @column(description=_("other side"))
    def other_side(self, judgement: Judgement) -> str:
        return str(judgement.right)

    @column(description=_("verdict"), label=VERDICT_COLOURS, ordering="verdict")
    def coloured_verdict(self, judgement: Judgement) -> tuple[str, str]:
        return judgement.verdict, str(judgement.get_verdict_display())

    @column(description=_("match weight"))
    def shown_weight(self, judgement: Judgement) -> str:
        return f"{judgement.weight:+.1f}"

    @column(description=_("profiles"))
    def people(self, judgement: Judgement) -> Any:
        profiles = sorted({judgement.left.profile_id, judgement.right.profile_id})
        return format_html_join(", ", "{}", ((profile_link(profile),) for profile in profiles))

    @column(description=_("evidence"))
    def shown_evidence(self, judgement: Judgement) -> Any:
        return preformatted(json.dumps(judgement.evidence, indent=1, ensure_ascii=False))


@admin.register(IdentityRules)
class IdentityRulesAdmin(KeptAdmin):
    """One row for a workspace, or none: then the defaults hold."""

    list_display = ("__str__", "blocked_values")
    fields = ("limits", "blocked_values")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not self.get_queryset(request).exists()

    def save_model(self, request: HttpRequest, obj: IdentityRules, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's signature
        super().save_model(request, obj, form, change)
        services.resolve_all_anew(workspace_id=obj.workspace_id)

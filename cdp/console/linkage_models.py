"""The models of record linkage: what each weighs, which one links, and taking back what one has judged."""

from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from cdp import foresight, tasks
from cdp.admin import LedgerAdmin, column, workspace_of
from cdp.kernel.errors import TesseraError
from cdp.models import Stage, User, Workspace
from identity import registry, undoing
from identity.matching.relatives import relatives_of
from identity.models import LinkageModel
from identity.undoing import Scope


@admin.register(LinkageModel)
class LinkageModelAdmin(LedgerAdmin):
    list_display = ("version", "is_active", "created_at", "moved", "rows", "digest")
    ordering = ("-version",)
    fields = ("version", "is_active", "created_at", "rows", "digest")
    readonly_fields = ("is_active", "rows", "digest")
    change_form_outer_after_template = "console/linkage_model.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("frequencies")

    @column(description=_("active"), boolean=True)
    def is_active(self, model: LinkageModel) -> bool:
        return registry.active_model(model.workspace_id) == model

    @column(description=_("weights that moved"))
    def moved(self, model: LinkageModel) -> int | None:
        """By more than 3 bits since the version before it."""
        compared = registry.moved(model)
        return len(compared.alerts) if compared else None

    @column(description=_("records it learnt from"))
    def rows(self, model: LinkageModel) -> Any:
        return model.metadata.get("rows")

    @column(description=_("digest of the data"))
    def digest(self, model: LinkageModel) -> str:
        return str(model.metadata.get("digest", ""))[:12]

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("<int:pk>/activate/", self.admin_site.admin_view(self.activate), name="identity_model_activate"),
            path("undo/<slug:scope>/<int:number>/", self.admin_site.admin_view(self.undo), name="identity_undo"),
        ]
        return [*own, *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        model = self.get_object(request, object_id)
        shown = {**_shown(model), "may_judge": _may_judge(request)} if model else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})

    @method_decorator(require_POST)
    def activate(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Nobody changes until record linkage is run again."""
        _require_steward(request)
        model = get_object_or_404(self.get_queryset(request), pk=pk)
        author = cast("User", request.user)
        registry.activate(workspace_id=model.workspace_id, version=model.version, author=author, now=timezone.now())
        told = gettext("Version %(version)s links from the next run on.") % {"version": model.version}
        self.message_user(request, told, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:identity_linkagemodel_change", args=[pk]))

    def undo(self, request: HttpRequest, scope: str, number: int) -> HttpResponse:
        """First what it would change; then, by a second press, the deed."""
        workspace = _require_steward(request)
        if scope not in set(Scope):
            raise Http404
        asked: dict[str, Any] = {
            "workspace_id": workspace.pk,
            "scope": Scope(scope),
            "number": number,
            "now": timezone.now(),
        }
        try:
            if request.method == "POST":
                return self._undone(request, asked)
            foreseen = foresight.of_undoing(**asked)
        except TesseraError as error:
            raise Http404 from error
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Undo"),
            "opts": self.opts,
            "scope": scope,
            "number": number,
            "foreseen": foreseen,
        }
        return TemplateResponse(request, "console/undo.html", context)

    def _undone(self, request: HttpRequest, asked: dict[str, Any]) -> HttpResponse:
        done = undoing.undo(**asked, author=cast("User", request.user))
        tasks.wake(Stage.IDENTITY, workspace_id=asked["workspace_id"])
        told = ngettext(
            "%d judgement is taken back; its people are resolved anew.",
            "%d judgements are taken back; their people are resolved anew.",
            done.retracted,
        )
        self.message_user(request, told % done.retracted, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:identity_judgement_changelist"))


def _may_judge(request: HttpRequest) -> bool:
    return workspace_of(request) is not None and request.user.has_perm("identity.add_judgement")


def _require_steward(request: HttpRequest) -> Workspace:
    workspace = workspace_of(request)
    if workspace is None or not _may_judge(request):
        raise PermissionDenied
    return workspace


def _shown(model: LinkageModel) -> dict[str, Any]:
    """Its weights as bars, and how far they are from those of the version before it."""
    bars = registry.chart(model.settings)
    return {
        "bars": [{**bar, "width": round(abs(bar["length"]) * 100)} for bar in bars],
        "relatives": relatives_of(model.settings),
        "compared": registry.moved(model),
        "is_the_active": registry.active_model(model.workspace_id) == model,
    }

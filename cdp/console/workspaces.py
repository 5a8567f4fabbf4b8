"""The console works inside one workspace: the one that the user chose, or their first."""

from collections.abc import Callable

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from cdp.admin import workspace_of
from cdp.models import Workspace
from cdp.models.tenancy import workspace_scope

SESSION_KEY = "workspace"

# Alpine, which the theme is built with, evaluates the attributes of its elements, and writes styles: hence the two
# "unsafe" words. Whatever comes from another host, as script, style, font or image, is refused.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class ConsoleWorkspaceMiddleware:
    """Opens the transaction of a request to the console, whose statements see one workspace alone."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith("/console/"):
            return self.get_response(request)
        response = self._respond(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        response.headers.setdefault("Cache-Control", "no-store")  # pages show people
        return response

    def _respond(self, request: HttpRequest) -> HttpResponse:
        workspace = chosen_workspace(request) if request.user.is_authenticated else None
        if workspace is None:
            return self.get_response(request)
        request.workspace = workspace  # type: ignore[attr-defined]  # read by `cdp.admin.workspace_of`
        with workspace_scope(workspace.pk):
            return self.get_response(request)


def chosen_workspace(request: HttpRequest) -> Workspace | None:
    mine = workspaces_of(request).order_by("pk")
    return mine.filter(slug=request.session.get(SESSION_KEY, "")).first() or mine.first()


def workspaces_of(request: HttpRequest) -> QuerySet[Workspace]:
    return Workspace.objects.filter(member__user__username=request.user.get_username(), closed_at=None)


@require_POST
def choose_workspace(request: HttpRequest) -> HttpResponse:
    request.session[SESSION_KEY] = get_object_or_404(workspaces_of(request), slug=request.POST.get("slug", "")).slug
    return HttpResponseRedirect(reverse("admin:index"))  # a page of the old workspace may not exist in the new one


def name_of_workspace(request: HttpRequest) -> str:
    if not request.user.is_authenticated:
        return ""
    workspace = workspace_of(request)
    return workspace.name if workspace else _("no workspace")


def other_workspaces(request: HttpRequest) -> list[dict[str, str]]:
    """For the menu beside the name; `link` is the slug that its form sends."""
    if not request.user.is_authenticated:
        return []
    current = workspace_of(request)
    rows = list(workspaces_of(request).order_by("name")[:100])
    if len(rows) < 2:
        return []
    return [{"title": row.name, "link": row.slug, "icon": "check" if row == current else "workspaces"} for row in rows]

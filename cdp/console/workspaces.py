"""The console works inside one workspace: the one that the user chose, or their first."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from cdp.models import Workspace
from cdp.models.tenancy import workspace_scope

SESSION_KEY = "workspace"


class ConsoleWorkspaceMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not (request.path.startswith("/console/") and request.user.is_authenticated):
            return self.get_response(request)
        workspace = chosen_workspace(request)
        if workspace is None:
            return self.get_response(request)
        request.workspace = workspace  # type: ignore[attr-defined]  # read by the pages of the console
        with workspace_scope(workspace.pk):
            return self.get_response(request)


def chosen_workspace(request: HttpRequest) -> Workspace | None:
    mine = Workspace.objects.filter(member__user__username=request.user.get_username(), closed_at=None).order_by("pk")
    return mine.filter(slug=request.session.get(SESSION_KEY, "")).first() or mine.first()

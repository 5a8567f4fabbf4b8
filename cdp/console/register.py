"""The record of processing activities as a page to print, or as a file."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone

from activation.register import register_of
from cdp.admin import workspace_of
from consent import register


def show_register(request: HttpRequest) -> HttpResponse:
    """`?file=ods`, `?file=csv` and `?file=json` are downloads."""
    workspace = workspace_of(request)
    if workspace is None or not request.user.has_perm("consent.view_controllerdetails"):
        raise PermissionDenied
    built = register_of(workspace_id=workspace.pk, now=timezone.now())
    match request.GET.get("file", ""):
        case "csv" | "ods" as file:
            write, kind = register.FILES[file]
            return _download(HttpResponse(write(built), content_type=kind), file)
        case "json":
            return _download(JsonResponse(built.as_json()), "json")
    return HttpResponse(register.as_html(built))


def _download(response: HttpResponse, kind: str) -> HttpResponse:
    response["Content-Disposition"] = f'attachment; filename="register.{kind}"'
    return response

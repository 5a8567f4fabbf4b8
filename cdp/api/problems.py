"""Domain error → HTTP, once. Every error of every path is a JSON object with code and message at top level.

The console is for people and keeps its pages. Nothing of an unforeseen error reaches the client, and of a path neither
logs nor metrics see more than its route: a path may name a person.
"""

import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DataError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, UnreadablePostError
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from cdp.api import browsers
from cdp.kernel.errors import TesseraError

log = structlog.get_logger()

PAGES_FOR_PEOPLE: Final = ("/console/", "/static/")

# A domain error that is not named here is the client's: 400.
STATUS_BY_CODE: Final[Mapping[str, HTTPStatus]] = {
    "not_found": HTTPStatus.NOT_FOUND,
    "purpose_unavailable": HTTPStatus.FORBIDDEN,
    "consent_key_reused": HTTPStatus.CONFLICT,
    "notice_exists": HTTPStatus.CONFLICT,
    "already_confirmed": HTTPStatus.CONFLICT,
    "refused_meanwhile": HTTPStatus.CONFLICT,
    "token_used": HTTPStatus.CONFLICT,
    "token_expired": HTTPStatus.GONE,
    "unknown_token": HTTPStatus.NOT_FOUND,
    "unknown_receipt": HTTPStatus.NOT_FOUND,
    "unanswered": HTTPStatus.SERVICE_UNAVAILABLE,
    "segment_exists": HTTPStatus.CONFLICT,
    "cursor_expired": HTTPStatus.GONE,
    "traits_forbidden": HTTPStatus.FORBIDDEN,
    "unknown_webhook": HTTPStatus.NOT_FOUND,
    "list_exists": HTTPStatus.CONFLICT,
    "computed_trait_exists": HTTPStatus.CONFLICT,
    "computed_trait_used": HTTPStatus.CONFLICT,
    "unknown_segment": HTTPStatus.NOT_FOUND,
    "kpi_exists": HTTPStatus.CONFLICT,
    "unknown_kpi": HTTPStatus.NOT_FOUND,
    "unknown_kpi_version": HTTPStatus.NOT_FOUND,
    "unknown_profile": HTTPStatus.NOT_FOUND,
    "unknown_pair": HTTPStatus.NOT_FOUND,
    "unknown_steward": HTTPStatus.NOT_FOUND,
    "judged_already": HTTPStatus.CONFLICT,
    "claimed_by_another": HTTPStatus.CONFLICT,
    "second_steward_needed": HTTPStatus.CONFLICT,
    "nothing_to_undo": HTTPStatus.CONFLICT,
    "unknown_run": HTTPStatus.NOT_FOUND,
    "unknown_model": HTTPStatus.NOT_FOUND,
    "unknown_judgement": HTTPStatus.NOT_FOUND,
    "unknown_source": HTTPStatus.NOT_FOUND,
    "unknown_plan_version": HTTPStatus.NOT_FOUND,
    "no_quality_report": HTTPStatus.NOT_FOUND,
    "unknown_data_request": HTTPStatus.NOT_FOUND,
    "no_such_link": HTTPStatus.NOT_FOUND,
    "request_key_reused": HTTPStatus.CONFLICT,
    "not_verified": HTTPStatus.CONFLICT,
    "verified_already": HTTPStatus.CONFLICT,
    "wrong_request_state": HTTPStatus.CONFLICT,
    "first_date_passed": HTTPStatus.CONFLICT,
    "package_not_built": HTTPStatus.CONFLICT,
    "work_not_done": HTTPStatus.CONFLICT,
    "work_is_done": HTTPStatus.CONFLICT,
    "nothing_by_hand": HTTPStatus.CONFLICT,
    "no_work": HTTPStatus.NOT_FOUND,
    "code_locked": HTTPStatus.TOO_MANY_REQUESTS,
    "file_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too_many_statements": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "nested_permit": HTTPStatus.INTERNAL_SERVER_ERROR,
    "error": HTTPStatus.INTERNAL_SERVER_ERROR,
}

# What the frameworks raise or answer, by status.
_CODES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad_request", "The request could not be understood."),
    401: ("not_authenticated", "Send a valid key as `Authorization: Bearer KEY`."),
    403: ("forbidden", "This key may not do that."),
    404: ("not_found", "There is no such thing, or it is not for this key."),
    405: ("method_not_allowed", "This path has no such method; `Allow` lists those that it has."),
    406: ("not_acceptable", "Only JSON is to be had."),
    413: ("too_large", "The body is too large: send it in parts."),
    415: ("unsupported_media_type", "Send `Content-Type: application/json`, or a file as `multipart/form-data`."),
    503: ("unavailable", "A service that is needed does not answer: come again later."),
}
_INTERNAL: Final = ("internal_error", "Something went wrong on our side. It was logged, and nothing was changed.")


class NotFoundError(TesseraError):
    """There is no such thing, or it is not for this key."""

    code = "not_found"


def exception_handler(error: Exception, _: Mapping[str, Any]) -> Response | None:
    """For views of the REST framework. None leaves what nobody foresaw to Django, which rolls back and answers 500."""
    found = _problem_of(error)
    if found is None or found[0] >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    set_rollback()
    status, body = found
    return Response(body, status=status, headers=_headers_of(error))


class ProblemMiddleware:
    """For everything else: plain views, other middleware, paths that do not exist."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        # Django would log the path.
        response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001  # the mark that Django looks for
        if _is_for_machines(request) and isinstance(response, HttpResponse):
            _make_json(response)
        if response.status_code >= HTTPStatus.BAD_REQUEST and request.path.startswith(browsers.PATHS):
            browsers.share(request, response)
        if HTTPStatus.BAD_REQUEST <= response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            _log_refusal(request, response)
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        found = _problem_of(error)
        if found is None or found[0] >= HTTPStatus.INTERNAL_SERVER_ERROR:
            match = request.resolver_match
            _log_failure(error, request.method, match.route if match else None)
        if found is None or not _is_for_machines(request):
            return None
        status, body = found
        return JsonResponse(body, status=status)


def unforeseen(error: Exception, *, method: str, route: str) -> HttpResponse:
    """The answer where no middleware stands around a call. The error is logged."""
    _log_failure(error, method, route)
    return JsonResponse(_problem_with_status(500), status=500)


def problem(code: str, message: str, details: object = None) -> dict[str, object]:
    return {"code": code, "message": message, "details": {} if details is None else details}


def _problem_of(error: Exception) -> tuple[int, dict[str, object]] | None:
    match error:
        case TesseraError():
            return _problem_of_domain(error)
        case exceptions.ValidationError():
            return 400, problem("validation_failed", "Some fields are not as they must be.", error.detail)
        case exceptions.ParseError():
            return 400, problem("invalid_json", "The body is not valid JSON.")
        case exceptions.APIException():
            return error.status_code, _problem_with_status(error.status_code)
        case DataError():
            return 400, problem("invalid_value", "A value does not fit: a NUL character, or a number out of range.")
        case _:
            return _problem_of_framework(error)


def _problem_of_domain(error: TesseraError) -> tuple[int, dict[str, object]]:
    status = STATUS_BY_CODE.get(error.code, HTTPStatus.BAD_REQUEST)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return status, _problem_with_status(status)
    return status, problem(error.code, error.message, error.details)


def _problem_of_framework(error: Exception) -> tuple[int, dict[str, object]] | None:
    match error:
        case Http404():
            status = 404
        case PermissionDenied():
            status = 403
        case RequestDataTooBig():
            status = 413
        case BadRequest() | SuspiciousOperation() | UnreadablePostError():
            status = 400
        case _:
            return None
    return status, _problem_with_status(status)


def _problem_with_status(status: int) -> dict[str, object]:
    if status in _CODES:
        return problem(*_CODES[status])
    return problem(*(_INTERNAL if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _CODES[400]))


def _headers_of(error: Exception) -> dict[str, str]:
    challenge = getattr(error, "auth_header", None)
    return {"WWW-Authenticate": challenge} if challenge else {}


def _is_for_machines(request: HttpRequest) -> bool:
    return not request.path.startswith(PAGES_FOR_PEOPLE)


def _make_json(response: HttpResponse) -> None:
    """Headers stay as they are: a 405 names the methods that are allowed."""
    if response.status_code < HTTPStatus.BAD_REQUEST or _is_meant_so(response):
        return
    body = JsonResponse(_problem_with_status(response.status_code))
    response.content = body.content
    response["Content-Type"] = body["Content-Type"]
    if response.has_header("Content-Length"):
        response["Content-Length"] = str(len(body.content))


def _is_meant_so(response: HttpResponse) -> bool:
    """What a view answers on purpose: JSON, or the image that must come whatever happens."""
    return response.get("Content-Type", "").startswith(("application/json", "image/"))


def _log_refusal(request: HttpRequest, response: HttpResponseBase) -> None:
    """Whoever tries links, codes or identifiers one after the other is seen here; what they tried is not."""
    match, said = request.resolver_match, getattr(response, "data", None)
    log.info(
        "call.refused",
        method=request.method,
        route=match.route if match else None,
        status=response.status_code,
        code=said.get("code") if isinstance(said, Mapping) else None,
        key=getattr(getattr(request, "auth", None), "pk", None),
    )


def _log_failure(error: Exception, method: str | None, route: str | None) -> None:
    """Where it happened and the class of the error; its text and the path may hold personal data."""
    frames = traceback.extract_tb(error.__traceback__)[-12:]
    log.error(
        "request.failed",
        method=method,
        route=route,
        error=type(error).__name__,
        frames=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    )

"""OpenDSR: `/v2/…`, the names of version 1.0 beside it, and both under `/opendsr/` for whoever keeps `/v2` to others.

Another protocol's paths, as the tracking calls are: its own shapes, signed, and no part of the described API. Errors
have the shape of OpenDSR and ours besides, and hold nothing of whom a request is about.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, Final

import msgspec
import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import DataError, OperationalError, transaction
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe
from django.views.generic import View

from activation import opendsr_callbacks
from cdp import tasks
from cdp.api.authentication import SCHEME, secret_in
from cdp.api.problems import problem
from cdp.ingestion.bodies import BodyTooLargeError
from cdp.ingestion.naming import value_read_in
from cdp.kernel.errors import TesseraError
from consent.models import DsrController
from consent.opendsr import answers, calling, controllers, receiving
from consent.opendsr.processor import CERTIFICATE_PATH, Processor, processor
from consent.opendsr.words import Version

log = structlog.get_logger()

LARGEST_BODY: Final = 64 * 1024
METHODS: Final = ("GET", "POST", "DELETE")
JSON: Final = "application/json"


class MethodNotAllowedError(TesseraError):
    """The path has no such method; `Allow` lists those that it has."""

    code = "method_not_allowed"


class UnreadableBodyError(TesseraError):
    """The body could not be read to its end."""

    code = "unreadable_body"


class UnavailableError(TesseraError):
    """The database does not answer, or the search took too long: come again later."""

    code = "unavailable"


# What is not named here is the controller's: 400.
STATUS_BY_CODE: Final[Mapping[str, HTTPStatus]] = {
    "opendsr_off": HTTPStatus.NOT_FOUND,
    "opendsr_config": HTTPStatus.SERVICE_UNAVAILABLE,
    "unknown_controller": HTTPStatus.UNAUTHORIZED,
    "unknown_dsr_request": HTTPStatus.NOT_FOUND,
    "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "body_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "refused_callback": HTTPStatus.FORBIDDEN,
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a controller that has shown its token."""

    us: Processor
    controller: DsrController
    version: Version
    request: HttpRequest


@method_decorator(csrf_exempt, name="dispatch")
class DsrView(View):
    """Who we are, who asks, what is answered, and the signature under it: for every call alike."""

    version: Version = Version.TWO
    success: ClassVar[Mapping[str, HTTPStatus]] = {
        "POST": HTTPStatus.CREATED,
        "DELETE": HTTPStatus.ACCEPTED,
    }

    def dispatch(self, request: HttpRequest, *_: Any, **named: Any) -> HttpResponse:
        us = None
        try:
            us = processor()
            call = Call(us, _controller(request), self.version, request)
            status, said = self._answer(call, named)
        except TesseraError as error:
            status, said = _failed(error)
        answer = _response(us, self.version, status, said)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            answer["Allow"] = ", ".join(self._methods())
        return answer

    def _answer(self, call: Call, named: Mapping[str, Any]) -> tuple[HTTPStatus, Mapping[str, Any]]:
        method = call.request.method or ""
        if method not in self._methods():
            raise MethodNotAllowedError
        try:
            said = getattr(self, method.lower())(call, **named)
        except OperationalError:  # the database went away, or a search took longer than it may
            raise UnavailableError from None
        except DataError:
            raise UnreadableBodyError from None
        return self.success.get(method, HTTPStatus.OK), said

    def _methods(self) -> list[str]:
        return [method for method in METHODS if hasattr(self, method.lower())]


class DiscoveryView(DsrView):
    def get(self, call: Call) -> Mapping[str, Any]:
        types = receiving.supported_types(workspace_id=call.controller.workspace_id)
        return answers.discovery(call.us, version=call.version, types=types)


class RequestsView(DsrView):
    def post(self, call: Call) -> Mapping[str, Any]:
        body = _body_of(call.request)
        cover = receiving.receive(
            controller=call.controller,
            version=call.version,
            body=body,
            normal=partial(value_read_in, call.controller.workspace),
            now=timezone.now(),
        )
        transaction.on_commit(tasks.wake_opendsr, robust=True)
        return answers.received(cover, body)


class StatusView(DsrView):
    def get(self, call: Call, number: str) -> Mapping[str, Any]:
        cover = receiving.cover_of(controller=call.controller, subject_request_id=number)
        return answers.status(call.us, cover, now=timezone.now())


class RequestView(StatusView):
    def delete(self, call: Call, number: str) -> Mapping[str, Any]:
        now = timezone.now()
        cover = receiving.cancel(controller=call.controller, subject_request_id=number, now=now)
        transaction.on_commit(tasks.wake_opendsr, robust=True)
        return answers.cancelled(cover, now)


@require_safe
def certificate(_: HttpRequest) -> HttpResponse:
    """By which everybody checks our signatures."""
    try:
        us = processor()
    except TesseraError as error:
        return _response(None, Version.TWO, *_failed(error))
    return HttpResponse(us.certificate, content_type="application/x-pem-file")


@csrf_exempt
@require_POST
def hear(request: HttpRequest, workspace: str, destination: str) -> HttpResponse:
    """A processor that we asked to erase somebody says how far it is."""
    try:
        opendsr_callbacks.hear_callback(
            workspace=workspace,
            destination=destination,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=_body_of(request),
            now=timezone.now(),
        )
    except TesseraError as error:
        return _response(None, Version.TWO, *_failed(error))
    return _response(None, Version.TWO, HTTPStatus.ACCEPTED, {})


# -- the parts of a call --------------------------------------------------------------------------------------------


def _controller(request: HttpRequest) -> DsrController:
    return controllers.controller_of(secret_in(request.headers.get("Authorization", "")))


def _body_of(request: HttpRequest) -> bytes:
    """Refused by its length before it is read."""
    announced = request.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > LARGEST_BODY:
        raise BodyTooLargeError
    try:
        body = request.body
    except RequestDataTooBig:
        raise BodyTooLargeError from None
    except UnreadablePostError:
        raise UnreadableBodyError from None
    if len(body) > LARGEST_BODY:
        raise BodyTooLargeError
    return body


def _failed(error: TesseraError) -> tuple[HTTPStatus, Mapping[str, Any]]:
    """`errors` name a place of the request and the reason, and never the value that stood there."""
    status = STATUS_BY_CODE.get(error.code, HTTPStatus.BAD_REQUEST)
    reason = {
        "domain": error.details.get("place", "request"),
        "reason": error.details.get("reason", error.code),
        "message": error.message,
    }
    said = {"code": status.value, "message": error.message, "errors": [reason]}
    return status, {**problem(error.code, error.message, {"place": reason["domain"]}), "error": said}


def _response(us: Processor | None, version: Version, status: HTTPStatus, said: Mapping[str, Any]) -> HttpResponse:
    """Plain answers are signed as callbacks are. None of them may lie in a cache: some lead to people's data."""
    body = msgspec.json.encode(said)
    headers = calling.signed_headers(us, version, body) if us else {}
    answer = HttpResponse(body, content_type=JSON, status=status, headers=headers)
    answer["Cache-Control"] = "no-store"
    if status == HTTPStatus.UNAUTHORIZED:
        answer["WWW-Authenticate"] = SCHEME
    return answer


# -- paths ----------------------------------------------------------------------------------------------------------

# The path of a request, once as the list of calls has it and once as the examples do.
_NEW: Final[Mapping[str, type[DsrView]]] = {
    "v2/discovery": DiscoveryView,
    "v2/requests": RequestsView,
    "v2/requests/<str:number>": RequestView,
    "v2/status/<str:number>": StatusView,
}
_OLD: Final[Mapping[str, type[DsrView]]] = {
    "discovery": DiscoveryView,
    "opengdpr_requests": RequestsView,
    "opengdpr_requests/<str:number>": RequestView,
}


def _paths() -> Iterator[URLPattern]:
    for before in ("", "opendsr/"):
        for version, routes in ((Version.TWO, _NEW), (Version.ONE, _OLD)):
            for route, view in routes.items():
                yield path(before + route, view.as_view(version=version))


urlpatterns = [
    *_paths(),
    path(CERTIFICATE_PATH.lstrip("/"), certificate),
    path("opendsr/callbacks/<slug:workspace>/<slug:destination>", hear),
]

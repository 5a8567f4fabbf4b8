"""The tracking calls of the published SDKs. Plain Django: SDKs read every byte of an answer in their own way.

Success is exactly 200 with a JSON body, an error is `{"code", "message"}`, and nothing ever redirects: anything else
makes one SDK or another lose data. What a body claims to be is ignored; it is read as JSON.
"""

import base64
import binascii
from collections.abc import Callable
from http import HTTPStatus

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import Error as DatabaseError
from django.http import HttpRequest, JsonResponse, UnreadablePostError
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from cdp.api.wakeups import wake_on_commit
from cdp.ingestion import services as ingestion
from cdp.ingestion.accepting import BATCH, IMPORT
from cdp.ingestion.bodies import BodyTooLargeError, InvalidJsonError, MissingBatchError
from cdp.ingestion.messages import KINDS
from cdp.ingestion.sources import UnknownWriteKeyError
from cdp.kernel.errors import TesseraError
from cdp.models import Stage

log = structlog.get_logger()

STATUS_BY_ERROR: dict[type[TesseraError], HTTPStatus] = {
    InvalidJsonError: HTTPStatus.BAD_REQUEST,
    MissingBatchError: HTTPStatus.BAD_REQUEST,
    UnknownWriteKeyError: HTTPStatus.UNAUTHORIZED,
    BodyTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}


@csrf_exempt
def receive(request: HttpRequest, path_kind: str) -> JsonResponse:
    """One call of a tracking SDK."""
    if request.method != "POST":
        return problem(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "Send this with POST.", {"Allow": "POST"})
    try:
        accepted = ingestion.accept_call(
            header_key=_key_of(request.headers.get("Authorization", "")),
            body=_body_of(request),
            path_kind=path_kind,
            received_at=timezone.now(),
        )
    except tuple(STATUS_BY_ERROR) as error:
        return problem(STATUS_BY_ERROR[type(error)], error.code, error.message)
    except DatabaseError:
        log.exception("ingestion.append_failed")
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "append_failed", "It could not be stored: send it again.")
    if accepted.accepted:
        wake_on_commit(Stage.INGESTION, workspace_id=accepted.workspace_id)
    return JsonResponse({"success": True, "accepted": accepted.accepted, "rejected": accepted.rejected})


def problem(status: HTTPStatus, code: str, message: str, headers: dict[str, str] | None = None) -> JsonResponse:
    return JsonResponse({"code": code, "message": message}, status=status, headers=headers)


def _body_of(request: HttpRequest) -> bytes:
    """Refused by its length before it is read: Django itself only stops at what forms may have."""
    announced = request.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > settings.TRACKING_BODY_BYTES:
        raise BodyTooLargeError
    try:
        return request.body
    except RequestDataTooBig:
        raise BodyTooLargeError from None
    except UnreadablePostError:
        raise InvalidJsonError("The body could not be read to its end.") from None


def _key_of(authorization: str) -> str | None:
    """The write key is the user name, without a password; some senders forget the colon."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[0] or None
    except (binascii.Error, UnicodeDecodeError):
        return None


_receive: Callable[..., JsonResponse] = receive
urlpatterns = [
    path(f"v1/{kind}{slash}", _receive, {"path_kind": kind})
    for kind in sorted({BATCH, IMPORT, *KINDS})
    for slash in ("", "/")
]

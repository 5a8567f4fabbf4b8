"""`POST /v1/webhooks/{id of the source}`: what other systems send by themselves. Plain Django, as the tracking calls.

200 says that it is kept, and nothing else does. Whoever cannot sign hears 401 and nothing more.
"""

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

from cdp.api.problems import problem
from cdp.api.wakeups import wake_on_commit
from cdp.ingestion import deliveries
from cdp.ingestion.bodies import BodyTooLargeError
from cdp.ingestion.deliveries import DisabledConnectionError, Received, UnknownWebhookError
from cdp.ingestion.webhook import Delivery, RefusedDeliveryError
from cdp.kernel.errors import TesseraError
from cdp.models import Stage

log = structlog.get_logger()

LARGEST_ID = 2**63 - 1
UNREADABLE = ("invalid_json", "The body could not be read to its end.")


@csrf_exempt
def receive(request: HttpRequest, source_id: int) -> JsonResponse:
    """One delivery. HEAD and GET say that somebody is here: SurveyMonkey asks before it makes a webhook."""
    if request.method in {"HEAD", "GET"}:
        return JsonResponse({"success": True})
    if request.method != "POST":
        answer = _problem(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "Send this with POST.")
        answer["Allow"] = "GET, HEAD, POST"
        return answer
    try:
        delivery = Delivery(_body_of(request), {name.lower(): value for name, value in request.headers.items()})
        received = deliveries.receive(source_id=min(source_id, LARGEST_ID), delivery=delivery, now=timezone.now())
    except TesseraError as error:
        return _problem(_status_of(error), error.code, error.message)
    except UnreadablePostError:
        return _problem(HTTPStatus.BAD_REQUEST, *UNREADABLE)
    except DatabaseError:
        log.exception("webhook.append_failed", source=source_id)
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, "append_failed", "It could not be stored: send it again.")
    return _answer(received)


def _answer(received: Received) -> JsonResponse:
    if received.accepted:
        wake_on_commit(Stage.INGESTION, workspace_id=received.workspace_id)
    if received.malformed and received.status >= HTTPStatus.BAD_REQUEST:
        return _problem(received.status, received.malformed.reason, received.malformed.message)
    counts = {name: getattr(received, name) for name in ("accepted", "quarantined", "announced")}
    return JsonResponse({"success": True, **counts})


def _status_of(error: TesseraError) -> HTTPStatus:
    match error:
        case RefusedDeliveryError():
            return HTTPStatus.UNAUTHORIZED
        case UnknownWebhookError():
            return HTTPStatus.NOT_FOUND
        case DisabledConnectionError():
            return HTTPStatus.FORBIDDEN
        case BodyTooLargeError():
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        case _:  # the connection cannot work as it is set up: somebody must mend it, then the sender tries again
            log.error("webhook.unusable", code=error.code)
            return HTTPStatus.SERVICE_UNAVAILABLE


def _body_of(request: HttpRequest) -> bytes:
    """Refused by its length before it is read."""
    announced = request.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > settings.TRACKING_BODY_BYTES:
        raise BodyTooLargeError
    try:
        body = request.body
    except RequestDataTooBig:
        raise BodyTooLargeError from None
    if len(body) > settings.TRACKING_BODY_BYTES:
        raise BodyTooLargeError
    return body


def _problem(status: int, code: str, message: str) -> JsonResponse:
    return JsonResponse(problem(code, message), status=status)


_receive: Callable[..., JsonResponse] = receive
urlpatterns = [path(f"v1/webhooks/<int:source_id>{slash}", _receive) for slash in ("", "/")]

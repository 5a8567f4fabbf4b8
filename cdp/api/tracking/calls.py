"""The tracking calls of the published SDKs. Plain Django: SDKs read every byte of an answer in their own way.

Nothing ever redirects, and what a body claims to be is ignored: it is read as JSON.
"""

from functools import partial

import structlog
from django.db import Error as DatabaseError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from cdp.api.addresses import address_of
from cdp.api.browsers import preflight, share
from cdp.api.tracking import answers
from cdp.api.tracking.requests import body_of, drain, key_in, token_in
from cdp.api.tracking.wakeups import wake_ingestion
from cdp.ingestion import services as ingestion
from cdp.ingestion.accepting import BATCH
from cdp.ingestion.bodies import BodyTooLargeError, InvalidJsonError

log = structlog.get_logger()


@csrf_exempt
def receive(request: HttpRequest, path_kind: str) -> HttpResponse:
    """One call of a tracking SDK."""
    if request.method != "POST":
        return _other_method(request)
    return share(request, _accept_body(request, path_kind))


@csrf_exempt
def beacon(request: HttpRequest) -> HttpResponse:
    """A batch from `navigator.sendBeacon`, which cannot set headers: the write key is in the query."""
    if request.method != "POST":
        return _other_method(request)
    return share(request, _accept_body(request, BATCH, request.GET.get("writeKey")))


@csrf_exempt
def metrics(request: HttpRequest) -> HttpResponse:
    """What browser SDKs tell of themselves: taken, and not kept."""
    if request.method != "POST":
        return _other_method(request)
    drain(request)
    return share(request, answers.as_json({"success": True}))


def accept(request: HttpRequest, *, body: bytes, path_kind: str, query_key: str | None = None) -> HttpResponse:
    """Hand a body to ingestion, and say what became of it."""
    authorization = request.META.get("HTTP_AUTHORIZATION", "")
    try:
        accepted = ingestion.accept_call(
            header_key=key_in(authorization),
            token=token_in(authorization),
            query_key=query_key,
            body=body,
            path_kind=path_kind,
            received_at=timezone.now(),
            address=partial(address_of, request.META),
        )
    except answers.ERRORS as error:
        return answers.refused(error)
    except DatabaseError as error:
        log.error("ingestion.append_failed", error=type(error).__name__)  # noqa: TRY400  # its text may quote the event
        return answers.not_stored()
    if accepted.accepted:
        transaction.on_commit(partial(wake_ingestion, accepted.workspace_id))
    return answers.accepted(accepted)


def _accept_body(request: HttpRequest, path_kind: str, query_key: str | None = None) -> HttpResponse:
    try:
        body = body_of(request)
    except (BodyTooLargeError, InvalidJsonError) as error:
        return answers.refused(error)
    return accept(request, body=body, path_kind=path_kind, query_key=query_key)


def _other_method(request: HttpRequest) -> HttpResponse:
    if request.method == "OPTIONS":
        return preflight(request)
    drain(request)
    return share(request, answers.wrong_method("POST"))

"""The tracking calls of the published SDKs. Plain Django: SDKs read every byte of an answer in their own way.

Nothing ever redirects, and what a body claims to be is ignored: it is read as JSON.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from cdp.api.addresses import address_of
from cdp.api.browsers import preflight, share
from cdp.api.tracking import answers
from cdp.api.tracking.requests import body_of, drain, key_in, token_in
from cdp.api.wakeups import wake_on_commit
from cdp.ingestion import services as ingestion
from cdp.ingestion.accepting import BATCH, Accepted
from cdp.models import Stage
from consent.signals import gpc

log = structlog.get_logger()


@csrf_exempt
def receive(request: HttpRequest, path_kind: str) -> HttpResponse:
    """One call of a tracking SDK."""
    if request.method != "POST":
        return _other_method(request)
    return share(request, _answer(request.META, path_kind))


@csrf_exempt
def beacon(request: HttpRequest) -> HttpResponse:
    """A batch from `navigator.sendBeacon`, which cannot set headers: the write key is in the query."""
    if request.method != "POST":
        return _other_method(request)
    return share(request, _answer(request.META, BATCH, request.GET.get("writeKey")))


@csrf_exempt
def metrics(request: HttpRequest) -> HttpResponse:
    """What browser SDKs tell of themselves: taken, and not kept."""
    if request.method != "POST":
        return _other_method(request)
    drain(request)
    return share(request, answers.as_json({"success": True}))


def accept_request(environ: Mapping[str, Any], path_kind: str, query_key: str | None = None) -> Accepted:
    """Take what a request carries. What goes wrong is raised: `refusal_of` makes an answer of it."""
    return accept(environ, body=body_of(environ), path_kind=path_kind, query_key=query_key)


def accept(environ: Mapping[str, Any], *, body: bytes, path_kind: str, query_key: str | None = None) -> Accepted:
    """Hand a body to ingestion. Durable when this returns, and the workers hear of it."""
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    accepted = ingestion.accept_call(
        header_key=key_in(authorization),
        token=token_in(authorization),
        query_key=query_key,
        body=body,
        path_kind=path_kind,
        received_at=timezone.now(),
        address=partial(address_of, environ),
        has_gpc=gpc.is_asserted(environ.get(gpc.HEADER)),
    )
    if accepted.accepted:
        wake_on_commit(Stage.INGESTION, workspace_id=accepted.workspace_id)
    return accepted


def refusal_of(error: Exception) -> HttpResponse:
    """The answer to what was not accepted. Raises what nobody foresaw."""
    if isinstance(error, answers.ERRORS):
        return answers.refused(error)
    if isinstance(error, DatabaseError):
        log.error("ingestion.append_failed", error=type(error).__name__)  # its text may quote the event
        return answers.not_stored()
    raise error


def _answer(environ: Mapping[str, Any], path_kind: str, query_key: str | None = None) -> HttpResponse:
    try:
        return answers.accepted(accept_request(environ, path_kind, query_key))
    except answers.FORESEEN as error:
        return refusal_of(error)


def _other_method(request: HttpRequest) -> HttpResponse:
    if request.method == "OPTIONS":
        return preflight(request)
    drain(request)
    return share(request, answers.wrong_method("POST"))

"""A request of a controller becomes one of ours; the cover keeps what the controller knows it by.

The controller answers for who asks: by which means we do not see, so the request counts as verified by hand, by them,
and that vouches for all identities that it names. It is pending until the worker of rights begins it, some seconds.
"""

import hashlib
import uuid
from datetime import datetime, timedelta
from typing import Final

from django.db.models import QuerySet

from cdp.kernel.errors import TesseraError
from cdp.models.digests import digests_of_all_peppers, identifier_digest
from cdp.models.tenancy import workspace_scope
from consent import requests
from consent.models import DataRequest, DsrController, DsrRequest
from consent.opendsr import matching, messages
from consent.opendsr.matching import Normal
from consent.opendsr.messages import Asked, MalformedError
from consent.opendsr.processor import processor
from consent.opendsr.words import RIGHTS, Version
from consent.request_states import RequestState

CLOCKS_DIFFER: Final = timedelta(minutes=5)
BODY: Final = "opendsr"  # bodies are digested as identifiers are, by a key: they name people
VOUCHED: Final = "The controller {} answers for who asks (OpenDSR)."


class UnknownDsrRequestError(TesseraError):
    """There is no such request of this controller."""

    code = "unknown_dsr_request"


class OtherBodyError(TesseraError):
    """An id stands for one request for ever, and this one came with another body: nothing was changed."""

    code = "other_body"


class NotPendingError(TesseraError):
    """Only a request that is pending can be cancelled, and this one is not."""

    code = "not_pending"


def supported_types(*, workspace_id: int) -> list[str]:
    """What the legal bases of the workspace offer, of what OpenDSR knows."""
    with workspace_scope(workspace_id):
        offered = requests.offered_rights(workspace_id=workspace_id)
    return [name for name, right in RIGHTS.items() if offered[right].is_offered]


def receive(*, controller: DsrController, version: Version, body: bytes, normal: Normal, now: datetime) -> DsrRequest:
    """The same id with the same body again: the same request, untouched.

    Raises `MalformedError`, `OtherBodyError`, and what `requests.receive_request` does.
    """
    domain, hosts = processor().domain, controller.callback_hosts
    asked = messages.read_request(body, version=version, domain=domain, hosts=hosts, is_lenient=controller.is_lenient)
    fingerprint = hashlib.sha256(version.encode() + body).hexdigest()
    with workspace_scope(controller.workspace_id):
        # Of two that come at once the second waits here, and finds the first.
        DsrController.objects.select_for_update(no_key=True).get(pk=controller.pk)
        earlier = _covers(controller).filter(subject_request_id=asked.id).first()
        if earlier is None:
            return _keep(controller, version, asked, fingerprint, normal, now)
        if bytes(earlier.body_digest) not in set(digests_of_all_peppers(BODY, fingerprint)):
            raise OtherBodyError
        return earlier


def cover_of(*, controller: DsrController, subject_request_id: str) -> DsrRequest:
    """Raises `UnknownDsrRequestError`, for a request of another controller as for one that is not."""
    number = _read(subject_request_id)
    with workspace_scope(controller.workspace_id):
        found = _covers(controller).filter(subject_request_id=number).first()
    if found is None:
        raise UnknownDsrRequestError
    return found


def cancel(*, controller: DsrController, subject_request_id: str, now: datetime) -> DsrRequest:
    """Raises `UnknownDsrRequestError` and `NotPendingError`."""
    cover = cover_of(controller=controller, subject_request_id=subject_request_id)
    with workspace_scope(controller.workspace_id):
        request = DataRequest.objects.select_for_update().get(pk=cover.request_id)
        if request.state != RequestState.RECEIVED:
            raise NotPendingError
        requests.take_back(workspace_id=controller.workspace_id, request_id=request.pk, by=_name(controller), now=now)
    return cover


def _keep(
    controller: DsrController, version: Version, asked: Asked, fingerprint: str, normal: Normal, now: datetime
) -> DsrRequest:
    request = requests.receive_request(
        workspace_id=controller.workspace_id,
        kind=asked.right,
        identifiers=matching.identifiers_of(controller.workspace_id, asked, normal),
        received_at=_submitted(asked, now),
        key=f"opendsr:{controller.pk}:{asked.id}",
        by=_name(controller),
        now=now,
    )
    requests.verify_by_hand(
        workspace_id=controller.workspace_id,
        request_id=request.pk,
        how=VOUCHED.format(controller.slug),
        by=_name(controller),
        now=now,
    )
    return DsrRequest.objects.create(
        workspace_id=controller.workspace_id,
        controller=controller,
        request=request,
        subject_request_id=uuid.UUID(asked.id),
        version=version.value,
        regulation=asked.regulation,
        body_digest=identifier_digest(BODY, fingerprint),
        received_at=now,
        promised_at=request.due_at,
        callback_urls=list(asked.callback_urls),
    )


def _submitted(asked: Asked, now: datetime) -> datetime:
    """When the clock of Art. 12 began. Theirs may go before ours."""
    if asked.submitted_at > now + CLOCKS_DIFFER:
        raise MalformedError("in_the_future", "It was not submitted yet.", "submitted_time")
    return min(asked.submitted_at, now)


def _covers(controller: DsrController) -> QuerySet[DsrRequest]:
    return DsrRequest.objects.select_related("request", "controller").filter(controller=controller)


def _read(subject_request_id: str) -> str:
    try:
        return messages.read_id(subject_request_id)
    except MalformedError:
        raise UnknownDsrRequestError from None


def _name(controller: DsrController) -> str:
    return f"controller:{controller.pk}"

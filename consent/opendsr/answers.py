"""What a controller is told of its request, in the words of OpenDSR. Nothing in it says who the request is about."""

import base64
import hmac
from datetime import UTC, datetime
from typing import Any, Final

from cdp.models.keys import digest_of
from cdp.models.secrets import decrypted, encrypted
from cdp.models.tenancy import workspace_scope
from consent import packaging
from consent.models import DataPackage, DsrCallback, DsrRequest
from consent.opendsr.processor import CERTIFICATE_PATH, Processor
from consent.opendsr.words import FORMATS, IDENTITY_TYPES, OUTCOME_BY_STATE, STATUS_BY_STATE, Status, Version

LINK_PATH: Final = "/api/v1/data-packages/"


def discovery(us: Processor, *, version: Version, types: list[str]) -> dict[str, Any]:
    identities = [{"identity_type": kind, "identity_format": form} for kind in IDENTITY_TYPES for form in FORMATS]
    return {
        "api_version": version.value,
        "supported_identities": identities,
        "supported_subject_request_types": types,
        "processor_certificate": us.url(CERTIFICATE_PATH),
    }


def received(cover: DsrRequest, body: bytes) -> dict[str, Any]:
    """The same for the same request, whenever it comes. `encoded_request` is the body itself: no log may have it."""
    return {
        "controller_id": cover.controller.slug,
        "expected_completion_time": moment(cover.promised_at),
        "received_time": moment(cover.received_at),
        "encoded_request": base64.b64encode(body).decode(),
        "subject_request_id": str(cover.subject_request_id),
    }


def cancelled(cover: DsrRequest, now: datetime) -> dict[str, Any]:
    return {
        "api_version": cover.version,
        "controller_id": cover.controller.slug,
        "subject_request_id": str(cover.subject_request_id),
        "received_time": moment(now),
    }


def status(us: Processor, cover: DsrRequest, *, now: datetime) -> dict[str, Any]:
    with workspace_scope(cover.workspace_id):
        return {"api_version": cover.version, **_told(us, cover, STATUS_BY_STATE[cover.request.state], now)}


def callback(us: Processor, one: DsrCallback, *, now: datetime) -> dict[str, Any]:
    """Of the change that it is about; what came after it has a callback of its own."""
    with workspace_scope(one.workspace_id):
        return {"status_callback_url": one.url, **_told(us, one.cover, Status(one.status), now)}


def moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _told(us: Processor, cover: DsrRequest, told: Status, now: datetime) -> dict[str, Any]:
    said = {
        "controller_id": cover.controller.slug,
        "expected_completion_time": moment(cover.request.due_at),
        "subject_request_id": str(cover.subject_request_id),
        "request_status": told.value,
    }
    return said | _results(us, cover, now) if told is Status.COMPLETED else said


def _results(us: Processor, cover: DsrRequest, now: datetime) -> dict[str, Any]:
    if outcome := OUTCOME_BY_STATE.get(cover.request.state):
        return {"results_count": 0, "extensions": {us.domain: {"outcome": outcome}}}
    package = DataPackage.objects.filter(request=cover.request_id).exclude(stored_as="").first()
    if package is None:
        return {}
    token, rows = _token(cover, now), sum(package.counts.values())
    return {"results_url": us.url(LINK_PATH + token), "results_count": rows}


def _token(cover: DsrRequest, now: datetime) -> str:
    """Of the link that still opens the package; a new one where it has ended, as long as the package is kept.

    Of two that ask at once the second waits: a link that was told is not ended by the next one.
    """
    link = DsrRequest.objects.select_for_update(no_key=True).values_list("link", flat=True).get(pk=cover.pk)
    kept = decrypted(link)["token"] if link else ""
    if _opens(kept, DataPackage.objects.get(request=cover.request_id), now):
        return kept
    token, _ = packaging.make_link(
        workspace_id=cover.workspace_id, request_id=cover.request_id, by=f"controller:{cover.controller_id}", now=now
    )
    cover.link = encrypted({"token": token})
    cover.save(update_fields=["link"])
    return token


def _opens(token: str, package: DataPackage, now: datetime) -> bool:
    is_same = hmac.compare_digest(package.link_digest, digest_of(token.partition(".")[2]))
    return (
        is_same and package.downloads_left > 0 and package.link_expires_at is not None and now < package.link_expires_at
    )

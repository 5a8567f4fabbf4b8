"""What SDKs hear. Success is exactly 200 with a JSON body, an error is `{"code", "message"}`: all else loses data."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from django.db import Error as DatabaseError
from django.http import HttpResponse

from cdp.ingestion.accepting import Accepted
from cdp.ingestion.backpressure import OverloadedError
from cdp.ingestion.bodies import BodyTooLargeError, InvalidJsonError, MissingBatchError
from cdp.ingestion.limits import RateLimitedError
from cdp.ingestion.sources import UnknownWriteKeyError
from cdp.ingestion.tokens import InvalidTokenError, TokenRequiredError
from cdp.kernel.errors import TesseraError

STATUS_BY_ERROR: Final[Mapping[type[TesseraError], HTTPStatus]] = {
    InvalidJsonError: HTTPStatus.BAD_REQUEST,
    MissingBatchError: HTTPStatus.BAD_REQUEST,
    UnknownWriteKeyError: HTTPStatus.UNAUTHORIZED,
    TokenRequiredError: HTTPStatus.UNAUTHORIZED,
    # SDKs that use tokens get another one and send the batch again; after a 401 they would drop it.
    InvalidTokenError: HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED,
    BodyTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    RateLimitedError: HTTPStatus.TOO_MANY_REQUESTS,
    OverloadedError: HTTPStatus.SERVICE_UNAVAILABLE,
}
ERRORS: Final = tuple(STATUS_BY_ERROR)
FORESEEN: Final[tuple[type[Exception], ...]] = (*ERRORS, DatabaseError)
JSON: Final = "application/json"
COME_AGAIN: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


def accepted(what: Accepted) -> HttpResponse:
    return HttpResponse(said_of(what), content_type=JSON)


def said_of(what: Accepted) -> bytes:
    return msgspec.json.encode({"success": True, "accepted": what.accepted, "rejected": what.rejected})


def as_json(body: Mapping[str, object], status: int = HTTPStatus.OK, headers: Mapping[str, str] = {}) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(body), content_type=JSON, status=status, headers=headers)


def problem(status: HTTPStatus, code: str, message: str, headers: Mapping[str, str] = {}) -> HttpResponse:
    return as_json({"code": code, "message": message}, status, headers)


def refused(error: TesseraError) -> HttpResponse:
    """Of one of `ERRORS`. Some SDKs read one of the two headers, some the other: both are seconds from now."""
    status = STATUS_BY_ERROR[type(error)]
    headers = {}
    if status in COME_AGAIN:
        headers["Retry-After"] = str(error.details["retry_after"])
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers["X-RateLimit-Reset"] = headers["Retry-After"]
    return problem(status, error.code, error.message, headers)


def not_stored() -> HttpResponse:
    message = "It could not be stored: send it again."
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "append_failed", message, {"Retry-After": "1"})


def wrong_method(allowed: str) -> HttpResponse:
    message = f"Send this with {allowed}."
    return problem(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", message, {"Allow": allowed})

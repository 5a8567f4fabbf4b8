"""What is read of a request: its body, whatever the headers say of it, and the write key in its header."""

import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, UnreadablePostError

from cdp.ingestion.bodies import BodyTooLargeError, InvalidJsonError

DRAINED_AT_ONCE: Final = 2**16
MOST_DRAINED: Final = 64 * 2**20


def body_of(request: HttpRequest) -> bytes:
    """Refused by its length before it is read: Django itself only stops at what forms may have."""
    announced = request.META.get("CONTENT_LENGTH") or ""
    if announced.isdecimal() and int(announced) > settings.TRACKING_BODY_BYTES:
        drain(request)
        raise BodyTooLargeError
    if not announced and "HTTP_TRANSFER_ENCODING" in request.META:
        return _chunked_body(request.META)
    try:
        return request.body
    except RequestDataTooBig:
        drain(request)
        raise BodyTooLargeError from None
    except UnreadablePostError:
        raise InvalidJsonError("The body could not be read to its end.") from None


def drain(request: HttpRequest) -> None:
    """Let the sender finish what nobody will read, within reason.

    While it is still sending it hears no answer, only that the connection broke: and then it sends the same again.
    """
    _drain(request.read)


def _drain(read: Callable[[int], bytes]) -> None:
    with suppress(OSError):
        for _ in range(MOST_DRAINED // DRAINED_AT_ONCE):
            if not read(DRAINED_AT_ONCE):
                return


def _chunked_body(environ: Mapping[str, Any]) -> bytes:
    """A body that is packed while it is sent has no length, and Django would take it for empty."""
    most = settings.TRACKING_BODY_BYTES
    body = bytearray()
    while len(body) <= most:
        try:
            part = environ["wsgi.input"].read(most + 1 - len(body))
        except OSError:
            raise InvalidJsonError("The body could not be read to its end.") from None
        if not part:
            return bytes(body)
        body += part
    _drain(environ["wsgi.input"].read)
    raise BodyTooLargeError


def key_in(authorization: str) -> str | None:
    """The write key is the user name; the password is empty, or whatever a client makes of none.

    Some senders forget the colon, some the padding of base64.
    """
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(f"{credentials.strip().rstrip('=')}==", altchars=_altchars(credentials))
        return decoded.decode().partition(":")[0].strip() or None
    except ValueError:
        return None


def token_in(authorization: str) -> str | None:
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _altchars(credentials: str) -> bytes | None:
    return b"-_" if "-" in credentials or "_" in credentials else None

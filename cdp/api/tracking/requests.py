"""What is read of a request: its body, whatever the headers say of it, and the write key in its header.

From the environment of WSGI, which is `request.META` too: the busiest calls never become a request of Django.
"""

import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.core.handlers.wsgi import LimitedStream
from django.http import HttpRequest

from cdp.ingestion.bodies import BodyTooLargeError, InvalidJsonError

DRAINED_AT_ONCE: Final = 2**16
MOST_DRAINED: Final = 64 * 2**20
MOST_REMEMBERED, LONGEST_REMEMBERED = 1_000, 256  # headers of authorization: a sender says the same each time


def body_of(environ: Mapping[str, Any]) -> bytes:
    """Refused by its length before it is read. Raises `BodyTooLargeError` or `InvalidJsonError`."""
    announced = environ.get("CONTENT_LENGTH") or ""
    if not announced.isdecimal():
        return _chunked_body(environ) if not announced and "HTTP_TRANSFER_ENCODING" in environ else b""
    length = int(announced)
    if length > settings.TRACKING_BODY_BYTES:
        _drain(LimitedStream(environ["wsgi.input"], length).read)
        raise BodyTooLargeError
    try:
        return bytes(environ["wsgi.input"].read(length))
    except OSError:
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
    read = _key_in if len(authorization) <= LONGEST_REMEMBERED else _key_in.__wrapped__
    return read(authorization)


@lru_cache(MOST_REMEMBERED)
def _key_in(authorization: str) -> str | None:
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

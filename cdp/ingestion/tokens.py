"""OAuth for sources that hold a public key: senders prove who they are and get a token, which their calls then carry.

A write key stands in the pages of a site for everybody to read; a source that holds a public key takes no call without
a token. Tokens are signed by SECRET_KEY and end with the keys of their source: nothing is stored.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from django.core import signing

from cdp.ingestion.sources import KnownSource, seal_of
from cdp.kernel.assertions import AssertionSyntaxError, claims_in, is_signed_by, public_keys_in
from cdp.kernel.errors import TesseraError
from cdp.models import Source

SCOPE: Final = "tracking_api:write"
LIFETIME_SECONDS: Final = 3_600
LONGEST_ASSERTED_SECONDS: Final = 3_600  # a stolen assertion must not be good for ever
CLIENT: Final = "source_"  # a client id is this and the number of the source

_SALT = "cdp.ingestion.tokens"


class TokenRequiredError(TesseraError):
    """The source takes calls with an access token only: get one at `/oauth2/token`."""

    code = "token_required"


class InvalidTokenError(TesseraError):
    """The access token has ended, or is not for this source: get another one at `/oauth2/token`."""

    code = "invalid_token"


class InvalidClientError(TesseraError):
    """The assertion is not of a source that holds the public key of its signature."""

    code = "invalid_client"


class AssertionTimeError(TesseraError):
    """Token is expired"""  # SDKs compare this text, and correct their clock

    code = "invalid_request"


def client_id_of(source: Source) -> str:
    return f"{CLIENT}{source.pk}"


def issue_token(*, assertion: str, host: str, now: datetime) -> str:
    """A token for whoever signed this. `host` is who we are: the assertion must be made for us.

    Raises `InvalidClientError`, or `AssertionTimeError` where only the clock of the sender is wrong.
    """
    try:
        claims = claims_in(assertion)
        source = _source_of(claims)
        is_theirs = is_signed_by(assertion, public_keys_in(source.public_keys))
    except AssertionSyntaxError:
        raise InvalidClientError from None
    if not is_theirs or not _is_for(host, claims.get("aud")):
        raise InvalidClientError
    _check_times(claims, now.timestamp())
    return signing.dumps([source.pk, seal_of(source.public_keys)], salt=_SALT)


def check_token(token: str | None, source: KnownSource) -> None:
    """Raises `TokenRequiredError` or `InvalidTokenError`; the second is mended by another token."""
    if not token:
        raise TokenRequiredError
    try:
        whose = signing.loads(token, salt=_SALT, max_age=LIFETIME_SECONDS)
    except signing.BadSignature:
        raise InvalidTokenError from None
    if whose != [source.id, source.seal]:
        raise InvalidTokenError


def _source_of(claims: Mapping[str, Any]) -> Source:
    client, subject = claims.get("iss"), claims.get("sub")
    number = client.removeprefix(CLIENT) if isinstance(client, str) and client == subject else ""
    if not (number.isdecimal() and number.isascii() and len(number) < 19):
        raise InvalidClientError
    live = Source.objects.filter(pk=int(number), is_enabled=True, workspace__closed_at=None)
    source = live.exclude(public_keys="").first()
    if source is None:
        raise InvalidClientError
    return source


def _is_for(host: str, audience: object) -> bool:
    """SDKs name the address that they were given; which scheme and port a proxy made of it, only the proxy knows."""
    names = audience if isinstance(audience, list) else [audience]
    return any(isinstance(name, str) and _hostname(name) == _hostname(f"//{host}") for name in names)


def _hostname(address: str) -> str | None:
    try:
        return urlsplit(address if "//" in address else f"//{address}").hostname
    except ValueError:
        return None


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    issued, ends = (_seconds(claims.get(name)) for name in ("iat", "exp"))
    if issued > now:
        raise AssertionTimeError("Token used before issued")
    if not now < ends <= now + LONGEST_ASSERTED_SECONDS:
        raise AssertionTimeError


def _seconds(claim: object) -> float:
    """NaN, which is no time, compares with nothing: then the assertion is expired."""
    return float(claim) if isinstance(claim, int | float) and abs(claim) < 2**53 else float("nan")

"""Consents that come by the thousand, one by one or in bulk, take a short way: no request of Django and no serializer
concerns them.

Only what is well formed in every respect goes that way. All else is left to the view, which says what is wrong with it.
"""

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from django.db import DatabaseError
from django.utils import timezone
from msgspec import Meta, Struct

from cdp.api.authentication import remembered_key
from cdp.api.identifiers import identifier_in
from cdp.api.wakeups import wake_on_commit
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import ApiKey, Scope, Stage
from consent import gathering
from consent.models import ConsentState
from consent.services import MOST_STATEMENTS, ConsentStatement

PATH: Final = "/api/v1/consents"
MOST_BYTES: Final = 2**22  # more than as many statements as are recorded at once
JSON: Final = "application/json"
HEADERS: Final = [("Content-Type", JSON), ("X-Content-Type-Options", "nosniff")]

# As the serializers of `consents` take them unchanged: no empty text, and no space around one.
_TRIMMED: Final = r"\A[^\s\0]([^\0]*[^\s\0])?\Z"
_Moment = Annotated[datetime, Meta(tz=True)]
_Key = Annotated[str, Meta(pattern=_TRIMMED, max_length=100)]
_Recipient = Annotated[str, Meta(pattern=_TRIMMED, max_length=64)]
_Jurisdiction = Annotated[str, Meta(pattern=_TRIMMED, max_length=6)]


class _Said(Struct):
    identifier: Annotated[str, Meta(pattern=_TRIMMED, max_length=600)]
    purpose: Purpose
    state: str
    occurred_at: _Moment
    expires_at: _Moment | None = None
    is_verified: bool = False
    notice: int | None = None
    key: _Key | None = None
    recipient: _Recipient | None = None
    jurisdiction: _Jurisdiction | None = None


class _Body(Struct):
    consents: Annotated[list[_Said], Meta(min_length=1, max_length=MOST_STATEMENTS)]


_BODY: Final = msgspec.json.Decoder(_Body)
_STATES: Final = frozenset(ConsentState.values)


def recorded(environ: dict[str, Any]) -> bytes | None:
    """The answer of a POST, when all was recorded. None leaves the request as it was, with its body unread."""
    body = _body_of(environ)
    if body is None:
        return None
    environ["wsgi.input"] = io.BytesIO(body)
    try:
        said = _BODY.decode(body).consents
        key = remembered_key(environ.get("HTTP_AUTHORIZATION", ""))
        if key is None or Scope.CONSENTS_WRITE not in key.scopes or not _STATES.issuperset(one.state for one in said):
            return None
        return _record(key, said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError, TesseraError, DatabaseError):
        return None


def _body_of(environ: Mapping[str, Any]) -> bytes | None:
    announced = environ.get("CONTENT_LENGTH") or ""
    is_plain = environ.get("CONTENT_TYPE", "") == JSON and "HTTP_CONTENT_ENCODING" not in environ
    is_wanted = any(kind in environ.get("HTTP_ACCEPT", "*/*") for kind in (JSON, "*/*"))
    if not (is_plain and is_wanted and announced.isdecimal() and int(announced) <= MOST_BYTES):
        return None
    body = environ["wsgi.input"].read(int(announced))
    return bytes(body)


def _record(key: ApiKey, said: Sequence[_Said]) -> bytes:
    statements = [_statement(key, one) for one in said]
    counts = gathering.record(workspace_id=key.workspace_id, statements=statements, now=timezone.now(), api_key=key.pk)
    for stage in (Stage.ACTIVATION, Stage.SEGMENTS):
        wake_on_commit(stage, workspace_id=key.workspace_id)
    return msgspec.json.encode(counts)


def _statement(key: ApiKey, said: _Said) -> ConsentStatement:
    return ConsentStatement(
        identifier=identifier_in(key.workspace, said.identifier),
        purpose=said.purpose,
        state=said.state,
        occurred_at=timezone.localtime(said.occurred_at),
        expires_at=said.expires_at and timezone.localtime(said.expires_at),
        is_verified=said.is_verified,
        notice_id=said.notice,
        key=said.key or "",
        recipient=said.recipient or "",
        jurisdiction=said.jurisdiction or "",
    )

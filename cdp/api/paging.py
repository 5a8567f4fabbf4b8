"""Cursors: where the next page begins. They are opaque to clients and hold no personal data."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rest_framework import serializers
from rest_framework.request import Request

from cdp.kernel.errors import TesseraError

MOST_ROWS: Final = 1_000
USUAL_ROWS: Final = 100


class BadCursorError(TesseraError):
    """Take the cursor from `next` of the page before, and change nothing about it."""

    code = "bad_cursor"


class PageParameters(serializers.Serializer[Any]):
    cursor = serializers.CharField(required=False, default="", help_text="`next` of the page before")
    limit = serializers.IntegerField(required=False, default=USUAL_ROWS, min_value=1, max_value=MOST_ROWS)


@dataclass(frozen=True, slots=True)
class Page:
    """`after` is the place of the last row of the page before, as `place` gave it; empty for the first page."""

    after: tuple[Any, ...]
    limit: int


def page_of(request: Request, *kinds: type) -> Page:
    """Read `cursor` and `limit`; a cursor holds one value of each of `kinds`."""
    parameters = PageParameters(data=request.query_params)
    parameters.is_valid(raise_exception=True)
    cursor = parameters.validated_data["cursor"]
    return Page(place_in(cursor, kinds) if cursor else (), parameters.validated_data["limit"])


def next_cursor(rows: Sequence[Any], limit: int, place: tuple[Any, ...]) -> str | None:
    """The cursor after `place`, or None when the page was not full."""
    return cursor_of(place) if len(rows) == limit else None


def cursor_of(place: tuple[Any, ...]) -> str:
    values = [value.isoformat() if isinstance(value, datetime) else value for value in place]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def place_in(cursor: str, kinds: tuple[type, ...]) -> tuple[Any, ...]:
    """What `cursor_of` was given. Raises `BadCursorError`."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return tuple(
            datetime.fromisoformat(value) if kind is datetime else kind(value)
            for value, kind in zip(values, kinds, strict=True)
        )
    except (binascii.Error, ValueError, TypeError) as error:
        raise BadCursorError from error

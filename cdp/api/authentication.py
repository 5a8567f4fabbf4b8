"""Who asks: a key, which belongs to a workspace, carries scopes, and reads people for one purpose."""

import time
from functools import cache
from typing import Final

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from cdp.models import ApiKey, Workspace
from cdp.models.keys import digest_of

SCHEME: Final = "Bearer"
REMEMBERED_SECONDS: Final = 5.0
_MOST_REMEMBERED: Final = 10_000

_remembered: dict[str, tuple[float, ApiKey]] = {}


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer KEY`. There is no user: a key stands for a machine."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        secret = secret_in(request.headers.get("Authorization", ""))
        if not secret:
            return None
        key = _key_with(digest_of(secret))
        if key is None:
            raise AuthenticationFailed
        return None, key

    def authenticate_header(self, _: Request) -> str:
        return SCHEME


def remembered_key(authorization: str) -> ApiKey | None:
    """The key that a header names, if there is such a key, as it was up to REMEMBERED_SECONDS ago.

    Only for who finds out in the transaction of what is asked for whether the key still holds.
    """
    secret = secret_in(authorization)
    if not secret:
        return None
    digest = digest_of(secret)
    read_at, known = _remembered.get(digest, (0.0, None))
    if known and time.monotonic() - read_at < REMEMBERED_SECONDS:
        return known
    return _remember(digest, _key_with(digest))


def _remember(digest: str, key: ApiKey | None) -> ApiKey | None:
    """What is no key is not remembered: a new one works at once."""
    _remembered.pop(digest, None)
    if key is not None:
        if len(_remembered) >= _MOST_REMEMBERED:
            _remembered.clear()
        _remembered[digest] = (time.monotonic(), key)
    return key


def secret_in(authorization: str) -> str:
    """What stands behind `Bearer` in a header; empty where nothing does."""
    scheme, _, secret = authorization.partition(" ")
    return secret.strip() if scheme.lower() == SCHEME.lower() else ""


def _columns_of(model: type[Model]) -> tuple[str, ...]:
    return tuple(field.column for field in model._meta.concrete_fields)  # noqa: SLF001  # Django's documented Meta API


_OF_KEY: Final = _columns_of(ApiKey)
_OF_WORKSPACE: Final = _columns_of(Workspace)
_WITH_DIGEST: Final = f"""
SELECT {", ".join((*(f"k.{name}" for name in _OF_KEY), *(f"w.{name}" for name in _OF_WORKSPACE)))}
FROM api_key k JOIN workspace w ON w.id = k.workspace_id
WHERE k.digest = %s AND k.revoked_at IS NULL AND w.closed_at IS NULL
"""  # noqa: S608  # names of our own columns


def _key_with(digest: str) -> ApiKey | None:
    """With its workspace. Every request asks: Django would write the same statement anew each time, which takes longer
    than Postgres needs to answer it.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WITH_DIGEST, [digest])
        row = cursor.fetchone()
    if row is None:
        return None
    key = ApiKey.from_db(DEFAULT_DB_ALIAS, _attributes(ApiKey), row[: len(_OF_KEY)])
    key.workspace = Workspace.from_db(DEFAULT_DB_ALIAS, _attributes(Workspace), row[len(_OF_KEY) :])
    return key


@cache
def _attributes(model: type[Model]) -> tuple[str, ...]:
    return tuple(field.attname for field in model._meta.concrete_fields)  # noqa: SLF001  # likewise


class HasScope(BasePermission):
    """A view names the scope of each of its methods; a key without it is refused before anything is looked up."""

    def has_permission(self, request: Request, view: object) -> bool:
        if not isinstance(request.auth, ApiKey):
            return False
        needed = getattr(view, "scopes", {}).get(_reading(request.method or ""))
        return needed is None or needed in request.auth.scopes


def _reading(method: str) -> str:
    return "GET" if method == "HEAD" else method

"""Who asks: a key, which belongs to a workspace, carries scopes, and reads people for one purpose."""

from typing import Final

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from cdp.models import ApiKey
from cdp.models.keys import digest_of

SCHEME: Final = "Bearer"


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer KEY`. There is no user: a key stands for a machine."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != SCHEME.lower() or not secret.strip():
            return None
        key = (
            ApiKey.objects.select_related("workspace")
            .filter(digest=digest_of(secret.strip()), revoked_at=None, workspace__closed_at=None)
            .first()
        )
        if key is None:
            raise AuthenticationFailed
        return None, key

    def authenticate_header(self, _: Request) -> str:
        return SCHEME


class HasScope(BasePermission):
    """A view names the scope of each of its methods; a key without it is refused before anything is looked up."""

    def has_permission(self, request: Request, view: object) -> bool:
        if not isinstance(request.auth, ApiKey):
            return False
        needed = getattr(view, "scopes", {}).get(_reading(request.method or ""))
        return needed is None or needed in request.auth.scopes


def _reading(method: str) -> str:
    return "GET" if method == "HEAD" else method

"""What a view may do with the key of its request: the workspace, the purpose, and the transaction of either."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import ClassVar, cast

from rest_framework.request import Request
from rest_framework.views import APIView

from cdp.kernel.errors import TesseraError
from cdp.kernel.logins import PURPOSES_BY_LOGIN, WEB
from cdp.kernel.purposes import Purpose
from cdp.models import ApiKey, Scope
from cdp.models.tenancy import workspace_scope
from consent import gate


class PurposeUnavailableError(TesseraError):
    """The API does not serve the purpose of this key. Make a key for segmentation, advertising or analytics."""

    code = "purpose_unavailable"


class KeyedView(APIView):
    # No docstring: the OpenAPI file would take it for the description of every path.
    scopes: ClassVar[Mapping[str, Scope]] = {}  # the one that each method needs


def key_of(request: Request) -> ApiKey:
    return cast("ApiKey", request.auth)


def workspace_of(request: Request) -> int:
    return key_of(request).workspace_id


def scope_of(request: Request) -> AbstractContextManager[None]:
    """The transaction of a request that does not look at people: configuration and the ledger."""
    return workspace_scope(workspace_of(request))


def permit_of(request: Request) -> AbstractContextManager[gate.Permit[Purpose]]:
    """The transaction of a request that looks at people: those who permit the purpose of the key."""
    return gate.permit(purpose_of(key_of(request)), workspace_id=workspace_of(request))


def purpose_of(key: ApiKey) -> Purpose:
    purpose = Purpose(key.purpose)
    if purpose not in PURPOSES_BY_LOGIN[WEB]:
        raise PurposeUnavailableError(purpose=purpose.value)
    return purpose

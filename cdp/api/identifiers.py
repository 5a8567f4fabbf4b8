"""How a client names a person: `TYPE:VALUE`, normalised as ingestion normalises it."""

from typing import Final

from rest_framework.request import Request

from cdp.api.keys import key_of
from cdp.ingestion.naming import normal_identifier
from cdp.kernel.identifiers import Identifier, IdentifierSyntaxError
from cdp.models import Workspace

PROFILE_TYPE: Final = "profile"  # `profile:4711` names a person by id; an id that was merged leads to the survivor


def read_identifier(request: Request, text: str) -> Identifier:
    """Raises `IdentifierSyntaxError` and `InvalidIdentifierError`. Numbers are read as dialled in the workspace."""
    if "\0" in text:
        raise IdentifierSyntaxError
    return identifier_in(key_of(request).workspace, text)


def identifier_in(workspace: Workspace, text: str) -> Identifier:
    """As `read_identifier`, of a text without NUL."""
    named = Identifier.parse(text)
    if named.type == PROFILE_TYPE:
        return named
    return normal_identifier(workspace, named)

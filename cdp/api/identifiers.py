"""How a client names a person: `TYPE:VALUE`, normalised as ingestion normalises it."""

from typing import Final

from rest_framework.request import Request

from cdp.api.keys import key_of
from cdp.ingestion.corrections import corrections_of
from cdp.ingestion.normalise import identifier_value
from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import Identifier, IdentifierSyntaxError
from cdp.models import Workspace

PROFILE_TYPE: Final = "profile"  # `profile:4711` names a person by id; an id that was merged leads to the survivor


class InvalidIdentifierError(TesseraError):
    """Nobody is identified by this value: it is blank, a filler such as `null`, or no valid address or number."""

    code = "invalid_identifier"


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
    corrections = corrections_of(workspace.pk)
    value = identifier_value(named.type, named.value, region=workspace.default_region, corrections=corrections)
    if value is None:
        raise InvalidIdentifierError
    return Identifier(named.type, value)

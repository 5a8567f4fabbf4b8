"""How people name somebody to us: the value of an identifier is read as ingestion reads it."""

from cdp.ingestion.corrections import corrections_of
from cdp.ingestion.normalise import identifier_value
from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import Identifier
from cdp.models import Workspace


class InvalidIdentifierError(TesseraError):
    """Nobody is identified by this value: it is blank, a filler such as `null`, or no valid address or number."""

    code = "invalid_identifier"


def value_read_in(workspace: Workspace, identifier_type: str, raw: str) -> str | None:
    """None when it identifies nobody. Numbers are read as dialled in the workspace, and by its error dictionary."""
    region, corrections = workspace.default_region, corrections_of(workspace.pk)
    return identifier_value(identifier_type, raw, region=region, corrections=corrections)


def normal_identifier(workspace: Workspace, named: Identifier) -> Identifier:
    """Raises `InvalidIdentifierError`."""
    value = value_read_in(workspace, named.type, named.value)
    if value is None:
        raise InvalidIdentifierError
    return Identifier(named.type, value)

"""Who somebody is, encrypted: kept for as long as it takes to answer them, under FIELD_ENCRYPTION_KEYS."""

from collections.abc import Sequence

from cdp.kernel.identifiers import Identifier
from cdp.models.secrets import decrypted, encrypted


def sealed_identifiers(identifiers: Sequence[Identifier]) -> bytes:
    return encrypted({str(place): f"{one.type}:{one.value}" for place, one in enumerate(identifiers)})


def opened_identifiers(stored: bytes | memoryview) -> list[Identifier]:
    """In the order in which they were given."""
    kept = decrypted(stored)
    return [Identifier.parse(kept[str(place)]) for place in range(len(kept))]

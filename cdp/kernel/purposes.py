"""What personal data may be used for. A purpose is a database role and a schema of views (docs/adr/0002)."""

from enum import StrEnum


class Purpose(StrEnum):
    """The value names the role and the schema in Postgres; `bit` is its place in the permission mask of a person."""

    COLLECTION = "collection"
    IDENTITY = "identity"
    ENRICHMENT = "enrichment"
    SEGMENTATION = "segmentation"
    LEARNING = "learning"
    ADVERTISING = "advertising"
    ANALYTICS = "analytics"

    @property
    def bit(self) -> int:
        """Never renumber: masks are stored on every identifier and profile."""
        return _BITS[self]

    @property
    def is_gated(self) -> bool:
        """Collection writes what arrives and has no view of people, so there is nothing to gate."""
        return self is not Purpose.COLLECTION


_BITS = {purpose: 1 << place for place, purpose in enumerate(Purpose)}

"""Google Consent Mode v2 from what a person permits, and back. Pure.

What nobody decided is denied: Google takes a missing type for a yes in some regions.
"""

from collections.abc import Collection, Mapping
from typing import Final

from cdp.kernel.purposes import Purpose

GRANTED: Final = "granted"
DENIED: Final = "denied"
TYPES: Final[Mapping[Purpose, tuple[str, ...]]] = {
    Purpose.ADVERTISING: ("ad_storage", "ad_user_data", "ad_personalization"),
    Purpose.ANALYTICS: ("analytics_storage",),
}


def from_purposes(permitted: Collection[Purpose]) -> dict[str, str]:
    """All four types, for a person who permits these purposes."""
    return {kind: GRANTED if purpose in permitted else DENIED for purpose, kinds in TYPES.items() for kind in kinds}


def to_purposes(given: Mapping[str, object]) -> dict[Purpose, bool]:
    """What types say of the purposes that they speak of. A purpose is permitted where all of its types are granted."""
    return {
        purpose: all(given.get(kind) == GRANTED for kind in kinds)
        for purpose, kinds in TYPES.items()
        if any(given.get(kind) in (GRANTED, DENIED) for kind in kinds)
    }

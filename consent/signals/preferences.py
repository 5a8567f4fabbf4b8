"""What Segment's consent wrapper writes into events: `context.consent.categoryPreferences`. Pure."""

from collections.abc import Mapping
from typing import Final

MOST_CATEGORIES: Final = 100


def category_preferences(consent: object) -> Mapping[str, bool]:
    """Which categories were chosen and which not, from `context.consent`.

    Only true and false are answers; a text such as "false" says nothing, and so does a table that is too large.
    """
    given = consent.get("categoryPreferences") if isinstance(consent, dict) else None
    if not isinstance(given, dict) or len(given) > MOST_CATEGORIES:
        return {}
    return {category: chosen for category, chosen in given.items() if isinstance(chosen, bool)}

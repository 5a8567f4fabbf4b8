"""Right values that people give for wrong ones, as values of events and files are: found by the same segments."""

from collections.abc import Mapping
from typing import Any

from cdp.ingestion.corrections import corrections_of
from cdp.ingestion.normalise import trait_value
from cdp.models import Workspace


def normal_values(values: Mapping[str, Any], *, workspace: Workspace) -> dict[str, Any]:
    """By the name of the trait. What is empty stays empty: whoever records it says what is wrong with it."""
    dictionary, region = corrections_of(workspace.pk), workspace.default_region
    return {
        name: "" if (found := trait_value(name, raw, region=region, corrections=dictionary)) is None else found
        for name, raw in values.items()
    }

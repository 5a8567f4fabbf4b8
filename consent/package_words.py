"""The words of a package that its reader sees, in the language of the person. Names in JSON and CSV are for machines, and
stay the same in every language.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from consent.holdings import Origin

YOUR_DATA: Final = _("Your data")
WHAT: Final = _("What")
ORIGIN: Final = _("Origin")
ROWS: Final = _("Rows")
ABOUT: Final = _("Each page shows one kind of data. The same is in the folders json and csv, for machines.")
NOT_IN_HERE: Final = _("What is not in here, and why, is in about.json.")

TITLES: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "identifiers": _("Identifiers"),
        "records": _("Records from other systems"),
        "values": _("Values, with their sources"),
        "consents": _("What you permitted"),
        "events": _("What you did"),
        "sightings": _("Identifiers seen together"),
        "enriched_values": _("Values from providers"),
        "lookups": _("Providers that were asked"),
        "links": _("Why identifiers are taken for yours"),
        "pairs": _("Links that were considered"),
        "profiles": _("The profile"),
        "traits": _("The profile's values"),
        "segments": _("Segments"),
        "scores": _("Scores and learned groups"),
        "recipients": _("Who was sent your data"),
        "purposes": _("What data are used for"),
        "requests": _("Your requests"),
    }
)

ORIGINS: Final[Mapping[Origin, Any]] = MappingProxyType(
    {
        Origin.PROVIDED: _("you or another system gave it"),
        Origin.OBSERVED: _("observed when you used our services"),
        Origin.DERIVED: _("derived from the rest"),
        Origin.OBTAINED: _("obtained from somebody else"),
        Origin.PROCESSING: _("what was done with your data"),
    }
)

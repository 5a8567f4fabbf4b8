"""The words of a package that its reader sees, in the language of the person. Names in JSON and CSV are for machines, and
stay the same in every language: a page of the package explains them.
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
COLUMN: Final = _("Name in json and csv")
MEANING: Final = _("What it is")
COLUMNS_PAGE: Final = _("What the columns are")
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
        "relations": _("Households and organisations"),
        "segments": _("Segments"),
        "scores": _("Scores and learned groups"),
        "lists": _("Lists that you were put on"),
        "restrictions": _("What you objected to, or had restricted"),
        "recipients": _("Who was sent your data"),
        "purposes": _("What data are used for"),
        "refused": _("What arrived and could not be understood"),
        "requests": _("Your requests"),
    }
)

# One word or two for the head of a table, for every name that a query of a section gives a column.
COLUMNS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "added_at": _("put on it on"),
        "as_it_came": _("as it came"),
        "asked_with": _("asked with"),
        "audience": _("audience"),
        "changed_at": _("changed on"),
        "closed_at": _("closed on"),
        "computed_at": _("computed on"),
        "confidence": _("confidence, from 0 to 1"),
        "context": _("circumstances, such as the page and the device"),
        "created_at": _("made on"),
        "deleted_at": _("deleted on"),
        "description": _("description"),
        "due_at": _("to be answered by"),
        "entered_at": _("member since"),
        "entered_cause": _("why it began"),
        "evidence": _("evidence"),
        "expires_at": _("ends on"),
        "extension_reason": _("why it took longer"),
        "fields": _("content"),
        "group": _("group"),
        "identifier": _("identifier"),
        "identifier_type": _("kind of identifier"),
        "is_found": _("was anything found"),
        "is_judged": _("was it decided"),
        "is_retraction": _("does it take back an earlier one"),
        "is_verified": _("were you verified"),
        "jurisdiction": _("country or region"),
        "key": _("number there"),
        "kind": _("kind"),
        "known_since": _("known since"),
        "left_at": _("member until"),
        "left_cause": _("why it ended"),
        "legal_basis": _("legal basis"),
        "lifted_at": _("lifted on"),
        "list": _("list"),
        "loaded_at": _("loaded on"),
        "looked_up_at": _("asked on"),
        "merged_into": _("merged into"),
        "model": _("model"),
        "name": _("name"),
        "notice": _("notice"),
        "notice_text": _("text that you were shown"),
        "number": _("number"),
        "observed_at": _("observed on"),
        "occurred_at": _("when"),
        "one": _("one identifier"),
        "original_at": _("by the clock of your device"),
        "other": _("the other identifier"),
        "person": _("number of your profile"),
        "place": _("place in the file or call"),
        "properties": _("details"),
        "provider": _("provider"),
        "provider_version": _("version of the provider"),
        "purpose": _("purpose"),
        "purposes": _("purposes"),
        "received_at": _("received on"),
        "recipient": _("recipient"),
        "recorded_at": _("recorded on"),
        "reason": _("reason"),
        "refusal_reason": _("why it was refused"),
        "removed_at": _("taken off it on"),
        "replayed_at": _("understood on"),
        "seen_at": _("seen on"),
        "segment": _("segment"),
        "sent_as": _("sent as"),
        "sent_at": _("sent on"),
        "shared": _("what you have in common"),
        "since": _("since"),
        "source": _("source"),
        "state": _("state"),
        "type": _("kind"),
        "until": _("until"),
        "value": _("value"),
        "verdict": _("judgement"),
        "verification": _("how you were verified"),
        "weight": _("weight of the evidence"),
        "why": _("who judged"),
        "why_refused": _("why it could not be understood"),
        "why_chosen": _("why this value"),
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

"""What events say of consent becomes rows of the ledger, in the transaction that stores the events.

A workspace declares which purpose a signal speaks of; a signal that it did not declare says nothing. These are heard: the
categories of Segment's consent wrapper and the strings of TCF and GPP in `context.consent`, and Global Privacy Control,
which the door writes into the context. Of several that speak of one purpose the one that permits less counts.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Final

from cdp.ingestion import message_ledger
from cdp.ingestion.messages import GPC_IN_CONTEXT, Fact
from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from consent import consent_strings, queries
from consent import services as consent
from consent.gate import Collection, Permit
from consent.models import ConsentState, SignalKind
from consent.services import ConsentStatement
from consent.signals.preferences import category_preferences
from consent.signals.strings import Carried, Heard, carried

CONSENT_IN_CONTEXT: Final = "consent"

Purposes = Mapping[tuple[str, str], frozenset[Purpose]]
Strings = Mapping[Carried, Heard]


def record_signals(permit: Permit[Collection], facts: Sequence[Fact]) -> None:
    """Before the events are stored: an identifier that is new gets its permission with what it says.

    Of a message that is known nothing counts, nor of the second of its name: a repetition that comes late would undo
    what was said in the meantime.
    """
    speaking = {(fact.source_id, fact.message_id): fact for fact in reversed(facts) if speaks(fact)}
    purposes = queries.purposes_by_signal(permit.workspace_id) if speaking else {}
    if not purposes:
        return
    known = message_ledger.known(speaking)
    news = sorted((fact for key, fact in speaking.items() if key not in known), key=attrgetter("source_id"))
    for source_id, sent in groupby(news, key=attrgetter("source_id")):
        _record(permit, source_id, list(sent), purposes)


def speaks(fact: Fact) -> bool:
    return CONSENT_IN_CONTEXT in fact.context or GPC_IN_CONTEXT in fact.context


def _record(permit: Permit[Collection], source_id: int, facts: Sequence[Fact], purposes: Purposes) -> None:
    now = max(fact.received_at for fact in facts)
    came = Counter(string for fact in facts for string in carried(fact.context.get(CONSENT_IN_CONTEXT)))
    strings = consent_strings.read_all(permit, came, now=now)
    statements = [statement for fact in facts for statement in _statements(fact, purposes, strings)]
    if statements:
        consent.record_signals(workspace_id=permit.workspace_id, statements=statements, now=now, source=source_id)


def _statements(fact: Fact, purposes: Purposes, strings: Strings) -> Iterator[ConsentStatement]:
    for purpose, is_permitted in said_of_purposes(fact.context, purposes, strings).items():
        for kind, value in fact.nodes:
            yield ConsentStatement(
                identifier=Identifier(kind, value),
                purpose=purpose,
                state=ConsentState.GIVEN if is_permitted else ConsentState.REFUSED,
                occurred_at=min(fact.occurred_at, fact.received_at),
                key=_key(fact, purpose, kind, value),
            )


def said_of_purposes(context: Mapping[str, object], purposes: Purposes, strings: Strings) -> Mapping[Purpose, bool]:
    """Which purposes the context speaks of, and whether it permits them."""
    said: dict[Purpose, bool] = {}
    for signal, is_yes in _answers(context, strings):
        for purpose in purposes.get(signal, ()):
            said[purpose] = is_yes and said.get(purpose, True)
    return said


def _answers(context: Mapping[str, object], strings: Strings) -> Iterator[tuple[tuple[str, str], bool]]:
    """Kind and category of each signal of an event, and what it answers."""
    told = context.get(CONSENT_IN_CONTEXT)
    for category, is_chosen in category_preferences(told).items():
        yield (SignalKind.CATEGORY, category), is_chosen
    for string in carried(told):
        yield from strings[string].answers.items()
    if context.get(GPC_IN_CONTEXT) is True:
        yield (SignalKind.GPC, ""), False


def _key(fact: Fact, purpose: Purpose, kind: str, value: str) -> str:
    content = repr((fact.source_id, fact.message_id, purpose.value, kind, value))
    return f"signal:{hashlib.sha256(content.encode()).hexdigest()}"


# -- trying ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Preview:
    """What an event would say: `said` of purposes to somebody who said nothing yet, and how its strings were read."""

    said: Mapping[Purpose, bool]
    strings: Sequence[consent_strings.Read]


def preview_signals(*, workspace_id: int, event: object, now: datetime) -> Preview:
    """Of an event, or of its context alone. Records nothing. In the scope of the workspace."""
    given = event if isinstance(event, dict) else {}
    context = given["context"] if isinstance(given.get("context"), dict) else given
    vendor = consent_strings.vendor_of(workspace_id)
    read = [
        consent_strings.read_one(string, vendor=vendor, now=now) for string in carried(context.get(CONSENT_IN_CONTEXT))
    ]
    heard = {each.string: each.heard for each in read}
    return Preview(said_of_purposes(context, queries.purposes_by_signal(workspace_id), heard), read)

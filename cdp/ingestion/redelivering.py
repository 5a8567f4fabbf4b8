"""What lies in quarantine from a webhook or a stream, read once more: after the mapping, or the raw text, was mended.

`place` says what `raw` is: a whole delivery (`webhook`), one event of it (`webhook[3]`), what was announced and could
not be fetched (`webhook:KEY`), a message (`topic:partition:offset`) or one event of it (`topic:partition:offset[3]`).
"""

from collections.abc import Sequence
from typing import Final

from cdp.ingestion import documents
from cdp.ingestion.bodies import InvalidJsonError, read_item
from cdp.ingestion.documents import Call, DocumentMapping
from cdp.ingestion.messages import RefusedEventError
from cdp.ingestion.quarantine import Refused
from cdp.ingestion.stream_registry import FIELDS as STREAMS
from cdp.ingestion.stream_registry import mapping_of
from cdp.ingestion.streams.consumer import read_message
from cdp.ingestion.streams.stream import Message
from cdp.ingestion.webhook import Announced, Delivery, Reading, Settings, Unread
from cdp.ingestion.webhook_registry import WEBHOOKS
from cdp.models import SourceKind

WEBHOOK, ANNOUNCED = "webhook", "webhook:"
KINDS: Final = frozenset({*WEBHOOKS, *STREAMS})


def reread(*, kind: SourceKind, settings: Settings, place: str, raw: bytes) -> Reading:
    """What is still bad comes back as `unread`. Reading the same twice gives the same message ids.

    Raises `MalformedDeliveryError` for a whole delivery that still cannot be read.
    """
    if place.endswith("]"):
        return _of_event(raw, place, mapping_of(settings.config))
    if kind in STREAMS:
        return _of_message(raw, place, mapping_of(settings.config))
    if place.startswith(ANNOUNCED):
        key = documents.fitting_id(f"{place.removeprefix(ANNOUNCED)}:again")
        body = read_item(raw)
        return Reading(announced=[Announced(key, body)] if isinstance(body, dict) else [])
    return WEBHOOKS[kind].read(Delivery(raw, {}), settings)


def _of_event(raw: bytes, place: str, mapping: DocumentMapping | None) -> Reading:
    message_id = documents.content_id(raw, place) if place.startswith(WEBHOOK) else place
    try:
        return Reading(calls=_calls(read_item(raw), mapping, message_id))
    except (InvalidJsonError, RefusedEventError) as error:
        return Reading(unread=[Unread(place, getattr(error, "reason", error.code), error.message, raw)])


def _calls(event: object, mapping: DocumentMapping | None, message_id: str) -> Sequence[Call]:
    if mapping is not None:
        return documents.calls_of(event, mapping, message_id=documents.fitting_id(message_id))
    call = documents.checked(event)
    call.setdefault("messageId", documents.fitting_id(message_id))
    return [call]


def _of_message(raw: bytes, place: str, mapping: DocumentMapping | None) -> Reading:
    topic, partition, offset = place.rsplit(":", 2)
    parts = list(read_message(Message(topic, int(partition), offset, raw), mapping))
    return Reading(
        calls=[part for part in parts if not isinstance(part, Refused)],
        unread=[Unread(one.place, one.code, one.message, one.raw) for one in parts if isinstance(one, Refused)],
    )

"""Read a stream: poll, store, commit, over and over.

    messages of a poll → tracking calls → one transaction (inbox, quarantine, position) → commit of the offsets

Killed between the last two, the messages come again and are recognised: by the id of the event, else by the place of
the message. A message that cannot be read lies in quarantine and holds nobody up. While the database or the stream is
away nothing is committed, and after a while it is tried again.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from django.db import InterfaceError, OperationalError, connection

from cdp.ingestion import documents, quarantine
from cdp.ingestion.bodies import InvalidJsonError, read_item, storable_json
from cdp.ingestion.calls import accept_calls
from cdp.ingestion.documents import Call, DocumentMapping
from cdp.ingestion.messages import RefusedEventError
from cdp.ingestion.quarantine import Refused
from cdp.ingestion.sources import KnownSource
from cdp.ingestion.streams.stream import Message, Stream, StreamAwayError
from cdp.kernel.purposes import Purpose
from consent import gate

log = structlog.get_logger()

MOST_MESSAGES: Final = 500  # of one transaction
POLL_SECONDS: Final = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
POSITION_SECONDS: Final = 10.0  # so often an idle reader says how far it is
DATABASE_AWAY: Final = (OperationalError, InterfaceError)


@dataclass(slots=True)
class Counts:
    """`accepted` counts events, known ones included; `quarantined` what could not be read."""

    messages: int = 0
    accepted: int = 0
    quarantined: int = 0
    lag: int | None = None


@dataclass(slots=True)
class Consumer:
    """One reader of a stream. `until_idle`: stop when nothing waits, and raise rather than wait for what is away."""

    stream: Stream
    source: KnownSource
    mapping: DocumentMapping | None
    clock: Callable[[], datetime]
    stop: threading.Event
    until_idle: bool = False
    most: int | None = None
    report: Callable[[Counts], None] = lambda _: None

    def run(self) -> Counts:
        """Until `stop`, or until `most` messages were read. Raises what is away only if `until_idle`."""
        counts, failures, noted_at = Counts(), 0, 0.0
        while not self.stop.is_set() and not self._has_enough(counts):
            try:
                messages = self.stream.poll(most=self._room(counts), seconds=POLL_SECONDS)
                counts.lag = _total(self.stream.lag()) if messages or self._is_time(noted_at) else counts.lag
                if messages:
                    self._take(messages, counts)
                    self.report(counts)
                elif self._is_time(noted_at):
                    self._note_position([])
                    noted_at = time.monotonic()
                failures = 0
            except (StreamAwayError, *DATABASE_AWAY) as error:
                failures += 1
                self._wait(error, failures)
            else:
                if self.until_idle and not messages and counts.lag == 0:
                    break
        return counts

    def _has_enough(self, counts: Counts) -> bool:
        return self.most is not None and counts.messages >= self.most

    def _room(self, counts: Counts) -> int:
        return MOST_MESSAGES if self.most is None else min(MOST_MESSAGES, self.most - counts.messages)

    def _is_time(self, noted_at: float) -> bool:
        return self.until_idle or time.monotonic() - noted_at > POSITION_SECONDS

    def _wait(self, error: Exception, failures: int) -> None:
        """Doubling, with jitter, and ended at once by `stop`."""
        reason = error.message if isinstance(error, StreamAwayError) else type(error).__name__
        log.warning("stream.paused", source=self.source.id, reason=reason, failures=failures)
        if not connection.in_atomic_block:
            connection.close()  # broken or not: the next try opens its own
        if self.until_idle:
            raise error
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10))
        self.stop.wait(pause * random.uniform(0.5, 1))  # noqa: S311  # jitter keeps readers apart, it hides nothing

    # -- one poll ---------------------------------------------------------------------------------------------------

    def _take(self, messages: Sequence[Message], counts: Counts) -> None:
        try:
            accepted, quarantined = self._stored(messages)
        except DATABASE_AWAY:
            self.stream.rewind(messages)
            raise
        counts.messages += len(messages)
        counts.accepted += accepted
        counts.quarantined += quarantined
        try:
            self.stream.commit(messages)
        except StreamAwayError as error:  # they come again and are known by then
            log.warning("stream.commit_failed", source=self.source.id, error=error.message)

    def _stored(self, messages: Sequence[Message]) -> tuple[int, int]:
        """All in one transaction; where one of them cannot be stored, each in its own, and that one in quarantine."""
        try:
            return self._store(messages)
        except DATABASE_AWAY:
            raise
        except Exception as error:
            log.exception("stream.batch_failed", source=self.source.id, error=type(error).__name__)
        each = [self._stored_alone(message) for message in messages]
        return sum(accepted for accepted, _ in each), sum(quarantined for _, quarantined in each)

    def _stored_alone(self, message: Message) -> tuple[int, int]:
        try:
            return self._store([message])
        except DATABASE_AWAY:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is: the message is kept beside it
            text = f"It could not be stored: {type(error).__name__}."
            return self._write([], [Refused(message.place, "not_storable", text, message.value)], [message])

    def _store(self, messages: Sequence[Message]) -> tuple[int, int]:
        calls: list[Call] = []
        refused: list[Refused] = []
        for message in messages:
            for part in read_message(message, self.mapping):
                if isinstance(part, Refused):
                    refused.append(part)
                else:
                    calls.append(part)
        return self._write(calls, refused, messages)

    def _write(self, calls: Sequence[Call], refused: Sequence[Refused], messages: Sequence[Message]) -> tuple[int, int]:
        now, source = self.clock(), self.source
        with gate.permit(Purpose.COLLECTION, workspace_id=source.workspace_id):
            quarantine.add(refused, source_id=source.id, workspace_id=source.workspace_id, now=now)
            accepted = accept_calls(source=source, calls=calls, received_at=now)
            self._write_position(messages)
        return accepted, len(refused) + len(calls) - accepted

    def _note_position(self, messages: Sequence[Message]) -> None:
        with gate.permit(Purpose.COLLECTION, workspace_id=self.source.workspace_id):
            self._write_position(messages)

    def _write_position(self, messages: Sequence[Message]) -> None:
        """Of each log the last offset that is stored and how many wait behind it: for people and for /metrics."""
        place: dict[str, dict[str, Any]] = {
            log_name: {"lag": lag} for log_name, lag in (self.stream.lag() or {}).items()
        }
        for message in messages:
            place.setdefault(message.log, {})["offset"] = message.offset
        if place:
            with connection.cursor() as cursor:
                cursor.execute(_MOVE, [json.dumps(place), self.source.id])


# The entries of other readers of the group stay, and so does the offset of a log where only the lag is new.
_MOVE = """
UPDATE connection SET cursor = cursor || (
    SELECT jsonb_object_agg(key, COALESCE(cursor -> key, '{}') || value) FROM jsonb_each(%s::jsonb)
) WHERE source_id = %s
"""


def _total(lag: Mapping[str, int] | None) -> int | None:
    return None if lag is None else sum(lag.values())


# -- one message ----------------------------------------------------------------------------------------------------


def read_message(message: Message, mapping: DocumentMapping | None) -> Iterator[Call | Refused]:
    """What a message says: each event as a checked call, or why it is none."""
    try:
        items = _items(read_item(message.value), mapping)
    except (InvalidJsonError, RefusedEventError) as error:
        yield Refused(message.place, getattr(error, "reason", error.code), error.message, message.value)
        return
    for number, item in enumerate(items):
        place = message.place if len(items) == 1 else f"{message.place}[{number}]"
        try:
            yield from _calls(item, message, place, mapping)
        except RefusedEventError as error:
            yield Refused(place, error.reason, error.message, storable_json(item).encode())


def _items(document: object, mapping: DocumentMapping | None) -> Sequence[object]:
    if mapping is not None:
        return documents.items_of(document, mapping)
    if isinstance(document, dict) and isinstance(document.get("batch"), list):
        batch: list[object] = document["batch"]
        return batch
    return [document]


def _calls(item: object, message: Message, place: str, mapping: DocumentMapping | None) -> list[Call]:
    if mapping is not None:
        calls = documents.calls_of(item, mapping, message_id=place)
    else:
        call = documents.checked(item)
        call.setdefault("messageId", documents.fitting_id(place))
        calls = [call]
    return [_with_time(call, message) for call in calls]


def _with_time(call: Call, message: Message) -> Call:
    """A message may have lain in the stream for days, so the time since it was sent says nothing of anybody's clock."""
    told = {name: value for name, value in call.items() if name != "sentAt"}
    if "timestamp" in told:
        told.pop("originalTimestamp", None)  # whoever wrote both has corrected the one by the other
    elif "originalTimestamp" not in told and message.written_at is not None:
        told["timestamp"] = message.written_at.isoformat()
    return told

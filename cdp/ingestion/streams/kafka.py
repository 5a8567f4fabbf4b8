"""Kafka, and whatever speaks its protocol.

brokers: kafka-1:9092,kafka-2:9092
topics: [orders]
group: tessera                         # left out: tessera-SOURCE
security: plaintext                    # ssl, sasl_plaintext, sasl_ssl
mechanism: SCRAM-SHA-512               # with sasl; `username` here, `password` among the secrets
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from cdp.ingestion.streams.stream import (
    Config,
    Message,
    Secrets,
    StreamAwayError,
    StreamSettingsError,
    required,
    whole_number,
)  # fmt: skip

log = structlog.get_logger()

SECURITIES: Final = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
LARGEST_POLL_BYTES: Final = 8 * 2**20
AT_ONCE: Final = 50  # so many messages may exceed the bytes above
ANSWER_SECONDS: Final = 5.0
DEAD_ENDS: Final = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION})  # noqa: SLF001  # their names


class KafkaStream:
    def __init__(self, config: Config, secrets: Secrets, *, group: str) -> None:
        self._failure: KafkaError | None = None
        settings = {**client_settings(config, secrets, group=group), "error_cb": self._note_failure}
        self._consumer = Consumer(settings, logger=_Quiet())
        self._assigned: set[tuple[str, int]] = set()
        self._is_member = False
        self._consumer.subscribe(topics_of(config), on_assign=self._gain, on_revoke=self._lose, on_lost=self._lose)

    def poll(self, *, most: int, seconds: float) -> Sequence[Message]:
        taken: list[Message] = []
        size = 0
        while len(taken) < most and size < LARGEST_POLL_BYTES:
            came = self._consume(min(AT_ONCE, most - len(taken)), 0 if taken else seconds)
            if not came:
                break
            taken += came
            size += sum(len(message.value) for message in came)
        # What a rebalance took away while we waited belongs to somebody else now, who reads it too.
        return [message for message in taken if (message.topic, message.partition) in self._assigned]

    def commit(self, messages: Sequence[Message]) -> None:
        """Only for partitions that are still ours: else we would move the offset of another reader back."""
        after = {(one.topic, one.partition): int(one.offset) + 1 for one in messages}
        offsets = [TopicPartition(*key, offset) for key, offset in after.items() if key in self._assigned]
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            raise _away(error) from None

    def rewind(self, messages: Sequence[Message]) -> None:
        first: dict[tuple[str, int], int] = {}
        for one in messages:
            first.setdefault((one.topic, one.partition), int(one.offset))
        for key in first.keys() & self._assigned:
            try:
                self._consumer.seek(TopicPartition(*key, first[key]))
            except KafkaException as error:  # it was taken away: whoever has it begins at the committed offset
                log.info("stream.seek_failed", error=error.args[0].name())

    def lag(self) -> Mapping[str, int] | None:
        if not self._is_member:
            return None
        try:
            partitions = self._consumer.position([TopicPartition(*key) for key in sorted(self._assigned)])
            waiting = {f"{one.topic}:{one.partition}": self._waiting(one) for one in partitions}
        except KafkaException:
            return None
        return waiting

    def close(self) -> None:
        self._consumer.close()

    def _consume(self, most: int, seconds: float) -> list[Message]:
        """Waits for the first message alone: to wait for many would hold up the few."""
        try:
            first = self._consumer.poll(seconds)
            came = [first, *self._consumer.consume(most - 1, timeout=0)] if first is not None else []
        except KafkaException as error:
            raise _away(error) from None
        if not came:
            self._raise_failure()
        good = [_read(message) for message in came if message.error() is None]
        for message in came:
            if (problem := message.error()) is not None:
                self.rewind(good)
                raise _away(KafkaException(problem))
        return good

    def _waiting(self, partition: TopicPartition) -> int:
        """Before the first message of a partition was read, its position is where the group had committed."""
        low, high = self._consumer.get_watermark_offsets(partition, cached=True)
        if high < 0:
            low, high = self._consumer.get_watermark_offsets(partition, timeout=ANSWER_SECONDS)
        position = partition.offset
        if position < 0:
            position = self._consumer.committed([partition], timeout=ANSWER_SECONDS)[0].offset
        return max(0, high - (position if position >= 0 else low))

    def _note_failure(self, error: KafkaError) -> None:
        """The library tries again by itself, for ever: whoever waits for an end must hear of it."""
        if error.fatal() or error.code() in DEAD_ENDS:
            self._failure = error

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise _away(KafkaException(failure))

    def _gain(self, _: Consumer, partitions: Iterable[TopicPartition]) -> None:
        self._is_member = True  # of the group, even where it has more readers than there are partitions
        self._assigned |= {(one.topic, one.partition) for one in partitions}

    def _lose(self, _: Consumer, partitions: Iterable[TopicPartition]) -> None:
        self._is_member = False  # until it is told what it has now
        self._assigned -= {(one.topic, one.partition) for one in partitions}


def client_settings(config: Config, secrets: Secrets, *, group: str) -> dict[str, Any]:
    """Raises `StreamSettingsError`."""
    security = str(config.get("security") or SECURITIES[0])
    if security not in SECURITIES:
        raise StreamSettingsError(f"`security` must be one of {', '.join(SECURITIES)}.")
    topics_of(config)
    session = whole_number(config, "session_timeout_ms", 45_000)
    made: dict[str, Any] = {
        "bootstrap.servers": required(config, "brokers"),
        "group.id": str(config.get("group") or group),
        "security.protocol": security,
        "enable.auto.commit": False,  # committed by hand, after it is stored
        "auto.offset.reset": "earliest",  # a new group begins at the beginning
        "allow.auto.create.topics": False,
        "queued.max.messages.kbytes": 16_384,
        "session.timeout.ms": session,
        "heartbeat.interval.ms": min(3_000, session // 3),
    }
    if security.startswith("sasl"):
        made |= {
            "sasl.mechanism": str(config.get("mechanism") or "PLAIN"),
            "sasl.username": required(config, "username"),
            "sasl.password": secrets.get("password", ""),
        }
    return made


def topics_of(config: Config) -> list[str]:
    topics = config.get("topics")
    if not (isinstance(topics, list) and topics and all(isinstance(topic, str) and topic for topic in topics)):
        raise StreamSettingsError("`topics` must be a list of names.")
    return topics


def _read(message: KafkaMessage) -> Message:
    kind, milliseconds = message.timestamp()
    written_at = None if kind == TIMESTAMP_NOT_AVAILABLE else datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    return Message(
        topic=str(message.topic()),
        partition=int(message.partition() or 0),
        offset=str(message.offset()),
        value=_bytes(message.value()),
        written_at=written_at,
    )


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _away(error: KafkaException) -> StreamAwayError:
    """The name of the error only: its text may hold addresses."""
    cause = error.args[0]
    name = cause.name() if isinstance(cause, KafkaError) else type(error).__name__
    return StreamAwayError(f"Kafka says {name}.")


class _Quiet:
    """What the library would print on standard error is left out: it names addresses, and every failure is raised."""

    def log(self, level: int, *_: object) -> None:
        log.debug("stream.library", level=level)

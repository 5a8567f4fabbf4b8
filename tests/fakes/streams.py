"""Streams to read from: Kafka as librdkafka's own mock cluster, which speaks the protocol, and the real Valkey."""

import ctypes
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import confluent_kafka
import redis

from cdp import embedded
from cdp.models import SourceKind

PARTITIONS = 3
WRITTEN_AT = datetime(2026, 11, 21, 11, 30, tzinfo=UTC)  # of every message
MILLISECONDS = int(WRITTEN_AT.timestamp() * 1000)
_names = count()


class Kafka:
    """One topic of a mock cluster that lives in this process."""

    kind = SourceKind.KAFKA
    _cluster: "MockCluster | None" = None

    def __init__(self) -> None:
        type(self)._cluster = self._cluster or MockCluster()
        self.topic = f"people-{time.time_ns()}-{next(_names)}"
        self._cluster.create(self.topic, PARTITIONS)
        self._producer = confluent_kafka.Producer({"bootstrap.servers": self._cluster.address})

    @property
    def config(self) -> dict:
        return {"brokers": self._cluster.address, "topics": [self.topic], "session_timeout_ms": 600}

    def write(self, *values: bytes, partition: int | None = None) -> list[str]:
        """Returns the places at which they lie."""
        places: list[str] = []

        def written(error: object, message: confluent_kafka.Message) -> None:
            assert error is None
            places.append(f"{message.topic()}:{message.partition()}:{message.offset()}")

        for number, value in enumerate(values):
            at = number % PARTITIONS if partition is None else partition
            self._producer.produce(self.topic, value, partition=at, timestamp=MILLISECONDS, on_delivery=written)
        assert self._producer.flush(10) == 0
        return places

    def close(self) -> None:
        pass


class MockCluster:
    def __init__(self) -> None:
        home = Path(confluent_kafka.__file__).parent
        (path,) = [*home.parent.glob("confluent_kafka.libs/librdkafka*.so*")]
        self._library = ctypes.CDLL(str(path))
        client = self._call("rd_kafka_new", ctypes.c_void_p, 0, None, ctypes.create_string_buffer(512), 512)
        self._cluster = self._call("rd_kafka_mock_cluster_new", ctypes.c_void_p, ctypes.c_void_p(client), 1)
        found = self._call("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, ctypes.c_void_p(self._cluster))
        self.address = found.decode()
        # A real broker waits some seconds for more readers.
        self._call(
            "rd_kafka_mock_group_initial_rebalance_delay_ms", None, ctypes.c_void_p(self._cluster), ctypes.c_int32(50)
        )

    def create(self, topic: str, partitions: int) -> None:
        failed = self._call(
            "rd_kafka_mock_topic_create", ctypes.c_int, ctypes.c_void_p(self._cluster), topic.encode(), partitions, 1
        )
        assert failed == 0

    def _call(self, name: str, returns: object, *arguments: object) -> object:
        function = getattr(self._library, name)
        function.restype = returns
        return function(*arguments)


class Valkey:
    """One stream of the embedded Valkey."""

    kind = SourceKind.STREAM

    def __init__(self) -> None:
        self.topic = f"people-{time.time_ns()}-{next(_names)}"
        self.url = f"unix://{embedded.default_stack().valkey_socket}"
        self.client = redis.Redis.from_url(self.url)

    @property
    def config(self) -> dict:
        return {"url": self.url, "stream": self.topic, "claim_after_seconds": 1}

    def write(self, *values: bytes, partition: int | None = None) -> list[str]:
        keys = [self.client.xadd(self.topic, {"data": value}, id=f"{MILLISECONDS}-*").decode() for value in values]
        return [f"{self.topic}:0:{key}" for key in keys]

    def close(self) -> None:
        self.client.delete(self.topic)
        self.client.close()


BROKERS: Sequence[type[Kafka] | type[Valkey]] = (Kafka, Valkey)

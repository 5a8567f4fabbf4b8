"""Settings of streams, and what is said where something is missing. Needs no server."""

import sys

import pytest

from cdp.ingestion import stream_registry
from cdp.ingestion.streams.kafka import KafkaStream, client_settings
from cdp.ingestion.streams.stream import Message, MissingExtraError, StreamAwayError, StreamSettingsError
from cdp.ingestion.streams.valkey import ValkeyStream

KAFKA = {"brokers": "127.0.0.1:1", "topics": ["people"]}
STREAM = {"url": "redis://127.0.0.1:1/0", "stream": "people"}


@pytest.mark.parametrize(
    ("kind", "config", "said"),
    [
        ("HTTP", {}, "The source is no stream"),
        ("KAFKA", {}, "`brokers` is missing"),
        ("KAFKA", {"brokers": "127.0.0.1:1"}, "`topics` is missing"),
        ("KAFKA", {**KAFKA, "topics": "people"}, "`topics` must be a list of names"),
        ("KAFKA", {**KAFKA, "security": "none"}, "`security` must be one of plaintext"),
        ("KAFKA", {**KAFKA, "security": "sasl_ssl"}, "`username` is missing"),
        ("KAFKA", {**KAFKA, "session_timeout_ms": "long"}, "`session_timeout_ms` must be a whole number"),
        ("KAFKA", {**KAFKA, "colour": "red"}, "`colour` is no setting here; there are brokers"),
        ("KAFKA", {**KAFKA, "mapping": {"event": "kind"}}, "`mapping`: `identifiers` must say"),
        ("STREAM", {"url": "redis://127.0.0.1"}, "`stream` is missing"),
        ("STREAM", {**STREAM, "url": "http://127.0.0.1"}, "`url` must begin with one of redis://"),
        ("STREAM", {**STREAM, "claim_after_seconds": "soon"}, "`claim_after_seconds` must be a whole number"),
    ],
)
def test_setting__that_is_wrong__is_named(kind, config, said):
    with pytest.raises(StreamSettingsError, match=said):
        stream_registry.open_stream(kind, config, {}, group="g")


def test_extra__that_is_not_installed__is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "cdp.ingestion.streams.kafka")
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)

    with pytest.raises(MissingExtraError, match="need the extra `kafka`"):
        stream_registry.open_stream("KAFKA", KAFKA, {}, group="g")


def test_kafka__with_sasl__has_its_credentials_and_commits_by_hand():
    config = {**KAFKA, "security": "sasl_ssl", "mechanism": "SCRAM-SHA-512", "username": "tessera", "group": "ours"}

    made = client_settings(config, {"password": "hidden"}, group="tessera-people")

    assert (made["sasl.mechanism"], made["sasl.username"], made["sasl.password"]) == (
        "SCRAM-SHA-512",
        "tessera",
        "hidden",
    )
    assert (made["group.id"], made["enable.auto.commit"], made["auto.offset.reset"]) == ("ours", False, "earliest")


def poll_for_a_while(stream):
    for _ in range(50):
        stream.poll(most=1, seconds=0.1)


def test_kafka__that_does_not_answer__is_away_and_has_no_lag():
    stream = KafkaStream(KAFKA, {}, group="g")

    with pytest.raises(StreamAwayError, match=r"^Kafka says _ALL_BROKERS_DOWN\.$"):
        poll_for_a_while(stream)

    assert stream.lag() is None
    stream.close()


def test_valkey__that_does_not_answer__is_away_and_has_no_lag():
    stream = ValkeyStream(STREAM, {}, group="g")

    with pytest.raises(StreamAwayError, match="The stream says ConnectionError"):
        stream.poll(most=1, seconds=0.1)
    with pytest.raises(StreamAwayError):
        stream.commit([Message("people", 0, "1-0", b"")])

    assert stream.lag() is None
    stream.close()


def test_message__has_a_place():
    message = Message("people", 3, "17", b"")

    assert (message.log, message.place) == ("people:3", "people:3:17")

"""From bytes to single events: what clients really send is mended, what is no JSON is refused, bombs do not go off."""

import gzip
import json

import pytest

from cdp.ingestion import bodies
from cdp.ingestion.bodies import BodyTooLargeError, InvalidJsonError, MissingBatchError

MOST = 10_000


def read(body: bytes, *, is_batch: bool = True):
    return bodies.read_envelope(body, most_bytes=MOST, is_batch=is_batch)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": "\\ud800"}', {"a": "\ufffd"}),
        (b'{"a": "\\udc00\\ud800x"}', {"a": "\ufffd\ufffdx"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
        (b'{"a": "\\\\ud800 \\\\u0000"}', {"a": "\\ud800 \\u0000"}),
        (b'{"a": "x\\u0000y"}', {"a": "x\ufffdy"}),
        (b'{"a": "x\x00y"}', {"a": "x\ufffdy"}),
        (b'{"a": NaN, "b": Infinity, "c": -Infinity, "d": 1e999}', {"a": None, "b": None, "c": None, "d": None}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'{"a": %s}' % (b"1" * 5_000), {"a": None}),
        (b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
    ],
)
def test_item__that_strict_json_refuses_or_postgres_cannot_hold__is_mended(raw, value):
    assert bodies.read_item(raw) == value


@pytest.mark.parametrize("raw", [b"", b"{", b"{'a': 1}", b"[" * 50_000 + b"]" * 50_000, b'{"a":1} {"b":2}'])
def test_item__that_is_no_json__is_refused(raw):
    with pytest.raises(InvalidJsonError):
        bodies.read_item(raw)


def test_batch__with_one_mad_event__keeps_the_others_apart():
    envelope = read(
        b'\xef\xbb\xbf{"batch": [{"a": 1}, NaN, "\xff"], "sentAt": "2026", "writeKey": "k", "context": {"b": 2}}'
    )

    assert [json.loads(item) for item in envelope.items] == [{"a": 1}, None, "\ufffd"]
    assert (envelope.sent_at, envelope.write_key, envelope.shared) == ("2026", "k", {"context": {"b": 2}})


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"batch"', b"{", b"<html>"])
def test_body__that_is_no_json_object__is_refused(body):
    with pytest.raises(InvalidJsonError):
        read(body)


@pytest.mark.parametrize("body", [b"{}", b'{"batch": {}}', b'{"batch": null}', b'{"batch": 3}'])
def test_body__without_a_list_of_events__is_refused(body):
    with pytest.raises(MissingBatchError):
        read(body)


def test_body__that_is_gzip__is_unpacked_whatever_it_is_called():
    packed = gzip.compress(b'{"batch": [1') + gzip.compress(b", 2]}")

    assert read(packed).items == [b"1", b"2"]


@pytest.mark.parametrize("damage", [lambda packed: packed[:-5], lambda packed: packed[:12] + b"\xff" * 20])
def test_body__of_damaged_gzip__is_refused(damage):
    with pytest.raises(InvalidJsonError):
        read(damage(gzip.compress(json.dumps({"batch": list(range(100))}).encode())))


def test_body__that_unpacks_past_the_limit__is_refused():
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 100_000

    with pytest.raises(BodyTooLargeError):
        read(bomb)


def test_body__over_the_limit__is_refused():
    with pytest.raises(BodyTooLargeError):
        read(b'{"batch": ["%s"]}' % (b"x" * MOST))


def test_batch__of_absurdly_many_items__is_refused():
    with pytest.raises(BodyTooLargeError):
        bodies.read_envelope(b'{"batch": [%s1]}' % (b"1," * bodies.MOST_ITEMS), most_bytes=10**6, is_batch=True)


def test_single_call__is_its_own_only_item():
    envelope = read(b'{"userId": "u", "sentAt": "2026", "writeKey": "k", "context": {}}', is_batch=False)

    assert len(envelope.items) == 1
    assert (envelope.write_key, envelope.sent_at, envelope.shared) == ("k", None, {})

"""Requests that no client in good faith would send, and some that one did: the same ones for the same seed."""

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

PATHS = ("batch", "batch/", "import", "track", "identify", "page", "screen", "group", "alias", "b", "t", "i")
EVENT = {
    "type": "track", "event": "Viewed", "userId": "u1", "anonymousId": "a1", "messageId": "m1",
    "timestamp": "2026-11-21T10:00:00Z", "properties": {"total": 9.5, "items": [{"sku": "x"}]},
    "traits": {"email": "ada@example.com", "phone": "0612345678"}, "groupId": "g", "previousId": "p",
    "context": {"ip": "192.0.2.1", "traits": {"plan": "pro"}, "externalIds": [{"id": "1", "type": "crm:id"}]},
    "integrations": {"All": True}, "sentAt": "2026-11-21T10:00:01Z", "name": "Home", "category": "Docs",
}  # fmt: skip
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, 5e-324, 2**63, 2**200, "", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud83d", "null",
    "😀" * 50, "x" * 600, "x" * 40_000, [], {}, [[]], [None], {"": None}, {"\x00": "\x00"}, {"a" * 300: 1},
    {"a": {"b": {"c": []}}}, [1] * 400, {f"k{n}": n for n in range(301)}, "0000-00-00", "9999-12-31T23:59:60Z", "1e400",
    "2026-02-30", "20261121T100000Z", "\uff12\uff10\uff12\uff16-11-21", -1e18, 253402300800000, "1.5", "-1", "\u202e", "\ufeff", "undefined",
)  # fmt: skip
ODD_JSON = (
    b"NaN", b"-Infinity", b"1e400", b"-1e400", b"1e-400", b"-0", b"9" * 400, b"9" * 5_000, b"0" * 40, b"1." + b"0" * 5_000,
    b'"\\u0000"', b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\\u"', b'"\xff\xfe"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\x00"',
    b"'a'", b"undefined", b"[1,]", b"{,}", b"/**/1", b"0x10", b"truefalse", b'"\t"', b'"a\nb"', b"{1:2}",
)  # fmt: skip


@dataclass(frozen=True)
class Malformed:
    """A request: how it was made is for whoever reads of a failure."""

    how: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def requests(seed: int, count: int, *, authorization: str) -> Iterator[Malformed]:
    chance = random.Random(seed)
    makers, weights = zip(*WAYS.items(), strict=True)
    for maker in chance.choices(makers, weights, k=count):
        body = maker(chance)
        headers = {"Authorization": authorization, **_odd_headers(chance)}
        yield Malformed(maker.__name__, f"/v1/{chance.choice(PATHS)}", body, headers)


def _odd_headers(chance: random.Random) -> dict[str, str]:
    if chance.random() < 0.9:
        return {}
    return chance.choice(
        [
            {"Content-Encoding": "gzip"}, {"Content-Encoding": "br"}, {"Content-Type": "multipart/form-data; boundary=x"},
            {"Content-Type": "text/plain; charset=utf-16"}, {"Content-Type": "application/x-www-form-urlencoded"},
            {"Authorization": ""}, {"Authorization": "Basic"}, {"Authorization": "Basic \x00\xff"},
            {"Authorization": "Basic " + "A" * 5_000}, {"Authorization": "Digest x"}, {"Origin": "null"},
            {"Origin": "x" * 3_000}, {"X-Forwarded-For": "not an address"}, {"Cookie": "a=b; =; ;;"},
        ]
    )  # fmt: skip


# -- bodies ---------------------------------------------------------------------------------------------------------


def valid(chance: random.Random) -> bytes:
    event = {**EVENT, "messageId": f"m{chance.getrandbits(40)}", "type": chance.choice(KINDS)}
    return json.dumps({"batch": [event], "sentAt": EVENT["sentAt"]} if chance.random() < 0.7 else event).encode()


KINDS = ("identify", "track", "page", "screen", "group", "alias")


def wrong_types(chance: random.Random) -> bytes:
    """An event with odd values in one to four of its places."""
    event = {**EVENT, "messageId": f"m{chance.getrandbits(40)}", "type": chance.choice(KINDS)}
    for name in chance.sample(list(event), chance.randint(1, 4)):
        event[name] = _odd(chance, event[name])
    if chance.random() < 0.3:
        return json.dumps(
            {name: chance.choice(ODD) for name in ("batch", "sentAt", "context", "integrations")}
        ).encode()
    return json.dumps({"batch": [event, EVENT], "context": chance.choice(ODD), "sentAt": chance.choice(ODD)}).encode()


def _odd(chance: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.6:
        inner = chance.choice(list(value))
        return {**value, inner: _odd(chance, value[inner])}
    return chance.choice(ODD)


def odd_json(chance: random.Random) -> bytes:
    """A value that JSON does not have, or nearly, in the place of a good one."""
    text = valid(chance)
    good = chance.choice([b'"Viewed"', b"9.5", b'"u1"', b'"2026-11-21T10:00:00Z"', b'"x"', b"true", b'"a1"'])
    return text.replace(good, chance.choice(ODD_JSON))


def flipped(chance: random.Random) -> bytes:
    body = bytearray(valid(chance))
    for _ in range(chance.randint(1, 8)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    return bytes(body)


def cut(chance: random.Random) -> bytes:
    body = valid(chance)
    start, end = sorted(chance.choices(range(len(body)), k=2))
    return chance.choice([body[:end], body[start:], body[:start] + body[end:], body[:end] + body[start:]])


def noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice([0, 1, 2, 10, 100, 5_000]))


def scalar(chance: random.Random) -> bytes:
    return chance.choice([b"", b" ", b"null", b"0", b'""', b"[]", b"{}", b"[{}]", b'{"batch": []}', *ODD_JSON])


def deep(chance: random.Random) -> bytes:
    depth = chance.choice([50, 500, 1_000, 3_000, 20_000])
    nest = chance.choice([b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth])
    return nest if chance.random() < 0.3 else valid(chance).replace(b'"x"', nest)


def twice(chance: random.Random) -> bytes:
    """The same key more than once."""
    name = chance.choice(list(EVENT))
    again = json.dumps({name: chance.choice(ODD)}).encode()[1:-1]
    return valid(chance).replace(b'"type"', again + b', "type"').replace(b'{"batch"', b'{"batch": 1, "batch"')


def marked(chance: random.Random) -> bytes:
    """With a byte order mark, in an encoding that may be another one."""
    encoding = chance.choice(["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7"])
    body = valid(chance).decode().encode(encoding)
    return body if chance.random() < 0.7 else b"\xef\xbb\xbf" * 3 + body


def packed_badly(chance: random.Random) -> bytes:
    body = gzip.compress(valid(chance), 1)
    place = chance.randrange(len(body))
    return chance.choice(
        [
            body[:place], body + b"rest", body + body, gzip.compress(body, 1), body[:-8] + chance.randbytes(8),
            body[:place] + chance.randbytes(1) + body[place + 1 :], zlib.compress(body), b"\x1f\x8b", body[10:],
            gzip.compress(b"", 1), gzip.compress(b"[" * 5_000, 1), body * 20,
        ]
    )  # fmt: skip


def many(chance: random.Random) -> bytes:
    count = chance.choice([2_501, 10_001])
    return b'{"batch": [' + b",".join([chance.choice([b"0", b"{}", b"[]", b'""'])] * count) + b"]}"


def bomb(chance: random.Random) -> bytes:
    return chance.choice(bombs())


@cache
def bombs() -> tuple[bytes, ...]:
    return tuple(_bombs())


def _bombs() -> Iterator[bytes]:
    """64 MB in 64 KB, packed once and twice, as blanks, as a list, and as one string."""
    size = 64 * 2**20
    for plain in (b" " * size, b'{"batch": [' + b"0," * (size // 2), b'{"batch": "' + b"a" * size + b'"}'):
        packed = gzip.compress(plain, 9)
        yield packed
        yield gzip.compress(packed, 9)
        yield gzip.compress(plain[: 8 * 2**20 - 20], 9)


WAYS: Mapping[Callable[[random.Random], bytes], float] = {
    valid: 2, wrong_types: 12, odd_json: 10, flipped: 20, cut: 19, noise: 12, scalar: 8, deep: 2, twice: 4, marked: 4,
    packed_badly: 7, many: 0.05, bomb: 0.03,
}  # fmt: skip

"""From the bytes of a request to the JSON of single events. Pure.

Strict parsers come first because they are fast. What clients really send and JSON forbids (NaN, lone surrogates, bytes
that are no UTF-8) or Postgres cannot hold (NUL) is mended rather than refused: refusing costs the whole batch.
"""

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from cdp.kernel.errors import TesseraError

GZIP_MAGIC: Final = b"\x1f\x8b"
MOST_ITEMS: Final = 10_000  # past this nobody sent events in good faith, and naming each would cost more than they did

_BOM = b"\xef\xbb\xbf"
_SUSPICIOUS = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2}|u0000)|.)",
    re.DOTALL,
)
_REPLACEMENT = rb"\ufffd"
_LONGEST_NUMBER = 300
_WORTH_COUNTING: Final = 2**20
_FEWEST_BYTES_A_VALUE: Final = 4  # on average; events have names and ids

F = TypeVar("F")


class InvalidJsonError(TesseraError):
    """The body must be a JSON object in UTF-8."""

    code = "invalid_json"


class MissingBatchError(TesseraError):
    """The body must have a list of events under `batch`."""

    code = "missing_batch"


class BodyTooLargeError(TesseraError):
    """The body, or what it decompresses to, is too large: send smaller batches."""

    code = "body_too_large"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A request, read as far as it concerns all its events. `items` are the single events as JSON."""

    items: Sequence[bytes]
    write_key: str | None
    sent_at: object
    shared: Mapping[str, object]  # context and integrations, which an event may override


class _Fields(msgspec.Struct, rename="camel", gc=False):
    """What a body says around its events. Only `batch` has a type: a wrong value of another one costs nobody."""

    batch: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    write_key: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    sent_at: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    context: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    integrations: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _SingleFields(msgspec.Struct, rename="camel", gc=False):
    """Of a single call only the key: the rest is the event."""

    write_key: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_BATCH = msgspec.json.Decoder(_Fields)
_SINGLE = msgspec.json.Decoder(_SingleFields)


def read_envelope(body: bytes, *, most_bytes: int, is_batch: bool) -> Envelope:
    """Whatever the headers say, gzip is known by its first bytes: senders mislabel in both directions."""
    if body.startswith(GZIP_MAGIC):
        body = _gunzip(body, most_bytes)
    if len(body) > most_bytes:
        raise BodyTooLargeError
    body = _mend_escapes(body.removeprefix(_BOM))
    return _read_batch(body) if is_batch else _read_single(body)


def _read_batch(body: bytes) -> Envelope:
    if _has_too_many_values(body):
        raise BodyTooLargeError(f"A batch has at most {MOST_ITEMS} events.")
    fields = _decoded(_BATCH, body)
    if fields.batch is msgspec.UNSET:
        raise MissingBatchError
    if len(fields.batch) > MOST_ITEMS:
        raise BodyTooLargeError(f"A batch has at most {MOST_ITEMS} events.")
    shared = {"context": _value(fields.context), "integrations": _value(fields.integrations)}
    return Envelope(
        items=[bytes(item) for item in fields.batch],
        write_key=_text(fields.write_key),
        sent_at=_value(fields.sent_at),
        shared={name: value for name, value in shared.items() if isinstance(value, dict) and value},
    )


def _read_single(body: bytes) -> Envelope:
    return Envelope(items=[body], write_key=_text(_decoded(_SINGLE, body).write_key), sent_at=None, shared={})


def _has_too_many_values(body: bytes) -> bool:
    """Millions of tiny values would each become an object of their own before they could be counted."""
    return len(body) > _WORTH_COUNTING and body.count(b",") > len(body) // _FEWEST_BYTES_A_VALUE


def read_item(raw: bytes | msgspec.Raw) -> object:
    """Decode one value, mending what strict JSON refuses. Raises `InvalidJsonError` when nothing helps."""
    raw = _mend_escapes(bytes(raw))
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        return msgspec.json.decode(mended(raw))


def storable_json(value: object) -> str:
    """JSON that Postgres takes as jsonb."""
    return _mend_escapes(msgspec.json.encode(value)).decode()


def _decoded(decoder: "msgspec.json.Decoder[F]", body: bytes) -> F:
    """Raises `InvalidJsonError`, or `MissingBatchError` where `batch` is no list."""
    try:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError:
            raise
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return decoder.decode(mended(body))
    except msgspec.ValidationError as error:
        raise (MissingBatchError if "$.batch" in str(error) else InvalidJsonError) from None


def _value(raw: "msgspec.Raw | msgspec.UnsetType") -> object:
    return read_item(raw) if isinstance(raw, msgspec.Raw) else None


def _text(raw: "msgspec.Raw | msgspec.UnsetType") -> str | None:
    value = _value(raw)
    return value if isinstance(value, str) else None


def _gunzip(body: bytes, most_bytes: int) -> bytes:
    """Never holds more than `most_bytes`, however well the body was packed. Members may follow each other."""
    plain = bytearray()
    while body.startswith(GZIP_MAGIC):
        member = zlib.decompressobj(wbits=31)
        try:
            plain += member.decompress(body, most_bytes + 1 - len(plain))
        except zlib.error:
            raise InvalidJsonError("The body is damaged gzip.") from None
        if len(plain) > most_bytes:
            raise BodyTooLargeError
        if not member.eof:
            raise InvalidJsonError("The body is truncated gzip.")
        body = member.unused_data
    return bytes(plain)


def _mend_escapes(body: bytes) -> bytes:
    r"""Put U+FFFD for \u0000, which Postgres cannot hold, and for half of a surrogate pair, which is no character."""
    if b"\\u" not in body or not _SUSPICIOUS.search(body):
        return body
    return _ESCAPE.sub(lambda found: _REPLACEMENT if found[1] else found[0], body)


def mended(body: bytes) -> bytes:
    """The same value as strict JSON. Slow: only for what the strict parser refused. Or `InvalidJsonError`."""
    try:
        value = json.loads(
            body.decode(errors="replace"), strict=False,
            parse_constant=_no_number, parse_int=_integer, parse_float=_fraction,
        )  # fmt: skip
    except (ValueError, RecursionError):
        raise InvalidJsonError from None
    return _mend_escapes(msgspec.json.encode(value))


def _no_number(_: str) -> None:
    """NaN and the infinities, which Python writes and JSON does not have."""


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else None


def _fraction(digits: str) -> float | None:
    number = float(digits)
    return number if abs(number) != float("inf") else None

"""What a row of a file says under a mapping: a record of a source system, or an event. Pure."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cdp.ingestion import messages, normalise
from cdp.ingestion.bodies import storable_json
from cdp.ingestion.mapping import SHARED_IDENTIFIERS, FileMapping
from cdp.ingestion.messages import Fact, Node, RefusedEventError
from cdp.ingestion.normalise import BUILT_IN, Corrections

_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,15})?")
_SECONDS = re.compile(r"\d{9,13}(?:\.\d+)?")
SDK_IDS: Final = frozenset({"userId", "anonymousId", "previousId"})
_NESTED: Final = ("properties", "traits", "context")


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A record as it is stored. `nodes` begins with the source's own key."""

    key: str
    nodes: tuple[Node, ...]
    fields: str
    digest: bytes
    traits: Mapping[str, object]
    observed_at: datetime


def record_row(
    fields: Mapping[str, Any], mapping: FileMapping, *, region: str, now: datetime, corrections: Corrections = BUILT_IN
) -> RecordRow:
    """Raises `RefusedEventError` for a row without a usable key."""
    key = normalise.identifier_value(mapping.key_type, fields.get(mapping.key), region=region, corrections=corrections)
    if key is None:
        raise RefusedEventError("missing_key", f"The column {mapping.key!r} holds no key.")
    written = storable_json(dict(sorted(fields.items())))
    return RecordRow(
        key=key,
        nodes=((mapping.key_type, key), *_nodes(fields, mapping.identifiers, region, corrections)),
        fields=written,
        digest=hashlib.sha256(written.encode()).digest(),
        traits=dict(_traits(fields, mapping, region, corrections)),
        observed_at=_observed_at(fields, mapping) or now,
    )


def _nodes(
    fields: Mapping[str, Any], identifiers: Mapping[str, str], region: str, corrections: Corrections
) -> Iterator[Node]:
    for kind, column in identifiers.items():
        if value := normalise.identifier_value(kind, fields.get(column), region=region, corrections=corrections):
            yield kind, value


def _traits(
    fields: Mapping[str, Any], mapping: FileMapping, region: str, corrections: Corrections
) -> Iterator[tuple[str, object]]:
    """Addresses identify and describe at once, so they are traits too, even where they identify nobody."""
    wanted = mapping.traits
    if wanted is None:
        meaningful = mapping.meaningful  # made anew by each look
        wanted = {name: name for name in fields if name not in meaningful}
    shared = {kind: column for kind, column in mapping.identifiers.items() if kind in SHARED_IDENTIFIERS}
    for trait, column in {**shared, **wanted}.items():
        if len(trait) > messages.LONGEST_TRAIT_NAME:
            raise RefusedEventError("trait_name_too_long", f"A trait's name has at most {messages.LONGEST_TRAIT_NAME}.")
        value = normalise.trait_value(trait, fields.get(column), region=region, corrections=corrections)
        if trait and value is not None:
            yield trait, value


def _observed_at(fields: Mapping[str, Any], mapping: FileMapping) -> datetime | None:
    given = time_in(fields.get(mapping.observed_at))
    if given is None:
        return None
    read = messages.moment(given)
    if read is None:
        raise RefusedEventError("invalid_timestamp", f"The column {mapping.observed_at!r} holds no time in ISO 8601.")
    return read


def event_fact(
    fields: Mapping[str, Any],
    mapping: FileMapping | None,
    *,
    source_id: int,
    region: str,
    has_types: bool,
    now: datetime,
    decimal: str = ".",
    corrections: Corrections = BUILT_IN,
    applied: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Fact:
    """Without a mapping, or for a row that is written as SDKs send events, the names of SDKs hold.

    A row without a message id has one made of its content: loaded again, in this file or another, it is the same event.
    `applied` is the tracking plan's word on the checked event. Raises `RefusedEventError`.
    """
    if mapping is None or not SDK_IDS.isdisjoint(fields):
        nodes: tuple[Node, ...] = ()
        given = dict(fields)
    else:
        nodes = tuple(_nodes(fields, mapping.identifiers, region, corrections))
        given = _as_call(fields, mapping, has_types=has_types, decimal=decimal)
    call = messages.call_of(given)
    messages.check(call, kind="track", has_other_ids=bool(nodes))
    call.message_id = call.message_id or _message_id(fields)
    if applied:
        call = messages.call_of(applied(messages.said(call)))
    return messages.fact(
        call, source_id=source_id, sent_at=None, received_at=now, region=region, more_nodes=nodes,
        corrections=corrections,
    )  # fmt: skip


def _message_id(fields: Mapping[str, Any]) -> str:
    return "row-" + hashlib.sha256(storable_json(dict(sorted(fields.items()))).encode()).hexdigest()


def _as_call(fields: Mapping[str, Any], mapping: FileMapping, *, has_types: bool, decimal: str) -> dict[str, Any]:
    """The row as an SDK would have sent it."""
    kind = normalise.text(fields.get(mapping.type)) or "track"
    said = {name: fields[name] for name in _NESTED if isinstance(fields.get(name), dict)}
    values = dict(_values(fields, mapping, decimal="" if has_types else decimal))
    place = "traits" if kind in {"identify", "group"} else "properties"
    said[place] = {**values, **said.get(place, {})}
    return {
        **said,
        "type": kind,
        "event" if kind == "track" else "name": fields.get(mapping.event),
        "messageId": fields.get(mapping.key),
        "timestamp": time_in(fields.get(mapping.observed_at)),
        "userId": fields.get(mapping.identifiers.get("user_id", "")),
        "anonymousId": fields.get(mapping.identifiers.get("anonymous_id", "")),
    }


def _values(fields: Mapping[str, Any], mapping: FileMapping, *, decimal: str) -> Iterator[tuple[str, Any]]:
    """Without a `decimal` the values have types already."""
    for name, column in property_columns(mapping, fields).items():
        value = fields.get(column)
        if value is not None and value != "":
            yield name, number_in(value, decimal) if decimal else value


def property_columns(mapping: FileMapping, columns: Iterable[str]) -> Mapping[str, str]:
    """Property → column, of a row that has these columns."""
    if mapping.properties is not None:
        return mapping.properties
    meaningful = mapping.meaningful
    return {name: name for name in columns if name not in meaningful and name not in _NESTED}


def number_in(text: str, decimal: str) -> str | int | float:
    """CSV has no numbers. What is written as one is one, but not `0800`, which is a code."""
    written = text.replace(",", ".") if decimal == "," and "." not in text else text
    if not _NUMBER.fullmatch(written):
        return text
    return float(written) if "." in written else int(written)


def time_in(value: object) -> object:
    """None where nothing is said. Digits alone are seconds or milliseconds since 1970."""
    if not isinstance(value, str):
        return value
    return float(value) if _SECONDS.fullmatch(value.strip()) else value.strip() or None

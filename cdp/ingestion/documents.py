"""What a JSON document says under a mapping: tracking calls. Pure.

The words of a mapping are those of files (see `mapping`), but where a file has columns a document has paths: names
with dots (`customer.email`, `items.0.sku`) or JSON pointers (`/customer/email`). Beside them there are

    items: data.events            # where the list of events lies; left out: the document is one event
    event_name: Order Completed   # the name of each event, where the document does not say it
    traits: {city: customer.city} # what the document says of the person: makes an identify call as well

Without `properties` the properties are the whole event, except for what has another meaning.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from cdp.ingestion import messages, normalise
from cdp.ingestion.mapping import FileMapping, MappingError, parse_mapping
from cdp.ingestion.messages import LONGEST_MESSAGE_ID, RefusedEventError

Call = dict[str, Any]
Document = Mapping[str, Any]

SHARED: Final = ("email", "phone")
_SDK_NAMES: Final[Mapping[str, str]] = {"user_id": "userId", "anonymous_id": "anonymousId"}
_OWN_TEXTS: Final = ("items", "event_name")
_SECONDS = re.compile(r"\d{9,13}(?:\.\d+)?")
_ABSENT: Final = object()


class NoItemsError(RefusedEventError):
    """The document has no list of events where the mapping says."""


@dataclass(frozen=True, slots=True)
class DocumentMapping:
    """`fields` holds paths where that of a file holds columns."""

    fields: FileMapping
    items: str = ""
    event_name: str = ""
    traits: Mapping[str, str] | None = None


def parse_document_mapping(given: object) -> DocumentMapping:
    """Raises `MappingError`, which names the entry that is wrong."""
    if not isinstance(given, dict):
        raise MappingError("A mapping is a table of entries, for example `key: order.id`.")
    if "region" in given:
        raise MappingError("`region` is that of the source.")
    for name in _OWN_TEXTS:
        if name in given and not (isinstance(given[name], str) and given[name]):
            raise MappingError(f"`{name}` must be text.")
    traits = given.get("traits")
    if traits is not None:
        parse_mapping({"traits": traits}, of_events=False)
    rest = {name: value for name, value in given.items() if name not in {*_OWN_TEXTS, "traits"}}
    fields = parse_mapping(rest, of_events=True)
    if not fields.identifiers:
        raise MappingError(
            "`identifiers` must say whose event it is, for example `identifiers: {email: customer.email}`."
        )
    if not (fields.event or fields.type or given.get("event_name") or traits):
        raise MappingError("A mapping needs `event` or `event_name`, or `traits` if there are no events.")
    return DocumentMapping(fields, given.get("items", ""), given.get("event_name", ""), traits)


def items_of(document: object, mapping: DocumentMapping) -> Sequence[object]:
    """The single events of a document. Raises `NoItemsError`."""
    if not mapping.items:
        return [document]
    found = value_at(document, mapping.items)
    if not isinstance(found, list):
        raise NoItemsError("no_items", f"There is no list at `{mapping.items}`.")
    return found


def calls_of(item: object, mapping: DocumentMapping, *, message_id: str) -> list[Call]:
    """The calls of one event, each checked. `message_id` is for one that brings no id of its own.

    Raises `RefusedEventError`.
    """
    if not isinstance(item, dict):
        raise RefusedEventError("not_an_object", "An event must be a JSON object.")
    fields = mapping.fields
    who = _who(item, fields.identifiers)
    common = {**who, "timestamp": _time(value_at(item, fields.observed_at))}
    key = fitting_id(normalise.text(value_at(item, fields.key)) or message_id)
    calls = []
    if fields.event or fields.type or mapping.event_name:
        calls.append({**common, **_event(item, mapping), "messageId": key})
    if mapping.traits is not None:
        traits = dict(_found(item, mapping.traits))
        calls.append({**common, "type": "identify", "messageId": fitting_id(f"{key}:traits"), "traits": traits})
    return [checked(call) for call in calls]


def checked(call: object) -> Call:
    """As it will be accepted. Raises `RefusedEventError` for what would be refused."""
    read = messages.call_of(call)
    messages.check(read, kind=None)
    good = messages.said(read)
    if len(msgspec.json.encode(good)) > messages.LARGEST_EVENT_BYTES:
        raise RefusedEventError("event_too_large", f"An event has at most {messages.LARGEST_EVENT_BYTES} bytes.")
    return good


def fitting_id(text: str) -> str:
    """A message id of any length, made to fit: the same text always gives the same id."""
    return text if len(text) <= LONGEST_MESSAGE_ID else "sha256-" + hashlib.sha256(text.encode()).hexdigest()


def content_id(raw: bytes, place: object = "") -> str:
    """For what has no id: the same content at the same place always has the same."""
    return "content-" + hashlib.sha256(raw + f"#{place}".encode()).hexdigest()


def identity(identifiers: Mapping[str, Any]) -> Call:
    """How a tracking call says who it is about, whatever the types of the identifiers are.

    A call must have a user or an anonymous id. Where there is neither, the strongest identifier stands in: all calls
    with it have the same one.
    """
    given = {kind: value for kind, raw in identifiers.items() if (value := normalise.text(raw))}
    said: Call = {name: given[kind] for kind, name in _SDK_NAMES.items() if kind in given}
    if given and not said:
        kind, value = min(given.items(), key=lambda one: (one[0] in SHARED, one))
        said["anonymousId"] = "of-" + hashlib.sha256(f"{kind}:{value.casefold()}".encode()).hexdigest()[:32]
    external = [
        {"type": kind, "id": value, "collection": "users", "encoding": "none"}
        for kind, value in given.items()
        if kind not in _SDK_NAMES and kind not in SHARED
    ]
    shared = {kind: given[kind] for kind in SHARED if kind in given}
    context = {**({"externalIds": external} if external else {}), **({"traits": shared} if shared else {})}
    return {**said, **({"context": context} if context else {})}


def value_at(document: object, path: str) -> Any:  # noqa: ANN401  # whatever the document holds
    """None where there is nothing. A name that has dots itself is found under its whole name."""
    if not path:
        return None
    if isinstance(document, dict) and path in document:
        return document[path]
    for step in _steps(path):
        document = _step(document, step)
    return None if document is _ABSENT else document


def _steps(path: str) -> list[str]:
    if path.startswith("/"):
        return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]
    return path.split(".")


def _step(value: object, step: str) -> object:
    if isinstance(value, dict):
        return value.get(step, _ABSENT)
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    return _ABSENT


def _who(item: Document, identifiers: Mapping[str, str]) -> Call:
    said = identity({kind: value_at(item, path) for kind, path in identifiers.items()})
    if not said:
        paths = ", ".join(f"`{path}`" for path in identifiers.values())
        raise RefusedEventError("missing_identity", f"Nothing at {paths} says whose event it is.")
    return said


def _time(value: object) -> object:
    """Digits in quotes are seconds or milliseconds since 1970, as a number is."""
    return float(value) if isinstance(value, str) and _SECONDS.fullmatch(value.strip()) else value or None


def _event(item: Document, mapping: DocumentMapping) -> Call:
    fields = mapping.fields
    kind = normalise.text(value_at(item, fields.type)).lower() or "track"
    name = value_at(item, fields.event) or mapping.event_name or None
    place = "traits" if kind in {"identify", "group"} else "properties"
    return {"type": kind, "event" if kind == "track" else "name": name, place: dict(_values(item, mapping))}


def _values(item: Document, mapping: DocumentMapping) -> Iterator[tuple[str, Any]]:
    if mapping.fields.properties is not None:
        return _found(item, mapping.fields.properties)
    spoken_for = {*mapping.fields.meaningful, *(mapping.traits or {}).values()}
    return ((name, value) for name, value in item.items() if name not in spoken_for and value is not None)


def _found(item: Document, paths: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for name, path in paths.items():
        value = value_at(item, path)
        if value is not None and value != "":
            yield name, value

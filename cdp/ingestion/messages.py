"""What a tracking call says: the checks that decide whether it is accepted, and the fact that is stored. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cdp.ingestion import normalise
from cdp.kernel.errors import TesseraError

KINDS: Final = frozenset({"identify", "track", "page", "screen", "group", "alias"})
LARGEST_EVENT_BYTES: Final = 32_768
MOST_EVENTS: Final = 2_500
LONGEST_MESSAGE_ID: Final = 100
LONGEST_GROUP_ID: Final = 500
MOST_VALUES: Final = 300
LONGEST_TRAIT_NAME: Final = 128
LONGEST_NAME: Final = 512  # of an event: it is part of an index entry
FAR_FUTURE: Final = timedelta(days=1)  # a clock may be that wrong; past it the sender's time is not believed

_IDS = ("userId", "anonymousId", "groupId", "previousId")
_OBJECTS = ("properties", "traits", "context", "integrations")
_TIMES = ("originalTimestamp", "timestamp")
_NEVER_STORED = ("writeKey", "_metadata", "receivedAt")
_EXTERNAL_TYPE = re.compile(r"[a-z][a-z0-9_.:-]{0,63}")
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

Node = tuple[str, str]  # an identifier: type and normal value


class RefusedEventError(TesseraError):
    """An event that cannot be stored; the others of its batch are."""

    code = "refused"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.reason = code


@dataclass(frozen=True, slots=True)
class Fact:
    """An event as it is stored. `nodes` are the identifiers that it came with, the most authoritative one first."""

    source_id: int
    message_id: str
    kind: str
    name: str
    nodes: Sequence[Node]
    occurred_at: datetime
    original_at: datetime | None
    sent_at: datetime | None
    received_at: datetime
    properties: Mapping[str, Any]
    context: Mapping[str, Any]
    traits: Mapping[str, Any] = field(default_factory=dict)
    previous_id: str | None = None  # of an alias; whether it was a user or an anonymous one, only the store can tell


# -- checks ---------------------------------------------------------------------------------------------------------


def checked(event: object, *, kind: str | None, has_other_ids: bool = False) -> dict[str, Any]:
    """The event as it is kept: absent values left out, ids as text. `kind` is what the path says.

    Raises `RefusedEventError`, whose `reason` is the code that the sender sees.
    """
    if not isinstance(event, dict):
        raise RefusedEventError("not_an_object", "An event must be a JSON object.")
    kept = {name: value for name, value in event.items() if value is not None and name not in _NEVER_STORED}
    kept["type"] = _kind(kept.get("type", kind))
    _keep_ids_as_text(kept)
    _check_message_id(kept)
    _check_objects(kept)
    _check_times(kept)
    _check_identity(kept, has_other_ids=has_other_ids)
    _check_name(kept)
    return kept


def _kind(given: object) -> str:
    kind = given.lower() if isinstance(given, str) else ""
    if kind not in KINDS:
        raise RefusedEventError("unknown_type", f"`type` must be one of {', '.join(sorted(KINDS))}.")
    return kind


def _keep_ids_as_text(kept: dict[str, Any]) -> None:
    for name in _IDS:
        value = kept.pop(name, None)
        if isinstance(value, bool | dict | list):
            raise RefusedEventError("invalid_identity", f"`{name}` must be a string or a number.")
        if value := normalise.text(value):
            kept[name] = value


def _check_message_id(kept: dict[str, Any]) -> None:
    given = kept.pop("messageId", None)
    if isinstance(given, bool | dict | list):
        raise RefusedEventError("invalid_message_id", "`messageId` must be a string.")
    message_id = normalise.text(given)
    if len(message_id) > LONGEST_MESSAGE_ID:
        raise RefusedEventError("message_id_too_long", f"`messageId` has at most {LONGEST_MESSAGE_ID} characters.")
    if message_id:
        kept["messageId"] = message_id


def _check_objects(kept: Mapping[str, Any]) -> None:
    for name in _OBJECTS:
        if not isinstance(kept.get(name, {}), dict):
            raise RefusedEventError(f"invalid_{name}", f"`{name}` must be a JSON object.")
    traits = _traits(kept)
    for name, values in (("properties", kept.get("properties", {})), ("traits", traits or kept.get("traits", {}))):
        if len(values) > MOST_VALUES:
            raise RefusedEventError(f"too_many_{name}", f"`{name}` has at most {MOST_VALUES} values.")
    if any(len(trait) > LONGEST_TRAIT_NAME for trait in traits):
        raise RefusedEventError(
            "trait_name_too_long", f"The name of a trait has at most {LONGEST_TRAIT_NAME} characters."
        )


def _check_times(kept: Mapping[str, Any]) -> None:
    for name in _TIMES:
        if name in kept and moment(kept[name]) is None:
            raise RefusedEventError("invalid_timestamp", f"`{name}` must be a time in ISO 8601.")


def _check_name(kept: Mapping[str, Any]) -> None:
    if kept["type"] == "track" and not (isinstance(kept.get("event"), str) and normalise.text(kept["event"])):
        raise RefusedEventError("missing_event_name", "A track call needs the name of its event under `event`.")
    if len(_name(kept)) > LONGEST_NAME:
        raise RefusedEventError("event_name_too_long", f"The name of an event has at most {LONGEST_NAME} characters.")


def _check_identity(kept: Mapping[str, Any], *, has_other_ids: bool) -> None:
    if kept["type"] == "alias":
        if not (_usable(kept, "previousId") and _usable(kept, "userId")):
            raise RefusedEventError("missing_identity", "An alias call needs `previousId` and `userId`.")
    elif not (_usable(kept, "userId") or _usable(kept, "anonymousId") or has_other_ids):
        raise RefusedEventError("missing_identity", "An event needs a `userId` or an `anonymousId` of somebody.")
    if kept["type"] == "group" and not 0 < len(kept.get("groupId", "")) <= LONGEST_GROUP_ID:
        raise RefusedEventError(
            "missing_group_id", f"A group call needs a `groupId` of at most {LONGEST_GROUP_ID} characters."
        )


def _usable(kept: Mapping[str, Any], name: str) -> str | None:
    return normalise.identifier_value("user_id", kept.get(name), region="")


# -- times ----------------------------------------------------------------------------------------------------------


def moment(value: object) -> datetime | None:
    """ISO 8601, or seconds or milliseconds since 1970. A time without a zone is UTC."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            read = datetime.fromtimestamp(value / 1000 if abs(value) > 1e11 else value, tz=UTC)
        else:
            read = datetime.fromisoformat(value if isinstance(value, str) else "")
            read = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return read if _EARLIEST <= read < _LATEST else None


def corrected(*, original: datetime | None, sent: datetime | None, received: datetime) -> datetime:
    """When it happened by our clock: the sender's clock may be wrong, but how long the event lay there is true."""
    if original is None:
        return received
    occurred = received - (sent - original) if sent else original
    return occurred if _EARLIEST <= occurred <= received + FAR_FUTURE else received


# -- facts ----------------------------------------------------------------------------------------------------------


def fact(
    event: Mapping[str, Any], *, source_id: int, sent_at: object, received_at: datetime, region: str,
    more_nodes: Sequence[Node] = (),
) -> Fact:  # fmt: skip
    """Read a checked event. `more_nodes` are identifiers that a mapping found beside those that SDKs send."""
    original = moment(event.get("originalTimestamp", event.get("timestamp")))
    sent = moment(event.get("sentAt", sent_at))
    kind = event["type"]
    return Fact(
        source_id=source_id,
        message_id=event["messageId"],
        kind=kind,
        name=_name(event),
        nodes=by_authority((*_nodes(event, region), *more_nodes)),
        occurred_at=_occurred(event, original, sent, received_at),
        original_at=original,
        sent_at=sent,
        received_at=received_at,
        properties=_properties(event),
        context=event.get("context", {}),
        traits=dict(_observed(_traits(event), region)) if kind == "identify" else {},
        previous_id=_usable(event, "previousId") if kind == "alias" else None,
    )


def _occurred(
    event: Mapping[str, Any], original: datetime | None, sent: datetime | None, received: datetime
) -> datetime:
    """Whoever sends both times has put the caller's own in `timestamp`, and only the other comes from the clock."""
    if "originalTimestamp" in event and "timestamp" in event:
        return corrected(original=moment(event["timestamp"]), sent=None, received=received)
    return corrected(original=original, sent=sent, received=received)


def by_authority(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Each once: what names the person in a system first, then the device, then what people share, as addresses."""
    return tuple(sorted(dict.fromkeys(nodes), key=_authority))


def _authority(node: Node) -> int:
    if node[0] == "user_id":
        return 0
    if node[0].endswith(normalise.OWN_KEY):
        return 1
    return 2 if node[0] == "anonymous_id" else 3


def _name(event: Mapping[str, Any]) -> str:
    given = event.get("event" if event["type"] == "track" else "name")
    return (normalise.text(given) if isinstance(given, str) else "") or str(event["type"])


def _properties(event: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = event["type"]
    if kind in {"identify", "group", "alias"}:
        beside = {name: event[name] for name in ("groupId", "previousId") if name in event}
        return {**event.get("traits", {}), **beside}
    beside = {name: event[name] for name in ("name", "category") if name in event and kind != "track"}
    return {**beside, **event.get("properties", {})}


def _traits(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of an identify call: some SDKs send them in the context only, some in both places."""
    if event["type"] != "identify":
        return {}
    within = event.get("context", {}).get("traits")
    return {**(within if isinstance(within, dict) else {}), **event.get("traits", {})}


def _observed(traits: Mapping[str, Any], region: str) -> Iterator[tuple[str, Any]]:
    for trait, raw in traits.items():
        if trait and (value := normalise.trait_value(trait, raw, region=region)) is not None:
            yield trait, value


def _nodes(event: Mapping[str, Any], region: str) -> Iterator[Node]:
    for identifier_type, raw in _given_ids(event):
        if value := normalise.identifier_value(identifier_type, raw, region=region):
            yield identifier_type, value


def _given_ids(event: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The traits of a group are not the person's; everything else that a call says of its person counts."""
    context = event.get("context", {})
    about_person = [context.get("traits")] if event["type"] == "group" else [event.get("traits"), context.get("traits")]
    yield "user_id", event.get("userId")
    yield "anonymous_id", event.get("anonymousId")
    for traits in (*about_person, event.get("properties")):
        if isinstance(traits, dict):
            yield "email", traits.get("email")
    for traits in about_person:
        if isinstance(traits, dict):
            yield "phone", traits.get("phone")
    yield from _external_ids(context.get("externalIds"))


def _external_ids(given: object) -> Iterator[tuple[str, Any]]:
    for entry in given if isinstance(given, list) else ():
        if (
            isinstance(entry, dict)
            and entry.get("collection") == "users"
            and entry.get("encoding") == "none"
            and isinstance(entry.get("type"), str)
            and _EXTERNAL_TYPE.fullmatch(entry["type"])
        ):
            yield entry["type"], entry.get("id")

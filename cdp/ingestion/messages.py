"""What a tracking call says: the checks that decide whether it is accepted, and the fact that is stored. Pure.

Types are checked while the JSON is read, in C; what a type cannot say is checked here. Every event passes twice, at the
door and in the store, so each line below costs.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from cdp.ingestion import normalise
from cdp.ingestion.bodies import mended
from cdp.ingestion.normalise import BUILT_IN, Corrections
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

GPC_IN_CONTEXT: Final = "secGpc"  # the door writes it where the browser sent `Sec-GPC: 1`

_EXTERNAL_TYPE = re.compile(r"[a-z][a-z0-9_.:-]{0,63}")
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_NOTHING: Final[Mapping[str, Any]] = {}

Node = tuple[str, str]  # an identifier: type and normal value
Id = str | int | float | None
Time = str | int | float | None
Fields = dict[str, Any] | None


class RefusedEventError(TesseraError):
    """An event that cannot be stored; the others of its batch are."""

    code = "refused"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.reason = code


class Call(msgspec.Struct, rename="camel", gc=False):
    """A tracking call as SDKs send it. What is not named here is not kept; absent and null are one."""

    type: str | None = None
    message_id: Id = None
    user_id: Id = None
    anonymous_id: Id = None
    group_id: Id = None
    previous_id: Id = None
    event: Any = None
    name: Any = None
    category: Any = None
    timestamp: Time = None
    original_timestamp: Time = None
    sent_at: Any = None
    properties: Fields = None
    traits: Fields = None
    context: Fields = None
    integrations: Fields = None


class Fact(msgspec.Struct, frozen=True, gc=False):
    """An event as it is stored. `nodes` are the identifiers that it came with, the most authoritative one first."""

    source_id: int
    message_id: str
    kind: str
    name: str
    nodes: tuple[Node, ...]
    occurred_at: datetime
    original_at: datetime | None
    sent_at: datetime | None
    received_at: datetime
    properties: Mapping[str, Any]
    context: Mapping[str, Any]
    traits: Mapping[str, Any] = {}
    previous_id: str | None = None  # of an alias; whether it was a user or an anonymous one, only the store can tell


# -- reading --------------------------------------------------------------------------------------------------------

_CALL = msgspec.json.Decoder(Call)


def accepted_call(raw: bytes | msgspec.Raw, *, kind: str | None, shared: Mapping[str, object]) -> Call:
    """A call that passed `checked_call` before: strict JSON, of which nothing is refused any more."""
    call = _CALL.decode(raw)
    share(call, shared)
    call.type = (call.type or kind or "").lower()
    _read_ids_as_text(call)
    return call


def checked_call(raw: bytes, *, kind: str | None, shared: Mapping[str, object]) -> tuple[Call, bytes]:
    """A call from outside and the strict JSON that it was read from. `kind` is what the path says; `shared` are the
    context and integrations of its batch.

    Raises `RefusedEventError`, whose `reason` is the code that the sender sees, or `InvalidJsonError`.
    """
    try:
        call = _CALL.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raw = mended(raw)
        call = call_of(msgspec.json.decode(raw))
    if shared:
        share(call, shared)
    check(call, kind=kind)
    return call, raw


def call_of(given: object) -> Call:
    """A call from values in place of JSON. Raises `RefusedEventError` where one has a type that it cannot have."""
    try:
        return msgspec.convert(given, Call)
    except msgspec.ValidationError as error:
        raise _refusal_of(str(error)) from None


def said(call: Call) -> dict[str, Any]:
    """A call as values again, in the names of SDKs, without what it does not say."""
    return {name: value for name, value in msgspec.to_builtins(call).items() if value not in (None, "")}


def share(call: Call, shared: Mapping[str, object]) -> None:
    """The context and integrations of the envelope belong to each event; where both speak the event wins."""
    for name, common in shared.items():
        if isinstance(common, dict):
            setattr(call, name, {**common, **(getattr(call, name) or {})})


_PLACE = re.compile(r"`\$\.(\w+)")
_AN_ID = "`{}` must be a string or a number."
_A_TABLE = "`{}` must be a JSON object."
_REFUSALS: Final[Mapping[str, tuple[str, str]]] = {
    "type": ("unknown_type", f"`type` must be one of {', '.join(sorted(KINDS))}."),
    "messageId": ("invalid_message_id", "`messageId` must be a string."),
    **{name: ("invalid_identity", _AN_ID.format(name)) for name in ("userId", "anonymousId", "groupId", "previousId")},
    **{name: ("invalid_timestamp", f"`{name}` must be a time in ISO 8601.") for name in ("timestamp", "originalTimestamp")},
    **{name: (f"invalid_{name}", _A_TABLE.format(name)) for name in ("properties", "traits", "context", "integrations")},
}  # fmt: skip


def _refusal_of(told: str) -> RefusedEventError:
    found = _PLACE.search(told)
    if found is None:
        return RefusedEventError("not_an_object", "An event must be a JSON object.")
    return RefusedEventError(*_REFUSALS[found[1]])


# -- checks ---------------------------------------------------------------------------------------------------------


def check(call: Call, *, kind: str | None, has_other_ids: bool = False) -> None:
    """Raises `RefusedEventError`. Afterwards the type is that of the path where the call has none, and ids are text."""
    call.type = _kind(call.type or kind)
    _read_ids_as_text(call)
    _check_values(call)
    _check_times(call)
    _check_identity(call, has_other_ids=has_other_ids)
    _check_name(call)


def _kind(given: str | None) -> str:
    if given in KINDS:
        return given
    kind = (given or "").lower()
    if kind not in KINDS:
        raise RefusedEventError(*_REFUSALS["type"])
    return kind


def _read_ids_as_text(call: Call) -> None:
    call.user_id = normalise.text(call.user_id)
    call.anonymous_id = normalise.text(call.anonymous_id)
    call.message_id = normalise.text(call.message_id)
    if len(call.message_id) > LONGEST_MESSAGE_ID:
        raise RefusedEventError("message_id_too_long", f"`messageId` has at most {LONGEST_MESSAGE_ID} characters.")
    if call.group_id is not None:
        call.group_id = normalise.text(call.group_id)
    if call.previous_id is not None:
        call.previous_id = normalise.text(call.previous_id)


def _check_values(call: Call) -> None:
    traits = _traits(call)
    for name, values in (("properties", call.properties), ("traits", traits or call.traits)):
        if values and len(values) > MOST_VALUES:
            raise RefusedEventError(f"too_many_{name}", f"`{name}` has at most {MOST_VALUES} values.")
    if any(len(trait) > LONGEST_TRAIT_NAME for trait in traits):
        raise RefusedEventError(
            "trait_name_too_long", f"The name of a trait has at most {LONGEST_TRAIT_NAME} characters."
        )


def _check_times(call: Call) -> None:
    if call.timestamp is not None and moment(call.timestamp) is None:
        raise RefusedEventError(*_REFUSALS["timestamp"])
    if call.original_timestamp is not None and moment(call.original_timestamp) is None:
        raise RefusedEventError(*_REFUSALS["originalTimestamp"])


def _check_name(call: Call) -> None:
    if call.type == "track" and not (isinstance(call.event, str) and normalise.text(call.event)):
        raise RefusedEventError("missing_event_name", "A track call needs the name of its event under `event`.")
    if len(_name(call)) > LONGEST_NAME:
        raise RefusedEventError("event_name_too_long", f"The name of an event has at most {LONGEST_NAME} characters.")


def _check_identity(call: Call, *, has_other_ids: bool) -> None:
    if call.type == "alias":
        if not (_usable(call.previous_id) and _usable(call.user_id)):
            raise RefusedEventError("missing_identity", "An alias call needs `previousId` and `userId`.")
    elif not (_usable(call.user_id) or _usable(call.anonymous_id) or has_other_ids):
        raise RefusedEventError("missing_identity", "An event needs a `userId` or an `anonymousId` of somebody.")
    if call.type == "group" and not 0 < len(str(call.group_id or "")) <= LONGEST_GROUP_ID:
        raise RefusedEventError(
            "missing_group_id", f"A group call needs a `groupId` of at most {LONGEST_GROUP_ID} characters."
        )


def _usable(given: Id) -> str | None:
    return normalise.identifier_value("user_id", given, region="") if given else None


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
    return read if EARLIEST <= read < LATEST else None


def corrected(*, original: datetime | None, sent: datetime | None, received: datetime) -> datetime:
    """When it happened by our clock: the sender's clock may be wrong, but how long the event lay there is true."""
    if original is None:
        return received
    occurred = received - (sent - original) if sent else original
    return occurred if EARLIEST <= occurred <= received + FAR_FUTURE else received


# -- facts ----------------------------------------------------------------------------------------------------------


def fact(
    call: Call, *, source_id: int, sent_at: object, received_at: datetime, region: str,
    more_nodes: Sequence[Node] = (), corrections: Corrections = BUILT_IN,
) -> Fact:  # fmt: skip
    """Read a checked call. `sent_at` is what its batch says, as it came or already read. `more_nodes` are identifiers that
    a mapping found beside those that SDKs send.
    """
    original = moment(call.timestamp if call.original_timestamp is None else call.original_timestamp)
    sent = _sent(sent_at if call.sent_at is None else call.sent_at)
    kind = str(call.type)
    return Fact(
        source_id=source_id,
        message_id=str(call.message_id),
        kind=kind,
        name=_name(call),
        nodes=by_authority((*_nodes(call, region, corrections), *more_nodes)),
        occurred_at=_occurred(call, original, sent, received_at),
        original_at=original,
        sent_at=sent,
        received_at=received_at,
        properties=_properties(call),
        context=call.context or _NOTHING,
        traits=dict(_observed(_traits(call), region, corrections)) if kind == "identify" else _NOTHING,
        previous_id=_usable(call.previous_id) if kind == "alias" else None,
    )


def _sent(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else moment(value)


_OWN_CLOCK_BESIDE: Final = "analytics-node"  # what RudderStack's SDK for Node calls itself


def _occurred(call: Call, original: datetime | None, sent: datetime | None, received: datetime) -> datetime:
    """RudderStack's SDK for Node writes its own clock into `originalTimestamp`, beside the `timestamp` that its caller
    gave; for RudderStack that one holds as it is.
    """
    if call.original_timestamp is not None and call.timestamp is not None:
        library = _table(call.context, "library")
        if library and library.get("name") == _OWN_CLOCK_BESIDE:
            return corrected(original=moment(call.timestamp), sent=None, received=received)
    return corrected(original=original, sent=sent, received=received)


def by_authority(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Each once: what names the person in a system first, then the device, then what people share, as addresses."""
    if len(nodes) == 2 and nodes[0][0] == "user_id" and nodes[1][0] == "anonymous_id":  # as most calls have them
        return tuple(nodes)
    return tuple(sorted(dict.fromkeys(nodes), key=authority)) if len(nodes) > 1 else tuple(nodes)


def authority(node: Node) -> int:
    if node[0] == "user_id":
        return 0
    if node[0].endswith(normalise.OWN_KEY):
        return 1
    return 2 if node[0] == "anonymous_id" else 3


def _name(call: Call) -> str:
    given = call.event if call.type == "track" else call.name
    return (normalise.text(given) if isinstance(given, str) else "") or str(call.type)


def _properties(call: Call) -> Mapping[str, Any]:
    if call.type == "track":
        return call.properties or _NOTHING
    if call.type in {"page", "screen"}:
        return {**_given(name=call.name, category=call.category), **(call.properties or _NOTHING)}
    return {**(call.traits or _NOTHING), **_given(groupId=call.group_id, previousId=call.previous_id)}


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != ""}


def _traits(call: Call) -> Mapping[str, Any]:
    """Of an identify call: some SDKs send them in the context only, some in both places."""
    if call.type != "identify":
        return _NOTHING
    return {**(_table(call.context, "traits") or _NOTHING), **(call.traits or _NOTHING)}


def _observed(traits: Mapping[str, Any], region: str, corrections: Corrections) -> Iterator[tuple[str, Any]]:
    for trait, raw in traits.items():
        value = normalise.trait_value(trait, raw, region=region, corrections=corrections)
        if trait and value is not None:
            yield trait, value


def _nodes(call: Call, region: str, corrections: Corrections) -> Iterator[Node]:
    for identifier_type, raw in _given_ids(call):
        if raw is None:
            continue
        if value := normalise.identifier_value(identifier_type, raw, region=region, corrections=corrections):
            yield identifier_type, value


def _given_ids(call: Call) -> Iterator[tuple[str, Any]]:
    """The traits of a group are not the person's; everything else that a call says of its person counts."""
    yield "user_id", call.user_id
    yield "anonymous_id", call.anonymous_id
    context = call.context or _NOTHING
    within = _table(context, "traits")
    about_person = (within,) if call.type == "group" else (call.traits, within)
    for traits in (*about_person, call.properties):
        if traits:
            yield "email", traits.get("email")
    for traits in about_person:
        if traits:
            yield "phone", traits.get("phone")
    if "externalIds" in context:
        yield from _external_ids(context["externalIds"])


def _table(values: Mapping[str, Any] | None, name: str) -> Mapping[str, Any] | None:
    inner = values.get(name) if values else None
    return inner if isinstance(inner, dict) else None


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

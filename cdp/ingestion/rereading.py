"""A quarantined item read again: as it would have been read when it came, but mended. Writes nothing."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from cdp.ingestion import messages, plans, redelivering
from cdp.ingestion.accepting import BATCH
from cdp.ingestion.bodies import InvalidJsonError, read_item, storable_json
from cdp.ingestion.corrections import corrections_of
from cdp.ingestion.dialects import DELIMITERS, Dialect
from cdp.ingestion.mapping import FileMapping, MappingError, MissingColumnError, mapping_for_events, mapping_for_records
from cdp.ingestion.mapping import parse_mapping as parse_file_mapping
from cdp.ingestion.mending import NO_MEND, Mend
from cdp.ingestion.messages import Fact, RefusedEventError
from cdp.ingestion.normalise import BUILT_IN, Corrections
from cdp.ingestion.rows import RecordRow, event_fact, record_row
from cdp.ingestion.sources import known_source
from cdp.ingestion.webhook import MalformedDeliveryError, Settings
from cdp.models import Connection, QuarantinedItem, Source, SourceKind

_PLACE_OF_A_CALL: Final = re.compile(r"(\w+)\[\d+\]")
LONGEST_MAPPING: Final = 100_000


@dataclass(frozen=True, slots=True)
class Correction:
    """How to read again: `mend` changes what came, `mapping` is for rows of files in place of the one that they had."""

    mend: Mend = NO_MEND
    mapping: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Of a source, as they are now: its region, the workspace's dictionary, and its tracking plan."""

    region: str
    corrections: Corrections = BUILT_IN
    applied: Callable[[dict[str, Any]], dict[str, Any]] | None = None


def circumstances_of(source: Source) -> Circumstances:
    known = known_source(source)
    check = plans.open_check(known)
    return Circumstances(known.region, corrections_of(known.workspace_id), check.applied if check.plan else None)


Says = Fact | RecordRow


@dataclass(frozen=True, slots=True)
class Reread:
    """`before` and `after` are what came and what was read: JSON, or text where it is none.

    `says` is empty where it is refused again, with `code`. A delivery of a webhook may say several things.
    """

    item: QuarantinedItem
    before: object
    after: object
    says: Sequence[Says]
    code: str = ""
    message: str = ""


def read_mapping_text(text: str) -> Mapping[str, Any]:
    """The YAML of a mapping, of records or of events. Raises `MappingError`."""
    if len(text) > LONGEST_MAPPING:
        raise MappingError(f"A mapping has at most {LONGEST_MAPPING} characters.")
    try:
        given = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # makes text alone
    except (yaml.YAMLError, RecursionError):
        raise MappingError("The mapping is no YAML.") from None
    check_mapping(given)
    return dict(given)


def check_mapping(given: object) -> None:
    """Raises `MappingError` for what is a mapping neither of records nor of events."""
    try:
        parse_file_mapping(given, of_events=False)
    except MappingError:
        parse_file_mapping(given, of_events=True)


def read_again(item: QuarantinedItem, correction: Correction, now: Circumstances) -> Reread:
    """A row of a file is read in the region of its mapping, a call in that of the source."""
    reading: Mapping[str, Any] = item.reading.body if item.reading else _supposed(item.place)
    before = _parsed_or_text(item.raw, reading)
    after: object = before
    try:
        text = correction.mend.mended_text(item.raw)
        after = text
        after = correction.mend.mended(
            _parsed(text, reading) if text != item.raw or isinstance(before, str) else before
        )
        return Reread(item, before, after, _read(item, after, reading, correction, now))
    except RefusedEventError as error:
        return Reread(item, before, after, (), error.reason, error.message)
    except (InvalidJsonError, MappingError, MissingColumnError, MalformedDeliveryError) as error:
        return Reread(item, before, after, (), error.code, error.message)


def _supposed(place: str) -> Mapping[str, Any]:
    """Of what came before readings were kept."""
    found = _PLACE_OF_A_CALL.fullmatch(place)
    return {"call": found[1]} if found else {"rows": "records", "mapping": None}


def _read(
    item: QuarantinedItem, value: object, reading: Mapping[str, Any], correction: Correction, now: Circumstances
) -> Sequence[Says]:
    if "call" in reading:
        return (_call(item, value, reading, now),)
    if not item.reading and item.source.kind in redelivering.KINDS:
        return [_call(item, call, {"call": BATCH}, now) for call in _delivered(item, value)]
    if not isinstance(value, dict):
        raise RefusedEventError("not_an_object", "The row is no JSON object.")
    return (_row(item, value, reading, correction, now),)


def _delivered(item: QuarantinedItem, value: object) -> Sequence[Mapping[str, Any]]:
    """What another system sent by itself, under the mapping that its connection has now."""
    raw = value if isinstance(value, str) else storable_json(value)
    connected = Connection.objects.get(source=item.source)
    said = redelivering.reread(
        kind=SourceKind(item.source.kind), settings=Settings(connected.config, {}), place=item.place, raw=raw.encode()
    )
    if said.unread:
        raise RefusedEventError(said.unread[0].code, said.unread[0].message)
    if not said.calls:
        raise RefusedEventError("nothing_said", "It says nothing that can be stored: ask its sender to send it again.")
    return [*said.calls]


# -- text -----------------------------------------------------------------------------------------------------------


def _parsed_or_text(raw: str, reading: Mapping[str, Any]) -> object:
    try:
        return _parsed(raw, reading)
    except (InvalidJsonError, RefusedEventError):
        return raw


def _parsed(text: str, reading: Mapping[str, Any]) -> object:
    try:
        return read_item(text.encode(errors="replace"))
    except InvalidJsonError:
        if not reading.get("columns") or reading.get("has_types"):
            raise
    return _fields_of_line(text, reading["columns"], _possible_dialects(reading))


def _possible_dialects(reading: Mapping[str, Any]) -> list[Dialect]:
    """Several of what came before dialects were kept."""
    if "dialect" in reading:
        return [Dialect(**reading["dialect"])]
    return [Dialect(delimiter) for delimiter in DELIMITERS]


def _fields_of_line(text: str, columns: list[str], possible: Sequence[Dialect]) -> dict[str, str]:
    """A line of CSV in the first dialect that gives each column its value."""
    for dialect in possible:
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), **dialect.of_reader()))
        except csv.Error:
            continue
        if len(rows) > 1 and all(len(values) == len(columns) for values in rows):
            raise RefusedEventError(
                "several_rows", f"These are {len(rows)} rows: export them, and load them as a file."
            )
        if len(rows) == 1 and len(rows[0]) == len(columns):
            return dict(zip(columns, rows[0], strict=True))
    raise RefusedEventError("wrong_number_of_columns", f"The line does not have {len(columns)} values.")


# -- calls ----------------------------------------------------------------------------------------------------------


def _call(item: QuarantinedItem, value: object, reading: Mapping[str, Any], now: Circumstances) -> Fact:
    """An event that came without a message id has one made of what came: it can be replayed once alone."""
    written = storable_json(value).encode()
    if len(written) > messages.LARGEST_EVENT_BYTES:
        raise RefusedEventError("event_too_large", f"An event has at most {messages.LARGEST_EVENT_BYTES} bytes.")
    kind = reading["call"] if reading["call"] in messages.KINDS else None
    call, _ = messages.checked_call(written, kind=kind, shared=reading.get("shared", {}))
    call.message_id = call.message_id or f"quarantined-{bytes(item.digest).hex()}"
    if now.applied:
        call = messages.call_of(now.applied(messages.said(call)))
    return messages.fact(
        call,
        source_id=item.source_id,
        sent_at=reading.get("sentAt"),
        received_at=item.received_at,
        region=now.region,
        corrections=now.corrections,
    )


# -- rows of files --------------------------------------------------------------------------------------------------


def _row(
    item: QuarantinedItem,
    fields: Mapping[str, Any],
    reading: Mapping[str, Any],
    correction: Correction,
    now: Circumstances,
) -> Fact | RecordRow:
    of_events = reading["rows"] == "events"
    mapping = _mapping(fields, reading, correction, item.source.name, of_events=of_events)
    region = (mapping.region if mapping else "") or reading.get("region", "")
    if of_events:
        return event_fact(
            fields,
            mapping,
            source_id=item.source_id,
            region=region,
            has_types=reading.get("has_types", True),
            now=item.received_at,
            decimal=_decimal(reading, mapping),
            corrections=now.corrections,
            applied=now.applied,
        )
    if mapping is None:
        raise MappingError("Nothing says what its columns mean: replay it with a mapping.")
    return record_row(fields, mapping, region=region, now=item.received_at, corrections=now.corrections)


def _decimal(reading: Mapping[str, Any], mapping: FileMapping | None) -> str:
    """As the file writes numbers, unless the mapping says otherwise."""
    said = {"decimal": ".", **reading.get("dialect", {}), **(mapping.dialect if mapping else {})}
    return str(said["decimal"])


def _mapping(
    fields: Mapping[str, Any], reading: Mapping[str, Any], correction: Correction, source: str, *, of_events: bool
) -> FileMapping | None:
    if correction.mapping is None:
        return FileMapping(**reading["mapping"]) if reading["mapping"] else None
    given = parse_file_mapping(correction.mapping, of_events=of_events)
    if of_events:
        return mapping_for_events(given, columns=list(fields), is_uniform=False)
    return mapping_for_records(given, columns=list(fields), source=source, is_uniform=False)

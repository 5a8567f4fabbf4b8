"""Events of flat files, a block of columns at a time, with the very meaning that single rows have (see `rows`).

Each column is cut to its distinct values, each of those is understood once, by the same functions as a single row, and
Arrow puts the results together to lines for COPY (see `columnar_storing`). A row that is not simply an event, because it
has another kind, a strange time, an id that is no plain text or nobody whose it is, is read as a single row.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, reduce
from itertools import combinations
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from cdp.ingestion import columnar_storing, messages, normalise, storing
from cdp.ingestion.acquaintances import Acquaintances
from cdp.ingestion.blocks import Block
from cdp.ingestion.bodies import storable_json
from cdp.ingestion.columnar_storing import AT_ONCE, Ids, Meetings, Met, What, Whom
from cdp.ingestion.mapping import FileMapping
from cdp.ingestion.messages import Fact
from cdp.ingestion.normalise import BUILT_IN, Corrections
from cdp.ingestion.parquet_rows import as_json
from cdp.ingestion.quarantine import Refused
from cdp.ingestion.rows import SDK_IDS, number_in, property_columns, time_in
from cdp.ingestion.storing import Stored, copied
from cdp.ingestion.tables import Row, Table
from cdp.models import Cause
from consent.gate import Collection, Permit

_PLAIN_VALUE: Final = bytes(range(0x21, 0x7F))  # ASCII that is seen
_PLAIN_ID: Final = _PLAIN_VALUE.replace(b"\\", b"")
_ZEROS: Final = "^[0-]*$"
_FILLERS: Final = pa.array(sorted(normalise.FILLERS), pa.string())
_MOST_CACHED: Final = 8_192  # values of a column that are written as JSON once
_PLAIN_TIME: Final = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z?$"
_MICROSECONDS: Final = pa.timestamp("us")
_EARLIEST: Final = pa.scalar(messages.EARLIEST.replace(tzinfo=None), _MICROSECONDS)
_LATEST: Final = pa.scalar(messages.LATEST.replace(tzinfo=None), _MICROSECONDS)

ReadRow = Callable[[Row], Fact | Refused]


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of a file mean. `slots` are identifiers, type and column, by authority."""

    key: str
    event: str
    type: str
    observed_at: str
    slots: Sequence[tuple[str, str]]
    is_told: Sequence[
        bool
    ]  # of each slot: whether the mapping names it as an identifier, or it is a property's address
    properties: Sequence[tuple[str, Callable[[Any], str | None]]]  # column, and what its values are in JSON
    region: str
    corrections: Corrections
    known: Acquaintances = field(default_factory=Acquaintances)  # of the load that reads by this layout


@dataclass(frozen=True, slots=True)
class Columns:
    """The simple events of a block, all columns of one length.

    `slots` have for each row the place of whom it names there, null where it names nobody, the most authoritative slot
    first. `before` and `behind` are texts for COPY, up to whose event it is and after whom it was seen with.
    """

    received_at: datetime
    whom: Whom
    slots: Sequence[Any]
    before: Sequence[Any]
    behind: Sequence[Any]

    @property
    def size(self) -> int:
        return len(self.before[0])

    @property
    def has_repetitions(self) -> bool:
        """Whether a message comes twice. The first counts, so they must stay in their order."""
        return bool(pc.count_distinct(self.before[0]).as_py() < self.size)


@dataclass(slots=True)
class Arrived:
    """The events of a block: nearly all as columns, the odd ones read singly."""

    columns: Columns
    facts: Sequence[Fact]
    is_mixed: bool  # a single row and a column have one message: which came first, only rows in their order tell
    known: Acquaintances
    met: Met | None = None

    @property
    def size(self) -> int:
        return self.columns.size + len(self.facts)

    @property
    def is_simple(self) -> bool:
        return not self.is_mixed and not any(fact.traits or fact.previous_id for fact in self.facts)

    def meet(self, permit: Permit[Collection]) -> dict[int, Cause]:
        """Make the identifiers, links and partitions that are missing. It may be a transaction of its own."""
        self.met = columnar_storing.meet(permit, self.columns.whom, self.known)
        return dict.fromkeys(self.met.learnt, Cause.LEARNT)

    def store(self, permit: Permit[Collection], turn: AbstractContextManager[None] = AT_ONCE) -> Stored:
        """As `storing.write_facts`, when all were met. Messages are claimed in `turn`."""
        met = self.met
        if met is None or not columnar_storing.still_holds(met):
            met = columnar_storing.meet(permit, self.columns.whom, self.known)
        if not self.facts:
            return self._store_columns(permit, met, turn)
        with turn:
            singles = storing.write_facts(permit, self.facts)
            columns = self._store_columns(permit, met, AT_ONCE)
        return Stored(singles.events + columns.events, {**columns.touched, **singles.touched})

    def _store_columns(self, permit: Permit[Collection], met: Met, turn: AbstractContextManager[None]) -> Stored:
        what = _what(self.columns, met.ids)
        events, whose = columnar_storing.store(permit, what, met, turn)
        return Stored(events, dict.fromkeys(whose, Cause.EVENT))


def layout_of(
    table: Table, mapping: FileMapping | None, *, region: str, corrections: Corrections = BUILT_IN
) -> Layout | None:
    """None for files whose rows must be read one by one: calls as SDKs send them, nested values, rare types."""
    if mapping is None or not table.is_uniform or not SDK_IDS.isdisjoint(table.columns) or not mapping.event:
        return None
    properties = tuple(property_columns(mapping, table.columns).items())
    addresses = [("email", column) for name, column in properties if name == "email"]
    told = list(mapping.identifiers.items())
    slots = sorted(dict.fromkeys([*addresses, *told]), key=lambda slot: messages.authority((slot[0], "")))
    is_twice = len({kind for kind, _ in slots}) < len(slots)
    texts = {mapping.key, mapping.event, mapping.type, *(column for _, column in slots)} - {""}
    if is_twice or len(properties) > messages.MOST_VALUES or not _are_simple(table, texts, mapping):
        return None
    decimal = "" if table.has_types else table.dialect.decimal
    pieces = [(column, lru_cache(_MOST_CACHED, typed=True)(_as_property(name, decimal))) for name, column in properties]
    return Layout(
        mapping.key, mapping.event, mapping.type, mapping.observed_at, slots, [slot in told for slot in slots],
        pieces, region, corrections,
    )  # fmt: skip


def _are_simple(table: Table, texts: set[str], mapping: FileMapping) -> bool:
    if table.schema is None:
        return not table.has_types
    types = {name: table.schema.field(name).type for name in table.columns}
    is_time = pa.types.is_string(types[mapping.observed_at]) if mapping.observed_at else True
    plain = (pa.types.is_string, pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    return (
        is_time
        and all(pa.types.is_string(types[name]) for name in texts)
        and all(any(is_one(kind) for is_one in plain) for kind in types.values())
    )


def arrived(
    block: Block, layout: Layout, *, source_id: int, now: datetime, read_row: ReadRow
) -> tuple[Arrived, list[Refused]]:
    """Understand a block. What of it is refused comes back beside it, in no order."""
    reading = _Reading(block, layout, now)
    facts, refused = _singles(block, reading.is_odd, read_row)
    refused += [one for row in block.bad if isinstance(one := read_row(row), Refused)]
    keys = pa.array([fact.message_id for fact in facts], pa.string())
    is_mixed = bool(facts) and bool(pc.any(pc.is_in(reading.simple(reading.keys), value_set=keys)).as_py())
    return Arrived(reading.columns(source_id, facts), facts, is_mixed, layout.known), refused


def _singles(block: Block, is_odd: Any, read_row: ReadRow) -> tuple[list[Fact], list[Refused]]:  # noqa: ANN401  # Arrow
    """The odd rows, read one by one."""
    rows = (Row(block.numbers[place], block.fields(place)) for place in pc.indices_nonzero(is_odd).to_pylist())
    read = [read_row(row) for row in rows]
    return [one for one in read if isinstance(one, Fact)], [one for one in read if isinstance(one, Refused)]


class _Reading:
    """The columns of one block, understood. Rows that must be read singly are true in `is_odd`."""

    def __init__(self, block: Block, layout: Layout, now: datetime) -> None:
        self.block = block
        self.layout = layout
        self.now = now
        self.size = len(block.numbers)
        self.slots = [self._slot(kind, block.columns[column]) for kind, column in layout.slots]
        self.keys = self._keys()
        self.names = self._names()
        self.moments, is_odd_time = self._moments()
        told = [slot for slot, is_told in zip(self.slots, layout.is_told, strict=True) if is_told]
        has_nobody = pc.invert(_any_valid(told, self.size))
        odd = (has_nobody, pc.is_null(self.keys), pc.is_null(self.names), is_odd_time, self._is_other_kind())
        self.is_odd = odd[0]
        for one in odd[1:]:
            self.is_odd = pc.or_(self.is_odd, one)
        self.is_simple = pc.invert(self.is_odd)

    def simple(self, column: Any) -> Any:  # noqa: ANN401  # Arrow
        """What the column has of the rows that are simply events."""
        return column.filter(self.is_simple)

    def columns(self, source_id: int, facts: Sequence[Fact]) -> Columns:
        """`facts` are the single rows of the block: whom they name is made with the others."""
        occurred = self.simple(pc.fill_null(self.moments, _instant(self.now)))
        months = {moment.date() for moment in pc.unique(pc.floor_temporal(occurred, unit="month")).to_pylist()}
        months |= {fact.occurred_at.astimezone(UTC).date().replace(day=1) for fact in facts}
        slots = [self.simple(slot).dictionary_encode() for slot in self.slots]
        times = pc.binary_join_element_wise(occurred.cast(pa.string()), "+00", "")
        is_said = pc.if_else(self.simple(pc.is_valid(self.moments)), "t", "f")
        return Columns(
            self.now,
            Whom(source_id, sorted(months), self._values(slots), _meetings(slots, occurred), facts),
            [slot.indices for slot in slots],
            before=[self.simple(self.keys), self.simple(self.names)],
            behind=[times, is_said, self._properties()],
        )

    # -- whose ------------------------------------------------------------------------------------------------------

    def _slot(self, kind: str, column: Any) -> Any:  # noqa: ANN401  # Arrow
        """The column in its normal form."""
        encoded = column.dictionary_encode()
        return _identifiers(kind, encoded.dictionary, self.layout).take(encoded.indices)

    def _values(self, slots: Sequence[Any]) -> list[tuple[str, Any]]:
        return [(kind, slot.dictionary) for (kind, _), slot in zip(self.layout.slots, slots, strict=True)]

    # -- what -------------------------------------------------------------------------------------------------------

    def _names(self) -> Any:  # noqa: ANN401  # Arrow
        return _each(self.block.columns[self.layout.event], _name, pa.string())

    def _is_other_kind(self) -> Any:  # noqa: ANN401  # Arrow
        if not self.layout.type:
            return _constant(self.size, value=False)
        kinds = _each(
            self.block.columns[self.layout.type], lambda raw: normalise.text(raw) not in {"", "track"}, pa.bool_()
        )
        return pc.fill_null(kinds, False)

    def _keys(self) -> Any:  # noqa: ANN401  # Arrow
        """Message ids; null where a single row must tell. Without a column each is made of the content of its row."""
        if not self.layout.key:
            return self._digests()
        given = self.block.columns[self.layout.key]
        return pc.if_else(_fits(given, _PLAIN_ID, messages.LONGEST_MESSAGE_ID), given, pa.scalar(None, pa.string()))

    def _digests(self) -> Any:  # noqa: ANN401  # Arrow
        pieces = [
            pc.fill_null(_each(self.block.columns[name], _as_field(name), pa.string()), f"{storable_json(name)}:null")
            for name in sorted(self.block.columns)
        ]
        written = pc.binary_join_element_wise("{", pc.binary_join_element_wise(*pieces, ","), "}", "")
        return pa.array(["row-" + hashlib.sha256(one.encode()).hexdigest() for one in written.to_pylist()], pa.string())

    def _properties(self) -> Any:  # noqa: ANN401  # Arrow
        """A JSON object for each row, as the last value of COPY."""
        pieces = [
            _each(self.simple(self.block.columns[name]), as_json, pa.string())
            for name, as_json in self.layout.properties
        ]
        return pc.binary_join_element_wise("{", _joined(pieces, pc.sum(self.is_simple).as_py() or 0), "}\n", "")

    # -- when -------------------------------------------------------------------------------------------------------

    def _moments(self) -> tuple[Any, Any]:
        """The time that each row names, null where it names none; and which rows name one that is not to be believed."""
        if not self.layout.observed_at:
            return pa.nulls(self.size, _MICROSECONDS), _constant(self.size, value=False)
        given = self.block.columns[self.layout.observed_at]
        moments = _plain_times(given)
        if moments is None:
            moments = _each(given, _moment, _MICROSECONDS)
        is_said = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(given), ""), False)
        latest = pc.min_element_wise(_LATEST, _instant(self.now + messages.FAR_FUTURE))
        within = pc.and_(pc.greater_equal(moments, _EARLIEST), pc.less(moments, latest))
        return moments, pc.and_(is_said, pc.invert(pc.fill_null(within, False)))


def _instant(moment: datetime) -> Any:  # noqa: ANN401  # Arrow
    return pa.scalar(moment.astimezone(UTC).replace(tzinfo=None), _MICROSECONDS)


# -- identifiers ----------------------------------------------------------------------------------------------------


def _identifiers(kind: str, values: Any, layout: Layout) -> Any:  # noqa: ANN401  # Arrow
    """As `normalise.identifier_value`; what is plain and no filler is as it should be and need not be looked at singly."""
    if kind in normalise.SPELLED:
        return pa.array([_identifier(kind, value, layout) for value in values.to_pylist()], pa.string())
    is_plain = pc.and_(
        _fits(values, _PLAIN_VALUE, normalise.LONGEST_IDENTIFIER),
        pc.invert(
            pc.or_(pc.match_substring_regex(values, _ZEROS), pc.is_in(pc.ascii_lower(values), value_set=_FILLERS))
        ),
    )
    is_odd = pc.invert(pc.fill_null(is_plain, False))
    if not pc.any(is_odd).as_py():
        return values
    odd = [_identifier(kind, value, layout) for value in values.filter(is_odd).to_pylist()]
    return pc.replace_with_mask(values, is_odd, pa.array(odd, pa.string()))


def _identifier(kind: str, raw: str, layout: Layout) -> str | None:
    return normalise.identifier_value(kind, raw, region=layout.region, corrections=layout.corrections)


# -- whose they are -------------------------------------------------------------------------------------------------


def _meetings(slots: Sequence[Any], occurred: Any) -> list[Meetings]:  # noqa: ANN401  # Arrow
    """Of each two slots: the places that stand in one row, and the first time that they do."""
    found = []
    for (one, left), (other, right) in combinations(enumerate(slots), 2):
        pairs = pa.table({"left": left.indices, "right": right.indices, "at": occurred.cast(pa.int64())})
        pairs = pairs.filter(pc.and_(pc.is_valid(left), pc.is_valid(right)))
        first = pairs.group_by(["left", "right"], use_threads=False).aggregate([("at", "min")])
        found.append(Meetings((one, other), *(first.column(name).to_numpy() for name in ("left", "right", "at_min"))))
    return found


def _what(columns: Columns, ids: Sequence[Ids]) -> What:
    """The events as COPY takes them, but for those that name somebody who has no id."""
    known = [pa.array(theirs, mask=theirs == 0) for theirs in ids]
    slots = [theirs.take(places) for theirs, places in zip(known, columns.slots, strict=True)]
    whose = pc.coalesce(*slots)
    lines = _lines(*columns.before, whose.cast(pa.string()), _seen_with(slots), *columns.behind)
    if any(theirs.null_count for theirs in known):
        is_named = [
            pc.or_(pc.is_valid(slot), pc.is_null(places)) for slot, places in zip(slots, columns.slots, strict=True)
        ]
        are_named = reduce(pc.and_, is_named)
        lines, whose = lines.filter(are_named), whose.filter(are_named)
    dropped = columns.size - len(lines)
    if not columns.has_repetitions:  # then neighbours in the index are written one after the other
        order = pc.sort_indices(whose)
        lines, whose = lines.take(order), whose.take(order)
    owners = pc.unique(whose).to_pylist()
    return What(columns.whom.source_id, columns.received_at, len(lines), _data(lines), owners, dropped)


def _seen_with(slots: Sequence[Any]) -> Any:  # noqa: ANN401  # Arrow
    """All ids of a row but the first, as an array of Postgres."""
    size = len(slots[0])
    others = [
        pc.if_else(_any_valid(slots[:place], size), slot.cast(pa.string()), pa.scalar(None, pa.string()))
        for place, slot in enumerate(slots)
    ]
    return pc.binary_join_element_wise("{", _joined(others, size), "}", "")


# -- columns --------------------------------------------------------------------------------------------------------


def _lines(*columns: Any) -> Any:  # noqa: ANN401  # Arrow
    """As COPY's text format has them: tabs between. The last column ends the line."""
    return pc.binary_join_element_wise(*columns, "\t")


def _data(lines: Any) -> memoryview | bytes:  # noqa: ANN401  # Arrow
    """All texts of an array, one behind the other, where Arrow has them. What lies under a null may be among them."""
    if not len(lines):
        return b""
    _, offsets, data = lines.buffers()
    first, last = (memoryview(offsets).cast("i")[place] for place in (lines.offset, lines.offset + len(lines)))
    return memoryview(data)[first:last]


def _fits(column: Any, letters: bytes, longest: int) -> Any:  # noqa: ANN401  # Arrow
    """Whether a text has these letters alone and at least one, and is not too long. Mostly all texts have them: that is seen
    of all at once, ten times as fast as of each. A pattern that itself says how long takes tens of megabytes.
    """
    length = pc.binary_length(column)
    is_of_length = pc.and_(pc.greater(length, 0), pc.less_equal(length, longest))
    if not bytes(_data(column)).translate(None, letters):
        return is_of_length
    return pc.and_(is_of_length, pc.match_substring_regex(column, f"^[{re.escape(letters.decode())}]*$"))


def _each(column: Any, understood: Callable[[Any], Any], kind: Any) -> Any:  # noqa: ANN401  # Arrow
    """Every value as it is understood; each distinct one only once. Null stays null."""
    encoded = column.dictionary_encode()
    values = [understood(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(values, kind).take(encoded.indices)


def _joined(columns: Sequence[Any], size: int) -> Any:  # noqa: ANN401  # Arrow
    """What there is in each row, between commas. A row that has nothing would be forgotten by Arrow: hence the blank."""
    blank = pa.repeat("", size)
    return pc.ascii_ltrim(pc.binary_join_element_wise(blank, *columns, ",", null_handling="skip"), ",")


def _any_valid(columns: Sequence[Any], size: int) -> Any:  # noqa: ANN401  # Arrow
    found = _constant(size, value=False)
    for column in columns:
        found = pc.or_(found, pc.is_valid(column))
    return found


def _constant(size: int, *, value: bool) -> Any:  # noqa: ANN401  # Arrow
    return pa.repeat(value, size)


def _plain_times(given: Any) -> Any:  # noqa: ANN401  # Arrow
    """All of a column at once, if all of it is written the usual way."""
    is_plain = pc.match_substring_regex(given, _PLAIN_TIME)
    if not pc.all(is_plain).as_py():
        return None
    try:
        return pc.utf8_rtrim(given, "Z").cast(_MICROSECONDS)
    except pa.ArrowInvalid:  # the thirtieth of February
        return None


def _moment(raw: str) -> datetime | None:
    read = messages.moment(time_in(raw))
    return read.replace(tzinfo=None) if read else None


def _name(raw: Any) -> str | None:  # noqa: ANN401  # of a file
    name = normalise.text(raw)
    return copied(name) if 0 < len(name) <= messages.LONGEST_NAME else None


def _as_field(name: str) -> Callable[[Any], str]:
    written = storable_json(name)
    return lambda value: f"{written}:{storable_json(as_json(value))}"


def _as_property(name: str, decimal: str) -> Callable[[Any], str | None]:
    written = copied(storable_json(name))

    def piece(raw: Any) -> str | None:  # noqa: ANN401  # of a file
        value = as_json(raw)
        if value is None or value == "":
            return None
        return f"{written}:{copied(storable_json(number_in(value, decimal) if decimal else value))}"

    return piece

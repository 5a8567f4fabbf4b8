"""Events of flat files, a block of columns at a time, with the very meaning that single rows have (see `rows`).

Each column is cut to its distinct values, each of those is understood once, by the same functions as a single row, and
Arrow puts the results together to lines for COPY. A row that is not simply an event, because it has another kind, a
strange time, an id that is no plain text or nobody whose it is, is read as a single row and takes its place again.
"""

import hashlib
from collections.abc import Callable, Sequence
from collections.abc import Collection as SomeOf
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from cdp.ingestion import messages, normalise, storing
from cdp.ingestion.blocks import Block
from cdp.ingestion.bodies import storable_json
from cdp.ingestion.mapping import FileMapping
from cdp.ingestion.messages import Fact, Node
from cdp.ingestion.normalise import BUILT_IN, Corrections
from cdp.ingestion.parquet_rows import as_json
from cdp.ingestion.quarantine import Refused
from cdp.ingestion.rows import SDK_IDS, number_in, property_columns, time_in
from cdp.ingestion.storing import ABSENT, Encounter, Ids, Stored, copied
from cdp.ingestion.tables import Row, Table
from cdp.models import Cause
from consent.gate import Collection, Permit

_PLAIN_ID: Final = rf"^[!-\[\]-~]{{1,{messages.LONGEST_MESSAGE_ID}}}$"
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
    properties: Sequence[tuple[str, str]]
    decimal: str
    region: str
    corrections: Corrections


@dataclass(frozen=True, slots=True)
class Arrived:
    """The events of a block, but for the ids of their identifiers, which only the database can tell."""

    size: int
    nodes: SomeOf[Node]
    encounters: Sequence[Encounter]
    named: Sequence[Node]
    places: Sequence[Any]  # for each slot where its node stands in `named`
    head: Any
    tail: Any
    is_single: Any  # which rows were read as single rows
    facts: Sequence[Fact]

    def write(self, permit: Permit[Collection]) -> Stored:
        """As `storing.write_facts`."""
        ids = storing.resolve(permit, self.nodes)
        learnt = {*ids.added, *storing.sight(permit, self.encounters, ids.known)}
        events, seen = storing.write_arrived(permit, self._lines(ids.known), are_likely_new=True)
        return Stored(events, {**dict.fromkeys(seen, Cause.EVENT), **dict.fromkeys(learnt, Cause.LEARNT)})

    def _lines(self, ids: Ids) -> list[str]:
        keys = pa.array([str(ids[node]) for node in self.named], pa.string())
        taken = [keys.take(place) for place in self.places]
        joined = _joined(taken, self.size)
        lines = pc.binary_join_element_wise(self.head, joined, self.tail, "")
        if self.facts:
            singles = pa.array([storing.event_line(fact, ids) for fact in self.facts], pa.string())
            lines = pc.replace_with_mask(lines, self.is_single, singles)
        return list(lines.to_pylist())


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
    return Layout(
        mapping.key, mapping.event, mapping.type, mapping.observed_at, slots, [slot in told for slot in slots],
        properties, decimal, region, corrections,
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
    facts, refused, kept = _singles(block, reading.is_odd, read_row)
    refused += [one for row in block.bad if isinstance(one := read_row(row), Refused)]
    encounters = reading.encounters(source_id)
    encounters += [Encounter(fact.nodes, source_id, fact.occurred_at) for fact in facts]
    nodes, places = reading.slots_of_simple_rows()
    head, tail = reading.lines(source_id)
    found = Arrived(
        int(pc.sum(kept).as_py() or 0), {*nodes, *(node for fact in facts for node in fact.nodes)}, encounters, nodes,
        [one.filter(kept) for one in places], head.filter(kept), tail.filter(kept), reading.is_odd.filter(kept), facts,
    )  # fmt: skip
    return found, refused


def _singles(block: Block, is_odd: Any, read_row: ReadRow) -> tuple[list[Fact], list[Refused], Any]:  # noqa: ANN401  # Arrow
    """The odd rows, read one by one, and a mask of what is kept of the block."""
    facts: list[Fact] = []
    refused: list[Refused] = []
    kept = [True] * len(block.numbers)
    for place in pc.indices_nonzero(is_odd).to_pylist():
        read = read_row(Row(block.numbers[place], block.fields(place)))
        if isinstance(read, Refused):
            kept[place] = False
            refused.append(read)
        else:
            facts.append(read)
    return facts, refused, pa.array(kept, pa.bool_())


class _Reading:
    """The columns of one block, understood. Rows that must be read singly are true in `is_odd`."""

    def __init__(self, block: Block, layout: Layout, now: datetime) -> None:
        self.block = block
        self.layout = layout
        self.now = now
        self.size = len(block.numbers)
        self.nodes: dict[Node, int] = {}
        self.places = [self._slot(kind, block.columns[column]) for kind, column in layout.slots]
        self.keys = self._keys()
        self.names = self._names()
        self.moments, is_bad_time = self._moments()
        self.original, self.occurred = self._times()
        told = [place for place, is_told in zip(self.places, layout.is_told, strict=True) if is_told]
        has_nobody = pc.invert(_any_valid(told, self.size))
        odd = (has_nobody, pc.is_null(self.keys), pc.is_null(self.names), is_bad_time, self._is_other_kind())
        self.is_odd = odd[0]
        for one in odd[1:]:
            self.is_odd = pc.or_(self.is_odd, one)

    # -- whose ------------------------------------------------------------------------------------------------------

    def _slot(self, kind: str, column: Any) -> Any:  # noqa: ANN401  # Arrow
        return _each(column, lambda raw: self._place(kind, raw), pa.int32())

    def _place(self, kind: str, raw: str) -> int | None:
        value = normalise.identifier_value(kind, raw, region=self.layout.region, corrections=self.layout.corrections)
        return self.nodes.setdefault((kind, value), len(self.nodes)) if value else None

    def slots_of_simple_rows(self) -> tuple[list[Node], list[Any]]:
        """The nodes that they name, and where in them each slot of each row has its own. Single rows bring their own."""
        places = [pc.if_else(self.is_odd, pa.scalar(None, pa.int32()), place) for place in self.places]
        used = pc.drop_null(pc.unique(pa.concat_arrays(places)))
        nodes = list(self.nodes)
        return [nodes[place] for place in used.to_pylist()], [pc.index_in(place, value_set=used) for place in places]

    def encounters(self, source_id: int) -> list[Encounter]:
        """Each pair of nodes that stand in one simple row, with the first time that they do."""
        nodes = list(self.nodes)
        simple = pc.invert(self.is_odd)
        columns = [place.filter(simple) for place in self.places]
        times = self._instants().filter(simple)
        return [
            Encounter((nodes[left], nodes[right]), source_id, at.replace(tzinfo=UTC))
            for one, other in combinations(columns, 2)
            for left, right, at in _first_of_pairs(one, other, times)
        ]

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
        return pc.if_else(pc.match_substring_regex(given, _PLAIN_ID), given, pa.scalar(None, pa.string()))

    def _digests(self) -> Any:  # noqa: ANN401  # Arrow
        pieces = [
            pc.fill_null(_each(self.block.columns[name], _as_field(name), pa.string()), f"{storable_json(name)}:null")
            for name in sorted(self.block.columns)
        ]
        written = pc.binary_join_element_wise("{", pc.binary_join_element_wise(*pieces, ","), "}", "")
        return pa.array(["row-" + hashlib.sha256(one.encode()).hexdigest() for one in written.to_pylist()], pa.string())

    def lines(self, source_id: int) -> tuple[Any, Any]:
        """What stands before and behind the ids."""
        head = pc.binary_join_element_wise(f"{source_id}\t", self.keys, "\ttrack\t", self.names, "\t{", "")
        received = f"\t{ABSENT}\t{self.now}\t{{"
        tail = pc.binary_join_element_wise(
            "}\t", self.occurred, "\t", self.original, received, self._properties(), "}\t{}\n", ""
        )
        return head, tail

    def _properties(self) -> Any:  # noqa: ANN401  # Arrow
        """The inside of a JSON object for each row, as a value of COPY."""
        pieces = [
            _each(self.block.columns[column], _as_property(name, self.layout.decimal), pa.string())
            for name, column in self.layout.properties
        ]
        return _joined(pieces, self.size)

    # -- when -------------------------------------------------------------------------------------------------------

    def _moments(self) -> tuple[Any, Any]:
        """The time that each row names, null where it names none; and which rows name one that cannot be read."""
        if not self.layout.observed_at:
            return pa.nulls(self.size, _MICROSECONDS), _constant(self.size, value=False)
        given = self.block.columns[self.layout.observed_at]
        moments = _plain_times(given)
        if moments is None:
            moments = _each(given, _moment, _MICROSECONDS)
        is_said = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(given), ""), False)
        within = pc.and_(pc.greater_equal(moments, _EARLIEST), pc.less(moments, _LATEST))
        return moments, pc.and_(is_said, pc.invert(pc.fill_null(within, False)))

    def _instants(self) -> Any:  # noqa: ANN401  # Arrow
        """When it occurred by our clock (see `messages.corrected`)."""
        received = pa.scalar(self.now.astimezone(UTC).replace(tzinfo=None), _MICROSECONDS)
        latest = pa.scalar((self.now + messages.FAR_FUTURE).astimezone(UTC).replace(tzinfo=None), _MICROSECONDS)
        is_believed = pc.fill_null(pc.less_equal(self.moments, latest), False)
        return pc.if_else(is_believed, self.moments, received)

    def _times(self) -> tuple[Any, Any]:
        original = pc.binary_join_element_wise(self.moments.cast(pa.string()), "+00", "")
        occurred = pc.binary_join_element_wise(self._instants().cast(pa.string()), "+00", "")
        return pc.fill_null(original, ABSENT), occurred


# -- columns --------------------------------------------------------------------------------------------------------


def _each(column: Any, understood: Callable[[Any], Any], kind: Any) -> Any:  # noqa: ANN401  # Arrow
    """Every value as it is understood; each distinct one only once. Null stays null."""
    encoded = column.dictionary_encode()
    values = [understood(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(values, kind).take(encoded.indices)


def _joined(columns: Sequence[Any], size: int) -> Any:  # noqa: ANN401  # Arrow
    """What there is in each row, between commas. A row that has nothing would be forgotten by Arrow: hence the blank."""
    blank = pa.array([""] * size, pa.string())
    return pc.ascii_ltrim(pc.binary_join_element_wise(blank, *columns, ",", null_handling="skip"), ",")


def _any_valid(columns: Sequence[Any], size: int) -> Any:  # noqa: ANN401  # Arrow
    found = _constant(size, value=False)
    for column in columns:
        found = pc.or_(found, pc.is_valid(column))
    return found


def _constant(size: int, *, value: bool) -> Any:  # noqa: ANN401  # Arrow
    return pa.array([value] * size, pa.bool_())


def _first_of_pairs(left: Any, right: Any, times: Any) -> list[tuple[int, int, datetime]]:  # noqa: ANN401  # Arrow
    pairs = pa.table({"left": left, "right": right, "at": times})
    pairs = pairs.filter(pc.and_(pc.is_valid(left), pc.is_valid(right)))
    first = pairs.group_by(["left", "right"]).aggregate([("at", "min")])
    return list(zip(*(first.column(name).to_pylist() for name in ("left", "right", "at_min")), strict=True))


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

"""What a query reads, as Parquet files of one run: the copy of the events, and of people who may be seen now the rest.

Whatever lies in the copy, an event counts only if its identifier is that of somebody who permits segmentation at this
moment: `who` and `person` come through the gate, anew for each run. Events that are not in the copy yet, and those that
went stale in it, are read from Postgres. So the answer is that of Postgres at every moment, however old the copy is.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from django.db import connection

from cdp.kernel.arrays import bigints, texts
from cdp.kernel.purposes import Purpose
from consent.gate import Permit, Segmentation
from segments.columnar.draft import Chosen, Needs
from segments.columnar.files import COLUMNS, EVENTS, files_of, first_of, write_plainly
from segments.columnar.instants import bounds_in, clock_of, days_that_come_round, micros_of
from segments.columnar.reading import batches_of
from segments.language.periods import date_written, instant_written, zone_named
from segments.language.tree import Consented, Learned, Listed, Member, Zone

Relations = Mapping[str, Sequence[str]]
"""The files of each."""

WHO: Final = pa.schema([("identifier_id", pa.int64()), ("profile_id", pa.int64())])
PERSON: Final = pa.schema([("profile_id", pa.int64()), ("zone", pa.int64())])
TRAIT: Final = pa.schema([("profile_id", pa.int64()), ("name", pa.string()), ("value", pa.string())])
MOMENT: Final = pa.schema(
    [("profile_id", pa.int64()), ("name", pa.string()), ("micros", pa.int64()), ("day", pa.string())]
)
STALE: Final = pa.schema([("id", pa.int64())])
CHOSEN: Final = pa.schema([("leaf", pa.int64()), ("profile_id", pa.int64())])
SCORE: Final = pa.schema([("profile_id", pa.int64()), ("model", pa.string()), ("value", pa.string())])
CLOCK: Final = pa.schema([(name, pa.int64()) for name in ("zone", "begins", "ends", "shift")])


def gather(permit: Permit[Segmentation], needs: Needs, *, now: datetime, zone: tzinfo, directory: Path) -> Relations:
    """Everything that the query needs; `zone` is that of the workspace."""
    run = _Run(permit, needs, now, zone, directory)
    return {
        **run.events(manifest(permit)),
        "who": run.written("who", WHO, _WHO, {}),
        "person": run.people(),
        "trait": run.written("trait", TRAIT, _TRAITS, {"names": texts(sorted(needs.traits))}),
        "moment": run.moments(),
        "chosen": run.chosen(),
        "score": run.written("score", SCORE, _SCORES, {"models": texts(sorted(needs.models))}),
        **run.clocks(),
    }


_WHO = "SELECT id, profile_id FROM identifier"
_PEOPLE = "SELECT id, 0 FROM profile"
_ZONES = """
SELECT p.id, COALESCE(t.value #>> '{}', ''), COALESCE(z.time_zone, '') FROM profile p
LEFT JOIN trait t ON t.profile_id = p.id AND t.name = 'timezone' AND jsonb_typeof(t.value) = 'string'
LEFT JOIN (
    SELECT DISTINCT ON (f.profile_id) f.profile_id, s.time_zone FROM source s JOIN trait f ON f.source_id = s.id
    WHERE s.time_zone <> '' ORDER BY f.profile_id, s.id
) z ON z.profile_id = p.id
"""
_TRAITS = "SELECT profile_id, name, value::text FROM trait WHERE name = ANY(%(names)s::text[])"
_DATES = """
SELECT profile_id, name, value #>> '{}' FROM trait
WHERE name = ANY(%(names)s::text[]) AND jsonb_typeof(value) = 'string'
"""
_SCORES = """
SELECT profile_id, model_slug, value::text FROM score WHERE model_slug = ANY(%(models)s::text[]) AND value IS NOT NULL
"""
_LEARNED = 'SELECT %(leaf)s::bigint, profile_id FROM score WHERE model_slug = %(name)s AND "group" = %(group)s'
_MEMBERS = """
SELECT %(leaf)s::bigint, m.profile_id FROM membership m JOIN segment s ON s.id = m.segment_id
WHERE s.slug = %(name)s AND m.entered_at <= %(now)s AND (m.left_at IS NULL OR %(now)s < m.left_at)
"""
_LISTED = """
SELECT %(leaf)s::bigint, profile_id FROM list_entry
WHERE list_slug = %(name)s AND added_at <= %(now)s AND (removed_at IS NULL OR %(now)s < removed_at)
"""
_CONSENTED = """
SELECT %(leaf)s::bigint, id FROM profile
WHERE permitted & %(bit)s <> 0 AND (permitted_until IS NULL OR %(now)s < permitted_until)
"""


@dataclass(slots=True)
class _Run:
    permit: Permit[Segmentation]
    needs: Needs
    now: datetime
    workspace_zone: tzinfo
    directory: Path
    zones: tuple[tzinfo, ...] = ()

    def written(self, name: str, schema: pa.Schema, query: str, given: Mapping[str, Any]) -> list[str]:
        """A file of the rows of a query, a batch in memory at a time."""
        place = self.directory / f"{name}.parquet"
        with pq.ParquetWriter(place, schema, compression="lz4") as writer:
            for batch in batches_of(query, given, schema):
                writer.write_batch(batch)
        return [str(place)]

    # -- people

    def people(self) -> list[str]:
        """Each with the number of their zone; that of the workspace is 0."""
        if not self.needs.has_zones:
            self.zones = (self.workspace_zone,)
            return self.written("person", PERSON, _PEOPLE, {})
        numbers = {self.workspace_zone: 0}
        place = self.directory / "person.parquet"
        named = pa.schema([("profile_id", pa.int64()), ("own", pa.string()), ("of_source", pa.string())])
        with pq.ParquetWriter(place, PERSON, compression="lz4") as writer:
            for batch in batches_of(_ZONES, {}, named):
                names = zip(batch["own"].to_pylist(), batch["of_source"].to_pylist(), strict=True)
                zones = [
                    numbers.setdefault(zone_named(own) or zone_named(of_source) or self.workspace_zone, len(numbers))
                    for own, of_source in names
                ]
                writer.write_batch(pa.record_batch([batch["profile_id"], pa.array(zones, pa.int64())], schema=PERSON))
        self.zones = tuple(numbers)
        return [str(place)]

    def clocks(self) -> Relations:
        """What of periods, anniversaries and clocks differs by zone."""
        columns: dict[str, list[Any]] = {"zone": list(range(len(self.zones)))}
        for number, period in self.needs.periods.items():
            found = [bounds_in(period, self.now, zone) for zone in self.zones]
            columns[f"after_{number}"] = [after for after, _ in found]
            columns[f"until_{number}"] = [until for _, until in found]
        for number, rule in self.needs.anniversaries.items():
            theirs = [self._zone_of(rule.zone, zone) for zone in self.zones]
            columns[f"days_{number}"] = [days_that_come_round(rule, self.now, zone) for zone in theirs]
        schema = pa.schema([(name, pa.string() if name.startswith("days_") else pa.int64()) for name in columns])
        zone = write_plainly(columns, schema, self.directory / "zone.parquet")
        pieces = [(number, *piece) for number, zone_ in enumerate(self.zones) for piece in self._pieces(zone_)]
        clock = {name: [piece[place] for piece in pieces] for place, name in enumerate(CLOCK.names)}
        return {
            "zone": [str(zone)],
            "clock": [str(write_plainly(clock, CLOCK, self.directory / "clock.parquet"))],
        }

    def _pieces(self, zone: tzinfo) -> Iterable[tuple[int, int, int]]:
        return clock_of(zone, self.now) if self.needs.has_clock else ()

    def _zone_of(self, whose: Zone, own: tzinfo) -> tzinfo:
        return {Zone.PROFILE: own, Zone.WORKSPACE: self.workspace_zone, Zone.UTC: UTC}[whose]

    # -- what is known of them

    def moments(self) -> list[str]:
        """Traits that are dates, read by the one who says which texts are such."""
        place = self.directory / "moment.parquet"
        with pq.ParquetWriter(place, MOMENT, compression="lz4") as writer:
            if self.needs.dates:
                for batch in batches_of(_DATES, {"names": texts(sorted(self.needs.dates))}, TRAIT):
                    rows = [row for row in batch.to_pylist() if date_written(row["value"]) is not None]
                    writer.write_batch(pa.RecordBatch.from_pylist([_moment(row) for row in rows], schema=MOMENT))
        return [str(place)]

    def chosen(self) -> list[str]:
        place = self.directory / "chosen.parquet"
        with pq.ParquetWriter(place, CHOSEN, compression="lz4") as writer:
            for number, leaf in self.needs.chosen.items():
                query, given = _asked(leaf)
                for batch in batches_of(query, {"leaf": number, "now": self.now, **given}, CHOSEN):
                    writer.write_batch(batch)
        return [str(place)]

    # -- events

    def events(self, copied: "Manifest") -> Relations:
        months = [None if at is None else at.year * 12 + at.month - 1 for at in (self.needs.after, self.needs.until)]
        first, last = months[0] or 0, months[1] or 12 * 10_000
        names = [
            name for name, month in copied.files if first <= month <= last and month not in copied.months
        ] if self.needs.events else []  # fmt: skip
        stale = {"id": sorted(copied.changed | copied.gone)}
        return {
            "copied": [str(files_of(self.permit.workspace_id) / name) for name in names],
            "fresh": self.written("fresh", EVENTS, copied.fresh(), copied.asked(self.needs)),
            "stale": [str(write_plainly(stale, STALE, self.directory / "stale.parquet"))] if stale["id"] else [],
        }


def _moment(row: Mapping[str, Any]) -> Mapping[str, Any]:
    at, day = instant_written(row["value"]), date_written(row["value"])
    micros = micros_of(at) if at else 0
    return {
        "profile_id": row["profile_id"],
        "name": row["name"],
        "micros": micros,
        "day": f",{day:%m-%d}," if day else "",
    }


def _asked(leaf: Chosen) -> tuple[str, Mapping[str, Any]]:
    match leaf:
        case Learned(model, group):
            return _LEARNED, {"name": model, "group": group}
        case Member(segment):
            return _MEMBERS, {"name": segment}
        case Listed(name):
            return _LISTED, {"name": name}
        case Consented(purpose):
            return _CONSENTED, {"bit": Purpose(purpose).bit if purpose in set(Purpose) else 0}


# -- the copy -------------------------------------------------------------------------------------------------------

_MANIFEST = """
SELECT COALESCE((SELECT copied_to FROM columnar_copy), 0),
       COALESCE((SELECT json_agg(json_build_array(name, month) ORDER BY id) FROM columnar_file
                 WHERE retired_at IS NULL), '[]')::text,
       COALESCE((SELECT json_agg(json_build_array(event_id, month, is_gone)) FROM stale_event), '[]')::text
"""
_TAIL = f"SELECT {COLUMNS} FROM event e WHERE e.id > %(to)s AND e.name = ANY(%(names)s::text[])"  # noqa: S608  # our own names
_CHANGED = f"SELECT {COLUMNS} FROM event e WHERE e.id = ANY(%(changed)s::bigint[])"  # noqa: S608  # our own names
_OF_A_MONTH = f"""
SELECT {COLUMNS} FROM event e WHERE e.id <= %(to)s AND e.name = ANY(%(names)s::text[])
AND e.occurred_at >= '{{begins}}' AND e.occurred_at < '{{ends}}'
"""  # noqa: S608  # our own names


@dataclass(frozen=True, slots=True)
class Manifest:
    """What there is of the copy, and what it may not be asked, of one moment."""

    copied_to: int
    files: Sequence[tuple[str, int]]
    gone: frozenset[int]
    changed: frozenset[int]
    months: frozenset[int]

    def fresh(self) -> str:
        """What only Postgres knows: through the gate."""
        parts = [_TAIL]
        parts += [_CHANGED] if self.changed else []
        parts += [_OF_A_MONTH.format(begins=first_of(month), ends=first_of(month + 1)) for month in sorted(self.months)]
        return " UNION ALL ".join(parts)

    def asked(self, needs: Needs) -> Mapping[str, Any]:
        return {"to": self.copied_to, "names": texts(sorted(needs.events)), "changed": bigints(self.changed)}


def manifest(_: Permit[Segmentation]) -> Manifest:
    """In one statement: a file that others replace meanwhile is kept for as long as anybody computes."""
    with connection.cursor() as cursor:
        cursor.execute(_MANIFEST)
        copied_to, files, stale = cursor.fetchone()
    rows = json.loads(stale)
    months = frozenset(month for event, month, _ in rows if event is None)
    singly = [(event, is_gone) for event, month, is_gone in rows if event is not None and month not in months]
    gone = frozenset(event for event, is_gone in singly if is_gone)
    changed = frozenset(event for event, is_gone in singly if not is_gone) - gone
    return Manifest(copied_to, [tuple(file) for file in json.loads(files)], gone, changed, months)

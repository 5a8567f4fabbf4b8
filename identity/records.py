"""The records of a workspace on their way to the matcher: out of Postgres by COPY, and pivoted where they are compared.

A row of a long table goes over the wire for each value; nothing is sorted, and Python touches blocks of bytes alone. They
are never written to disk.
"""

from collections.abc import Collection, Iterator
from typing import Any, Final

import pyarrow as pa
from django.db import connection
from duckdb import DuckDBPyConnection
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn

from cdp.kernel.arrays import bigints
from cdp.models import planning
from identity.matching import engine, features
from identity.queries import Rules

BLOCK_BYTES: Final = 16 << 20
_PARTS: Final = 1 << 20  # into which identifiers fall by their hash

# What was bought is left out: a provider's guess about a person is no sign of who the person is. Where one source alone
# gives values no two of them compete, and their times need not be known.
_SOURCES: Final = "SELECT count(*) FROM source WHERE workspace_id = %s AND kind <> 'ENRICHMENT'"
_VALUES: Final = """
COPY (
    SELECT t.identifier_id, array_position(%(traits)s::varchar[], t.name), t.value #>> '{{}}'{moment}
    FROM identifier_trait t
    WHERE t.name = ANY(%(traits)s::varchar[])
      AND t.source_id IN (SELECT id FROM source WHERE kind <> 'ENRICHMENT') {chosen}
) TO STDOUT (FORMAT csv)
"""
_MOMENT: Final = ", (extract(epoch FROM t.observed_at) * 1000000)::bigint, t.source_id"
_IN_SHARE: Final = f"AND (hashint8(t.identifier_id) & {_PARTS - 1}) < %(parts)s"
_OF_SOME: Final = f"AND t.identifier_id = ANY({planning.UNCOUNTED.format(ids='%(ids)s')})"
_AMONG: Final = "AND id = ANY(%(ids)s::bigint[])"
_UNIQUE: Final = """
COPY (SELECT id, type FROM identifier WHERE type = ANY(%(types)s::varchar[]) {chosen}) TO STDOUT (FORMAT csv)
"""
_COUNT: Final = "SELECT count(*) FROM identifier"


def load(duck: DuckDBPyConnection, rules: Rules, *, workspace_id: int, share: float = 1.0) -> int:
    """Table `record` of the identifiers that carry at least two of the traits, or of a fair share of them."""
    given: dict[str, Any] = {"traits": list(features.TRAITS), "parts": round(share * _PARTS)}
    return _load(duck, rules, workspace_id, _IN_SHARE if share < 1 else "", given)


def load_sample(duck: DuckDBPyConnection, rules: Rules, *, workspace_id: int, size: int) -> int:
    """About `size` records, all if there are fewer. Returns how many records there are in the workspace, about.

    Most identifiers of a workspace may be devices without a name: a share that gives too few records is raised.
    """
    with connection.cursor() as cursor:
        cursor.execute(_COUNT)
        share = min(1.0, size / max(int(cursor.fetchone()[0]), 1))
    loaded = load(duck, rules, workspace_id=workspace_id, share=share)
    if share < 1 and loaded < size / 2:
        share = min(1.0, share * size / max(loaded, 1))
        loaded = load(duck, rules, workspace_id=workspace_id, share=share)
    return round(loaded / share)


def load_some(
    duck: DuckDBPyConnection, rules: Rules, identifier_ids: Collection[int], *, workspace_id: int, is_day_first: bool
) -> int:
    """As `load`, of these alone and by key. How dates are read is not for so few to say."""
    given = {"traits": list(features.TRAITS), "ids": bigints(sorted(identifier_ids))}
    with planning.by_key():
        return _receive(duck, rules, workspace_id, _OF_SOME, given, is_day_first=is_day_first)


def _load(duck: DuckDBPyConnection, rules: Rules, workspace_id: int, chosen: str, given: dict[str, Any]) -> int:
    with planning.in_bulk():
        return _receive(duck, rules, workspace_id, chosen, given)


def _receive(
    duck: DuckDBPyConnection, rules: Rules, workspace_id: int, chosen: str, given: dict[str, Any],
    *, is_day_first: bool | None = None,
) -> int:  # fmt: skip
    unique_types = [kind for kind, limit in rules.limits.items() if limit == 1]
    competing = _are_competing(workspace_id)
    values = _VALUES.format(moment=_MOMENT if competing else "", chosen=chosen)
    engine.receive(duck, "value", engine.COMPETING_VALUE if competing else engine.VALUE, _blocks(values, given))
    unique = _UNIQUE.format(chosen=_AMONG if "ids" in given else "")
    engine.receive(duck, "unique_type", engine.UNIQUE_TYPE, _blocks(unique, {**given, "types": unique_types}))
    return engine.pivot(duck, are_competing=competing, is_day_first=is_day_first)


def _are_competing(workspace_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_SOURCES, [workspace_id])
        return int(cursor.fetchone()[0]) > 1


def table(statement: str, given: dict[str, Any], schema: pa.Schema) -> pa.Table:
    """What such a COPY sends, as columns."""
    return pa.concat_tables(
        [schema.empty_table(), *(engine.parsed(block, schema) for block in _blocks(statement, given))]
    )


def _blocks(statement: str, given: dict[str, Any]) -> Iterator[bytes]:
    """What COPY sends, in blocks of whole rows.

    The rows are taken from libpq itself: for each of them psycopg would go through its loop of waiting, which takes twice
    as long as all else that is done with a row here.
    """
    block = bytearray()
    with connection.cursor() as cursor, cursor.copy(statement, given):
        received = connection.connection.pgconn
        while (row := received.get_copy_data(0))[0] > 0:
            block += row[1]
            if len(block) >= BLOCK_BYTES:
                yield bytes(block)
                block.clear()
        _end(received)
    if block:
        yield bytes(block)


def _end(received: PGconn) -> None:
    """Fetch how the COPY went, and that nothing follows."""
    result = received.get_result()
    if result is not None and result.status != ExecStatus.COMMAND_OK:
        raise error_from_result(result)
    while received.get_result() is not None:
        pass

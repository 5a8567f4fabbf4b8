"""How fast a file is loaded: ten million events as a shop exports them, by the command that people use.

The population is skewed as it is in life: few come often, most come seldom, two thirds of the visits are anonymous, and a
visitor has one device or a few. The baseline is COPY of the same file into a plain table without keys, indexes,
partitions, deduplication or row-level security. FILE_ROWS sets another size.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from bench import harness

ROWS = int(os.environ.get("FILE_ROWS", "10000000"))
RECORD_ROWS = min(ROWS, 100_000)
PEOPLE = max(1_000, ROWS // 50)
BLOCK = 100_000
YEAR_SECONDS = 365 * 86_400
EVENTS = (
    "Product Viewed",
    "Product List Viewed",
    "Product Added",
    "Cart Viewed",
    "Checkout Started",
    "Order Completed",
)
SHARES = (0.55, 0.2, 0.1, 0.07, 0.05, 0.03)
MAPPING = """
key: message_id
identifiers: {user_id: user_id, anonymous_id: anonymous_id}
event: event
observed_at: timestamp
"""
PLAIN_TABLE = """
CREATE TABLE plain_file (
    message_id text, user_id text, anonymous_id text, event text, "timestamp" timestamptz, sku text, category text,
    price numeric, quantity integer, currency text, path text
)
"""


def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("DATA_DIR") or None) as directory:
        events, records = Path(directory) / "events.csv", Path(directory) / "people.csv"
        _write_events(events)
        _write_records(records)
        _make_sources()
        loaded = _load("events", events, mapping=MAPPING)
        again = _load("records", records)
        copied = _copy(events)
        size = events.stat().st_size
    if loaded["accepted"] != ROWS or again["accepted"] != RECORD_ROWS:
        raise AssertionError(f"not all was stored: {loaded}, {again}")
    return {
        "name": "files",
        "what": (
            f"{ROWS:,} events of {PEOPLE:,} people, a CSV of {size / 1e9:.2f} GB, and {RECORD_ROWS:,} records, by `manage.py"
            " load`; baseline: COPY of the file of events into a plain table"
        ),
        "figures": {
            "rows_per_second": ROWS / loaded["seconds"],
            "peak_mib_of_the_loading_process": loaded["mib"],
            "records_per_second": RECORD_ROWS / again["seconds"],
        },
        "baseline": {"rows_per_second": ROWS / copied},
        "ratio": copied / loaded["seconds"],
    }


# -- the files ------------------------------------------------------------------------------------------------------


def _write_events(path: Path) -> None:
    import pyarrow as pa
    from pyarrow import csv

    first = next(_blocks())
    options = csv.WriteOptions(quoting_style="none")
    with csv.CSVWriter(path, first.schema, write_options=options) as writer:
        for block in _blocks():
            writer.write_table(pa.Table.from_batches([block]))


def _blocks() -> Iterator[Any]:
    import numpy as np

    for start in range(0, ROWS, BLOCK):
        yield _block(np.random.default_rng(start), np.arange(start, min(start + BLOCK, ROWS)))


def _block(chance: Any, numbers: Any) -> Any:  # noqa: ANN401  # numpy and Arrow
    import numpy as np
    import pyarrow as pa

    size = len(numbers)
    people = (PEOPLE * chance.random(size) ** 2).astype(np.int64)  # the first of them come most often
    devices = people * 2 + (chance.random(size) < 0.15) * (people % 3 == 0)
    is_known = chance.random(size) < 1 / 3
    seconds = (numbers * YEAR_SECONDS // ROWS) + chance.integers(0, 600, size)
    sku = (997 * chance.random(size) ** 2).astype(np.int64)
    moments = np.datetime64("2025-01-01T00:00:00") + seconds.astype("timedelta64[s]")
    columns = {
        "message_id": [
            f"{one:016x}-{number:08x}" for one, number in zip(chance.integers(0, 2**62, size), numbers, strict=True)
        ],
        "user_id": [f"u{person}" if known else "" for person, known in zip(people, is_known, strict=True)],
        "anonymous_id": [f"d{device:09x}" for device in devices],
        "event": np.array(EVENTS)[chance.choice(len(EVENTS), size, p=SHARES)],
        "timestamp": [f"{moment}Z" for moment in np.datetime_as_string(moments)],
        "sku": [f"S-{one:05}" for one in sku],
        "category": [f"category {one % 23}" for one in sku],
        "price": [f"{one % 300 + 0.99:.2f}" for one in sku],
        "quantity": [str(one) for one in chance.integers(1, 4, size)],
        "currency": ["EUR"] * size,
        "path": [f"/p/{one % 997}" for one in numbers],
    }
    return pa.record_batch({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _write_records(path: Path) -> None:
    with path.open("w") as file:
        file.write("id,given_name,surname,email,phone,city,postcode\n")
        for number in range(RECORD_ROWS):
            phone = f"06{number % 100_000_000:08}"
            file.write(
                f"{number},Ada{number % 977},Byron{number % 7919},p{number}@example.com,{phone},Lyon,6900{number % 10}\n"
            )


# -- loading --------------------------------------------------------------------------------------------------------


def _make_sources() -> None:
    from cdp.ingestion.sources import create_source
    from cdp.models.sources import SourceKind
    from cdp.models.tenancy import workspace_scope
    from consent import services as consent

    workspace = consent.open_workspace(slug="files", name="Files", now=harness.NOW)
    with workspace_scope(workspace.pk):
        for name in ("events", "records"):
            create_source(workspace_id=workspace.pk, name=name, kind=SourceKind.FILE, region="FR")


def _load(what: str, path: Path, *, mapping: str = "") -> dict[str, Any]:
    """By the command, in a process of its own, whose memory is told by the system."""
    words = ["load", what, str(path), "--source", what, "--workspace", "files", "--quiet", "--json"]
    if mapping:
        written = path.with_suffix(".yaml")
        written.write_text(mapping)
        words += ["--mapping", str(written)]
    manage = Path(__file__).parent.parent / "manage.py"
    with harness.stopwatch() as watch, tempfile.TemporaryFile() as printed:
        process = subprocess.Popen([sys.executable, manage, *words], stdout=printed)
        peak = _peak_until_it_ends(process)
        printed.seek(0)
        told = printed.read()
    if process.returncode:
        raise AssertionError(f"loading {what} ended with {process.returncode}")
    return {**json.loads(told), "seconds": watch.seconds, "mib": peak}


def _peak_until_it_ends(process: "subprocess.Popen[bytes]") -> float:
    """In MiB. What `wait4` tells would count the memory of this process, from which the other was made."""
    peak = 0.0
    while process.poll() is None:
        with suppress(psutil.Error):
            peak = max(peak, psutil.Process(process.pid).memory_info().rss / 2**20)
        time.sleep(0.02)
    return peak


def _copy(path: Path) -> float:
    import psycopg

    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as connection:
        connection.execute(PLAIN_TABLE)
        with harness.stopwatch() as watch, connection.cursor() as cursor:
            _send(path, cursor)
        connection.execute("DROP TABLE plain_file")
    return watch.seconds


def _send(path: Path, cursor: Any) -> None:  # noqa: ANN401  # psycopg's, whose type has parameters
    with path.open("rb") as file, cursor.copy("COPY plain_file FROM STDIN (FORMAT csv, HEADER)") as copy:
        while data := file.read(2**20):
            copy.write(data)

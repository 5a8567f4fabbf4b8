"""Events read as columns are the events that single rows are: the same tables, whatever stands in the file."""

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from django.db import transaction
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from cdp.ingestion import blocks, loading
from cdp.models import Event, Identifier, IdentifierTrait, QuarantinedItem, Run, Sighting
from tests.factories import SourceFactory
from tests.outbox import subjects_waiting

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
COLUMNS = ("id", "who", "device", "kind", "what", "at", "email", "amount", "note")
IDS = st.sampled_from(["m1", "m2", "m3", "m 4", " m5", "m\\6", "é", "x" * 101, ""])
PEOPLE = st.sampled_from(["u1", "u2", " u1", "null", "0", "", "É", "u\\3"])
TIMES = st.sampled_from(
    ["2026-01-01 10:00:00", "2026-01-01T10:00:00.25Z", "2026-01-02T10:00:00+02:00", "2026-02-30 10:00:00", "1700000000",
     "1700000000000", "", "yesterday", "2026-01-01", "2050-01-01 00:00:00", "1800-01-01 00:00:00", "2026-11-22 11:59:59"]
)  # fmt: skip
AMOUNTS = st.sampled_from(
    ["9.50", "7", "0800", "-0.0", "1.10", "123456789012345.123456789012345", "1e5", "12,5", " 3", "", "NaN"]
)
NOTES = st.one_of(
    st.sampled_from(["", "plain", 'say "hi"', "a;b", "two\nlines", "tab\there", "back\\slash", "nul\x00", "\r"]),
    st.text(max_size=6),
)
ROWS = st.lists(
    st.tuples(
        IDS, PEOPLE, st.sampled_from(["a1", "a2", "", "anonymous"]), st.sampled_from(["track", "", "page", "Track", "identify", "odd"]),
        st.sampled_from(["Bought", "Viewed", " Bought ", "", "n" * 513, "quo\\te"]), TIMES,
        st.sampled_from(["", "Ada@Example.com", "ada@example.com", "no address"]), AMOUNTS, NOTES,
    ),
    max_size=14,
)  # fmt: skip
SIMPLE_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["m1", "m2", "m3", "m4"]), st.sampled_from(["u1", "u2", ""]), st.sampled_from(["a1", "a2"]), st.just("track"),
        st.sampled_from(["Bought", "Viewed"]), st.sampled_from(["2026-01-01 10:00:00", "2026-01-02T11:00:00Z"]),
        st.sampled_from(["", "ada@example.com"]), AMOUNTS, st.sampled_from(["", "plain", "back\\slash"]),
    ),
    max_size=14,
)  # fmt: skip
FULL = {
    "key": "id", "type": "kind", "event": "what", "observed_at": "at",
    "identifiers": {"email": "email", "anonymous_id": "device", "user_id": "who"},
}  # fmt: skip
MAPPINGS = st.sampled_from(
    [
        FULL,
        {name: FULL[name] for name in ("event", "observed_at", "identifiers")},
        {"event": "what", "identifiers": {"crm:id": "who", "anonymous_id": "device"}, "key": "id"},
        {**FULL, "properties": {"email": "email", "total": "amount"}},
        {"event": "what", "identifiers": {"phone": "who", "user_id": "device"}, "properties": {"email": "email"}},
        {"event": "what", "identifiers": {"email": "who"}, "properties": {"email": "email"}},
    ]
)
QUIET = settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def as_csv(rows, *, quotes, delimiter, tail):
    """Written by hand: with quotes only where they are needed or everywhere, and with what a writer would not write."""
    lines = [delimiter.join(COLUMNS)]
    for row in rows:
        cells = [
            f'"{cell.replace(chr(34), chr(34) * 2)}"'
            if quotes or any(c in cell for c in (delimiter, '"', "\n", "\r"))
            else cell
            for cell in row
        ]
        lines.append(delimiter.join(cells))
    return "\n".join([*lines, *tail]) + "\n"


@QUIET
@given(
    rows=ROWS | SIMPLE_ROWS, mapping=MAPPINGS, quotes=st.booleans(), delimiter=st.sampled_from([",", ";"]),
    tail=st.lists(st.sampled_from(["short,row", 'bad "quote', '"open"x,1', "", "a\rb"]), max_size=2), is_cut=st.booleans(),
)  # fmt: skip
@example(rows=[], mapping=FULL, quotes=False, delimiter=",", tail=["short,row"], is_cut=True)
def test_csv__read_as_columns__stores_what_single_rows_store(
    rows, mapping, quotes, delimiter, tail, is_cut, workspace, monkeypatch
):
    text = as_csv(rows, quotes=quotes, delimiter=delimiter, tail=tail)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "events.csv"
        path.write_bytes(text.encode("utf-8", "replace"))
        dialect = {"delimiter": delimiter, "decimal": ".", "quote": '"', "header": "yes", "skip": "0"}

        same_by_both_ways(workspace, path, {**mapping, "dialect": dialect}, is_cut, monkeypatch)


@QUIET
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["m1", "m2", None, ""]), st.sampled_from(["u1", "u2", None, "null"]),
            st.sampled_from(["Bought", None, "Viewed"]), st.sampled_from(["2026-01-01 10:00:00", "yesterday", None]),
            st.floats(width=64) | st.none(), st.integers(-(2**40), 2**40) | st.none(), st.booleans() | st.none(),
            st.sampled_from(["", "08", 'q"', "nul\x00", None]),
        ),
        max_size=14,
    ),
    with_key=st.booleans(),
    is_cut=st.booleans(),
)  # fmt: skip
def test_parquet__read_as_columns__stores_what_single_rows_store(rows, with_key, is_cut, workspace, monkeypatch):
    names = ("id", "who", "what", "at", "price", "count", "is_new", "note")
    kinds = (pa.string(), pa.string(), pa.string(), pa.string(), pa.float64(), pa.int64(), pa.bool_(), pa.string())
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    table = pa.table({n: pa.array(values, kind) for n, values, kind in zip(names, columns, kinds, strict=True)})
    mapping = {"event": "what", "observed_at": "at", "identifiers": {"user_id": "who"}} | (
        {"key": "id"} if with_key else {}
    )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "events.parquet"
        pq.write_table(table, path, row_group_size=4)

        same_by_both_ways(workspace, path, mapping, is_cut, monkeypatch)


def same_by_both_ways(workspace, path, mapping, is_cut, monkeypatch):
    """Cut into small blocks, which of several refusals or encounters comes first in its chunk may differ."""
    mapped = path.with_suffix(".yaml")
    mapped.write_text(yaml.safe_dump(mapping))
    with monkeypatch.context() as patched:
        if is_cut:
            patched.setattr(blocks, "BLOCK_ROWS", 5)
            patched.setattr(blocks, "BLOCK_BYTES", 350)
        by_columns = stored_after(workspace, path, mapped, is_cut=is_cut)
        patched.setattr(loading, "_layout", lambda *_: None)
        by_rows = stored_after(workspace, path, mapped, is_cut=is_cut)

    assert by_columns == by_rows


def stored_after(workspace, path, mapping, *, is_cut):
    with transaction.atomic():
        source = SourceFactory(workspace=workspace, name="shop", default_region="FR")
        counts = loading.load_events(
            workspace_id=workspace.pk,
            source="shop",
            path=path,
            mapping=mapping,
            clock=lambda: NOW,
            report=lambda _: None,
        )
        everything = {"counts": counts, **snapshot(source, is_cut=is_cut)}
        transaction.set_rollback(True)
    return everything


def snapshot(source, *, is_cut):
    names = {one.pk: str(one) for one in Identifier.objects.all()}
    run = Run.objects.get()
    return {
        "identifiers": sorted(names.values()),
        "events": sorted(
            (one.message_id, one.kind, one.name, names[one.identifier_id], [names[key] for key in one.seen_with], one.occurred_at,
             one.original_at, one.sent_at, one.received_at, json.dumps(one.properties), one.context)
            for one in Event.objects.all()
        ),
        "traits": sorted((names[one.identifier_id], one.name, json.dumps(one.value)) for one in IdentifierTrait.objects.all()),
        "sightings": sorted((*sorted((names[one.left_id], names[one.right_id])), None if is_cut else one.seen_at) for one in Sighting.objects.all()),
        "quarantine": sorted((one.code, "" if is_cut else one.message, one.raw) for one in QuarantinedItem.objects.all()),
        "touched": {names[subject] for subject in subjects_waiting(stage="IDENTITY")},
        "learnt": {names[subject] for subject in subjects_waiting(stage="IDENTITY", cause="LEARNT")},
        "run": (run.position, run.bookmark, run.state),
    }  # fmt: skip

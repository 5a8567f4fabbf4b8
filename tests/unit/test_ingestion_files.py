"""Files are read in a stream: no line, however long, is ever held in memory."""

import gzip
import json
import tempfile
import tracemalloc
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.ingestion import blocks, files, json_rows, texts
from cdp.ingestion.dialects import Dialect

MEGABYTE = 2**20


@pytest.mark.parametrize(("name", "good"), [("long.csv", "id,name\n1,Ada\n"), ("long.jsonl", '{"id": 1}\n')])
def test_line__of_64_megabytes__is_refused_without_being_held(name, good, tmp_path):
    path = tmp_path / name
    with path.open("w") as file:
        file.write(good)
        for _ in range(64):
            file.write("x" * MEGABYTE)
        file.write("\n" + good.splitlines()[-1] + "\n")

    tracemalloc.start()
    rows = [(row.number, row.code, len(row.raw)) for row in files.open_table(path).rows()]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    first = len(good.splitlines())
    assert rows == [(first, "", 0), (first + 1, "line_too_long", texts.KEPT_OF_A_LONG_LINE), (first + 2, "", 0)]
    assert peak < 12 * MEGABYTE


def test_quote__that_is_never_closed__spoils_its_own_rows_and_no_others(tmp_path):
    path = tmp_path / "quotes.csv"
    path.write_text('id,name\n1,"Ada\n' + "2,Zoë\n" * 300_000 + '3,"Grace"\n4,Mary\n')

    rows = list(files.open_table(path).rows())

    assert {row.code for row in rows} == {"", "malformed_row"}
    assert rows[-1].fields == {"id": "4", "name": "Mary"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter__is_told_by_the_header(delimiter, tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(delimiter.join(["id", "", "name"]) + "\n" + delimiter.join(["1", "x", "Ada"]) + "\n")

    (row,) = files.open_table(path).rows()

    assert row.fields == {"id": "1", "column_2": "x", "name": "Ada"}


def test_byte__that_is_no_text__is_counted_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "_BLOCK", 7)
    path = tmp_path / "people.csv"
    path.write_bytes("id,name\n1,Zoë\n2,Ä\n".encode() + b"3,\xff\x00\n")

    with pytest.raises(files.UndecodableFileError) as refused:
        texts.read_through(path)

    assert (refused.value.details["byte"], refused.value.details["line"]) == (22, 4)


# -- packed, recoded, described -------------------------------------------------------------------------------------

PEOPLE = "id,name\n1,Ada\n2,Zoë\n"


def opened(tmp_path, content, name="people.csv", **more):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return files.open_table(path, **more)


def zstd(content):
    return pa.compress(content, codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv.gz", gzip.compress(PEOPLE.encode(), mtime=0)),
        ("a.csv.gz", gzip.compress(PEOPLE[:10].encode(), mtime=0) + gzip.compress(PEOPLE[10:].encode(), mtime=0)),
        ("a.csv.zst", zstd(PEOPLE.encode())),
        ("a.csv", PEOPLE.encode("utf-16")),
        ("a.csv", PEOPLE.encode("utf-8-sig")),
        ("a.csv", PEOPLE.replace("\n", "\r\n").encode()),
        ("a.csv", PEOPLE.replace("\n", "\r").encode()),
        ("a.csv.gz", gzip.compress(PEOPLE.encode("utf-16"), mtime=0)),
        ("a.csv", ("# of the shop\n\n" + PEOPLE).encode()),
        ("a.tsv", PEOPLE.replace(",", "\t").encode()),
    ],
)
def test_file__however_it_is_packed_and_written__has_the_same_rows(name, content, tmp_path):
    table = opened(tmp_path, content, name)

    rows = list(table.rows())

    assert [row.fields for row in rows] == [{"id": "1", "name": "Ada"}, {"id": "2", "name": "Zoë"}]
    assert [row.fields["id"] for row in table.rows(rows[0].end)] == ["2"]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "N° client;Prénom\n1;Zoé\n2;François\n"),  # the sign of degrees alone looks like Welsh to a guesser
        ("cp1252", "id;prix\n1;12 €\n2;3 €\n"),
        ("cp1252", "id;namn\n1;Åsa Öberg\n2;Björn Ähl\n"),
        ("cp850", "id;prénom;ville\n1;Zoé;Orléans\n2;Hélène;Besançon\n"),
        ("mac_roman", "id;prénom;ville\n1;Zoé;Orléans\n2;Hélène;Besançon\n"),
        ("cp1250", "id;imię;miasto\n1;Łukasz;Kraków\n2;Żaneta;Łódź\n3;Grażyna;Gdańsk\n"),
        ("cp1251", "id;имя;город\n1;Иван;Москва\n2;Ольга;Казань\n"),
        ("cp1253", "id;όνομα;πόλη\n1;Γιώργος;Αθήνα\n2;Μαρία;Θεσσαλονίκη\n"),
        ("cp932", "id;名前;都市\n1;山田太郎;東京都\n2;鈴木花子;大阪市北区\n"),
    ],
)
def test_encoding__that_the_file_does_not_say__is_told_by_its_text(encoding, text, tmp_path):
    table = opened(tmp_path, text.encode(encoding))

    header, *rows = (line.split(";") for line in text.splitlines())
    assert [row.fields for row in table.rows()] == [dict(zip(header, row, strict=True)) for row in rows]


def test_packed_file__that_is_cut__is_refused_before_its_first_row(tmp_path):
    with pytest.raises(files.DamagedFileError):
        opened(tmp_path, gzip.compress(PEOPLE.encode(), mtime=0)[:-9], "people.csv.gz")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('[{"id": 1},\n', [(1, ""), (1, "unclosed_array")]),
        ('[{"id": 1}', [(1, ""), (1, "unclosed_array")]),
        ('[{"id": 1}, {"id":', [(1, ""), (1, "malformed_json")]),
        ('[{"id": 1}]\n', [(1, "")]),
        ("[]", []),
    ],
)
def test_array__that_is_cut__says_so_beside_what_is_whole(content, told, tmp_path):
    rows = list(opened(tmp_path, content, "people.json").rows())

    assert [(row.number, row.code) for row in rows] == told


def test_header__that_is_not_there__leaves_the_columns_numbered(tmp_path):
    table = opened(tmp_path, "1,ada@example.com\n2,zoe@example.com\n")

    assert table.columns == ["column_1", "column_2"]
    assert [row.fields["column_1"] for row in table.rows()] == ["1", "2"]


def test_dialect__that_a_mapping_names__goes_before_what_is_seen(tmp_path):
    said = {"delimiter": "/", "has_header": True, "encoding": "latin-1", "skip": 1, "quote": "'"}

    table = opened(tmp_path, "x;y\nid/name\n1/'a/b'\n2/Zo\u00eb\n".encode("latin-1"), dialect=said)

    assert [row.fields for row in table.rows()] == [{"id": "1", "name": "a/b"}, {"id": "2", "name": "Zoë"}]
    assert table.dialect == Dialect(delimiter="/", quote="'", skip=1)


def test_bad_row__says_line_and_column_and_is_kept_whole(tmp_path):
    rows = list(opened(tmp_path, 'id,name\n1,"Ada\nB"yron\n2\n').rows())

    assert [(row.number, row.code, row.raw) for row in rows] == [
        (2, "malformed_row", '1,"Ada\nB"yron\n'),
        (4, "wrong_number_of_columns", "2\n"),
    ]
    assert "at line 3, column 3:" in rows[0].message
    assert rows[1].message == "Line 4 has 1 values for 2 columns."


def test_bad_json__says_line_and_column(tmp_path):
    good, bad = opened(tmp_path, '{"id": 1}\n{"id": x}\n', "people.jsonl").rows()

    assert good.fields == {"id": 1}
    assert bad.message == "Line 2 is no JSON at column 8: Expecting value."


# -- arrays ---------------------------------------------------------------------------------------------------------

THINGS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(max_size=5)
    | st.sampled_from(["]", "}", '"', "\\", "a,b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.lists(st.dictionaries(st.text(min_size=1, max_size=3), THINGS, min_size=1, max_size=3), max_size=6)


@settings(deadline=None, max_examples=25)
@given(objects=OBJECTS, indent=st.sampled_from([None, 1]), ascii_only=st.booleans(), block=st.integers(1, 40))
def test_array__of_any_objects__is_read_as_it_was_written_from_any_place(objects, indent, ascii_only, block):
    text = json.dumps(objects, indent=indent, ensure_ascii=ascii_only)
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_rows, "_BLOCK", block)
        path = Path(directory) / "things.json"
        path.write_text(text, encoding="utf-8")
        table = files.open_table(path)

        rows = list(table.rows())
        seen = [row.fields for row in rows]
        left = [[row.fields for row in table.rows(row.end)] for row in rows]

    expected = [json.loads(json.dumps(one).replace("\\u0000", "\\ufffd")) for one in objects]
    assert seen == expected
    assert left == [expected[place + 1 :] for place in range(len(rows))]


def test_array__that_breaks_off__gives_what_is_whole_and_the_rest_as_it_is(tmp_path):
    rows = list(opened(tmp_path, '[{"id": 1},\n 7,\n {"id": 2', "people.json").rows())

    assert [(row.number, row.code) for row in rows] == [(1, ""), (2, "not_an_object"), (3, "malformed_json")]


# -- places ---------------------------------------------------------------------------------------------------------

LINES = st.lists(
    st.sampled_from(["1,Ada", '2,"two\nlines"', "", "3", '4,"a"b', "5,é", "6,x\r"]), max_size=12
)  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(lines=LINES, size=st.integers(1, 4), tail=st.sampled_from(["", "\n"]))
def test_csv__read_on_from_the_end_of_any_row__has_the_rows_that_are_left(lines, size, tail):
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patched:
        patched.setattr(blocks, "BLOCK_ROWS", size)
        patched.setattr(blocks, "BLOCK_BYTES", 8 * size)
        path = Path(directory) / "people.csv"
        path.write_bytes(("id,name\n" + "\n".join(lines) + tail).encode())
        table = files.open_table(path, dialect={"delimiter": ",", "has_header": True, "skip": 0})

        rows = list(table.rows())
        left = [list(table.rows(row.end)) for row in rows]
        read = list(blocks.blocks(table, files.START))

    assert left == [rows[place + 1 :] for place in range(len(rows))]
    assert sorted(number for block in read for number in (*block.numbers, *(row.number for row in block.bad))) == [
        row.number for row in rows
    ]
    assert [row.number for row in rows if not row.code] == [number for block in read for number in block.numbers]


@pytest.mark.parametrize("place", [0, 1, 3, 4, 9, 10])
def test_parquet__read_on_from_any_row__opens_no_group_before_it(place, tmp_path):
    path = tmp_path / "people.parquet"
    pq.write_table(pa.table({"id": list(range(10))}), path, row_group_size=4)

    rows = list(files.open_table(path).rows(files.Place(place, place)))

    assert [(row.number, row.fields["id"]) for row in rows] == [(number + 1, number) for number in range(place, 10)]


def test_limit__of_blocks__is_met_exactly(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 3)
    table = opened(tmp_path, "id\n" + "".join(f"{number}\n" for number in range(9)))

    read = list(blocks.blocks(table, files.START, limit=5))

    assert [len(block.numbers) for block in read] == [3, 2]
    assert [row.number for row in islice(table.rows(read[-1].end), 1)] == [7]

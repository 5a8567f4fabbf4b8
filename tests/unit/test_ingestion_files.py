"""Files are read in a stream: no line, however long, is ever held in memory."""

import tracemalloc

import pytest

from cdp.ingestion import files, texts

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

"""How a CSV file is written, told from its beginning."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.ingestion.dialects import Dialect, detect


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,b\n1,2\n", Dialect()),
        ("id;name\n1;Ada, Countess\n2;Zoé, x, y, z\n", Dialect(delimiter=";")),
        ("id;total;tax\n1;1,5;2,5\n2;3,5;4,25\n", Dialect(delimiter=";", decimal=",")),
        ("id\ttotal\n1\t1,5\n2\t3.5\n", Dialect(delimiter="\t")),
        ("id|name\r\n1|Ada\r\n", Dialect(delimiter="|")),
        ("sep=;\nid;name\n1;Ada\n", Dialect(delimiter=";", skip=1)),
        ("# of the shop\n# 2026\n\nid,name\n1,Ada\n", Dialect(skip=3)),
        ("#id,name\n1,Ada\n2,Zoé\n", Dialect()),
        ("# of the shop\n#id,name\n1,Ada\n2,Zoé\n", Dialect(skip=1)),
        ("id,name\n1,'a,b'\n2,'c'\n", Dialect(quote="'")),
        ('id,name\n1,"say \\"hi\\" now"\n2,"c"\n', Dialect(escape="\\")),
        ('id,name\n1,"say ""hi"" now"\n2,"c:\\dir\\"\n', Dialect()),
        ("1,ada@example.com,2020-01-01\n2,zoe@example.com,2020-01-02\n", Dialect(has_header=False)),
        ("id,2019,2020\n1,7,8\n2,9,10\n", Dialect()),
        ("name,city\nAda,London\nZoé,Paris\n", Dialect()),
        ("id\n1\n2\n", Dialect()),
        ("", Dialect()),
        ("id,na", Dialect()),
    ],
)
def test_dialect__of_odd_files__is_seen(text, found):
    assert detect(text) == found


def test_delimiter__that_stands_more_often_but_unevenly__is_not_taken():
    lines = ["id;note"] + [f"{number};{'a, ' * (number % 7)}b" for number in range(50)]

    assert detect("\n".join(lines)).delimiter == ";"


def test_last_line__that_is_cut__does_not_count():
    assert detect("id;name\n1;Ada\n2;Zoé, and, so, on, wit").delimiter == ";"


WORDS = st.text(alphabet="abcé \"',;|1\n", max_size=8)


@given(
    rows=st.lists(st.lists(WORDS, min_size=3, max_size=3), min_size=8, max_size=12),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
def test_file__that_is_written_by_a_csv_writer__is_read_as_it_was_meant(rows, delimiter):
    written = io.StringIO()
    writer = csv.writer(written, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([["first", "second", "third"], *rows])

    found = detect(written.getvalue())

    assert list(csv.reader(io.StringIO(written.getvalue()), **found.of_reader()))[1:] == rows


@given(st.text(max_size=300))
def test_any_text__has_a_dialect(text):
    assert len(detect(text).delimiter) == 1

"""Literals of long arrays are read by Postgres as the values that they were made of."""

import pytest
from django.db import connection

from cdp.kernel import arrays


@pytest.mark.parametrize(
    ("literal", "kind", "values"),
    [
        (arrays.bigints([]), "bigint[]", []),
        (arrays.bigints([-1, 9_223_372_036_854_775_807]), "bigint[]", [-1, 9_223_372_036_854_775_807]),
        (arrays.floats([0.1, -1e-300, 1e300, 3.0]), "float8[]", [0.1, -1e-300, 1e300, 3.0]),
        (arrays.texts(['a "b", c', "back\\slash\\", "{}", "", "NULL", "é\n'"]), "text[]",
         ['a "b", c', "back\\slash\\", "{}", "", "NULL", "é\n'"]),
        (arrays.byteas([b"", b'\x00\xff\\"']), "bytea[]", [b"", b'\x00\xff\\"']),
    ],
)  # fmt: skip
def test_literal__of_any_values__is_those_values(db, literal, kind, values):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT %s::{kind}", [literal])

        assert cursor.fetchone() == (values,)

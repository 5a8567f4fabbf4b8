"""Long arrays for Postgres. psycopg writes a list element by element, each through its own dumper; these need none.

Each makes a literal for a parameter that is cast: `= ANY(%s::bigint[])`.
"""

from collections.abc import Iterable


def bigints(ids: Iterable[int]) -> str:
    return "{" + ",".join(map(str, ids)) + "}"


def floats(values: Iterable[float]) -> str:
    return "{" + ",".join(map(repr, values)) + "}"


def texts(values: Iterable[str]) -> str:
    """Of texts without NULLs."""
    return "{" + ",".join(['"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"' for each in values]) + "}"


def byteas(values: Iterable[bytes]) -> str:
    return "{" + ",".join(['"\\\\x' + each.hex() + '"' for each in values]) + "}"

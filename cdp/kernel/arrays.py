"""Long arrays for Postgres. psycopg writes a list element by element, each through its own dumper; ids need none."""

from collections.abc import Iterable


def bigints(ids: Iterable[int]) -> str:
    """A literal for a parameter that is cast: `= ANY(%s::bigint[])`."""
    return "{" + ",".join(map(str, ids)) + "}"

"""Of a workspace only what some new records can be compared with: those that have a blocking key in common with them.

It needs the keys that real time keeps (`identity.live.index`), made for the model that links. Without them everybody is loaded.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final

from django.db import connection
from duckdb import DuckDBPyConnection

from cdp.models import planning
from identity import records
from identity.live import index
from identity.matching import blocking
from identity.matching.scoring import FrozenModel
from identity.models import BlockingIndex
from identity.queries import Rules

Keep = Callable[[Mapping[str, str]], None]  # takes what `index.of_keys` makes

# Hundreds of thousands of keys become arrays for Postgres where they are: in the order of its index.
_KEPT: Final = """
SELECT '{' || COALESCE(string_agg(unique_id::VARCHAR, ',' ORDER BY key, unique_id), '') || '}',
       '{' || COALESCE(string_agg(key::VARCHAR, ',' ORDER BY key, unique_id), '') || '}'
FROM (SELECT DISTINCT unique_id, key FROM made WHERE is_kept)
"""
_ASKED: Final = """
SELECT '{' || COALESCE(string_agg(key::VARCHAR, ',' ORDER BY key), '') || '}'
FROM (SELECT DISTINCT key FROM made WHERE is_asked)
"""
_SHARING: Final = "SELECT DISTINCT identifier_id FROM blocking_key WHERE key = ANY(%s::bigint[])"


def load(
    duck: DuckDBPyConnection, rules: Rules, current: BlockingIndex, model: FrozenModel, arrivals: Collection[int],
    keep: Keep,
) -> int:  # fmt: skip
    """Table `record` of the arrivals and of all whom a rule of the model puts together with one of them. The keys that the
    arrivals have now are given to `keep`. Returns how many records those are.
    """
    load_some = partial(
        records.load_some, duck, rules, workspace_id=current.workspace_id, is_day_first=current.is_day_first
    )
    loaded = load_some(arrivals)
    made = blocking.keys_sql(model.settings, salt=index.salt_of(current.workspace_id))
    duck.execute(f"CREATE OR REPLACE TEMP TABLE made AS {made}")
    [(ones, keys)], [(asked,)] = duck.execute(_KEPT).fetchall(), duck.execute(_ASKED).fetchall()
    keep({"ones": ones, "keys": keys})
    near = _sharing(asked).difference(arrivals)
    if near:
        duck.execute("ALTER TABLE record RENAME TO arrived")
        loaded += load_some(near)
        duck.execute("INSERT INTO record SELECT * FROM arrived")
        duck.execute("DROP TABLE arrived")
    return loaded


def _sharing(keys: str) -> set[int]:
    with planning.by_key(), connection.cursor() as cursor:
        cursor.execute(_SHARING, [keys])
        return {one for (one,) in cursor.fetchall()}

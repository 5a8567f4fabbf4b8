"""Of a workspace only what some new records can be compared with: those that have a blocking key in common with them.

It needs the keys that real time keeps (`identity.live.index`), made for the model that links. Without them everybody is loaded.
"""

from collections.abc import Collection
from typing import Final

from django.db import connection
from duckdb import DuckDBPyConnection

from cdp.kernel.arrays import bigints
from cdp.models import planning
from identity import records
from identity.live import index
from identity.matching import blocking
from identity.matching.scoring import FrozenModel
from identity.models import BlockingIndex
from identity.queries import Rules

_SHARING: Final = "SELECT DISTINCT identifier_id FROM blocking_key WHERE key = ANY(%s::bigint[])"


def load(
    duck: DuckDBPyConnection, rules: Rules, current: BlockingIndex, model: FrozenModel, arrivals: Collection[int]
) -> int:
    """Table `record` of the arrivals and of all whom a rule of the model puts together with one of them. The keys of the
    arrivals are kept. Returns how many records those are.
    """
    day_first = current.is_day_first
    records.load_some(duck, rules, arrivals, workspace_id=current.workspace_id, is_day_first=day_first)
    made = duck.execute(blocking.keys_sql(model.settings, salt=index.salt_of(current.workspace_id))).fetchall()
    kept = {(one, key) for one, key, is_kept, _ in made if is_kept}
    index.replace_keys(arrivals, kept, workspace_id=current.workspace_id)
    near = _sharing({key for _, key, _, is_asked in made if is_asked})
    return records.load_some(
        duck, rules, near.union(arrivals), workspace_id=current.workspace_id, is_day_first=day_first
    )


def _sharing(keys: Collection[int]) -> set[int]:
    with planning.by_key(), connection.cursor() as cursor:
        cursor.execute(_SHARING, [bigints(sorted(keys))])
        return {one for (one,) in cursor.fetchall()}

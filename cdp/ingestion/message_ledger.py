"""The ledger of messages: an event is stored once, however often and wherever it comes.

A message is known by a digest of its source and its id: two hashes of 64 bits, each with a seed of its own, so that two
messages with the same key are not to be expected. Whoever made such a pair would lose one of his own: the source is part
of it. The hash is the one by which Postgres finds the partition of a text; tests hold it to what it was.
"""

from collections.abc import Collection as SomeOf
from typing import Final

from django.db import IntegrityError, connection, transaction
from django.db.backends.utils import CursorWrapper

from cdp.kernel.arrays import bigints, texts
from consent.gate import Collection, Permit

MessageKey = tuple[int, str]
"""source and message id"""

_HIGH: Final = "hashtextextended(message_id, source_id)"
_LOW: Final = "hashtextextended(message_id, ~source_id)"

_KNOWN: Final = f"""
SELECT source_id, message_id FROM unnest(%s::bigint[], %s::text[]) AS asked (source_id, message_id)
JOIN message ON high = {_HIGH} AND low = {_LOW}
"""  # noqa: S608  # our own names


def known(keys: SomeOf[MessageKey]) -> set[MessageKey]:
    """Those that were stored. Within a transaction that may read the ledger."""
    if not keys:
        return set()
    sources, messages = zip(*keys, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, [bigints(sources), texts(messages)])
        return set(cursor.fetchall())


# -- claiming -------------------------------------------------------------------------------------------------------

# In one order, so that two writers of the same messages wait for each other instead of deadlocking. Of two arrivals of one
# message the first counts.
_CLAIM: Final = f"""
WITH first AS (
    SELECT {_HIGH} AS high, {_LOW} AS low, min(ctid) AS place FROM pg_temp.arriving_event GROUP BY 1, 2
),
claimed AS (
    INSERT INTO message (high, low, workspace_id) SELECT high, low, %s FROM first ORDER BY high, low
    ON CONFLICT DO NOTHING RETURNING high, low
),
fresh AS MATERIALIZED (SELECT place FROM first JOIN claimed USING (high, low)),
known AS (DELETE FROM pg_temp.arriving_event WHERE NOT ctid = ANY(ARRAY(SELECT place FROM fresh)))
SELECT count(*) FROM fresh
"""  # noqa: S608  # our own names
# Where all are expected to be new, the key itself tells whether they are, at half the price.
_CLAIM_NEW: Final = f"""
INSERT INTO message (high, low, workspace_id) SELECT {_HIGH}, {_LOW}, %s FROM pg_temp.arriving_event ORDER BY 1, 2
"""  # noqa: S608  # our own names


def claim_all(permit: Permit[Collection], cursor: CursorWrapper) -> bool:
    """Whether no message in `arriving_event` was known, nor came twice: then all are claimed, for ever."""
    try:
        with transaction.atomic():
            cursor.execute(_CLAIM_NEW, [permit.workspace_id])
    except IntegrityError:
        return False
    return True


def claim(permit: Permit[Collection], cursor: CursorWrapper) -> int:
    """How many of the arrived are new, and are claimed for ever; the others go from the table."""
    cursor.execute(_CLAIM, [permit.workspace_id])
    return int(cursor.fetchone()[0])

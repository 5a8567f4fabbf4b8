"""What stands around an officer's words, of the rows that have them: a name alone does not say whom it means.

Read by the login of the console, which sees the tables of its workspace, and by no other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Final

from django.db import connection

from cdp.kernel.arrays import bigints

AROUND: Final = 80  # characters before and after the words
MOST_ROWS: Final = 50  # of each table: somebody reads them all

_ROWS: Final[Mapping[str, str]] = {
    "event": "SELECT id, source_id, identifier_id, occurred_at, name, properties FROM event",
    "record": "SELECT id, source_id, identifier_id, loaded_at, key, fields FROM record",
    "identifier_trait": "SELECT id, source_id, identifier_id, observed_at, name, value FROM identifier_trait",
    "quarantine": "SELECT id, source_id, NULL::bigint, received_at, place, to_jsonb(raw) FROM quarantine",
}
# The control characters before and after each occurrence stand in no text: those of its own are taken out first.
_MARKED: Final = r"""
SELECT t.id, s.name, i.profile_id, t.at, t.what,
       regexp_replace(translate(said.text, E'\x02\x03', ''), %(pattern)s, E'\x02\\&\x03', 'gi')
FROM ({rows} WHERE id = ANY(%(ids)s::bigint[])) AS t (id, source_id, identifier_id, at, what, said)
CROSS JOIN LATERAL (
    SELECT jsonb_path_query(t.said, 'strict $.** ? (@.type() == "string")') #>> '{}' AS text
) AS said
JOIN source s ON s.id = t.source_id LEFT JOIN identifier i ON i.id = t.identifier_id
WHERE said.text ~* %(pattern)s ORDER BY t.id
"""
_BEGINS, _ENDS = "\x02", "\x03"


@dataclass(frozen=True, slots=True)
class Piece:
    """Of a text: the words that were looked for, or what stands around them."""

    text: str
    is_found: bool


@dataclass(frozen=True, slots=True)
class Mention:
    """A row that has the words, with each text of it in which they stand.

    `what` is the name or the key of the row, `profile` the id of whose it is, where that is known.
    """

    place: str
    id: int
    source: str
    profile: int | None
    at: datetime
    what: str
    texts: Sequence[Sequence[Piece]]


def mentions_among(rows: Mapping[str, Sequence[int]], pattern: str) -> list[Mention]:
    """The first rows of each table; inside the workspace of the transaction."""
    return [mention for place, ids in rows.items() for mention in _mentions_in(place, ids[:MOST_ROWS], pattern)]


def _mentions_in(place: str, ids: Sequence[int], pattern: str) -> Iterator[Mention]:
    with connection.cursor() as cursor:
        cursor.execute(_MARKED.replace("{rows}", _ROWS[place]), {"pattern": pattern, "ids": bigints(ids)})
        found = cursor.fetchall()
    for (number, source, profile, at, what), rows in groupby(found, key=itemgetter(0, 1, 2, 3, 4)):
        yield Mention(place, number, source, profile, at, what, [pieces_of(marked) for *_, marked in rows])


def pieces_of(marked: str) -> list[Piece]:
    """The words, and what is near them; where something is left out between two of them stands an ellipsis."""
    first, *others = marked.split(_BEGINS)
    pieces = [Piece(_end_of(first), is_found=False)]
    for number, other in enumerate(others, start=1):
        words, _, rest = other.partition(_ENDS)
        shorten = _beginning_of if number == len(others) else _both_ends_of
        pieces += [Piece(words, is_found=True), Piece(shorten(rest), is_found=False)]
    return [piece for piece in pieces if piece.text]


def _beginning_of(text: str) -> str:
    return text if len(text) <= AROUND else text[:AROUND] + "…"


def _end_of(text: str) -> str:
    return text if len(text) <= AROUND else "…" + text[-AROUND:]


def _both_ends_of(text: str) -> str:
    return text if len(text) <= 2 * AROUND else f"{text[:AROUND]} … {text[-AROUND:]}"

"""Segments put together, and how far they overlap: sets of ids, read from the open memberships in one pass.

For sets each profile gets a mask with one bit for each segment that is asked about. A purpose sees the people who permit
it: who permits it not is in no set.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from django.db import connection

from cdp.kernel.arrays import bigints
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from consent.gate import Permit

MOST_SEGMENTS: Final = 50
MOST_DEPTH: Final = 10


class AlgebraError(TesseraError):
    """Write the slug of a segment, or {"union" | "intersection" | "difference": [two or more of such]}."""

    code = "segment_algebra"


class Operator(StrEnum):
    UNION = "union"
    INTERSECTION = "intersection"
    DIFFERENCE = "difference"
    """Who is in the first and in none of the others."""


@dataclass(frozen=True, slots=True)
class Operation:
    operator: Operator
    parts: tuple["Expression", ...]


Expression = str | Operation


def read_expression(said: object) -> Expression:
    """Raises `AlgebraError` with the JSON pointer of the mistake."""
    expression = _read(said, "", 1)
    if len(set(slugs_of(expression))) > MOST_SEGMENTS:
        raise AlgebraError(f"At most {MOST_SEGMENTS} different segments can be put together.", pointer="")
    return expression


def slugs_of(expression: Expression) -> Iterator[str]:
    """From left to right, as often as they are named."""
    if isinstance(expression, str):
        yield expression
        return
    for part in expression.parts:
        yield from slugs_of(part)


def _read(said: object, pointer: str, depth: int) -> Expression:
    if isinstance(said, str) and said:
        return said
    if depth > MOST_DEPTH:
        raise AlgebraError(f"An expression may have {MOST_DEPTH} levels at most.", pointer=pointer)
    if not isinstance(said, Mapping) or len(said) != 1:
        raise AlgebraError(pointer=pointer)
    [(word, parts)] = said.items()
    if word not in set(Operator) or not isinstance(parts, Sequence) or isinstance(parts, str) or len(parts) < 2:
        raise AlgebraError(pointer=pointer)
    places = [(part, f"{pointer}/{word}/{place}") for place, part in enumerate(parts)]
    return Operation(Operator(word), tuple(_read(part, place, depth + 1) for part, place in places))


# -- members ----------------------------------------------------------------------------------------------------------

_INSIDE: Final = "SELECT profile_id, bit_or(bit) AS mask FROM ({each}) AS one GROUP BY profile_id"
_ONE: Final = "SELECT profile_id, {bit}::bigint AS bit FROM membership WHERE segment_id = {segment} AND left_at IS NULL"
_COUNT: Final = "SELECT count(*) FROM ({inside}) AS i JOIN profile p ON p.id = i.profile_id WHERE {chosen}"

# A page is looked for among the next so many people, then among twice as many, and so on: the first one of a million is
# there as soon as that of ten, and Postgres need not guess how many groups there will be.
_FIRST_PEOPLE: Final = 10_000
_NEXT_PEOPLE: Final = "SELECT max(id) FROM (SELECT id FROM profile WHERE id > %s ORDER BY id LIMIT %s) AS people"
_AMONG: Final = " AND profile_id > %(after)s AND profile_id <= %(last)s"
_PAGE: Final = """
SELECT i.profile_id FROM ({inside}) AS i JOIN profile p ON p.id = i.profile_id
WHERE {chosen} AND p.id > %(after)s AND p.id <= %(last)s ORDER BY i.profile_id LIMIT %(limit)s
"""


def members_of(
    _: Permit[Purpose], expression: Expression, ids: Mapping[str, int], *, after: int, limit: int
) -> list[int]:
    """Profiles of the set in order of id. `ids` are those of the segments by slug."""
    query = _PAGE.format(inside=_inside(ids.values(), among=_AMONG), chosen=_chosen(expression, ids))
    found: list[int] = []
    people = _FIRST_PEOPLE
    while len(found) < limit:
        [(last,)] = _rows(_NEXT_PEOPLE, [after, people])
        if last is None:
            break
        rows = _rows(query, {"after": after, "last": last, "limit": limit - len(found)})
        found += [profile for (profile,) in rows]
        after, people = last, people * 2
    return found


def count_of(_: Permit[Purpose], expression: Expression, ids: Mapping[str, int]) -> int:
    [(count,)] = _rows(_COUNT.format(inside=_inside(ids.values()), chosen=_chosen(expression, ids)), [])
    return int(count)


def _inside(segments: Iterable[int], among: str = "") -> str:
    each = [_ONE.format(bit=1 << place, segment=int(segment)) + among for place, segment in enumerate(segments)]
    return _INSIDE.format(each=" UNION ALL ".join(each))


def _chosen(expression: Expression, ids: Mapping[str, int]) -> str:
    """The condition on a mask. Of the expression itself nothing becomes SQL: only which bit, and how they are joined."""
    places = {slug: place for place, slug in enumerate(ids)}

    def condition(part: Expression) -> str:
        if isinstance(part, str):
            return f"i.mask & {1 << places[part]} <> 0"
        first, *others = (f"({condition(each)})" for each in part.parts)
        if part.operator is Operator.DIFFERENCE:
            return f"{first} AND NOT ({' OR '.join(others)})"
        return (" OR " if part.operator is Operator.UNION else " AND ").join([first, *others])

    return f"({condition(expression)})"


# -- overlap ----------------------------------------------------------------------------------------------------------

# Ids as eight bytes each, one after the other: as rows they would take longer to read than to find.
_PEOPLE: Final = "SELECT string_agg(int8send(id), ''::bytea) FROM profile WHERE id > %(after)s AND id <= %(last)s"
_MEMBERSHIPS: Final = """
SELECT segment_id, string_agg(int8send(profile_id), ''::bytea) FROM membership
WHERE segment_id = ANY(%(segments)s::bigint[]) AND left_at IS NULL AND profile_id > %(after)s AND profile_id <= %(last)s
GROUP BY segment_id
"""
_PEOPLE_AT_ONCE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Pair:
    """How many are in both, and which part that is of those in either (Jaccard); null when nobody is in either."""

    count: int
    jaccard: float | None


def overlap(_: Permit[Purpose], segments: Sequence[int]) -> list[list[Pair]]:
    """A row and a column for each segment, in this order; the diagonal holds their sizes."""
    together = [[0] * len(segments) for _ in segments]
    after = 0
    while (last := _rows(_NEXT_PEOPLE, [after, _PEOPLE_AT_ONCE])[0][0]) is not None:
        for row, counts in zip(together, _together(segments, after, last), strict=True):
            row[:] = [sum(pair) for pair in zip(row, counts, strict=True)]
        after = last
    sizes = [together[place][place] for place in range(len(segments))]
    return [
        [_pair(both, sizes[one] + sizes[other] - both) for other, both in enumerate(row)]
        for one, row in enumerate(together)
    ]


def _together(segments: Sequence[int], after: int, last: int) -> list[list[int]]:
    """Among some of the people. Each segment becomes a row of bits, one for each person, and what two have in common is
    counted there: Postgres would take several times as long to group the people.
    """
    import numpy as np  # noqa: PLC0415  # few processes ever ask

    given = {"segments": bigints(segments), "after": after, "last": last}
    people = np.sort(np.frombuffer(_rows(_PEOPLE, given)[0][0], dtype=">i8").astype(np.int64))
    bits = np.zeros((len(segments), -(-len(people) // 64)), dtype=np.uint64)
    for segment, ids in _rows(_MEMBERSHIPS, given):
        is_in = np.zeros(bits.shape[1] * 64, dtype=bool)
        members = np.frombuffer(ids, dtype=">i8").astype(np.int64)
        places = np.minimum(np.searchsorted(people, members), len(people) - 1)
        is_in[places[people[places] == members]] = True
        bits[segments.index(segment)] = np.packbits(is_in).view(np.uint64)
    return [[int(np.bitwise_count(one & other).sum()) for other in bits] for one in bits]


def _pair(both: int, either: int) -> Pair:
    return Pair(both, both / either if either else None)


# -- who of these is in which of those ----------------------------------------------------------------------------------

# Each condition said as an array: joins do not reach the indexes through the view of a purpose.
_WHOSE: Final = """
SELECT id, type, value, profile_id FROM identifier
WHERE workspace_id = %(workspace)s
  AND (id = ANY(%(ids)s::bigint[]) OR type = ANY(%(types)s::text[]) AND value = ANY(%(values)s::text[]))
"""
_IN: Final = """
SELECT p.id, ARRAY(
    SELECT m.segment_id FROM membership m
    WHERE m.profile_id = p.id AND m.segment_id = ANY(%(segments)s::bigint[]) AND m.left_at IS NULL
) FROM profile p WHERE p.id = ANY(%(profiles)s::bigint[])
"""

Named = int | tuple[str, str]
"""The id of a profile, also of one that was merged; or type and value of an identifier."""


def memberships_of(
    permit: Permit[Purpose], named: Sequence[Named], segments: Sequence[int]
) -> Mapping[Named, tuple[int, frozenset[int]]]:
    """The profile and its segments among these; nothing for who is unknown, or may not be seen."""
    ids = [one for one in named if isinstance(one, int)]
    pairs = [one for one in named if not isinstance(one, int)]
    given = {
        "workspace": permit.workspace_id, "ids": bigints(ids), "types": [kind for kind, _ in pairs],
        "values": [value for _, value in pairs],
    }  # fmt: skip
    whose: dict[Named, int] = {}
    for identifier, kind, value, profile in _rows(_WHOSE, given):
        whose |= {identifier: profile, (kind, value): profile}
    profiles = {whose[one] for one in named if one in whose}
    inside = dict(_rows(_IN, {"profiles": bigints(profiles), "segments": bigints(segments)}))
    return {one: (whose[one], frozenset(inside[whose[one]])) for one in named if one in whose and whose[one] in inside}


def _rows(sql: str, parameters: Any) -> list[Any]:  # noqa: ANN401  # as the cursor takes them
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())

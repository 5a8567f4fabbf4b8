"""Segments put together, and how far they overlap: sets of ids, read from the open memberships in one pass.

Each profile gets a mask with one bit for each segment that is asked about; everything else is said about masks. A purpose
sees the people who permit it: who permits it not is in no set.
"""

from collections.abc import Iterator, Mapping, Sequence
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

# The segments of an expression one after the other, each in order of profile: Postgres merges them as they come, so the
# first page of a million is there as soon as that of ten.
_INSIDE: Final = """
SELECT profile_id, bit_or(bit) AS mask FROM ({each}) AS one GROUP BY profile_id
"""
_ONE: Final = "SELECT profile_id, {bit}::bigint AS bit FROM membership WHERE segment_id = {segment} AND left_at IS NULL"
_PAGE: Final = """
SELECT i.profile_id FROM ({inside}) AS i JOIN profile p ON p.id = i.profile_id
WHERE i.profile_id > %s AND {chosen} ORDER BY i.profile_id LIMIT %s
"""
_COUNT: Final = "SELECT count(*) FROM ({inside}) AS i JOIN profile p ON p.id = i.profile_id WHERE {chosen}"


def members_of(
    _: Permit[Purpose], expression: Expression, ids: Mapping[str, int], *, after: int, limit: int
) -> list[int]:
    """Profiles of the set in order of id. `ids` are those of the segments by slug."""
    query = _PAGE.format(inside=_inside(ids.values()), chosen=_chosen(expression, ids))
    return [profile for (profile,) in _rows(query, [after, limit])]


def count_of(_: Permit[Purpose], expression: Expression, ids: Mapping[str, int]) -> int:
    [(count,)] = _rows(_COUNT.format(inside=_inside(ids.values()), chosen=_chosen(expression, ids)), [])
    return int(count)


def _inside(segments: Any) -> str:  # noqa: ANN401  # the ids of a mapping, in its order
    each = [_ONE.format(bit=1 << place, segment=int(segment)) for place, segment in enumerate(segments)]
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

# One mask for each person, in the binary form of COPY: a number of fields, the length of the one, and the mask. Counted by
# pairs outside: grouped in Postgres they are nearly as many as the people are.
_MASKS: Final = """
COPY (SELECT i.mask FROM ({inside}) AS i JOIN profile p ON p.id = i.profile_id) TO STDOUT (FORMAT binary)
"""
_MEMORY: Final = "SELECT set_config('work_mem', '128MB', true)"  # for the groups and the people, in place of files
_HEAD: Final = 19
_ROW: Final = 2 + 4 + 8
_ROWS_AT_ONCE: Final = 50_000


@dataclass(frozen=True, slots=True)
class Pair:
    """How many are in both, and which part that is of those in either (Jaccard); null when nobody is in either."""

    count: int
    jaccard: float | None


def overlap(_: Permit[Purpose], segments: Sequence[int]) -> list[list[Pair]]:
    """A row and a column for each segment, in this order; the diagonal holds their sizes."""
    import numpy as np  # noqa: PLC0415  # few processes ever ask

    places = np.arange(len(segments), dtype=np.int64)
    together = np.zeros((len(segments), len(segments)), dtype=np.int64)
    for rows in _masks(segments):
        masks = np.frombuffer(rows, dtype=[("fields", ">i2"), ("length", ">i4"), ("mask", ">i8")])["mask"]
        inside = (masks[:, None] >> places & 1).astype(np.float32)
        together += (inside.T @ inside).astype(np.int64)  # exact: no sum of a block is beyond what float32 counts
    sizes = together.diagonal()
    return [
        [_pair(int(both), int(sizes[one] + sizes[other] - both)) for other, both in enumerate(row)]
        for one, row in enumerate(together)
    ]


def _pair(both: int, either: int) -> Pair:
    return Pair(both, both / either if either else None)


def _masks(segments: Sequence[int]) -> Iterator[bytes]:
    """Whole rows, many at a time. After the last one a row of no fields is left over."""
    waiting, to_skip = bytearray(), _HEAD
    with connection.cursor() as cursor:
        cursor.execute(_MEMORY)
        with cursor.copy(_MASKS.format(inside=_inside(segments))) as copy:
            for block in copy:
                waiting += block
                if len(waiting) >= to_skip + _ROWS_AT_ONCE * _ROW:
                    end = to_skip + _ROWS_AT_ONCE * _ROW
                    yield bytes(waiting[to_skip:end])
                    waiting, to_skip = waiting[end:], 0
    yield bytes(waiting[to_skip : to_skip + (len(waiting) - to_skip) // _ROW * _ROW])


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

"""Who would be in, before anything is published: within a second, however many people there are.

Few people are counted exactly. Of many, a sample is looked at first: ids are drawn, always the same ones, and the share of
those who match, with its interval, stands for everybody. Then the exact count is tried for the rest of the time. What
comes out says which of the two it is.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from math import ceil, floor, sqrt
from typing import Any, Final, TypeVar

from django.db import OperationalError, connection, transaction

from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import planning
from consent import gate
from consent.gate import Permit, Segmentation
from segments import checking, ranks, serving
from segments.checking import Definition, Doubt
from segments.language import Node, to_json
from segments.language.compile import Asked, Query, compile_rules
from segments.language.compile.members import compile_members
from segments.queries import EVERYBODY, of_profiles

SECONDS: Final = 0.75
"""Of all that is done here: what is shown beside it, and its way to whoever asked, have the rest of the second."""
FOR_THE_SAMPLE: Final = 0.3
FOR_THE_RANKINGS: Final = 0.4
COUNTED_AT_ONCE: Final = 20_000
KEPT_SECONDS: Final = 60.0
FIRST_SAMPLE: Final = 200
LARGEST_SAMPLE: Final = 20_000
MOST_DRAWN: Final = 200_000
MOST_MATCHING: Final = 2_000
SHOWN: Final = 20
SHOWN_OVERLAPS: Final = 10
SEED: Final = 7
NORMAL_95: Final = 1.96


class PreviewTooSlowError(TesseraError):
    """The rule takes too long to be counted while somebody waits: publish it, or ask less of it."""

    code = "preview_too_slow"


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many of those who match are in another segment that serves: an estimate unless `is_exact`."""

    segment: str
    name: str
    count: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """`low` and `high` hold the true count with 95 percent; if it `is_exact` they are the count.

    `matching` are some of those who match, drawn by chance or all of them: what is said of all follows from these.
    """

    count: int
    is_exact: bool
    low: int
    high: int
    people: int
    sample: list[int]
    matching: list[int]
    overlaps: list[Overlap]
    doubts: list[Doubt]
    definition: dict[str, Any]
    at: datetime
    computed_at: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class _Counted:
    count: int
    low: int
    high: int
    shown: Sequence[int]
    matching: Sequence[int]
    is_exact: bool


@dataclass(frozen=True, slots=True)
class _Everybody:
    """How many there are whom the purpose may see, and between which ids."""

    number: int
    first: int
    last: int

    @property
    def are_many(self) -> bool:
        return self.number > COUNTED_AT_ONCE


def preview(*, workspace_id: int, definition: Definition, now: datetime, at: datetime | None = None) -> Preview:
    """How many would be in, as of `at` or now, and some of them. Nothing is written.

    As of another time the events and memberships of that time count; traits and permissions are those of now.
    """
    began, at = time.monotonic(), at or now
    until = began + SECONDS
    tree, places = checking.read_with_places(definition)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        everybody = _everybody(permit)
        compiled = _compiled(permit, serving.with_computed(permit, tree), at)
        sampled = _by_sample(compiled, everybody, at) if everybody.are_many else None
        doubts = _within(until, lambda: checking.doubts(permit, tree, places)) or []
        counted = _exactly(compiled, at, until) or sampled or _by_sample(compiled, everybody, at)
        if counted is None:
            raise PreviewTooSlowError
        overlaps = _overlaps(counted, at)
    return Preview(
        count=counted.count, is_exact=counted.is_exact, low=counted.low, high=counted.high, people=everybody.number,
        sample=list(counted.shown), matching=list(counted.matching), overlaps=overlaps, doubts=doubts, definition=to_json(tree), at=at,
        computed_at=now, seconds=round(time.monotonic() - began, 3),
    )  # fmt: skip


Compiled = Callable[[Asked], Query]


def _compiled(permit: Permit[Segmentation], rule: Node, at: datetime) -> Compiled:
    """Its rankings end where they do at that time. That is found over everybody, and must be found soon."""
    ends = _within(time.monotonic() + FOR_THE_RANKINGS, lambda: ranks.ends_as_of(permit, [rule], now=at))
    if ends is None:
        raise PreviewTooSlowError
    return lambda asked: (
        compile_members(rule, ends) if asked is Asked.EVERYBODY else compile_rules({0: rule}, asked, ends)
    )


# -- exactly --------------------------------------------------------------------------------------------------------

# Ids are drawn by their hash: of people who came one after the other, every n-th may be of one kind.
_EXACTLY = """
WITH matching AS MATERIALIZED ({members})
SELECT (SELECT count(*) FROM matching),
       ARRAY(SELECT profile_id FROM matching ORDER BY profile_id LIMIT %(shown)s),
       ARRAY(SELECT profile_id FROM matching ORDER BY hashint8(profile_id), profile_id LIMIT %(most)s)
"""


def _exactly(compiled: Compiled, at: datetime, until: float) -> _Counted | None:
    """None when the time does not do."""
    query = compiled(Asked.EVERYBODY)
    given = {**query.parameters, "now": at, "shown": SHOWN, "most": MOST_MATCHING}
    rows = _within(until, lambda: _rows(_EXACTLY.format(members=query.sql), given))
    if rows is None:
        return None
    [(count, shown, matching)] = rows
    return _Counted(count, count, count, shown, matching, is_exact=True)


# -- by a sample ----------------------------------------------------------------------------------------------------


def _by_sample(compiled: Compiled, everybody: _Everybody, at: datetime) -> _Counted | None:
    """First of a few, to know how long it takes; then of as many as the time allows. None when not even the few do."""
    query = compiled(Asked.SOME)
    lots = _Lots(everybody)
    began = time.monotonic()
    answers = _answers(query, lots.draw(FIRST_SAMPLE), at, began + FOR_THE_SAMPLE)
    if not answers:
        return None
    took = time.monotonic() - began
    more = min(LARGEST_SAMPLE, int(FIRST_SAMPLE * (FOR_THE_SAMPLE - took) / max(took, 0.001)))
    if more > 0:
        answers |= _answers(query, lots.draw(more), at, began + 2 * FOR_THE_SAMPLE - took) or {}
    return _estimated(answers, everybody.number)


def _answers(query: Query, profiles: list[int], at: datetime, until: float) -> dict[int, bool] | None:
    given = {**query.parameters, **of_profiles(profiles), "now": at}
    with planning.in_bulk():
        rows = _within(until, lambda: _rows(query.sql, given))
    return None if rows is None else {profile: is_in for _, profile, is_in, _, _ in rows}


def _estimated(answers: Mapping[int, bool], people: int) -> _Counted:
    matching = sorted(profile for profile, is_in in answers.items() if is_in)
    low, high = interval(len(matching), len(answers), people)
    count = round(people * len(matching) / len(answers))
    drawn = random.Random(SEED).sample(matching, min(len(matching), MOST_MATCHING))  # noqa: S311  # nothing secret
    return _Counted(count, low, high, matching[:SHOWN], drawn, is_exact=False)


def interval(found: int, looked_at: int, people: int) -> tuple[int, int]:
    """Wilson's, of 95 percent, for the number among all people; what was seen in the sample is certain."""
    share, weight = found / looked_at, NORMAL_95**2 / looked_at
    centre = (share + weight / 2) / (1 + weight)
    width = NORMAL_95 / (1 + weight) * sqrt(share * (1 - share) / looked_at + weight / (4 * looked_at))
    low = max(found, floor(people * (centre - width)))
    return low, min(people - looked_at + found, ceil(people * (centre + width)))


_EXISTING = "SELECT id FROM profile WHERE id = ANY(%s)"


class _Lots:
    """Draws people by chance, always the same ones, none twice: of the ids in their range those that are somebody's."""

    def __init__(self, everybody: _Everybody) -> None:
        self.ids = _ids_between(everybody.first, everybody.last)
        self.for_one = (everybody.last - everybody.first + 1) / max(everybody.number, 1)

    def draw(self, number: int) -> list[int]:
        drawn = list(islice(self.ids, min(ceil(number * self.for_one), MOST_DRAWN)))
        return [found for (found,) in _rows(_EXISTING, [drawn])]


def _ids_between(first: int, last: int) -> Iterator[int]:
    chance = random.Random(SEED)  # noqa: S311  # nothing secret
    seen: set[int] = set()
    while len(seen) <= last - first:
        one = chance.randint(first, last)
        if one not in seen:
            seen.add(one)
            yield one


# -- what else is known of those who match --------------------------------------------------------------------------

_OVERLAPS = """
SELECT s.slug, s.name, count(DISTINCT m.profile_id) FROM membership m JOIN segment s ON s.id = m.segment_id
WHERE m.profile_id = ANY(%(profiles)s) AND m.entered_at <= %(at)s AND (m.left_at IS NULL OR m.left_at > %(at)s)
AND s.archived_at IS NULL GROUP BY s.slug, s.name ORDER BY 3 DESC, 1 LIMIT %(most)s
"""


def _overlaps(counted: _Counted, at: datetime) -> list[Overlap]:
    """The largest, with segments that serve."""
    known = len(counted.matching)
    is_exact = counted.is_exact and known == counted.count
    given = {"profiles": list(counted.matching), "at": at, "most": SHOWN_OVERLAPS}
    rows = _rows(_OVERLAPS, given) if known else []
    return [Overlap(slug, name, scaled(found, known, counted.count), is_exact) for slug, name, found in rows]


def scaled(found: int, known: int, count: int) -> int:
    """What is `found` among the `known`, of all `count` who match."""
    return round(found * count / known) if known else 0


# -- queries that may not take long ---------------------------------------------------------------------------------


_KEPT: dict[int, tuple[float, _Everybody]] = {}


def _everybody(permit: Permit[Segmentation]) -> _Everybody:
    """Many are counted once a minute: that alone takes a third of the time, and a few more change no share."""
    kept = _KEPT.get(permit.workspace_id)
    if kept is None or time.monotonic() - kept[0] > KEPT_SECONDS or not kept[1].are_many:
        [found] = _rows(EVERYBODY, [])
        kept = _KEPT[permit.workspace_id] = time.monotonic(), _Everybody(*found)
    return kept[1]


Found = TypeVar("Found")


def _within(until: float, work: Callable[[], Found]) -> Found | None:
    """None when a statement of it is not done by then: Postgres stops working on it."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        return None
    try:
        with transaction.atomic(), _statement_timeout(seconds):
            return work()
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != QUERY_CANCELED:
            raise
        return None


QUERY_CANCELED: Final = "57014"


@contextmanager
def _statement_timeout(seconds: float) -> Iterator[None]:
    """What fails takes the setting back with it."""
    [(before,)] = _rows("SELECT current_setting('statement_timeout')", [])
    _rows("SELECT set_config('statement_timeout', %s, true)", [f"{max(int(seconds * 1_000), 1)}ms"])
    yield
    _rows("SELECT set_config('statement_timeout', %s, true)", [before])


def _rows(sql: str, parameters: Any) -> list[Any]:  # noqa: ANN401  # what Django takes: a list or a mapping
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())

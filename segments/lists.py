"""Lists of people by hand: put on, taken off, loaded from files; and each segment's own two, always in and never in.

Whoever is put on or taken off is handed to the evaluation of segments in the same transaction.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection

from cdp.kernel.arrays import bigints, texts
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Stage, User
from cdp.models.outbox import hand_over
from cdp.models.tenancy import workspace_scope
from consent import gate
from consent.gate import Permit, Segmentation
from segments.models import ListEntry, Segment, SegmentList

ALWAYS_IN: Final = "+"
NEVER_IN: Final = "-"
_SLUG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,49}")
MOST_SHOWN: Final = 1_000
LONGEST_REASON: Final = 200


class ListExistsError(TesseraError):
    """There is a list with this slug already: choose another one."""

    code = "list_exists"


class ListSlugError(TesseraError):
    """The slug of a list has letters, digits, hyphens and underscores, 50 at most, and does not begin with a hyphen."""

    code = "list_slug"


class UnknownListError(TesseraError):
    """There is no such list in this workspace."""

    code = "unknown_list"


@dataclass(frozen=True, slots=True)
class By:
    """Who says it, and why, in 200 characters at most: both are kept with the entry."""

    author: User | None = None
    reason: str = ""


def make_list(*, workspace_id: int, slug: str, name: str) -> SegmentList:
    """An empty list."""
    _check_slug(slug)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id):
        made, is_new = SegmentList.objects.get_or_create(
            workspace_id=workspace_id, slug=slug, defaults={"name": name or slug}
        )
    if not is_new:
        raise ListExistsError(slug=slug)
    return made


def put_on(*, workspace_id: int, slug: str, profiles: Iterable[int], by: By, now: datetime) -> int:
    """These people are on the list from now on. Who is already, or may not be seen, stays as they are. How many are new."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        return len(put_each_on(permit, slug, profiles, by=by, now=now))


def take_off(*, workspace_id: int, slug: str, profiles: Iterable[int], by: By, now: datetime) -> int:
    """These people are on the list no longer, by whichever of their identifiers they were. Returns how many were."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        return len(take_each_off(permit, slug, profiles, by=by, now=now))


def include(*, segment: Segment, profiles: Iterable[int], by: By, now: datetime) -> int:
    """Always in the segment, whatever its rule says. Returns for how many that is new."""
    return _move(segment, profiles, ALWAYS_IN, NEVER_IN, by, now)


def exclude(*, segment: Segment, profiles: Iterable[int], by: By, now: datetime) -> int:
    """Never in the segment, whatever its rule says. Returns for how many that is new."""
    return _move(segment, profiles, NEVER_IN, ALWAYS_IN, by, now)


def leave_to_rule(*, segment: Segment, profiles: Iterable[int], by: By, now: datetime) -> int:
    """The rule alone decides again. Returns for how many that is new."""
    told = list(profiles)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=segment.workspace_id) as permit:
        own = SegmentList.objects.filter(slug__in=[side + segment.slug for side in (ALWAYS_IN, NEVER_IN)])
        return len({profile for each in own for profile in take_each_off(permit, each.slug, told, by=by, now=now)})


# -- reading --------------------------------------------------------------------------------------------------------


def is_slug(text: str) -> bool:
    """Whether a list can be called so."""
    return _SLUG.fullmatch(text) is not None


def is_of_segment(slug: str) -> bool:
    """Of a segment itself: who is always in it, or never."""
    return slug[:1] in {ALWAYS_IN, NEVER_IN}


def list_named(*, workspace_id: int, slug: str) -> SegmentList:
    """Raises `UnknownListError`."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        return _list_of(permit, slug)


def lists_of(workspace_id: int) -> Sequence[SegmentList]:
    """Those that people made, without those of the segments themselves."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id):
        found = list(SegmentList.objects.filter(workspace_id=workspace_id).order_by("slug"))
    return [each for each in found if not is_of_segment(each.slug)]


def history_of(*, workspace_id: int, slug: str, most: int = MOST_SHOWN, with_past: bool = True) -> Sequence[ListEntry]:
    """Who was put on when, by whom and why, and taken off again: newest first. For the staff: it names them."""
    with workspace_scope(workspace_id):
        entries = ListEntry.objects.filter(list__workspace_id=workspace_id, list__slug=slug)
        entries = entries if with_past else entries.filter(removed_at=None)
        return list(entries.select_related("identifier", "author", "remover").order_by("-added_at", "-pk")[:most])


_ON_LIST = """
SELECT DISTINCT profile_id FROM list_entry
WHERE list_slug = %s AND removed_at IS NULL AND profile_id > %s ORDER BY profile_id LIMIT %s
"""


def profiles_on(*, workspace_id: int, slug: str, after: int = 0, most: int = MOST_SHOWN) -> Sequence[int]:
    """Who is on it now, a page in order of id: those after `after`."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit, connection.cursor() as cursor:
        cursor.execute(_ON_LIST, [_list_of(permit, slug).slug, after, most])
        return [profile for (profile,) in cursor.fetchall()]


_SIZES = """
SELECT list_slug, count(DISTINCT profile_id) FROM list_entry
WHERE removed_at IS NULL AND list_slug = ANY(%s::text[]) GROUP BY list_slug
"""


def sizes_of(*, workspace_id: int, slugs: Iterable[str]) -> Mapping[str, int]:
    """How many are on each of these lists now; one on which nobody is is left out."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id), connection.cursor() as cursor:
        cursor.execute(_SIZES, [texts(slugs)])
        return dict(cursor.fetchall())


# -- within a permit ------------------------------------------------------------------------------------------------


def put_each_on(
    permit: Permit[Segmentation], slug: str, profiles: Iterable[int], *, by: By, now: datetime
) -> Sequence[int]:
    """The profiles that were not on the list and are now; segments hear of them."""
    row = _list_of(permit, slug)
    given = {
        "workspace": permit.workspace_id, "list": row.pk, "slug": slug, "profiles": bigints(profiles), "now": now,
        "author": by.author and by.author.pk, "reason": by.reason,
    }  # fmt: skip
    return _changed(permit, _PUT_ON, given)


def take_each_off(
    permit: Permit[Segmentation], slug: str, profiles: Iterable[int], *, by: By, now: datetime
) -> Sequence[int]:
    """The profiles that were on the list and are no longer; segments hear of them."""
    row = _list_of(permit, slug)
    given = {"list": row.pk, "profiles": bigints(profiles), "now": now, "remover": by.author and by.author.pk}
    return _changed(permit, _TAKE_OFF, given)


def _move(segment: Segment, profiles: Iterable[int], onto: str, off: str, by: By, now: datetime) -> int:
    told = list(profiles)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=segment.workspace_id) as permit:
        if SegmentList.objects.filter(workspace_id=segment.workspace_id, slug=off + segment.slug).exists():
            take_each_off(permit, off + segment.slug, told, by=by, now=now)
        SegmentList.objects.get_or_create(
            workspace_id=segment.workspace_id, slug=onto + segment.slug, defaults={"name": onto + segment.name[:199]}
        )
        return len(put_each_on(permit, onto + segment.slug, told, by=by, now=now))


def _list_of(permit: Permit[Segmentation], slug: str) -> SegmentList:
    found = SegmentList.objects.filter(workspace_id=permit.workspace_id, slug=slug).first()
    if found is None:
        raise UnknownListError(slug=slug)
    return found


def _changed(permit: Permit[Segmentation], statement: str, given: dict[str, Any]) -> Sequence[int]:
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        changed = sorted({profile for (profile,) in cursor.fetchall()})
    hand_over(dict.fromkeys(changed, Cause.LIST), stage=Stage.SEGMENTS, workspace_id=permit.workspace_id)
    return changed


# A profile has the id of the identifier that founded it, and keeps that one for as long as it lives.
_PUT_ON = """
INSERT INTO segment_list_entry (workspace_id, list_id, identifier_id, author_id, reason, added_at)
SELECT %(workspace)s, %(list)s, p.id, %(author)s, %(reason)s, %(now)s FROM profile p
WHERE p.id = ANY(%(profiles)s::bigint[]) AND NOT EXISTS (
    SELECT 1 FROM list_entry e WHERE e.list_slug = %(slug)s AND e.profile_id = p.id AND e.removed_at IS NULL
)
ORDER BY p.id
ON CONFLICT (list_id, identifier_id) WHERE removed_at IS NULL DO NOTHING
RETURNING identifier_id
"""

_TAKE_OFF = """
UPDATE segment_list_entry e SET removed_at = greatest(%(now)s, e.added_at), remover_id = %(remover)s
FROM (
    SELECT id, profile_id FROM identifier WHERE profile_id = ANY(%(profiles)s::bigint[])
    UNION SELECT id, id FROM unnest(%(profiles)s::bigint[]) AS founder (id)
    WHERE NOT EXISTS (SELECT 1 FROM identifier i WHERE i.id = founder.id)
) AS named
WHERE e.identifier_id = named.id AND e.list_id = %(list)s AND e.removed_at IS NULL
RETURNING named.profile_id
"""


def _check_slug(slug: str) -> None:
    if not is_slug(slug):
        raise ListSlugError(slug=slug)

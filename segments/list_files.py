"""Lists of people are loaded from files, a thousand lines at a time, however many there are."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

from django.db import connection

from cdp.ingestion.naming import normal_identifier
from cdp.kernel.arrays import texts
from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from cdp.models import Workspace
from consent import gate
from consent.gate import Permit
from segments.lists import By, list_named, put_each_on, take_each_off
from segments.services import UnknownProfileError

LINES: Final = 1_000
LONGEST_LINE: Final = 1_000
PROFILE: Final = "profile"

Refuse = Callable[[int, str], None]


class UnreadableLineError(TesseraError):
    """A line names one person: TYPE:VALUE, an e-mail address, or the number of a profile."""

    code = "unreadable_line"


@dataclass(frozen=True, slots=True)
class Loaded:
    lines: int
    changed: int
    refused: int


def load(
    *, workspace_id: int, slug: str, lines: Iterable[str], is_removal: bool, by: By, now: datetime, refuse: Refuse
) -> Loaded:
    """Put on the list, or take off, whom the lines name: `email:ada@example.com`, an e-mail address alone, `profile:4711`
    or 4711. Blank lines are passed over.

    A line that names nobody whom segmentation may see is told to `refuse`, with its number and a code, and holds up no
    other. A file may come again: who is on the list already changes nothing.
    """
    workspace = Workspace.objects.get(pk=workspace_id)
    list_named(workspace_id=workspace_id, slug=slug)
    act = take_each_off if is_removal else put_each_on
    total = Loaded(0, 0, 0)
    for chunk in _chunks(lines):
        named = read_people(workspace, chunk, refuse)
        with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
            found = profiles_of(permit, set(named.values()))
            changed = act(permit, slug, sorted(set(found.values())), by=by, now=now)
        unknown = [number for number, one in named.items() if one not in found]
        for number in unknown:
            refuse(number, "unknown_profile")
        refused = len(chunk) - len(named) + len(unknown)
        total = Loaded(total.lines + len(chunk), total.changed + len(changed), total.refused + refused)
    return total


def _chunks(lines: Iterable[str]) -> Iterator[Sequence[tuple[int, str]]]:
    filled = ((number, text) for number, line in enumerate(lines, start=1) if (text := line.strip(" \t\r\n\ufeff")))
    while chunk := list(islice(filled, LINES)):
        yield chunk


def read_people(workspace: Workspace, lines: Iterable[tuple[int, str]], refuse: Refuse) -> Mapping[int, Identifier]:
    """By number, whom the lines name, as `load` reads them."""
    named: dict[int, Identifier] = {}
    for number, text in lines:
        try:
            named[number] = _identifier_in(workspace, text)
        except TesseraError as error:
            refuse(number, error.code)
    return named


def _identifier_in(workspace: Workspace, text: str) -> Identifier:
    if len(text) > LONGEST_LINE or "\0" in text:
        raise UnreadableLineError
    if text.isdecimal():
        text = f"{PROFILE}:{text}"
    elif ":" not in text and "@" in text:
        text = f"email:{text}"
    named = Identifier.parse(text)
    if named.type != PROFILE:
        return normal_identifier(workspace, named)
    if not (named.value.isascii() and named.value.isdecimal() and len(named.value) <= 18):
        raise UnreadableLineError
    return Identifier(PROFILE, str(int(named.value)))


def person_named(*, workspace: Workspace, text: str) -> int:
    """One person whom segmentation may see, named as in a line. Raises `UnreadableLineError`, `UnknownProfileError` and
    what is wrong with an identifier.
    """
    named = _identifier_in(workspace, text.strip())
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        found = profiles_of(permit, [named])
    if named not in found:
        raise UnknownProfileError
    return found[named]


# A profile that went into another one is named by its founder, which leads to where it is now.
_BY_VALUE = """
SELECT i.type, i.value, i.profile_id FROM identifier i
JOIN unnest(%s::text[], %s::text[]) AS named (type, value) USING (type, value) WHERE i.workspace_id = %s
"""
_BY_FOUNDER = "SELECT id::text, profile_id FROM identifier WHERE id = ANY(%s::bigint[])"


def profiles_of(permit: Permit[Any], named: Collection[Identifier]) -> Mapping[Identifier, int]:
    """Whom the purpose of the permit may see of them."""
    numbers = [one.value for one in named if one.type == PROFILE]
    others = [one for one in named if one.type != PROFILE]
    with connection.cursor() as cursor:
        cursor.execute(_BY_FOUNDER, [texts(numbers)])
        found = {Identifier(PROFILE, number): profile for number, profile in cursor.fetchall()}
        kinds, values = texts(one.type for one in others), texts(one.value for one in others)
        cursor.execute(_BY_VALUE, [kinds, values, permit.workspace_id])
        return {**found, **{Identifier(kind, value): profile for kind, value, profile in cursor.fetchall()}}

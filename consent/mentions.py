"""What others said of a person in words of their own: looked for when an officer gives the words, and blotted out.

A note about a person stands in somebody else's event, record or value. It is that one's data too, and only a reader can say
whom it is about: a name has namesakes. So nothing of it goes by itself. The words are written down nowhere; the history of
the request has how many values were found and changed, and those who stay are told of nothing else.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from django.db import connection

from cdp.kernel.arrays import bigints
from cdp.kernel.errors import TesseraError
from consent.excerpts import Mention, mentions_among
from consent.models import DataRequest
from consent.request_states import RequestState
from consent.requests import NotVerifiedError, WrongStateError, changing, take_step
from consent.rights import Right

log = structlog.get_logger()

PLACES: Final = ("event", "record", "identifier_trait", "quarantine")
SHORTEST: Final = 4
LONGEST: Final = 200
_WORDS: Final = re.compile(r"[\w'’@.+-]+(?: [\w'’@.+-]+)*")


class UnsearchableTextError(TesseraError):
    """Give words with a letter among them, from 4 to 200 characters: letters, digits, spaces, and the signs ' @ . + -."""

    code = "unsearchable_text"


class NothingChosenError(TesseraError):
    """Tick the rows in which the words mean the person: nothing was changed."""

    code = "nothing_chosen"


class NothingToRedactError(TesseraError):
    """Values are blotted out for a request of erasure or rectification alone. Others can be looked for."""

    code = "nothing_to_redact"


Chosen = Mapping[str, Sequence[int]]  # ids by table


@dataclass(frozen=True, slots=True)
class Mentions:
    """The ids of the rows by table. Who may see the rows finds them in the console by these."""

    rows: Mapping[str, Sequence[int]]

    @property
    def counts(self) -> dict[str, int]:
        return {place: len(ids) for place, ids in self.rows.items()}


@dataclass(frozen=True, slots=True)
class Shown:
    """What was found, and the first rows of each table with what stands around the words."""

    found: Mentions
    mentions: Sequence[Mention]


def find_mentions(
    *, workspace_id: int, request_id: int, text: str, by: str, now: datetime, places: Sequence[str] = PLACES
) -> Mentions:
    """Where the words stand, in any case and with any space between them. Nothing is changed but the history.

    Reads the whole of each table. Raises `UnsearchableTextError`, `NotVerifiedError` and `WrongStateError`.
    """
    pattern = _pattern_of(text)
    with changing(workspace_id, request_id) as request:
        _refuse_unless_begun(request)
        found = _mentions(places, pattern, redacts=False)
        _note(request, "request.mentions_found", found, by, now)
    return found


def show_mentions(
    *,
    workspace_id: int,
    request_id: int,
    text: str,
    by: str,
    now: datetime,
    places: Sequence[str] = PLACES,
    chosen: Chosen | None = None,
) -> Shown:
    """Likewise, with what stands around the words, or of the `chosen` rows alone: that somebody read it is written down.

    For the console, whose login may read the tables. Raises what `find_mentions` raises.
    """
    pattern = _pattern_of(text)
    with changing(workspace_id, request_id) as request:
        _refuse_unless_begun(request)
        found = _mentions(places, pattern, redacts=False, chosen=chosen)
        _note(request, "request.mentions_shown", found, by, now)
        return Shown(found, mentions_among(found.rows, pattern))


def redact_mentions(
    *,
    workspace_id: int,
    request_id: int,
    text: str,
    by: str,
    now: datetime,
    places: Sequence[str] = PLACES,
    chosen: Chosen | None = None,
) -> Mentions:
    """Put […] in their place, and delete what is quarantined and has them; profiles follow by the pipeline.

    In every row that has them, or in the `chosen` ones alone, of their tables and no others. All of it or nothing, and
    again it finds none. Raises `NothingToRedactError` and `NothingChosenError` besides.
    """
    pattern = _pattern_of(text)
    if chosen is not None and not any(chosen.values()):
        raise NothingChosenError
    with changing(workspace_id, request_id) as request:
        if not may_redact(request):
            raise NothingToRedactError
        _refuse_unless_begun(request)
        found = _mentions(places, pattern, redacts=True, chosen=chosen)
        _note(request, "request.mentions_redacted", found, by, now)
    log.info("request.mentions_redacted", workspace=workspace_id, request=request_id, rows=sum(found.counts.values()))
    return found


def may_redact(request: DataRequest) -> bool:
    return request.kind in {Right.ERASURE, Right.RECTIFICATION}


def _refuse_unless_begun(request: DataRequest) -> None:
    if not request.verification:
        raise NotVerifiedError
    if request.state != RequestState.IN_PROGRESS:
        raise WrongStateError(state=request.state)


def _pattern_of(text: str) -> str:
    """Whole words alone: who is called Ann is not found in Hannah."""
    words = " ".join(text.split())
    if not (SHORTEST <= len(words) <= LONGEST and _WORDS.fullmatch(words) and re.search(r"[^\W\d_]", words)):
        raise UnsearchableTextError
    parts = (re.sub(r"([^\w])", r"\\\1", word) for word in words.split())
    return rf"(?<![[:alnum:]]){r'[[:space:]]+'.join(parts)}(?![[:alnum:]])"


_FIND: Final = "SELECT core.mentions_in(%s, %s, %s, %s::bigint[])"


def _mentions(places: Sequence[str], pattern: str, *, redacts: bool, chosen: Chosen | None = None) -> Mentions:
    rows: dict[str, Sequence[int]] = {}
    with connection.cursor() as cursor:
        for place in [place for place in places if chosen is None or chosen.get(place)]:
            among = None if chosen is None else bigints(chosen[place])
            cursor.execute(_FIND, [place, pattern, redacts, among])
            rows[place] = cursor.fetchone()[0]
    return Mentions(rows)


def _note(request: DataRequest, step: str, found: Mentions, by: str, now: datetime) -> None:
    take_step(request, step, by, now, ", ".join(f"{place}: {number}" for place, number in found.counts.items()))

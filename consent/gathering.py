"""Who records at the same moment as others does so in one transaction with them.

The chain of a workspace has one writer at a time, and each commit waits for the disk. So of those who come while somebody
writes, the first writes next, for all who wait by then: each is answered when it is durable, with its own counts or its
own error. Where one of them is at fault all are recorded by themselves.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db import DatabaseError, connection

from cdp.kernel.errors import TesseraError
from consent import services
from consent.services import ConsentStatement, Recorded

MOST_STATEMENTS: Final = 100  # what is more is worth a transaction of its own
MOST_TOGETHER: Final = 64
MOST_WORKSPACES: Final = 10_000


class UnansweredError(TesseraError):
    """The server was stopped while it recorded. Send it again: what was recorded already counts as a duplicate."""

    code = "unanswered"


@dataclass(eq=False, slots=True)
class _Part:
    statements: Sequence[ConsentStatement]
    turn: threading.Event = field(default_factory=threading.Event)  # it is answered, or writes for all who wait
    answer: Recorded | Exception | None = None


def record(*, workspace_id: int, statements: Sequence[ConsentStatement], now: datetime) -> Recorded:
    """As `record_consents`, which it calls where nobody can be waited for: within a transaction, or for a large batch."""
    if len(statements) > MOST_STATEMENTS or connection.in_atomic_block:
        return services.record_consents(workspace_id=workspace_id, statements=statements, now=now)
    keyed = services.checked(statements, now)
    answer = _gathering_of(workspace_id).record(_Part(keyed))
    if isinstance(answer, Exception):
        raise answer
    return answer


class Gathering:
    """Those of one workspace, in this process."""

    def __init__(self, workspace_id: int) -> None:
        self._workspace_id = workspace_id
        self._lock = threading.Lock()
        self._waiting: list[_Part] = []
        self._is_writing = False

    def record(self, part: _Part) -> Recorded | Exception:
        with self._lock:
            self._waiting.append(part)
            is_next, self._is_writing = not self._is_writing, True
        if not is_next:
            part.turn.wait()
        if part.answer is None:
            self._write()
        return part.answer or UnansweredError()

    def _write(self) -> None:
        """For all who wait. Whoever comes meanwhile waits for the next of them."""
        with self._lock:
            together, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
        try:
            for part, answer in zip(together, _answers(self._workspace_id, together), strict=True):
                part.answer = answer
        finally:
            self._pass_on(together)

    def _pass_on(self, together: Sequence[_Part]) -> None:
        with self._lock:
            heirs = self._waiting[:1]
            self._is_writing = bool(heirs)
        for part in together:
            part.answer = part.answer or UnansweredError()
        for part in (*together, *heirs):
            part.turn.set()


def _answers(workspace_id: int, together: Sequence[_Part]) -> Sequence[Recorded | Exception]:
    try:
        return services.record_parts(workspace_id=workspace_id, parts=[part.statements for part in together])
    except (TesseraError, DatabaseError) as error:
        if len(together) == 1:
            return [error]
    return [_answers(workspace_id, [part])[0] for part in together]


_gatherings: dict[int, Gathering] = {}
_choosing = threading.Lock()


def _gathering_of(workspace_id: int) -> Gathering:
    with _choosing:
        if workspace_id not in _gatherings and len(_gatherings) >= MOST_WORKSPACES:
            _gatherings.clear()  # who waits in one of them is answered by it all the same
        return _gatherings.setdefault(workspace_id, Gathering(workspace_id))

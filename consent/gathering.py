"""Who records at the same moment as others does so in one transaction with them.

The chain of a workspace has one writer at a time, and each commit waits for the disk. So of those who come while somebody
writes, the first writes next, for all who wait when its turn has come, which other processes take as well: each is
answered when it is durable, with its own counts or its own error. Where one of them is at fault all are recorded by
themselves.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db import DatabaseError, connection

from cdp.kernel.errors import TesseraError
from consent import services
from consent.services import ConsentStatement, Part, Recorded

MOST_STATEMENTS: Final = 100  # what is more is worth a transaction of its own
MOST_TOGETHER: Final = 64
MOST_WORKSPACES: Final = 10_000


class UnansweredError(TesseraError):
    """The server was stopped while it recorded. Send it again: what was recorded already counts as a duplicate."""

    code = "unanswered"


@dataclass(eq=False, slots=True)
class _Sender:
    """Whose thread sleeps until `turn` is released: then it was answered, or writes for all who wait."""

    part: Part
    answer: Recorded | Exception | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)


def record(
    *, workspace_id: int, statements: Sequence[ConsentStatement], now: datetime, api_key: int | None = None
) -> Recorded:
    """As `record_consents`, which it calls where nobody can be waited for: within a transaction, or for a large batch.

    `api_key` is the id of a key that was read some time before: when it is recorded, the key must still hold.
    """
    if len(statements) > MOST_STATEMENTS or connection.in_atomic_block:
        return services.record_consents(workspace_id=workspace_id, statements=statements, now=now, api_key=api_key)
    part = Part(services.checked(statements, now), api_key)
    answer = _gathering_of(workspace_id).record(_Sender(part))
    if isinstance(answer, Exception):
        raise answer
    return answer


class Gathering:
    """Those of one workspace, in this process."""

    def __init__(self, workspace_id: int) -> None:
        self._workspace_id = workspace_id
        self._lock = threading.Lock()
        self._waiting: list[_Sender] = []
        self._is_writing = False

    def record(self, sender: _Sender) -> Recorded | Exception:
        if self._must_wait(sender):
            sender.turn.acquire()
        if sender.answer is None:
            self._write(sender)
        return sender.answer or UnansweredError()

    def _must_wait(self, sender: _Sender) -> bool:
        with self._lock:
            if self._is_writing:
                sender.turn.acquire()  # free: nobody else has it yet
                self._waiting.append(sender)
                return True
            self._is_writing = True
        return False

    def _write(self, first: _Sender) -> None:
        """For all who wait. Whoever comes after that waits for the next of them."""
        together = [first]
        try:
            self._answer(together)
        finally:
            self._pass_on(together)

    def _answer(self, together: list[_Sender]) -> None:
        try:
            _record(self._workspace_id, lambda: self._joined(together))
        except (TesseraError, DatabaseError) as error:
            if len(together) == 1:
                together[0].answer = error
                return
            for sender in together:
                _record_alone(self._workspace_id, sender)

    def _joined(self, together: list[_Sender]) -> Sequence[_Sender]:
        with self._lock:
            room = MOST_TOGETHER - len(together)
            together += self._waiting[:room]
            del self._waiting[:room]
        return together

    def _pass_on(self, together: Sequence[_Sender]) -> None:
        with self._lock:
            heir = self._waiting.pop(0) if self._waiting else None
            self._is_writing = heir is not None
        for sender in together:
            sender.answer = sender.answer or UnansweredError()
        for sender in (*([heir] if heir else []), *together):
            if sender.turn.locked():
                sender.turn.release()


def _record_alone(workspace_id: int, sender: _Sender) -> None:
    try:
        _record(workspace_id, lambda: [sender])
    except (TesseraError, DatabaseError) as error:
        sender.answer = error


def _record(workspace_id: int, taken: Callable[[], Sequence[_Sender]]) -> None:
    senders: Sequence[_Sender] = ()

    def parts() -> list[Part]:
        nonlocal senders
        senders = taken()
        return [sender.part for sender in senders]

    answers = services.record_parts(workspace_id=workspace_id, parts=parts)
    for sender, answer in zip(senders, answers, strict=True):
        sender.answer = answer


_gatherings: dict[int, Gathering] = {}
_choosing = threading.Lock()


def _gathering_of(workspace_id: int) -> Gathering:
    with _choosing:
        if workspace_id not in _gatherings and len(_gatherings) >= MOST_WORKSPACES:
            _gatherings.clear()  # who waits in one of them is answered by it all the same
        return _gatherings.setdefault(workspace_id, Gathering(workspace_id))

"""Threads that work on numbered pieces at once, and do some of it one after another, in the order of the numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from cdp.kernel.errors import TesseraError


class TurnLostError(TesseraError):
    """A piece before this one failed, so this one is not finished either: its error says why."""

    code = "turn_lost"


class Turns:
    """For each named step, whose turn it is. After a failure nobody gets a turn any more."""

    def __init__(self, *steps: str) -> None:
        self._next = dict.fromkeys(steps, 0)
        self._changed = Condition()
        self._is_over = False

    @contextmanager
    def take(self, step: str, number: int) -> Iterator[None]:
        """The body runs when all pieces before `number` have left the step. Raises `TurnLostError`."""
        with self._changed:
            self._changed.wait_for(lambda: self._next[step] == number or self._is_over)
            if self._is_over:
                raise TurnLostError
        yield
        with self._changed:
            self._next[step] = number + 1
            self._changed.notify_all()

    @contextmanager
    def or_none(self) -> Iterator[None]:
        """When the body fails, nobody waits for it."""
        try:
            yield
        except BaseException:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()
            raise

"""Work for threads beside the one that waits for them: each piece has a connection and a transaction of its own.

So it sees nothing that the waiting one has not committed, and what it has done stays, whatever becomes of that one.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

from django.db import connection

from cdp.kernel.purposes import Purpose
from consent import gate
from consent.gate import Identity, Permit

Work = Callable[[Permit[Identity]], None]
Begin = Callable[[Work], None]


@contextmanager
def at_work(workspace_id: int, *, threads: int) -> Iterator[Begin]:
    """What is begun in the block has ended when the block ends; what has not started by the first error is not done. Then
    that error is raised.

    Whoever waits must have locked no row: of a circle of waiting that goes through a thread Postgres would not know.
    """
    begun: list[Future[None]] = []
    executor = ThreadPoolExecutor(threads)
    try:
        yield lambda work: begun.append(executor.submit(_done, workspace_id, work))
        wait(begun, return_when=FIRST_EXCEPTION)
    finally:
        executor.shutdown(cancel_futures=True)
    for each in begun:
        each.result()


def _done(workspace_id: int, work: Work) -> None:
    try:
        with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
            work(permit)
    finally:
        connection.close()  # which no other thread would take over

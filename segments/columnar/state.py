"""How the copy is: what `doctor` shows."""

from dataclasses import dataclass
from typing import Final

from django.db import connection

from cdp.kernel.purposes import Purpose
from consent import gate

_STATE: Final = """
SELECT c.copied_to,
       (SELECT count(*) FROM core.event WHERE id > c.copied_to),
       (SELECT count(*) FROM core.event WHERE id <= c.copied_to),
       (SELECT COALESCE(sum(rows), 0) FROM columnar_file WHERE retired_at IS NULL),
       (SELECT count(*) FROM stale_event)
FROM columnar_copy c
"""


@dataclass(frozen=True, slots=True)
class State:
    waiting: int
    """Events that are not in the copy yet."""
    expected: int
    copied: int
    stale: int
    """Events that changed or went since, and are read from Postgres until the files have been rewritten."""

    @property
    def is_whole(self) -> bool:
        return self.stale > 0 or self.expected == self.copied


def state_of(*, workspace_id: int) -> State | None:
    """None where nothing was ever copied. Counts the whole log."""
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id), connection.cursor() as cursor:
        cursor.execute(_STATE)
        row = cursor.fetchone()
    return None if row is None else State(*(int(each) for each in row[1:]))

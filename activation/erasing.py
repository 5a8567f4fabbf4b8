"""What destinations are told about people who were erased, and what they answered.

By the ledger of audiences every key that a destination ever got is removed there like that of anybody who left. No
destination erases a person altogether yet, beyond its audiences, and the answer says so: `UNSUPPORTED`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from django.db import connection

from cdp.kernel.purposes import Purpose
from consent import gate
from consent.models import ErasureAnswer

# An order is settled when nothing of the person is left to be removed. What could not be removed was refused.
_PENDING: Final = """
SELECT o.id, bool_or(m.state = 'REJECTED' AND m.run_id IS NOT NULL), bool_or(m.state IN ('ADDING', 'PRESENT', 'REMOVING'))
FROM erasure_order o
LEFT JOIN audience a ON a.destination_id = o.destination_id
LEFT JOIN audience_member m ON m.audience_id = a.id AND m.profile_id = o.profile_id
WHERE o.workspace_id = %s AND o.answer = 'PENDING' GROUP BY o.id
"""
_ANSWER: Final = "UPDATE erasure_order SET answer = %s, answered_at = %s WHERE id = %s"
_FORGET: Final = """
DELETE FROM audience_member m USING erasure_order o, audience a
WHERE o.id = %s AND a.destination_id = o.destination_id AND m.audience_id = a.id AND m.profile_id = o.profile_id
"""
_COMPLETE: Final = """
UPDATE erasure e SET completed_at = %s WHERE workspace_id = %s AND completed_at IS NULL
AND NOT EXISTS (SELECT FROM erasure_order o WHERE o.erasure_id = e.id AND o.answer = 'PENDING')
"""


def settle_erasures(*, workspace_id: int, now: datetime) -> Mapping[str, int]:
    """Note what the destinations answered, and forget the hashes that were needed until then. Returns answers by kind."""
    answers: dict[str, int] = {}
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id), connection.cursor() as cursor:
        cursor.execute(_PENDING, [workspace_id])
        for order, is_refused, is_waiting in cursor.fetchall():
            if is_waiting:
                continue
            answer = ErasureAnswer.REFUSED if is_refused else ErasureAnswer.UNSUPPORTED
            cursor.execute(_ANSWER, [answer.value, now, order])
            cursor.execute(_FORGET, [order])
            answers[answer.value] = answers.get(answer.value, 0) + 1
        cursor.execute(_COMPLETE, [now, workspace_id])
    return answers

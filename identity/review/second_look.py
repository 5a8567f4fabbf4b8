"""Which merges one steward may not make alone: those that make a large person, or touch many audiences.

Memberships of segments and audiences belong to later stages, which this one cannot import: they are read by the names
of their tables, and only counted.
"""

from dataclasses import dataclass
from typing import Final

from django.db import connection

from identity.models import ReviewPair, ReviewRules

_WEIGHT_OF_MERGE: Final = """
WITH side AS (SELECT DISTINCT profile_id FROM identifier WHERE id IN (%(left)s, %(right)s))
SELECT (SELECT count(*) FROM identifier WHERE profile_id IN (SELECT profile_id FROM side)),
       (SELECT count(DISTINCT audience_id) FROM audience_member
        WHERE profile_id IN (SELECT profile_id FROM side) AND state IN ('ADDING', 'PRESENT'))
"""


@dataclass(frozen=True, slots=True)
class Merge:
    """What "the same" would make: a person of so many identifiers, who is in so many audiences."""

    identifiers: int
    audiences: int
    needs_second: bool


def merge_of(pair: ReviewPair) -> Merge:
    with connection.cursor() as cursor:
        cursor.execute(_WEIGHT_OF_MERGE, {"left": pair.left_id, "right": pair.right_id})
        identifiers, audiences = cursor.fetchone()
    rules = rules_of(pair.workspace_id)
    is_large = identifiers > rules.largest_alone or audiences > rules.most_audiences_alone
    return Merge(identifiers, audiences, is_large)


def rules_of(workspace_id: int) -> ReviewRules:
    """Those of the workspace, or the defaults."""
    return ReviewRules.objects.filter(pk=workspace_id).first() or ReviewRules(workspace_id=workspace_id)

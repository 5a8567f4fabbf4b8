"""By what an arrival is judged, in one look: the index for the model that links, and what the workspace has laid down.

Asked for each arrival, so of the models no more than the keys: each holds the frequencies of all its values.
"""

import json
from dataclasses import dataclass
from typing import Final

from django.db import connection

from identity import queries
from identity.models import BlockingIndex, IdentityRules
from identity.queries import Rules
from identity.registry import CURRENT_INDEX


@dataclass(frozen=True, slots=True)
class Terms:
    """`index` is None where no model links, or none of the keys is of the active one."""

    index: BlockingIndex | None
    rules: Rules


_TERMS: Final = f"""
SELECT (SELECT to_jsonb(i) FROM ({CURRENT_INDEX}) AS i),
       (SELECT to_jsonb(r) FROM core.identity_rules r WHERE workspace_id = %(workspace)s),
       ARRAY(SELECT name FROM core.source WHERE workspace_id = %(workspace)s AND has_unique_people)
"""  # noqa: S608  # our own constant


def terms_of(workspace_id: int) -> Terms:
    with connection.cursor() as cursor:
        cursor.execute(_TERMS, {"workspace": workspace_id})
        index, own, unique = cursor.fetchone()
    laid_down = json.loads(own) if own else {"workspace_id": workspace_id}
    return Terms(
        BlockingIndex(workspace_id=workspace_id, **json.loads(index)) if index else None,
        queries.rules_under(IdentityRules(**laid_down), unique_sources=unique),
    )

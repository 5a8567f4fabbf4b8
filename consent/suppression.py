"""The suppression list: who is on it is not stored. Ingestion asks it for every batch, and a trigger asks it again.

It knows digests and no values. After a change of IDENTIFIER_PEPPER the old ones still hold, as long as the pepper that
they were made under is named in IDENTIFIER_PEPPERS_BEFORE.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import structlog
from django.db import connection
from django.db.models import QuerySet

from cdp.kernel.identifiers import Identifier
from cdp.models.digests import Digested, digests_of_all_peppers, identifier_digest, pepper_id
from cdp.models.tenancy import workspace_scope
from consent.gate import ERASING, Collection, Permit
from consent.models import Suppression, SuppressionReason

log = structlog.get_logger()

Node = tuple[str, str]
"""type and normal value of an identifier"""

# -- the list -------------------------------------------------------------------------------------------------------


def suppress(
    *,
    workspace_id: int,
    identifier: Identifier,
    now: datetime,
    reason: str = SuppressionReason.OPERATOR,
    until: datetime | None = None,
) -> Suppression:
    """Nobody with this identifier is stored from now on. What is stored already stays: `erasure` is what removes it."""
    digest = identifier_digest(identifier.type, identifier.value)
    with workspace_scope(workspace_id):
        put_on_list(workspace_id, [(identifier.type, digest)], reason=reason, now=now, until=until)
        return Suppression.objects.get(identifier_type=identifier.type, identifier_digest=digest)


def unsuppress(*, workspace_id: int, identifier: Identifier) -> int:
    """Whoever has this identifier may be stored again. Returns how many rows went."""
    with workspace_scope(workspace_id):
        return _listed(identifier).delete()[0]


def entries_of(*, workspace_id: int, identifier: Identifier) -> list[Suppression]:
    """What the list has of this identifier: one row, or one for each pepper that it was put there under; or none."""
    with workspace_scope(workspace_id):
        return list(_listed(identifier).order_by("pk"))


def _listed(identifier: Identifier) -> QuerySet[Suppression]:
    digests = list(digests_of_all_peppers(identifier.type, identifier.value))
    return Suppression.objects.filter(identifier_type=identifier.type, identifier_digest__in=digests)


_PUT: Final = """
INSERT INTO suppression AS known (workspace_id, identifier_type, identifier_digest, pepper_id, reason, until, created_at)
SELECT %s, type, digest, %s, %s, %s, %s FROM unnest(%s::text[], %s::bytea[]) AS new (type, digest) ORDER BY type, digest
ON CONFLICT (workspace_id, identifier_type, identifier_digest) DO UPDATE SET
    reason = EXCLUDED.reason,
    until = CASE WHEN known.until IS NULL OR EXCLUDED.until IS NULL THEN NULL ELSE greatest(known.until, EXCLUDED.until) END
"""


def put_on_list(
    workspace_id: int, digests: Sequence[Digested], *, reason: str, now: datetime, until: datetime | None = None
) -> None:
    """Within the scope of the workspace. Who is on the list already stays on it at least as long."""
    kinds, values = [kind for kind, _ in digests], [digest for _, digest in digests]
    with connection.cursor() as cursor:
        cursor.execute(_PUT, [workspace_id, pepper_id(), str(reason), until, now, kinds, values])


# -- for ingestion --------------------------------------------------------------------------------------------------

_ANYBODY: Final = "SELECT EXISTS (SELECT FROM suppression WHERE workspace_id = %s)"
_LISTED: Final = """
SELECT DISTINCT n.type, n.value FROM unnest(%s::text[], %s::text[], %s::bytea[]) AS n (type, value, digest)
CROSS JOIN LATERAL (
    SELECT FROM suppression WHERE workspace_id = %s AND identifier_type = n.type AND identifier_digest = n.digest
      AND core.is_in_force(until)
    OFFSET 0
) AS listed
"""


def is_in_use(workspace_id: int) -> bool:
    """Whether the list has anybody: mostly it has not, and nothing needs to be digested."""
    with connection.cursor() as cursor:
        cursor.execute(_ANYBODY, [workspace_id])
        return bool(cursor.fetchone()[0])


def suppressed_among(permit: Permit[Collection], nodes: Iterable[Node]) -> frozenset[Node]:
    """Those that are on the list. The permit holds the turn: who is erased meanwhile is so after this transaction."""
    return suppressed_in(permit.workspace_id, nodes) if is_in_use(permit.workspace_id) else frozenset()


def suppressed_in(workspace_id: int, nodes: Iterable[Node]) -> frozenset[Node]:
    """As `suppressed_among`, for those who `share_turn` themselves."""
    rows = [(kind, value, digest) for kind, value in set(nodes) for digest in digests_of_all_peppers(kind, value)]
    with connection.cursor() as cursor:
        cursor.execute(_LISTED, [*([row[place] for row in rows] for place in range(3)), workspace_id])
        return frozenset(cursor.fetchall())


_SHARE_TURN: Final = "SELECT pg_advisory_xact_lock_shared(%s, %s)"


def share_turn(workspace_id: int) -> None:
    """Until the transaction ends nobody is erased. A permit of COLLECTION does so by itself."""
    with connection.cursor() as cursor:
        cursor.execute(_SHARE_TURN, [ERASING, workspace_id])


_COUNT: Final = """
INSERT INTO suppressed_day AS known (workspace_id, day, dropped) VALUES (%s, core.today(), %s)
ON CONFLICT (workspace_id, day) DO UPDATE SET dropped = known.dropped + EXCLUDED.dropped
"""


def count_dropped(workspace_id: int, dropped: int) -> None:
    """That something of suppressed people came, and not whose it was."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [workspace_id, dropped])
    log.info("suppression.dropped", workspace=workspace_id, dropped=dropped)

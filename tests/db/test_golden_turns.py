"""Identity moves identifiers, enrichment adds values to them: never at the same moment in one workspace."""

import pytest
from django.db import connection

from cdp.kernel.purposes import Purpose
from consent import gate
from enrichment import services as enrichment
from identity import services as identity

_HELD = "SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted"


def locks_held():
    with connection.cursor() as cursor:
        cursor.execute(_HELD)
        return set(cursor.fetchall())


@pytest.mark.parametrize(
    ("purpose", "stage"), [(Purpose.IDENTITY, identity.link), (Purpose.ENRICHMENT, enrichment.enrich)]
)
def test_stage__until_its_transaction_ends__has_the_turn_of_the_golden_record(purpose, stage, workspace, now):
    with connection.cursor() as cursor:
        cursor.execute("SELECT hashtext('identity.golden')::bigint & 4294967295")
        (turn,) = cursor.fetchone()

    with gate.permit(purpose, workspace_id=workspace.pk) as permit:
        stage(permit, {}, now=now)
        held = locks_held()

    assert (turn, workspace.pk) in held

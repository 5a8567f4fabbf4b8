"""The time zone of a workspace is changed: today begins at another moment, for whoever has no zone of his own."""

from collections.abc import Iterator

from django.db import connection, transaction

from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Stage, Workspace
from cdp.models.outbox import PACK
from consent import gate
from segments.language import (
    Active,
    Anniversary,
    Calendar,
    Dated,
    Event,
    Measured,
    Node,
    Rank,
    Sequence,
    Zone,
    leaves_of,
)  # fmt: skip
from segments.language.periods import zone_named
from segments.queries import live_versions
from segments.serving import whole_of_live


class UnknownTimeZoneError(TesseraError):
    """A time zone has a name such as Europe/Paris or America/New_York."""

    code = "unknown_time_zone"


def change_time_zone(*, workspace_id: int, time_zone: str) -> int:
    """The workspace's clocks show another time from now on. Returns how many people are evaluated again because of it:
    nobody where no segment asks what the clocks show.
    """
    if zone_named(time_zone) is None:
        raise UnknownTimeZoneError(time_zone=time_zone)
    with transaction.atomic():
        is_new = Workspace.objects.filter(pk=workspace_id).exclude(time_zone=time_zone).update(time_zone=time_zone)
        return _hand_over_whom_it_concerns(workspace_id) if is_new else 0


# In packs, by one statement, however many they are.
_HAND_OVER = """
WITH concerned AS (
    SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM profile p
    WHERE %(is_everybody)s OR NOT EXISTS (
        SELECT 1 FROM trait t WHERE t.profile_id = p.id AND t.name = 'timezone' AND core.zone_of(t.value) IS NOT NULL
    )
),
handed_over AS (
    INSERT INTO outbox (workspace_id, stage, cause, subjects)
    SELECT %(workspace)s, %(stage)s, %(cause)s, array_agg(id ORDER BY id) FROM concerned GROUP BY place / %(pack)s
)
SELECT count(*) FROM concerned
"""


def _hand_over_whom_it_concerns(workspace_id: int) -> int:
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit, connection.cursor() as cursor:
        zones = {
            zone for version in live_versions(permit.workspace_id).values() for zone in zones_of(whole_of_live(version))
        }
        if not zones & {Zone.WORKSPACE, Zone.PROFILE}:
            return 0
        cursor.execute(
            _HAND_OVER,
            {
                "is_everybody": Zone.WORKSPACE in zones, "workspace": workspace_id, "stage": Stage.SEGMENTS,
                "cause": Cause.LEARNT, "pack": PACK,
            },
        )  # fmt: skip
        return int(cursor.fetchone()[0])


def zones_of(tree: Node) -> Iterator[Zone]:
    """Whose clocks a rule asks, once for each time that it does."""
    for leaf in leaves_of(tree):
        match leaf:
            case Anniversary(zone=zone) | Dated(period=Calendar(zone=zone)) | Sequence(period=Calendar(zone=zone)):
                yield zone
            case Event(measured=measured) | Rank(of=Measured() as measured):
                yield from _zones_of_measured(measured)


def _zones_of_measured(measured: Measured) -> Iterator[Zone]:
    for each in (measured.period, measured.measure):
        if isinstance(each, Calendar | Active):
            yield each.zone

"""The time zone of a workspace or of a source is changed: today begins at another moment, for whoever has no zone of his
own.
"""

from collections.abc import Iterator

from django.db import connection, transaction

from cdp.ingestion.sources import find_source
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Source, Stage, Workspace
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


def change_time_zone_of_source(*, workspace_id: int, name: str, time_zone: str) -> int:
    """Empty: it has none. Likewise. Raises `UnknownSourceError`."""
    if time_zone and zone_named(time_zone) is None:
        raise UnknownTimeZoneError(time_zone=time_zone)
    source = find_source(name, workspace_id=workspace_id)
    with transaction.atomic():
        is_new = Source.objects.filter(pk=source.pk).exclude(time_zone=time_zone).update(time_zone=time_zone)
        return evaluate_people_of_source(source) if is_new else 0


def evaluate_people_of_source(source: Source) -> int:
    """Whoever has a value of this source and no zone of their own is evaluated again, as far as segments ask the clocks."""
    return _hand_over_whom_it_concerns(source.workspace_id, source.pk)


# In packs, by one statement, however many they are.
_HAND_OVER = """
WITH concerned AS (
    SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM profile p
    WHERE %(is_everybody)s OR NOT EXISTS (
        SELECT 1 FROM trait t WHERE t.profile_id = p.id AND t.name = 'timezone' AND core.zone_of(t.value) IS NOT NULL
    ) AND CASE WHEN %(source)s::bigint IS NULL THEN NOT EXISTS (
        SELECT 1 FROM trait t JOIN source s ON s.id = t.source_id WHERE t.profile_id = p.id AND s.time_zone <> ''
    ) ELSE EXISTS (
        SELECT 1 FROM trait t WHERE t.profile_id = p.id AND t.source_id = %(source)s::bigint
    ) END
),
handed_over AS (
    INSERT INTO outbox (workspace_id, stage, cause, subjects)
    SELECT %(workspace)s, %(stage)s, %(cause)s, array_agg(id ORDER BY id) FROM concerned GROUP BY place / %(pack)s
)
SELECT count(*) FROM concerned
"""


def _hand_over_whom_it_concerns(workspace_id: int, source: int | None = None) -> int:
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit, connection.cursor() as cursor:
        zones = {
            zone for version in live_versions(permit.workspace_id).values() for zone in zones_of(whole_of_live(version))
        }
        concern = {Zone.PROFILE} if source else {Zone.WORKSPACE, Zone.PROFILE}
        if not zones & concern:
            return 0
        cursor.execute(
            _HAND_OVER,
            {
                "is_everybody": Zone.WORKSPACE in zones & concern, "source": source, "workspace": workspace_id,
                "stage": Stage.SEGMENTS, "cause": Cause.LEARNT, "pack": PACK,
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

"""Figures are defined, changed and put away here, and who watches them is written down."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Max

from cdp.kernel.errors import TesseraError
from cdp.models import User
from cdp.models.secrets import encrypted
from cdp.models.tenancy import workspace_scope
from segments.kpis.definitions import as_json, read_kpi
from segments.kpis.ready_made import READY_MADE
from segments.models import Kpi, KpiAlert, KpiVersion, KpiWatch, Segment


class InvalidWatchError(TesseraError):
    """The settings of the watch are not as they must be."""

    code = "invalid_kpi_watch"


class KpiExistsError(TesseraError):
    """There is a figure with this slug already: choose another one, or change that one."""

    code = "kpi_exists"


def create_kpi(*, workspace_id: int, slug: str, name: str, definition: Mapping[str, Any], author: User | None) -> Kpi:
    """A new figure of every segment. Its values come with the next computation."""
    read = read_kpi(definition)
    with workspace_scope(workspace_id):
        kpi, is_new = Kpi.objects.get_or_create(workspace_id=workspace_id, slug=slug, defaults={"name": name or slug})
        if not is_new:
            raise KpiExistsError(slug=slug)
        _add_version(kpi, as_json(read), author)
    return kpi


def change_kpi(*, kpi: Kpi, name: str, definition: Mapping[str, Any], author: User | None) -> Kpi:
    """Another definition is another version and begins a new series; the same one changes the name alone.

    A figure that was put away is in use again.
    """
    written = as_json(read_kpi(definition))
    with workspace_scope(kpi.workspace_id):
        locked = Kpi.objects.select_for_update(of=("self",)).select_related("live_version").get(pk=kpi.pk)
        locked.name, locked.archived_at = name or locked.name, None
        locked.save(update_fields=["name", "archived_at"])
        if locked.live_version is None or locked.live_version.definition != written:
            _add_version(locked, written, author)
    return locked


def archive_kpi(*, kpi: Kpi, now: datetime) -> None:
    """It is computed no longer. What was computed stays readable."""
    with workspace_scope(kpi.workspace_id):
        Kpi.objects.filter(pk=kpi.pk).update(archived_at=now)


def ensure_ready_made(*, workspace_id: int) -> list[Kpi]:
    """The ready-made figures, if the workspace never had one. Returns those that were made."""
    with workspace_scope(workspace_id):
        if Kpi.objects.filter(workspace=workspace_id).exists():
            return []
        made = []
        for slug, told in READY_MADE.items():
            definition = {name: value for name, value in told.items() if name != "name"}
            kpi, is_new = Kpi.objects.get_or_create(
                workspace_id=workspace_id, slug=slug, defaults={"name": told["name"]}
            )
            if is_new:
                _add_version(kpi, as_json(read_kpi(definition)), None)
                made.append(kpi)
    return made


def watch_kpi(
    *, kpi: Kpi, segment: Segment | None, settings: Mapping[str, Any], signing_key: str | None = None
) -> KpiWatch:
    """Watch a figure of one segment, or of each. Whoever watches it already gets these settings; the others stay.

    Raises `InvalidWatchError` for settings beyond their bounds.
    """
    with workspace_scope(kpi.workspace_id):
        known = KpiWatch.objects.select_for_update().filter(kpi=kpi, segment=segment).first()
        watch = known or KpiWatch(workspace_id=kpi.workspace_id, kpi=kpi, segment=segment)
        for name, value in settings.items():
            setattr(watch, name, value)
        if signing_key is not None:
            watch.secrets = encrypted({"signing_key": signing_key}) if signing_key else None
        try:
            watch.full_clean(exclude=["workspace", "secrets"])
        except ValidationError as error:
            raise InvalidWatchError(fields=error.message_dict) from None
        watch.save()
    return watch


def stop_watching(*, watch: KpiWatch) -> None:
    """Nobody is told any more; its alerts go with it."""
    with workspace_scope(watch.workspace_id):
        KpiWatch.objects.filter(pk=watch.pk).delete()


def mark_alert(*, alert: KpiAlert, state: str) -> None:
    """Somebody saw it, or closed it."""
    with workspace_scope(alert.workspace_id):
        KpiAlert.objects.filter(pk=alert.pk).update(state=state)


def _add_version(kpi: Kpi, definition: Mapping[str, Any], author: User | None) -> None:
    newest = KpiVersion.objects.filter(kpi=kpi).aggregate(newest=Max("number"))["newest"] or 0
    kpi.live_version = KpiVersion.objects.create(
        workspace_id=kpi.workspace_id, kpi=kpi, number=newest + 1, definition=dict(definition), author=author
    )
    kpi.save(update_fields=["live_version"])

"""How long what is kept, by purpose and table. A workspace may say another number of days, with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from cdp.kernel.purposes import Purpose

MONTHS_25: Final = 760  # what the CNIL allows for the data of audience measurement
MONTHS_13: Final = 395
OF_THE_PURPOSE: Final = _("the retention period of the purpose")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Rows of `table` go when `column` is more than `days` ago and `condition` holds. Without days they are kept."""

    key: str
    table: str
    purpose: Purpose
    reason: Promise | str
    days: int | None = None
    column: str = ""
    condition: str = "true"


_ALL: Final = (
    Schedule(
        "events", "event", Purpose.COLLECTION, _("25 months, as for data of audience measurement"), MONTHS_25, "occurred_at"
    ),
    Schedule(
        "records_gone", "record", Purpose.COLLECTION, _("the source itself has the row no more"), 90, "deleted_at"
    ),
    Schedule(
        "quarantine_settled", "quarantine", Purpose.COLLECTION, _("was replayed or discarded"), 90, "received_at",
        "(replayed_at IS NOT NULL OR discarded_at IS NOT NULL)",
    ),
    Schedule(
        "quarantine_waiting", "quarantine", Purpose.COLLECTION, _("nobody mended it in a year"), MONTHS_13, "received_at",
        "replayed_at IS NULL AND discarded_at IS NULL",
    ),
    Schedule("announcements", "announcement", Purpose.COLLECTION, _("what it announced is long gone"), 30, "received_at"),
    Schedule(
        "memberships_past", "membership", Purpose.SEGMENTATION, _("who left a segment that long ago"), MONTHS_25, "left_at"
    ),
    Schedule(
        "membership_changes", "membership_change", Purpose.SEGMENTATION, _("whoever follows entries and exits has read it"),
        30, "recorded_at",
    ),
    Schedule("scores", "score", Purpose.LEARNING, _("computed from events that are gone"), MONTHS_25, "computed_at"),
    Schedule(
        "audience_removed", "audience_member", Purpose.ADVERTISING, _("was taken back from the destination"), MONTHS_13,
        "changed_at", "state = 'REMOVED'",
    ),
    Schedule(
        "consent_strings", "consent_string", Purpose.COLLECTION, _("no event brought the string for that long"), MONTHS_13,
        "last_seen_at",
    ),
    Schedule("ledger", "consent_record", Purpose.COLLECTION, _("proof of what people said: for as long as it is needed")),
    Schedule("identifiers", "identifier", Purpose.COLLECTION, _("until erasure: other data hangs on it")),
    Schedule("traits", "trait", Purpose.IDENTITY, _("until erasure, or until its source says otherwise")),
    Schedule("judgements", "judgement", Purpose.IDENTITY, _("so that every merge can be undone")),
)  # fmt: skip
SCHEDULES: Final[Mapping[str, Schedule]] = {schedule.key: schedule for schedule in _ALL}
PURPOSES_THAT_KEEP: Final = frozenset(schedule.purpose for schedule in _ALL if schedule.column)

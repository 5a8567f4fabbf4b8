"""The record of processing activities, GDPR Art. 30, from what is declared and enforced. Called in the scope of a workspace.

One activity for each purpose: its legal basis, the people and data it concerns, who receives it, how long it is kept.
Its texts are in the language of the moment. Recipients are given by the caller: destinations and providers belong to later stages.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Max, Min
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from consent import data_map, retention, spreadsheet
from consent.models import ControllerDetails, PurposePolicy, PurposeRule
from consent.register_sheets import KINDS, DataKind, Sheet, kinds_of, sheets
from consent.spreadsheet import Row, Table


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets data for a purpose: `kind` is its software, `what` the data that it gets."""

    purpose: str
    name: str
    kind: str
    what: tuple[str, ...]
    is_enabled: bool


@dataclass(frozen=True, slots=True)
class Activity:
    """A sheet of the register. `kinds` are boxes of the CNIL's model, `further_categories` what an officer named besides."""

    purpose: str
    description: str
    legal_basis: str
    created_at: datetime | None
    updated_at: datetime | None
    data_subjects: str
    data_categories: tuple[str, ...]
    kinds: tuple[str, ...]
    further_categories: tuple[str, ...]
    is_special: bool
    data: tuple[data_map.Use, ...]
    internal_recipients: str
    recipients: tuple[Recipient, ...]
    subcontractors: str
    transfers: str
    retention: tuple[str, ...]
    security_measures: str


@dataclass(frozen=True, slots=True)
class Register:
    generated_at: datetime
    controller: Mapping[str, str]
    activities: tuple[Activity, ...]
    missing: tuple[str, ...]
    """What Art. 30 asks for and nobody has filled in."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


_DETAILS: Final = (
    "controller", "address", "contact", "joint_controllers", "representative", "dpo", "dpo_contact", "data_subjects",
    "internal_recipients", "subcontractors", "transfers", "security_measures",
)  # fmt: skip
_REQUIRED: Final = ("controller", "contact", "data_subjects", "security_measures")


def build(*, workspace_id: int, recipients: Sequence[Recipient], now: datetime) -> Register:
    details = details_of(workspace_id)
    uses = data_map.uses()
    periods = retention.periods(workspace_id=workspace_id)
    policies = PurposePolicy.objects.filter(workspace_id=workspace_id).order_by("bit")
    changes = _changes(workspace_id)
    return Register(
        generated_at=now,
        controller={name: value for name, value in details.items() if name not in _OF_EACH_SHEET},
        activities=tuple(_activity(policy, details, uses, recipients, periods, changes) for policy in policies),
        missing=tuple(name for name in _REQUIRED if not details[name]),
    )


_OF_EACH_SHEET: Final = frozenset(
    {"data_subjects", "internal_recipients", "subcontractors", "transfers", "security_measures"}
)


def details_of(workspace_id: int) -> dict[str, str]:
    """What is filled in of the controller; an empty text where it is not. In the scope of the workspace."""
    known = ControllerDetails.objects.filter(workspace_id=workspace_id).values(*_DETAILS).first()
    return {name: (known or {}).get(name, "") for name in _DETAILS}


_Changes = Mapping[str, tuple[datetime, datetime]]


def _changes(workspace_id: int) -> _Changes:
    """By purpose: when it was first declared, and when it last changed."""
    rules = PurposeRule.objects.filter(workspace_id=workspace_id).values("purpose").order_by("purpose")
    found = rules.annotate(first=Min("recorded_at"), last=Max("recorded_at"))
    return {each["purpose"]: (each["first"], each["last"]) for each in found}


def _activity(
    policy: PurposePolicy,
    details: Mapping[str, str],
    uses: Sequence[data_map.Use],
    recipients: Sequence[Recipient],
    periods: Sequence[retention.Period],
    changes: _Changes,
) -> Activity:
    own = tuple(use for use in uses if use.purpose == policy.purpose)
    created_at, updated_at = changes.get(policy.purpose, (None, None))
    kinds = kinds_of(own, policy.data_categories)
    return Activity(
        purpose=policy.purpose,
        description=policy.description,
        legal_basis=policy.legal_basis,
        created_at=created_at,
        updated_at=updated_at,
        data_subjects=details["data_subjects"],
        data_categories=tuple(sorted({use.category for use in own})),
        kinds=kinds,
        further_categories=tuple(each for each in policy.data_categories if each not in kinds),
        is_special=policy.is_special,
        data=own,
        internal_recipients=details["internal_recipients"],
        recipients=tuple(each for each in recipients if each.purpose == policy.purpose),
        subcontractors=details["subcontractors"],
        transfers=details["transfers"],
        retention=tuple(_told(period) for period in periods if period.schedule.table in {use.table for use in own}),
        security_measures=details["security_measures"],
    )


def _told(period: retention.Period) -> str:
    kept = _("kept") if period.days is None else _("%(days)s days") % {"days": period.days}
    return f"{period.schedule.table}: {kept} ({period.reason})"


# -- as files ---------------------------------------------------------------------------------------------------------

_COLUMNS: Final = (
    "controller", "contact", "dpo", "dpo_contact", "purpose", "description", "legal_basis", "data_subjects",
    "data_categories", "recipients", "transfers", "retention", "security_measures", "created_at", "updated_at",
    "joint_controllers", "kinds", "further_categories", "is_special", "internal_recipients", "subcontractors",
)  # fmt: skip


def as_csv(register: Register) -> str:
    """A line for each activity. A cell that a spreadsheet would compute is made a text."""
    written = io.StringIO()
    lines = csv.DictWriter(written, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    lines.writeheader()
    for activity in register.activities:
        cells = {**register.controller, **asdict(activity), **_joined(activity)}
        lines.writerow({name: harmless(str(cells[name])) for name in _COLUMNS})
    return written.getvalue()


def _joined(activity: Activity) -> dict[str, str]:
    return {
        "data_categories": "; ".join(activity.data_categories),
        "kinds": "; ".join(str(KINDS[DataKind(kind)]) for kind in activity.kinds),
        "further_categories": "; ".join(activity.further_categories),
        "recipients": "; ".join(f"{each.name} ({each.kind})" for each in activity.recipients),
        "retention": "; ".join(activity.retention),
    }


def harmless(cell: str) -> str:
    """A spreadsheet computes nothing from it."""
    return f"'{cell}" if cell[:1] in {"=", "+", "-", "@", "\t", "\r"} else cell


def as_html(register: Register) -> str:
    """A sheet for each activity behind the list of all, to be printed."""
    return render_to_string("consent/register.html", {"register": register, "sheets": sheets(register)})


def as_ods(register: Register) -> bytes:
    """The same sheets, for a spreadsheet."""
    return spreadsheet.as_ods([Table(sheet.name, list(_rows(sheet))) for sheet in sheets(register)])


def _rows(sheet: Sheet) -> Iterator[Row]:
    yield Row([sheet.title], is_head=True)
    for part in sheet.parts:
        yield Row([])
        yield Row([part.title], is_head=True)
        yield from (Row(line) for line in part.lines)


FILES: Final[Mapping[str, tuple[Callable[[Register], str | bytes], str]]] = {
    "csv": (as_csv, "text/csv; charset=utf-8"),
    "html": (as_html, "text/html; charset=utf-8"),
    "ods": (as_ods, spreadsheet.KIND),
}
"""By name: what writes it, and the type of its contents."""

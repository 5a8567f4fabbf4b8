"""The record of processing activities as sheets, in the parts and the order of the CNIL's simplified model.

In front a list: who is responsible, who protects data, which activities there are. Then a sheet for each activity. What
is enforced here is filled in; what only people know, such as joint controllers, is from *Controller*; the rest is a dash.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from consent.data_map import Use
from consent.models import LegalBasis

if TYPE_CHECKING:
    from consent.register import Activity, Recipient, Register

SOFTWARE: Final = "Tessera"
UNKNOWN: Final = "–"
TICKED, UNTICKED = "☒", "☐"


class DataKind(StrEnum):
    """The categories that the model has boxes for. An officer names those of a purpose among its data categories."""

    IDENTITY = "identity"
    PERSONAL_LIFE = "personal_life"
    PROFESSIONAL_LIFE = "professional_life"
    ECONOMIC = "economic"
    CONNECTION = "connection"
    LOCATION = "location"
    INTERNET = "internet"


KINDS: Final[dict[DataKind, Promise]] = {
    DataKind.IDENTITY: gettext_lazy("Civil status, identity, identification data, images"),
    DataKind.PERSONAL_LIFE: gettext_lazy("Personal life: habits, family situation"),
    DataKind.PROFESSIONAL_LIFE: gettext_lazy("Professional life: employment, education, distinctions"),
    DataKind.ECONOMIC: gettext_lazy("Economic and financial information: income, bank details"),
    DataKind.CONNECTION: gettext_lazy("Connection data: IP addresses, logs, identifiers of devices"),
    DataKind.LOCATION: gettext_lazy("Location data: movements, GPS"),
    DataKind.INTERNET: gettext_lazy("Internet: cookies, trackers, browsing, audience measurement"),
}

# What a purpose has in its hands if it reads the table, or the column of it. Tables of ids and of keyed digests that only
# stand for people are none of these kinds.
_OF_TABLES: Final[dict[str, tuple[DataKind, ...]]] = {
    "identifier": (DataKind.IDENTITY, DataKind.CONNECTION),
    "candidate": (DataKind.IDENTITY, DataKind.CONNECTION),
    "question": (DataKind.IDENTITY, DataKind.CONNECTION),
    "identifier_trait": (DataKind.IDENTITY, DataKind.PERSONAL_LIFE),
    "trait": (DataKind.IDENTITY, DataKind.PERSONAL_LIFE),
    "record": (DataKind.IDENTITY,),
    "event": (DataKind.INTERNET,),
    "event.context": (DataKind.CONNECTION,),
    "inbox": (DataKind.IDENTITY, DataKind.CONNECTION, DataKind.INTERNET),
    "quarantine": (DataKind.IDENTITY, DataKind.CONNECTION, DataKind.INTERNET),
    "relation": (DataKind.PERSONAL_LIFE,),
    "membership": (DataKind.PERSONAL_LIFE,),
    "score": (DataKind.PERSONAL_LIFE,),
    "list_entry": (DataKind.PERSONAL_LIFE,),
    "segment_list_entry": (DataKind.PERSONAL_LIFE,),
}


def kinds_of(uses: Sequence[Use], declared: Sequence[str]) -> tuple[DataKind, ...]:
    """Those that the tables of a purpose hold, and those that its officer named, in the order of the model."""
    names = {each.table for each in uses} | {f"{each.table}.{column}" for each in uses for column in each.columns}
    found = {kind for name in names for kind in _OF_TABLES.get(name, ())} | set(declared)
    return tuple(kind for kind in DataKind if kind in found)


@dataclass(frozen=True, slots=True)
class Part:
    """A box of a sheet: its heading, and what is asked with what is answered. One question may have several answers."""

    title: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    name: str
    title: str
    parts: tuple[Part, ...]


def sheets(register: "Register") -> list[Sheet]:
    """The list in front, then the activities in its order, in the language of the moment."""
    return [_front(register), *(_sheet(number, each, register) for number, each in _numbered(register))]


def _numbered(register: "Register") -> Iterator[tuple[int, "Activity"]]:
    return enumerate(register.activities, 1)


def _front(register: "Register") -> Sheet:
    who = register.controller
    activities = tuple((f"{number}", f"{each.purpose}: {each.description}") for number, each in _numbered(register))
    return Sheet(
        _("List"),
        _("Record of processing activities"),
        (
            _part(
                _("Controller, or its representative outside of the Union"),
                (_("Name"), who["controller"]),
                (_("Address"), who["address"]),
                (_("Contact"), who["contact"]),
                (_("Representative"), who["representative"]),
            ),
            _part(_("Data protection officer"), (_("Name"), who["dpo"]), (_("Contact"), who["dpo_contact"])),
            Part(_("Activities that involve personal data"), activities),
        ),
    )


def _sheet(number: int, activity: "Activity", register: "Register") -> Sheet:
    return Sheet(
        f"{number} {activity.purpose}",
        _("Sheet %(number)s: %(activity)s") % {"number": number, "activity": activity.purpose},
        (
            _identity(activity, register),
            _part(
                _("Objectives"),
                (_("Purpose"), activity.description or activity.purpose),
                (_("Legal basis"), str(LegalBasis(activity.legal_basis).label)),
            ),
            _part(_("Categories of people"), ("", activity.data_subjects)),
            _data(activity),
            _sensitive(activity),
            Part(_("Erased after"), _listed("", activity.retention)),
            _recipients(activity),
            _part(
                _("Transfers to third countries"),
                (_("Are data sent out of the Union?"), _yes_or_no(is_yes=bool(activity.transfers.strip()))),
                (_("Country, recipient and safeguards"), activity.transfers),
            ),
            _security(activity),
        ),
    )


def _identity(activity: "Activity", register: "Register") -> Part:
    return _part(
        _("The sheet"),
        (_("Created on"), _day(activity.created_at)),
        (_("Last changed on"), _day(activity.updated_at)),
        (_("Joint controllers"), register.controller["joint_controllers"]),
        (_("Software"), SOFTWARE),
    )


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else UNKNOWN


def _data(activity: "Activity") -> Part:
    boxes = ((str(name), TICKED if kind in activity.kinds else UNTICKED) for kind, name in KINDS.items())
    tables = (f"{each.category} ({each.table}: {', '.join(each.columns)})" for each in activity.data)
    others = _listed(_("Other categories"), activity.further_categories)
    return Part(_("Categories of data"), (*boxes, *others, *_listed(_("Tables and columns"), tuple(tables))))


def _sensitive(activity: "Activity") -> Part:
    which = activity.further_categories if activity.is_special else ()
    return Part(
        _("Sensitive data"),
        (
            (_("Are sensitive data processed?"), _yes_or_no(is_yes=activity.is_special)),
            *_listed(_("Which ones"), which),
        ),
    )


def _recipients(activity: "Activity") -> Part:
    return Part(
        _("Recipients"),
        (
            (_("Internal"), activity.internal_recipients or UNKNOWN),
            *_listed(_("External organisations"), tuple(map(told, activity.recipients))),
            (_("Subcontractors"), activity.subcontractors or UNKNOWN),
        ),
    )


def told(recipient: "Recipient") -> str:
    return f"{recipient.name} ({recipient.kind}): {', '.join(recipient.what)}"


def _security(activity: "Activity") -> Part:
    """What is enforced, whoever runs it; what its people do besides, they write themselves."""
    return _part(
        _("Security measures"),
        (
            _("Access control"),
            _("Each person has a login and sees the workspaces and pages that they may; each process has a login of the "
              "database, and reads people under the role of the purpose alone."),
        ),
        (
            _("Traceability"),
            _("A log of what staff did. The ledger of consents, the history of requests and the evidence of deletions are "
              "never changed."),
        ),
        (
            _("Encryption"),
            _("Secrets, packages for people and the identities in requests are encrypted."),
        ),
        (_("Protection of software, backups, control of subcontractors, other measures"), activity.security_measures),
    )  # fmt: skip


def _part(title: str, *lines: tuple[str, str]) -> Part:
    return Part(title, tuple((asked, answer or UNKNOWN) for asked, answer in lines))


def _listed(asked: str, answers: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """A line for each answer; the question is asked once."""
    return tuple((asked if place == 0 else "", answer) for place, answer in enumerate(answers)) or ((asked, UNKNOWN),)


def _yes_or_no(*, is_yes: bool) -> str:
    return _("Yes") if is_yes else _("No")

"""The record of a processor, GDPR Art. 30(2): what is done on behalf of whom. Each workspace is a controller's.

It is for whoever runs an installation for others. Who that is, no table knows: the caller says so.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from cdp.models import Workspace
from cdp.models.tenancy import workspace_scope
from consent.models import PurposePolicy
from consent.register import details_of, harmless

_WHO: Final = ("controller", "address", "contact", "representative", "dpo", "dpo_contact")
_REQUIRED: Final = ("controller", "contact", "security_measures")


@dataclass(frozen=True, slots=True)
class OnBehalf:
    """What is done for one controller. `missing` is what the article asks for and nobody has filled in."""

    workspace: str
    controller: Mapping[str, str]
    processing: tuple[str, ...]
    transfers: str
    security_measures: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProcessorRegister:
    generated_at: datetime
    processor: Mapping[str, str]
    controllers: tuple[OnBehalf, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def build(*, name: str, contact: str, now: datetime) -> ProcessorRegister:
    """Over all open workspaces, in the order of their names."""
    workspaces = Workspace.objects.filter(closed_at=None).order_by("slug")
    return ProcessorRegister(
        now, {"name": name, "contact": contact}, tuple(_on_behalf(workspace) for workspace in workspaces)
    )


def _on_behalf(workspace: Workspace) -> OnBehalf:
    with workspace_scope(workspace.pk):
        details = details_of(workspace.pk)
        policies = PurposePolicy.objects.filter(workspace=workspace).order_by("bit")
        processing = tuple(policy.description or policy.purpose for policy in policies)
    return OnBehalf(
        workspace=workspace.slug,
        controller={name: details[name] for name in _WHO},
        processing=processing,
        transfers=details["transfers"],
        security_measures=details["security_measures"],
        missing=tuple(name for name in _REQUIRED if not details[name]),
    )


_COLUMNS: Final = ("processor", "processor_contact", "workspace", *_WHO, "processing", "transfers", "security_measures")


def as_csv(register: ProcessorRegister) -> str:
    """A line for each controller. A cell that a spreadsheet would compute is made a text."""
    written = io.StringIO()
    lines = csv.DictWriter(written, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    lines.writeheader()
    processor = {"processor": register.processor["name"], "processor_contact": register.processor["contact"]}
    for each in register.controllers:
        cells = {**asdict(each), **each.controller, **processor, "processing": "; ".join(each.processing)}
        lines.writerow({name: harmless(str(cells[name])) for name in _COLUMNS})
    return written.getvalue()

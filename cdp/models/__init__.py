"""The core tables, one word per thing (see docs/glossary.md)."""

from cdp.models.announcements import Announcement
from cdp.models.connections import Connection
from cdp.models.corrections import Correction, CorrectionKind, MappingText
from cdp.models.events import (
    Event,
    InboxBatch,
    Message,
    OrderKind,
    QuarantinedItem,
    QuarantineOrder,
    QuarantineReading,
    Record,
)
from cdp.models.identifiers import Identifier, IdentifierTrait, Sighting
from cdp.models.keys import ApiKey, Scope, WriteKey
from cdp.models.outbox import Cause, OutboxRow, Stage
from cdp.models.plans import PlanViolation, TrackingPlanVersion, ViolationAction
from cdp.models.profiles import Profile, Trait
from cdp.models.quality import QualityReport, QualityThresholds
from cdp.models.runs import Run, RunState
from cdp.models.sources import Source, SourceKind
from cdp.models.uploads import Upload, UploadKind
from cdp.models.users import Member, User
from cdp.models.workspaces import Workspace

__all__ = [
    "Announcement",
    "ApiKey",
    "Cause",
    "Connection",
    "Correction",
    "CorrectionKind",
    "Event",
    "Identifier",
    "IdentifierTrait",
    "InboxBatch",
    "MappingText",
    "Member",
    "Message",
    "OrderKind",
    "OutboxRow",
    "PlanViolation",
    "Profile",
    "QualityReport",
    "QualityThresholds",
    "QuarantineOrder",
    "QuarantineReading",
    "QuarantinedItem",
    "Record",
    "Run",
    "RunState",
    "Scope",
    "Sighting",
    "Source",
    "SourceKind",
    "Stage",
    "TrackingPlanVersion",
    "Trait",
    "Upload",
    "UploadKind",
    "User",
    "ViolationAction",
    "Workspace",
    "WriteKey",
]

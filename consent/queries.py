"""What the ledger says about an identifier and the person behind it. Called in the scope of a workspace."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db import connection

from cdp.kernel.identifiers import DEVICE_TYPES, Identifier
from cdp.kernel.purposes import Purpose
from cdp.models.digests import identifier_digest
from consent.models import PurposePolicy, Scope, SignalMapping
from consent.policy import EVERYBODY, Decision, Policy, Rule, Statement, decide, evidence, held_back, regime_in


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """`identifier_id` is None while no event or record brought the identifier: consent may come first."""

    id: int
    identifier_id: int | None
    identifier_type: str
    purpose: str
    state: str
    occurred_at: datetime
    expires_at: datetime | None
    is_verified: bool
    source: str | None
    notice: str | None
    recorded_at: datetime
    recipient: str = ""
    jurisdiction: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """`decision` follows from the ledger; `allowed` is what the gate does with it at this moment.

    `rules` are those that made the answer, each with its sentence.
    """

    allowed: bool
    profile_id: int | None
    legal_basis: str | None
    decision: Decision
    rules: tuple[tuple[str, str], ...]
    records: tuple[LedgerRow, ...]


@dataclass(frozen=True, slots=True)
class Effective:
    """What the rule answers for a moment, and by which records. `gate` is what the gate does now for this recipient."""

    decision: Decision
    evidence: tuple[int, ...]
    legal_basis: str | None
    gate: bool


LATE_MEANS_CLOSED = (
    "late_means_closed",
    "a consent ran out or began since the last decision: until it is decided anew nothing is permitted",
)
ON_THIS_DEVICE = (
    "on_this_device",
    "the purpose is judged device by device: here counts what was said on this device, and nothing else",
)
ON_EVERY_DEVICE = (
    "on_every_device",
    "the purpose is judged device by device: what belongs to no single device is permitted where every one permits it",
)
NOBODY_YET = ("nobody_yet", "no event or record brought this identifier yet: the answer is for when one does")


@dataclass(frozen=True, slots=True)
class _Person:
    """What the gate knows of a person, and which of their identifiers was asked about."""

    identifier_id: int
    profile_id: int
    permitted: int
    permitted_until: datetime | None
    permitted_by_recipient: Mapping[str, int] | None
    jurisdiction: str | None
    devices: frozenset[int]

    def mask_for(self, recipient: str) -> int:
        """As the views take it: of a recipient who was not named, that of all who were not."""
        masks = self.permitted_by_recipient
        return masks.get(recipient, masks[EVERYBODY]) if recipient and masks else self.permitted


# What is sent to a recipient is asked of the profile: it is about no single device.
_PERSON = """
SELECT i.id, i.profile_id, CASE WHEN %(recipient)s = '' THEN i.permitted ELSE p.permitted END, i.permitted_until,
       p.permitted_by_recipient::text, p.jurisdiction,
       ARRAY(SELECT id FROM identifier WHERE profile_id = i.profile_id AND type = ANY(%(devices)s))
FROM identifier i LEFT JOIN profile p ON p.id = i.profile_id
WHERE i.workspace_id = %(workspace)s AND i.type = %(type)s AND i.digest = %(digest)s
"""

# All identifiers of the person; or the identifier alone, when nobody is known to have it.
_IDENTIFIERS = """
WITH person AS (
    SELECT other.id, other.type, other.digest
    FROM identifier this JOIN identifier other ON other.profile_id = this.profile_id
    WHERE this.workspace_id = %(workspace)s AND this.type = %(type)s AND this.digest = %(digest)s
    UNION ALL
    SELECT NULL, %(type)s, %(digest)s WHERE NOT EXISTS (
        SELECT 1 FROM identifier WHERE workspace_id = %(workspace)s AND type = %(type)s AND digest = %(digest)s
    )
)
"""
_LEDGER = f"""{_IDENTIFIERS}
SELECT r.id, p.id, r.identifier_type, r.purpose, r.state, r.occurred_at, r.expires_at, r.is_verified, s.name,
       n.key || ' ' || n.version, r.recorded_at, r.recipient,
       r.jurisdiction
FROM person p
JOIN consent_record r ON r.workspace_id = %(workspace)s AND r.identifier_type = p.type AND r.identifier_digest = p.digest
LEFT JOIN source s ON s.id = r.source_id
LEFT JOIN notice n ON n.id = r.notice_id
ORDER BY r.occurred_at DESC, r.id DESC
"""  # noqa: S608  # a text of our own
_HOLDS = f"""{_IDENTIFIERS}
SELECT lower(r.kind), r.denies::integer FROM person p
JOIN restriction r ON r.workspace_id = %(workspace)s AND r.identifier_type = p.type AND r.identifier_digest = p.digest
WHERE r.created_at <= %(at)s AND (r.lifted_at IS NULL OR r.lifted_at > %(at)s)
UNION ALL
SELECT 'suppression', -1 FROM person p
JOIN suppression s ON s.workspace_id = %(workspace)s AND s.identifier_type = p.type AND s.identifier_digest = p.digest
WHERE s.created_at <= %(at)s AND (s.until IS NULL OR s.until > %(at)s)
"""  # noqa: S608  # likewise


Hold = tuple[Rule, int]  # what holds a person back, and the bits of the purposes that it denies


@dataclass(frozen=True, slots=True)
class _Known:
    """Who was asked about, for which recipient, and all that can count for the answer."""

    workspace_id: int
    identifier: Identifier
    recipient: str
    person: _Person | None
    rows: Sequence[LedgerRow]
    holds: Sequence[Hold]

    @property
    def jurisdiction(self) -> str:
        return (self.person and self.person.jurisdiction) or ""

    @property
    def device(self) -> int | None:
        """That was asked about by itself; 0 is one that nobody brought yet."""
        if not self.identifier.is_device or self.recipient != EVERYBODY:
            return None
        return self.person.identifier_id if self.person else 0

    @property
    def devices(self) -> Collection[int]:
        if self.person:
            return self.person.devices
        return {0} if self.identifier.is_device else ()


def history(*, workspace_id: int, identifier: Identifier) -> tuple[LedgerRow, ...]:
    """All that the person behind the identifier ever said, newest first."""
    digest = identifier_digest(identifier.type, identifier.value)
    with connection.cursor() as cursor:
        cursor.execute(_LEDGER, {"workspace": workspace_id, "type": identifier.type, "digest": digest})
        return tuple(LedgerRow(*row) for row in cursor.fetchall())


def explain(
    *, workspace_id: int, identifier: Identifier, purpose: Purpose, now: datetime, recipient: str = EVERYBODY
) -> Explanation:
    """May the workspace use the person's data for the purpose, or send them to the recipient for it, and why.

    A purpose that is judged device by device is asked about the identifier, if that is one of a device. What is sent is
    about the person.
    """
    known = _known(workspace_id, identifier, now, recipient)
    return _explained(known, purpose, now)


def explain_all(*, workspace_id: int, identifier: Identifier, now: datetime) -> dict[Purpose, Explanation]:
    known = _known(workspace_id, identifier, now, EVERYBODY)
    return {purpose: _explained(known, purpose, now) for purpose in Purpose}


def effective(
    *,
    workspace_id: int,
    identifier: Identifier,
    purpose: Purpose,
    at: datetime,
    now: datetime,
    recipient: str = EVERYBODY,
    jurisdiction: str = "",
) -> Effective:
    """The answer as of `at`, for one recipient or for the purpose as a whole. The person is whoever it is now, and lives
    where the gate takes them to live unless `jurisdiction` says otherwise.
    """
    known = _known(workspace_id, identifier, now, recipient)
    answer = _explained(known, purpose, now)
    then = known if at == now else replace(known, holds=_holds(workspace_id, identifier, at))
    policy = _policy(workspace_id, purpose, jurisdiction or known.jurisdiction)
    decision = _decided(then, policy, purpose, answer.records, at)
    statements = [_statement(row) for row in answer.records]
    return Effective(decision, evidence(statements, at, recipient), policy.legal_basis, answer.allowed)


def _known(workspace_id: int, identifier: Identifier, at: datetime, recipient: str) -> _Known:
    return _Known(
        workspace_id,
        identifier,
        recipient,
        _person(workspace_id, identifier, recipient),
        history(workspace_id=workspace_id, identifier=identifier),
        _holds(workspace_id, identifier, at),
    )


def _explained(known: _Known, purpose: Purpose, now: datetime) -> Explanation:
    policy = _policy(known.workspace_id, purpose, known.jurisdiction)
    device = known.device if policy.is_by_device else None
    rows = tuple(
        row for row in known.rows if row.purpose == purpose and (device is None or (row.identifier_id or 0) == device)
    )
    decision = _decided(known, policy, purpose, rows, now)
    allowed, remarks = _at_the_gate(known.person, purpose, decision, now, known.recipient)
    scope = () if not policy.is_by_device else (ON_EVERY_DEVICE if device is None else ON_THIS_DEVICE,)
    rules = ((decision.rule.value, decision.reason), *scope, *remarks)
    profile_id = known.person.profile_id if known.person else None
    return Explanation(allowed, profile_id, policy.legal_basis, decision, rules, rows)


def _decided(known: _Known, policy: Policy, purpose: Purpose, rows: Sequence[LedgerRow], at: datetime) -> Decision:
    devices = known.devices if known.device is None else {known.device}
    said = decide(policy, [_statement(row) for row in rows], at, known.recipient, devices)
    return held_back(said, _reaching(purpose, known.holds))


def _at_the_gate(
    person: _Person | None, purpose: Purpose, decision: Decision, now: datetime, recipient: str
) -> tuple[bool, tuple[tuple[str, str], ...]]:
    if person is None:
        return decision.allowed, (NOBODY_YET,)
    if person.permitted_until is not None and person.permitted_until <= now:
        return False, (LATE_MEANS_CLOSED,)
    return bool(person.mask_for(recipient) & purpose.bit), ()


def _reaching(purpose: Purpose, holds: Sequence[Hold]) -> set[Rule]:
    return {rule for rule, denies in holds if denies & purpose.bit}


def _statement(row: LedgerRow) -> Statement:
    return Statement(
        row.identifier_id or 0, row.state, row.occurred_at, row.expires_at, row.is_verified, row.recipient, row.id
    )


def _policy(workspace_id: int, purpose: Purpose, jurisdiction: str) -> Policy:
    policies = PurposePolicy.objects.filter(workspace_id=workspace_id, purpose=purpose)
    basis, regimes, scope = policies.values_list("legal_basis", "regimes", "scope").first() or (None, {}, Scope.PERSON)
    return Policy(basis, regime_in(regimes, jurisdiction), scope == Scope.DEVICE)


def _holds(workspace_id: int, identifier: Identifier, at: datetime) -> list[Hold]:
    digest = identifier_digest(identifier.type, identifier.value)
    with connection.cursor() as cursor:
        cursor.execute(_HOLDS, {"workspace": workspace_id, "type": identifier.type, "digest": digest, "at": at})
        return [(Rule(kind), denies) for kind, denies in cursor.fetchall()]


def _person(workspace_id: int, identifier: Identifier, recipient: str) -> _Person | None:
    asked: dict[str, int | str | bytes | list[str]] = {
        "workspace": workspace_id,
        "type": identifier.type,
        "digest": identifier_digest(identifier.type, identifier.value),
        "recipient": recipient,
        "devices": sorted(DEVICE_TYPES),
    }
    with connection.cursor() as cursor:
        cursor.execute(_PERSON, asked)
        found = cursor.fetchone()
    if found is None:
        return None
    identifier_id, profile_id, permitted, until, masks, jurisdiction, devices = found
    masks = masks and json.loads(masks)
    return _Person(identifier_id, profile_id, permitted, until, masks, jurisdiction, frozenset(devices))


# -- signals --------------------------------------------------------------------------------------------------------

Subject = tuple[str, bytes, str]  # type and digest of an identifier, and a purpose


@dataclass(frozen=True, slots=True)
class LastWord:
    state: str
    occurred_at: datetime
    expires_at: datetime | None
    is_verified: bool
    ends_by_purpose: bool = False  # as consents of this purpose did when it was given


def purposes_by_signal(workspace_id: int) -> Mapping[tuple[str, str], frozenset[Purpose]]:
    """By kind and category. In the scope of the workspace."""
    found: dict[tuple[str, str], set[Purpose]] = {}
    rows = SignalMapping.objects.filter(workspace_id=workspace_id).order_by("kind", "category", "purpose")
    for kind, category, purpose in rows.values_list("kind", "category", "purpose"):
        found.setdefault((kind, category), set()).add(Purpose(purpose))
    return {signal: frozenset(purposes) for signal, purposes in found.items()}


_LAST_WORDS = """
SELECT asked.type, asked.digest, asked.purpose, r.state, r.occurred_at, r.expires_at, r.is_verified,
       CASE WHEN r.expires_at IS NULL THEN false ELSE EXISTS (
           SELECT FROM purpose_rule p
           WHERE p.workspace_id = r.workspace_id AND p.purpose = asked.purpose AND p.fingerprint = r.rule
             AND r.expires_at = r.occurred_at + make_interval(days => (p.rule ->> 'consent_days')::integer)
       ) END
FROM unnest(%s::text[], %s::bytea[], %s::text[]) AS asked (type, digest, purpose)
CROSS JOIN LATERAL (
    SELECT workspace_id, rule, state, occurred_at, expires_at, is_verified FROM consent_record
    WHERE workspace_id = %s AND identifier_type = asked.type AND identifier_digest = asked.digest
      AND purpose = asked.purpose AND recipient = ''
    ORDER BY occurred_at DESC, state IN ('GIVEN', 'RENEWED'), id DESC LIMIT 1
) AS r
"""


def last_words(*, workspace_id: int, subjects: Iterable[Subject]) -> Mapping[Subject, LastWord]:
    """What the ledger heard last of each, of two at the same instant the one that permits less. What names a recipient
    speaks of that one alone, and is no word on the purpose. In the scope of the workspace.
    """
    columns = [list(column) for column in zip(*subjects, strict=True)] or [[], [], []]
    with connection.cursor() as cursor:
        cursor.execute(_LAST_WORDS, [*columns, workspace_id])
        return {(kind, bytes(digest), purpose): LastWord(*rest) for kind, digest, purpose, *rest in cursor.fetchall()}

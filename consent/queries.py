"""What the ledger says about an identifier and the person behind it. Called in the scope of a workspace."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from cdp.models.digests import identifier_digest
from consent.models import PurposePolicy, SignalMapping
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
NOBODY_YET = ("nobody_yet", "no event or record brought this identifier yet: the answer is for when one does")


@dataclass(frozen=True, slots=True)
class _Person:
    """What the gate knows of a person."""

    profile_id: int
    permitted: int
    permitted_until: datetime | None
    permitted_by_recipient: Mapping[str, int] | None
    jurisdiction: str | None

    def mask_for(self, recipient: str) -> int:
        """As the views take it: of a recipient who was not named, that of all who were not."""
        masks = self.permitted_by_recipient
        return masks.get(recipient, masks[EVERYBODY]) if recipient and masks else self.permitted


_PERSON = """
SELECT i.profile_id, i.permitted, i.permitted_until, p.permitted_by_recipient::text, p.jurisdiction
FROM identifier i LEFT JOIN profile p ON p.id = i.profile_id
WHERE i.workspace_id = %s AND i.type = %s AND i.digest = %s
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


def history(*, workspace_id: int, identifier: Identifier) -> tuple[LedgerRow, ...]:
    """All that the person behind the identifier ever said, newest first."""
    digest = identifier_digest(identifier.type, identifier.value)
    with connection.cursor() as cursor:
        cursor.execute(_LEDGER, {"workspace": workspace_id, "type": identifier.type, "digest": digest})
        return tuple(LedgerRow(*row) for row in cursor.fetchall())


def explain(
    *, workspace_id: int, identifier: Identifier, purpose: Purpose, now: datetime, recipient: str = EVERYBODY
) -> Explanation:
    """May the workspace use the person's data for the purpose, or send them to the recipient for it, and why."""
    rows = history(workspace_id=workspace_id, identifier=identifier)
    person = _person(workspace_id, identifier)
    holds = _holds(workspace_id, identifier, now)
    return _explained(workspace_id, person, purpose, rows, holds, now, recipient)


def explain_all(*, workspace_id: int, identifier: Identifier, now: datetime) -> dict[Purpose, Explanation]:
    rows = history(workspace_id=workspace_id, identifier=identifier)
    person = _person(workspace_id, identifier)
    holds = _holds(workspace_id, identifier, now)
    return {purpose: _explained(workspace_id, person, purpose, rows, holds, now, EVERYBODY) for purpose in Purpose}


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
    rows = history(workspace_id=workspace_id, identifier=identifier)
    person = _person(workspace_id, identifier)
    answer = _explained(workspace_id, person, purpose, rows, _holds(workspace_id, identifier, now), now, recipient)
    statements = [_statement(row) for row in answer.records]
    policy = _policy(workspace_id, purpose, jurisdiction or _lives_in(person))
    holds = _reaching(purpose, _holds(workspace_id, identifier, at))
    decision = held_back(decide(policy, statements, at, recipient), holds)
    return Effective(decision, evidence(statements, at, recipient), policy.legal_basis, answer.allowed)


def _explained(
    workspace_id: int,
    person: _Person | None,
    purpose: Purpose,
    rows: Sequence[LedgerRow],
    holds: Sequence[Hold],
    now: datetime,
    recipient: str,
) -> Explanation:
    concerning = tuple(row for row in rows if row.purpose == purpose)
    policy = _policy(workspace_id, purpose, _lives_in(person))
    said = decide(policy, [_statement(row) for row in concerning], now, recipient)
    decision = held_back(said, _reaching(purpose, holds))
    allowed, remarks = _at_the_gate(person, purpose, decision, now, recipient)
    rules = ((decision.rule.value, decision.reason), *remarks)
    profile_id = person.profile_id if person else None
    return Explanation(allowed, profile_id, policy.legal_basis, decision, rules, concerning)


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


def _lives_in(person: _Person | None) -> str:
    return (person and person.jurisdiction) or ""


def _statement(row: LedgerRow) -> Statement:
    return Statement(
        row.identifier_id or 0, row.state, row.occurred_at, row.expires_at, row.is_verified, row.recipient, row.id
    )


def _policy(workspace_id: int, purpose: Purpose, jurisdiction: str) -> Policy:
    policies = PurposePolicy.objects.filter(workspace_id=workspace_id, purpose=purpose)
    basis, regimes = policies.values_list("legal_basis", "regimes").first() or (None, {})
    return Policy(basis, regime_in(regimes, jurisdiction))


def _holds(workspace_id: int, identifier: Identifier, at: datetime) -> list[Hold]:
    digest = identifier_digest(identifier.type, identifier.value)
    with connection.cursor() as cursor:
        cursor.execute(_HOLDS, {"workspace": workspace_id, "type": identifier.type, "digest": digest, "at": at})
        return [(Rule(kind), denies) for kind, denies in cursor.fetchall()]


def _person(workspace_id: int, identifier: Identifier) -> _Person | None:
    digest = identifier_digest(identifier.type, identifier.value)
    with connection.cursor() as cursor:
        cursor.execute(_PERSON, [workspace_id, identifier.type, digest])
        found = cursor.fetchone()
    if found is None:
        return None
    profile_id, permitted, until, masks, jurisdiction = found
    return _Person(profile_id, permitted, until, masks and json.loads(masks), jurisdiction)


# -- signals --------------------------------------------------------------------------------------------------------

Subject = tuple[str, bytes, str]  # type and digest of an identifier, and a purpose


@dataclass(frozen=True, slots=True)
class LastWord:
    state: str
    occurred_at: datetime
    expires_at: datetime | None
    is_verified: bool


def purposes_by_signal(workspace_id: int) -> Mapping[tuple[str, str], frozenset[Purpose]]:
    """By kind and category. In the scope of the workspace."""
    found: dict[tuple[str, str], set[Purpose]] = {}
    rows = SignalMapping.objects.filter(workspace_id=workspace_id).order_by("kind", "category", "purpose")
    for kind, category, purpose in rows.values_list("kind", "category", "purpose"):
        found.setdefault((kind, category), set()).add(Purpose(purpose))
    return {signal: frozenset(purposes) for signal, purposes in found.items()}


_LAST_WORDS = """
SELECT asked.type, asked.digest, asked.purpose, r.state, r.occurred_at, r.expires_at, r.is_verified
FROM unnest(%s::text[], %s::bytea[], %s::text[]) AS asked (type, digest, purpose)
CROSS JOIN LATERAL (
    SELECT state, occurred_at, expires_at, is_verified FROM consent_record
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

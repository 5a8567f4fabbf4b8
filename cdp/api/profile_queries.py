"""What the purpose of a permit may see of one person. Somebody who does not permit it is not there at all."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection

from cdp.api.identifiers import PROFILE_TYPE
from cdp.kernel.arrays import bigints
from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from consent.gate import Permit
from identity.survival import Candidate, Order
from segments import computed

JSONB: Final = 3802  # Django leaves the reading of jsonb to its fields; here there are none

_ID: Final = re.compile("[0-9]{1,18}")  # a bigint holds as much

AnyPermit = Permit[Purpose]

_BY_IDENTIFIER = "SELECT profile_id FROM identifier WHERE workspace_id = %s AND type = %s AND value = %s"
_ITSELF = "SELECT id FROM identifier WHERE workspace_id = %s AND type = %s AND value = %s"
_BY_ID = "SELECT profile_id FROM identifier WHERE workspace_id = %s AND id = %s"

_PROFILE = "SELECT id, created_at FROM profile WHERE id = %s"

_TRAITS = """
SELECT t.name, t.value, s.name AS source, t.observed_at, t.confidence, t.rule, t.identifier_id,
       i.type || ':' || i.value AS identifier
FROM trait t LEFT JOIN source s ON s.id = t.source_id LEFT JOIN identifier i ON i.id = t.identifier_id
WHERE t.profile_id = %s ORDER BY t.name
"""

# By key: the condition reaches the index through the view of the purpose.
_CANDIDATES = """
SELECT t.name, t.value, t.source_id, s.name AS source, s.trust, s.kind = 'STEWARD' AS is_said, t.identifier_id,
       t.observed_at, t.confidence
FROM identifier_trait t JOIN source s ON s.id = t.source_id WHERE t.identifier_id = ANY(%s::bigint[])
"""
_TRUSTED = "SELECT trait, sources FROM survivorship_rule"

_IDENTIFIERS = """
SELECT id, type, value, created_at FROM identifier WHERE profile_id = %s ORDER BY id
"""

_EVENTS = """
SELECT e.id, e.message_id, e.kind, e.name, e.occurred_at, e.received_at, s.name AS source, e.identifier_id,
       e.properties
FROM event e LEFT JOIN source s ON s.id = e.source_id
WHERE e.identifier_id = ANY(%s) AND (%s::timestamptz IS NULL OR (e.occurred_at, e.id) < (%s, %s))
ORDER BY e.occurred_at DESC, e.id DESC LIMIT %s
"""

# Segmentation keeps the memberships of people it may not see: hence the join to the profile.
_MEMBERSHIPS = """
SELECT s.slug, s.name, v.number AS version, m.entered_at, m.entered_cause, m.left_at, NULLIF(m.left_cause, '') AS left_cause
FROM membership m JOIN profile p ON p.id = m.profile_id JOIN segment s ON s.id = m.segment_id
JOIN segment_version v ON v.id = m.version_id
WHERE m.profile_id = %s AND (m.left_at IS NULL OR %s) ORDER BY m.entered_at DESC, m.id DESC
"""

_MEMBERS = """
SELECT m.profile_id AS profile, m.entered_at, m.entered_cause
FROM membership m JOIN profile p ON p.id = m.profile_id
WHERE m.segment_id = %s AND m.left_at IS NULL AND m.profile_id > %s ORDER BY m.profile_id LIMIT %s
"""

_VISIBLE = "SELECT id FROM profile WHERE id = ANY(%s) ORDER BY id"

_NAMES = "SELECT id, type || ':' || value FROM identifier WHERE id = ANY(%s)"

_JUDGEMENTS = """
SELECT j.id, j.verdict, j.kind, j.weight, j.evidence, j.left_id, j.right_id, j.retracts_id AS retracts, j.created_at,
       m.version AS model
FROM judgement j LEFT JOIN linkage_model m ON m.id = j.model_id
WHERE j.workspace_id = %s AND (j.left_id = ANY(%s) OR j.right_id = ANY(%s)) ORDER BY j.id DESC
"""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EventPlace:
    occurred_at: datetime
    id: int


def profile_id_of(permit: AnyPermit, identifier: Identifier) -> int | None:
    """The person who has the identifier now; None for somebody unknown and for somebody hidden alike."""
    if identifier.type == PROFILE_TYPE:
        if not _ID.fullmatch(identifier.value):
            return None
        found = _rows(_BY_ID, [permit.workspace_id, identifier.value])
    else:
        found = _rows(_BY_IDENTIFIER, [permit.workspace_id, identifier.type, identifier.value])
    return int(found[0]["profile_id"]) if found else None


def founder_of(permit: AnyPermit, identifier: Identifier) -> int | None:
    """The identifier itself, whoever has it now; None where a profile was named, which is its oldest identifier."""
    found = _rows(_ITSELF, [permit.workspace_id, identifier.type, identifier.value])
    return int(found[0]["id"]) if found else None


def profile(permit: AnyPermit, profile_id: int) -> Row:
    (found,) = _rows(_PROFILE, [profile_id])
    return {
        **found,
        "traits": {row["name"]: row["value"] for row in traits(permit, profile_id)},
        "segments": [row["slug"] for row in memberships(permit, profile_id, with_past=False)],
    }


def traits(_: AnyPermit, profile_id: int) -> list[Row]:
    return _rows(_TRAITS, [profile_id])


def computed_traits(permit: AnyPermit, profile_id: int, *, now: datetime) -> list[Row]:
    """Measured now, of the events that the purpose may see. No source said them."""
    values = computed.values_of(permit, [profile_id], now=now)[profile_id]
    said = {
        "source": "",
        "identifier": None,
        "observed_at": now,
        "confidence": 1.0,
        "rule": "computed",
        "computed": True,
    }
    return [{"name": name, "value": value, **said} for name, value in values.items()]


def traits_with_candidates(permit: AnyPermit, profile_id: int) -> list[Row]:
    """As `traits`, each with all values that were candidates for it, the chosen one first, and what the others lacked."""
    names = {row["id"]: f"{row['type']}:{row['value']}" for row in identifiers(permit, profile_id)}
    candidates = defaultdict(list)
    for row in _rows(_CANDIDATES, [bigints(names)]):
        candidates[row.pop("name")].append(Candidate(**row))
    trusted = {row["trait"]: row["sources"] for row in _rows(_TRUSTED, [])}
    return [
        {**trait, "candidates": _ranked(trait, candidates[trait["name"]], trusted, names)}
        for trait in traits(permit, profile_id)
    ]


def _ranked(
    trait: Row, candidates: Sequence[Candidate], trusted: Mapping[str, Sequence[str]], names: Mapping[int, str]
) -> list[Row]:
    order = Order.among(candidates, trait["rule"], trusted.get(trait["name"], ()))
    ranked = order.sorted(candidates)
    return [
        {**asdict(one), "identifier": names[one.identifier_id], "lost_by": order.lost_by(one, ranked[0]) or None}
        for one in ranked
    ]


def identifiers(_: AnyPermit, profile_id: int) -> list[Row]:
    return _rows(_IDENTIFIERS, [profile_id])


def events(permit: AnyPermit, profile_id: int, *, after: EventPlace | None, limit: int) -> list[Row]:
    """Newest first."""
    ids = [row["id"] for row in identifiers(permit, profile_id)]
    place = (after.occurred_at, after.occurred_at, after.id) if after else (None, None, None)
    return _rows(_EVENTS, [ids, *place, limit])


def memberships(_: AnyPermit, profile_id: int, *, with_past: bool) -> list[Row]:
    return _rows(_MEMBERSHIPS, [profile_id, with_past])


def members_of(_: AnyPermit, segment_id: int, *, after: int, limit: int) -> list[Row]:
    """In order of id, after the profile `after`."""
    return _rows(_MEMBERS, [segment_id, after, limit])


def visible(_: AnyPermit, profile_ids: Sequence[int]) -> list[int]:
    return [row["id"] for row in _rows(_VISIBLE, [list(profile_ids)])]


def names(_: AnyPermit, identifier_ids: Sequence[int]) -> dict[int, str]:
    """`TYPE:VALUE` of those identifiers whose people permit the purpose."""
    with connection.cursor() as cursor:
        cursor.execute(_NAMES, [list(identifier_ids)])
        return dict(cursor.fetchall())


def judgements_about(*, workspace_id: int, identifier_ids: Sequence[int]) -> list[Row]:
    """In the scope of a workspace: no purpose reads the ledger of judgements but identity, which the API has not."""
    return _rows(_JUDGEMENTS, [workspace_id, list(identifier_ids), list(identifier_ids)])


def _rows(query: str, parameters: Sequence[Any]) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        columns = [(column.name, column.type_code == JSONB) for column in cursor.description]
        return [
            {name: json.loads(value) if is_json else value for (name, is_json), value in zip(columns, row, strict=True)}
            for row in cursor.fetchall()
        ]

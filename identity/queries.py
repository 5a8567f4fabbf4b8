"""What the resolver needs to know of a workspace: its rules, and the part of the ledger around some identifiers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet

from cdp.models import Source
from identity import resolver
from identity.models import IdentityRules, Judgement
from identity.resolver import Kind

# Values that a form, a script or a test leaves behind: nobody's, and everybody's.
BLOCKED_VALUES = frozenset(
    {"", "0", "00000000-0000-0000-0000-000000000000", "-1", "anonymous", "guest", "n/a", "na", "nil", "none", "null"}
    | {"test", "undefined", "unknown", "user", "none@none.com", "test@test.com", "noreply@example.com"}
)


@dataclass(frozen=True, slots=True)
class Rules:
    limits: Mapping[str, int]
    blocked_values: frozenset[str]


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Everything that the people of some identifiers rest on. `types` and `profiles` are keyed by identifier."""

    types: dict[int, str] = field(default_factory=dict)
    profiles: dict[int, int] = field(default_factory=dict)
    judgements: set[resolver.Judgement] = field(default_factory=set)


def rules_of(workspace_id: int) -> Rules:
    """The defaults, what the sources say of their people, and over both what the workspace has laid down."""
    unique = Source.objects.filter(workspace_id=workspace_id, has_unique_people=True).values_list("name", flat=True)
    own = IdentityRules.objects.filter(workspace_id=workspace_id).first()
    return Rules(
        limits={
            **resolver.DEFAULT_LIMITS,
            **{f"{name}:id": 1 for name in unique},
            **(own.limits if own else {}),
        },
        blocked_values=BLOCKED_VALUES | {value.lower() for value in (own.blocked_values if own else ())},
    )


def current_judgements() -> QuerySet[Judgement]:
    """Those that nobody retracted."""
    retraction = Judgement.objects.filter(retracts=OuterRef("pk"))
    return Judgement.objects.filter(~Exists(retraction), retracts=None)


_MEMBERS = """
SELECT id, type, profile_id FROM identifier
WHERE id = ANY(%(ids)s) OR profile_id = ANY(ARRAY(SELECT profile_id FROM identifier WHERE id = ANY(%(ids)s)))
"""

# Through the gate on both ends: a judgement on somebody who objects to being recognised is not even read.
_JUDGEMENTS = """
WITH touching AS (
    SELECT * FROM judgement WHERE left_id = ANY(%(ids)s)
    UNION
    SELECT * FROM judgement WHERE right_id = ANY(%(ids)s)
)
SELECT j.left_id, j.right_id, j.verdict = 'SAME', j.kind, j.weight, l.type, r.type
FROM touching j JOIN identifier l ON l.id = j.left_id JOIN identifier r ON r.id = j.right_id
WHERE j.retracts_id IS NULL AND NOT EXISTS (SELECT 1 FROM judgement later WHERE later.retracts_id = j.id)
  AND (j.kind <> 'DETERMINISTIC' OR NOT (lower(l.value) = ANY(%(blocked)s) OR lower(r.value) = ANY(%(blocked)s)))
"""


def neighbourhood_of(identifier_ids: Iterable[int], rules: Rules) -> Neighbourhood:
    """Follow positive judgements and present profiles from these identifiers until nothing new comes.

    A shared identifier is not passed through: behind a company's mailbox stand thousands of people.
    """
    found = Neighbourhood()
    known_types: dict[int, str] = {}
    frontier = set(identifier_ids)
    with connection.cursor() as cursor:
        while frontier:
            cursor.execute(_MEMBERS, {"ids": list(frontier)})
            fresh = {one: (kind, profile) for one, kind, profile in cursor.fetchall() if one not in found.types}
            if not fresh:
                break
            found.types.update({one: kind for one, (kind, _) in fresh.items()})
            found.profiles.update({one: profile for one, (_, profile) in fresh.items()})
            cursor.execute(_JUDGEMENTS, {"ids": list(fresh), "blocked": list(rules.blocked_values)})
            heard = set()
            for left, right, is_same, kind, weight, left_type, right_type in cursor.fetchall():
                heard.add(resolver.Judgement(left, right, is_same, Kind(kind), weight))
                known_types[left], known_types[right] = left_type, right_type
            found.judgements.update(heard)
            frontier = _reached(fresh, heard, known_types, rules) - found.types.keys()
    return found


def _reached(
    fresh: Iterable[int], heard: Iterable[resolver.Judgement], types: Mapping[int, str], rules: Rules
) -> set[int]:
    """The other ends of what the fresh identifiers hold on to. All their judgements were heard, so it is known here
    which of them are shared.
    """
    prevailing = resolver.prevailing(heard)
    shared = resolver.shared_identifiers(types, prevailing, rules.limits).intersection(fresh)
    live = [one for one in prevailing if one.is_same and not resolver.is_void(one, shared)]
    return {end for one in live for end in (one.left, one.right)}

"""What the resolver needs to know of a workspace: its rules, and the part of the ledger around some identifiers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import Exists, OuterRef, QuerySet

from cdp.kernel.arrays import bigints, texts
from cdp.models import Source
from identity import resolver
from identity.models import IdentityRules, Judgement
from identity.resolver import Kind
from identity.windows import Window

# Values that a form, a script or a test leaves behind: nobody's, and everybody's.
BLOCKED_VALUES: Final = frozenset((
    "", "-1", "0", "00000000-0000-0000-0000-000000000000", "anonymous", "guest", "n/a", "na", "nil", "none",
    "none@none.com", "noreply@example.com", "null", "test", "test@test.com", "undefined", "unknown", "user",
))  # fmt: skip
# Mailboxes of an office and not of a person, in English and French: before the @, and before a +.
ROLE_ADDRESSES: Final = frozenset((
    "abuse", "accounting", "accounts", "accueil", "admin", "administrateur", "administration", "administrator",
    "billing", "booking", "careers", "commande", "commandes", "commercial", "compta", "comptabilite", "contact",
    "contacts", "direction", "do-not-reply", "donotreply", "dpo", "enquiries", "facturation", "factures", "gdpr",
    "help", "helpdesk", "hostmaster", "hr", "info", "information", "informations", "infos", "inquiries", "invoice",
    "invoices", "jobs", "legal", "mailer-daemon", "mairie", "marketing", "ne-pas-repondre", "nepasrepondre",
    "newsletter", "no-reply", "noreply", "office", "order", "orders", "postmaster", "press", "presse", "privacy",
    "reception", "recrutement", "relation-client", "relations-clients", "reservation", "reservations", "rgpd", "rh",
    "root", "sales", "sav", "secretariat", "security", "service", "service-client", "service-clients",
    "serviceclient", "serviceclients", "support", "vente", "ventes", "webmaster",
))  # fmt: skip

# Of an identifier in SQL. A pattern is written for `type:value`, and looks no further than any honest value reaches.
IS_BLOCKED = """(
    lower(value) = ANY(%(blocked)s::text[])
    OR type = 'email' AND split_part(split_part(lower(value), '@', 1), '+', 1) = ANY(%(roles)s::text[])
    OR left(lower(type || ':' || value), 400) ~ ANY(%(patterns)s::text[])
)"""


@dataclass(frozen=True, slots=True)
class Rules:
    """`priority` names types, the most trusted first: where a limit is hit, what hangs on the others is let go."""

    limits: Mapping[str, int]
    blocked_values: frozenset[str]
    blocked_patterns: tuple[str, ...] = ()
    role_addresses: frozenset[str] = frozenset()
    priority: tuple[str, ...] = ()
    windows: Mapping[str, Window] = field(default_factory=dict)

    @property
    def blocking(self) -> dict[str, str]:
        """The parameters of `IS_BLOCKED`."""
        return {
            "blocked": _array(self.blocked_values),
            "roles": _array(self.role_addresses),
            "patterns": texts(self.blocked_patterns),
        }


@lru_cache(maxsize=64)
def _array(words: frozenset[str]) -> str:
    """Some hundred words that are sent with each arrival, and of a workspace are the same for long."""
    return texts(sorted(words))


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Everything that the people of some identifiers rest on. `types`, `profiles` and `ends` are keyed by identifier.

    `ends` are the types of all whom the judgements name: also of those who were seen with a shared identifier and are
    not followed. Without them it would not look shared.
    """

    types: dict[int, str] = field(default_factory=dict)
    ends: dict[int, str] = field(default_factory=dict)
    profiles: dict[int, int] = field(default_factory=dict)
    judgements: set[resolver.Judgement] = field(default_factory=set)


def rules_of(workspace_id: int) -> Rules:
    """The defaults, what the sources say of their people, and over both what the workspace has laid down."""
    own = IdentityRules.objects.filter(workspace_id=workspace_id).first()
    return rules_under(own or IdentityRules(workspace_id=workspace_id))


def rules_under(own: IdentityRules, *, unique_sources: Iterable[str] | None = None) -> Rules:
    """As `rules_of`, of a row that need not be saved. Who knows the sources with unique people may name them."""
    if unique_sources is None:
        unique = Source.objects.filter(workspace_id=own.workspace_id, has_unique_people=True)
        unique_sources = unique.values_list("name", flat=True)
    return Rules(
        limits={
            **resolver.DEFAULT_LIMITS,
            resolver.SHARED_AFTER: own.shared_after,
            **{f"{name}:id": 1 for name in unique_sources},
            **own.limits,
        },
        blocked_values=BLOCKED_VALUES | {value.lower() for value in own.blocked_values},
        blocked_patterns=tuple(own.blocked_patterns),
        role_addresses=ROLE_ADDRESSES if own.has_role_addresses_blocked else frozenset(),
        priority=tuple(own.priority),
        windows={kind: Window(**window) for kind, window in own.windows.items()},
    )


def current_judgements() -> QuerySet[Judgement]:
    """Those that nobody retracted."""
    retraction = Judgement.objects.filter(retracts=OuterRef("pk"))
    return Judgement.objects.filter(~Exists(retraction), retracts=None)


_MEMBERS = """
SELECT id, type, profile_id FROM identifier
WHERE id = ANY(%(ids)s::bigint[])
   OR profile_id = ANY(ARRAY(SELECT profile_id FROM identifier WHERE id = ANY(%(ids)s::bigint[])))
"""

# The judgements, then their ends, which have no other end. Through the gate, by key and not by a join to the judgements:
# conditions reach an index through the view of a purpose, joins do not, and would read every identifier of the workspace.
_HEARD = f"""
WITH touching AS (
    SELECT id, left_id, right_id, verdict, kind, weight, retracts_id, created_at
    FROM judgement WHERE left_id = ANY(%(ids)s::bigint[])
    UNION
    SELECT id, left_id, right_id, verdict, kind, weight, retracts_id, created_at
    FROM judgement WHERE right_id = ANY(%(ids)s::bigint[])
),
standing AS MATERIALIZED (
    SELECT j.left_id, j.right_id, j.verdict, j.kind, j.weight FROM touching j
    WHERE j.retracts_id IS NULL {{written}}
      AND NOT EXISTS (SELECT 1 FROM judgement later WHERE later.retracts_id = j.id {{retracted}})
)
SELECT left_id, right_id, verdict = 'SAME', kind, weight FROM standing
UNION ALL
SELECT id, NULL, {IS_BLOCKED}, type, NULL FROM identifier
WHERE id = ANY(ARRAY(SELECT left_id FROM standing UNION SELECT right_id FROM standing)) {{come}}
"""  # noqa: S608  # our own constant
_HEARD_NOW = _HEARD.format(written="", retracted="", come="")
_HEARD_AT = _HEARD.format(
    written="AND j.created_at <= %(at)s", retracted="AND later.created_at <= %(at)s", come="AND created_at <= %(at)s"
)


def neighbourhood_of(identifier_ids: Iterable[int], rules: Rules) -> Neighbourhood:
    """Follow positive judgements and present profiles from these identifiers until nothing new comes.

    A shared identifier is not passed through: behind a company's mailbox stand thousands of people.
    """
    found = Neighbourhood()
    frontier = set(identifier_ids)
    with connection.cursor() as cursor:
        while frontier:
            cursor.execute(_MEMBERS, {"ids": bigints(frontier)})
            fresh = {one: (kind, profile) for one, kind, profile in cursor.fetchall() if one not in found.types}
            if not fresh:
                break
            found.types.update({one: kind for one, (kind, _) in fresh.items()})
            found.profiles.update({one: profile for one, (_, profile) in fresh.items()})
            heard, types = heard_of(cursor, fresh, rules)
            found.ends.update(types)
            found.judgements.update(heard)
            frontier = reached(fresh, heard, found.ends, rules) - found.types.keys()
    return found


def heard_of(
    cursor: CursorWrapper, identifiers: Iterable[int], rules: Rules, *, at: datetime | None = None
) -> tuple[set[resolver.Judgement], dict[int, str]]:
    """The judgements on these identifiers that count, and the types of their ends; with `at`, those of that day.

    Through the gate on both ends: a judgement on somebody who objects to being recognised is not heard.
    """
    cursor.execute(_HEARD_AT if at else _HEARD_NOW, {"ids": bigints(identifiers), "at": at, **rules.blocking})
    rows = cursor.fetchall()
    types = {one: kind for one, other, _, kind, _ in rows if other is None}
    blocked = {one for one, other, is_blocked, *_ in rows if other is None and is_blocked}
    heard = {
        resolver.Judgement(left, right, is_same, Kind(kind), weight)
        for left, right, is_same, kind, weight in rows
        if left in types and right in types and (kind != Kind.DETERMINISTIC or not blocked.intersection((left, right)))
    }
    return heard, types


def reached(
    fresh: Iterable[int], heard: Iterable[resolver.Judgement], types: Mapping[int, str], rules: Rules
) -> set[int]:
    """The other ends of what the fresh identifiers hold on to. All their judgements were heard, so it is known here
    which of them are shared.
    """
    prevailing = resolver.prevailing(heard)
    shared = resolver.shared_identifiers(types, prevailing, rules.limits).intersection(fresh)
    live = [one for one in prevailing if one.is_same and not resolver.is_void(one, shared)]
    return {end for one in live for end in (one.left, one.right)}

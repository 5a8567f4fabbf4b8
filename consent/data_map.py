"""Which purpose sees which tables and columns: read from the views that enforce it, so it cannot say anything else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from consent.catalogue import READERS
from consent.pg_catalogue import PURPOSE_ROLES, rows

# What the tables hold, in the words of a record of processing activities.
CATEGORIES: Final[Mapping[str, Promise | str]] = {
    "announcement": _("ids of rows at other systems"),
    "audience_member": _("digests of identifiers that were sent to destinations"),
    "blocking_key": _("keyed hashes of what people are recognised by"),
    "breach_evidence": _("ids of people whom a breach affected"),
    "confirmation": _("who was asked to confirm a consent, and did"),
    "consent_record": _("what people permitted and refused"),
    "data_request": _("what people asked for under the GDPR"),
    "data_request_step": _("what was done about their requests"),
    "request_work": _("how their requests were carried out"),
    "erasure_subject": _("who was erased, until the destinations have answered"),
    "event": _("behaviour: what people did, when and where"),
    "identifier": _("identifiers: e-mail addresses, telephone numbers, ids of systems and devices"),
    "identifier_trait": _("attributes as sources and providers told them: names, addresses, interests"),
    "identity_doubt": _("why it was doubted who asks"),
    "inbox": _("calls as they arrived"),
    "judgement": _("which identifiers belong to one person"),
    "membership": _("segments that people are or were in"),
    "membership_change": _("who entered and left segments, until it was told to others"),
    "message": _("keys of events"),
    "permission_change": _("what people permitted before, until it was told to others"),
    "profile": _("people as ids"),
    "quarantine": _("calls and rows that were refused"),
    "quarantine_order": _("what was ordered for refused calls and rows"),
    "quarantine_reading": _("how refused calls and rows were to be read"),
    "record": _("rows of source systems as they came"),
    "refusal": _("why two identifiers are not one person"),
    "relation": _("households and organisations that people belong to, as digests"),
    "restriction": _("digests of people who are restricted or object"),
    "review_pair": _("pairs of identifiers that may be one person"),
    "review_verdict": _("what stewards said of pairs of identifiers"),
    "score": _("groups and scores that were learned"),
    "segment_list_entry": _("lists that people were put on by hand"),
    "sighting": _("which identifiers were seen together"),
    "source_notice": _("who was told of data from a provider"),
    "suppression": _("digests of people who must not be stored"),
    "trait": _("attributes of people: names, addresses, interests"),
}
# Views that have no table by their name: what one recipient is told, and so asked for by recipient; and who is on lists.
TOLD: Final[Mapping[str, Promise | str]] = {
    "list_entry": _("lists that people were put on by hand"),
    "candidate": _("identifiers of members of audiences, as far as they permit the recipient"),
    "reachable": _("types of identifiers that people have, as far as they permit a recipient"),
    "known_trait": _("names of traits, and of what kinds their values are"),
    "known_property": _("names of events and of their properties, and of what kinds their values are"),
    "question": _("identifiers that a provider may be asked about"),
}


@dataclass(frozen=True, slots=True)
class Use:
    """`gated`: through a view of the purpose, which shows who permits it. Else directly, for the reason given."""

    purpose: str
    table: str
    category: str
    columns: tuple[str, ...]
    is_gated: bool
    reason: str


_VIEWS = """
SELECT n.nspname, c.relname, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'v' AND n.nspname = ANY(%s) GROUP BY 1, 2
"""
_READABLE = """
SELECT a.attname::text FROM pg_attribute a
WHERE a.attrelid = to_regclass('core.' || %(table)s) AND a.attnum > 0 AND NOT a.attisdropped
AND has_column_privilege(%(role)s, a.attrelid, a.attnum, 'SELECT') ORDER BY a.attnum
"""


def uses() -> list[Use]:
    """Every table that a purpose reads of people, in order of purpose and table."""
    return sorted([*_through_views(), *_directly()], key=lambda use: (PURPOSE_ROLES.index(use.purpose), use.table))


def _through_views() -> list[Use]:
    return [
        Use(purpose, view, str(TOLD.get(view) or CATEGORIES[view]), tuple(columns), is_gated=True, reason="")
        for purpose, view, columns in rows(_VIEWS, [list(PURPOSE_ROLES)])
    ]


def _directly() -> list[Use]:
    return [
        Use(str(role), table, str(CATEGORIES[table]), _readable(str(role), table), is_gated=False, reason=reason)
        for (role, table), reason in READERS.items()
        if role in PURPOSE_ROLES
    ]


def _readable(role: str, table: str) -> tuple[str, ...]:
    return tuple(name for (name,) in rows(_READABLE, {"role": role, "table": table}))

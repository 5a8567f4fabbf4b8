"""What is held about a person, table by table: the registry that answers to access and portability are made of.

Every table with personal data (`consent.catalogue.PERSONAL_TABLES`) is read by a section or is withheld for a reason;
a test fails for a table that is neither. A query is given the identifiers, profiles and digests of one person, and
shows nothing of anybody else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Origin(StrEnum):
    """Where data come from. What was provided and observed is portable; the rest belongs to access alone."""

    PROVIDED = "provided"
    OBSERVED = "observed"
    DERIVED = "derived"
    OBTAINED = "obtained"  # from somebody else
    PROCESSING = "processing"  # about what was done with the data


PORTABLE: Final = frozenset({Origin.PROVIDED, Origin.OBSERVED})


@dataclass(frozen=True, slots=True)
class Section:
    """One file of the package in each format. `query` takes the names identifiers, profiles, digests, named and workspace."""

    name: str
    table: str
    origin: Origin
    query: str


IDENTIFIERS = """
SELECT i.type, i.value, i.profile_id AS person, i.created_at AS known_since FROM core.identifier i
WHERE i.id = ANY(%(identifiers)s) ORDER BY i.id
"""
RECORDS = """
SELECT s.name AS source, r.key, r.fields, r.loaded_at, r.deleted_at
FROM core.record r JOIN core.source s ON s.id = r.source_id WHERE r.identifier_id = ANY(%(identifiers)s) ORDER BY r.id
"""
OBSERVED_VALUES = """
SELECT i.type || ':' || i.value AS identifier, t.name, t.value, s.name AS source, t.observed_at, t.confidence
FROM core.identifier_trait t JOIN core.identifier i ON i.id = t.identifier_id JOIN core.source s ON s.id = t.source_id
WHERE t.identifier_id = ANY(%(identifiers)s) AND s.kind <> 'ENRICHMENT' ORDER BY t.id
"""
ENRICHED_VALUES = """
SELECT i.type || ':' || i.value AS identifier, t.name, t.value, s.name AS provider, t.observed_at, t.confidence
FROM core.identifier_trait t JOIN core.identifier i ON i.id = t.identifier_id JOIN core.source s ON s.id = t.source_id
WHERE t.identifier_id = ANY(%(identifiers)s) AND s.kind = 'ENRICHMENT' ORDER BY t.id
"""
LOOKUPS = """
SELECT s.name AS provider, l.provider_version, i.type AS asked_with, l.is_found, l.looked_up_at
FROM core.lookup l JOIN core.identifier i ON i.id = l.identifier_id JOIN core.source s ON s.id = l.source_id
WHERE l.identifier_id = ANY(%(identifiers)s) ORDER BY l.id
"""
EVENTS = """
SELECT e.occurred_at, e.kind, e.name, e.properties, e.context, s.name AS source, i.type || ':' || i.value AS identifier,
       e.original_at, e.sent_at, e.received_at
FROM core.event e JOIN core.identifier i ON i.id = e.identifier_id JOIN core.source s ON s.id = e.source_id
WHERE e.identifier_id = ANY(%(identifiers)s) ORDER BY e.occurred_at, e.id
"""
# Who else used the same device is somebody else's: both ends must be the person's.
SIGHTINGS = """
SELECT l.type || ':' || l.value AS one, r.type || ':' || r.value AS other, s.name AS source, x.seen_at
FROM core.sighting x JOIN core.identifier l ON l.id = x.left_id JOIN core.identifier r ON r.id = x.right_id
JOIN core.source s ON s.id = x.source_id
WHERE x.left_id = ANY(%(identifiers)s) AND x.right_id = ANY(%(identifiers)s) ORDER BY x.seen_at, x.id
"""
LINKS = """
SELECT l.type || ':' || l.value AS one, r.type || ':' || r.value AS other, j.verdict, j.kind AS why, j.weight,
       j.evidence, j.retracts_id IS NOT NULL AS is_retraction, j.created_at
FROM core.judgement j JOIN core.identifier l ON l.id = j.left_id JOIN core.identifier r ON r.id = j.right_id
WHERE j.left_id = ANY(%(identifiers)s) AND j.right_id = ANY(%(identifiers)s) ORDER BY j.id
"""
PAIRS = """
SELECT p.weight, p.evidence, p.created_at, p.judgement_id IS NOT NULL AS is_judged FROM core.review_pair p
WHERE p.left_id = ANY(%(identifiers)s) AND p.right_id = ANY(%(identifiers)s) ORDER BY p.id
"""
PROFILES = """
SELECT p.id AS person, p.merged_into_id AS merged_into, p.created_at FROM core.profile p
WHERE p.id = ANY(%(profiles)s) OR p.merged_into_id = ANY(%(profiles)s) ORDER BY p.id
"""
TRAITS = """
SELECT t.name, t.value, s.name AS source, t.observed_at, t.confidence, t.rule AS why_chosen
FROM core.trait t JOIN core.source s ON s.id = t.source_id WHERE t.profile_id = ANY(%(profiles)s) ORDER BY t.name
"""
# Who else belongs to it is somebody else's.
RELATIONS = """
SELECT r.kind, r.rule AS why, r.confidence, r.shared, r.since, r.until FROM core.relation r
WHERE r.profile_id = ANY(%(profiles)s) ORDER BY r.since, r.id
"""
MEMBERSHIPS = """
SELECT g.slug AS segment, g.name, g.description, m.entered_at, m.entered_cause, m.left_at, m.left_cause
FROM core.membership m JOIN core.segment g ON g.id = m.segment_id
WHERE m.profile_id = ANY(%(profiles)s) ORDER BY m.entered_at, m.id
"""
SCORES = """
SELECT x.model_slug AS model, x."group", x.computed_at FROM core.score x
WHERE x.profile_id = ANY(%(profiles)s) ORDER BY x.model_slug, x.id
"""
LISTS = """
SELECT l.slug AS list, l.name, e.reason, e.added_at, e.removed_at
FROM core.segment_list_entry e JOIN core.segment_list l ON l.id = e.list_id
WHERE e.identifier_id = ANY(%(identifiers)s) ORDER BY e.added_at, e.id
"""
RECIPIENTS = """
SELECT d.slug AS recipient, d.kind, g.name AS audience, m.identifier_type, m.key AS sent_as, m.state, m.changed_at
FROM core.audience_member m JOIN core.audience a ON a.id = m.audience_id
JOIN core.destination d ON d.id = a.destination_id JOIN core.segment g ON g.id = a.segment_id
WHERE m.profile_id = ANY(%(profiles)s) ORDER BY d.slug, m.id
"""
CONSENTS = """
SELECT c.occurred_at, c.purpose, c.recipient, c.state, c.identifier_type, c.is_verified, c.expires_at, c.jurisdiction,
       s.name AS source,
       n.key || ' ' || n.version || ' ' || n.locale AS notice, n.text AS notice_text, c.recorded_at
FROM core.consent_record c LEFT JOIN core.source s ON s.id = c.source_id LEFT JOIN core.notice n ON n.id = c.notice_id
WHERE c.workspace_id = %(workspace)s AND c.identifier_digest = ANY(%(digests)s) ORDER BY c.occurred_at, c.id
"""
RESTRICTIONS = """
SELECT r.kind, (
           SELECT string_agg(u.purpose, ' ' ORDER BY u.bit) FROM core.purpose u
           WHERE u.workspace_id = r.workspace_id AND u.bit & r.denies <> 0
       ) AS purposes, r.identifier_type, r.created_at, r.lifted_at
FROM core.restriction r
WHERE r.workspace_id = %(workspace)s AND r.identifier_digest = ANY(%(digests)s) ORDER BY r.created_at, r.id
"""
PURPOSES = "SELECT purpose, legal_basis, description FROM core.purpose WHERE workspace_id = %(workspace)s ORDER BY bit"
REQUESTS = """
SELECT q.id AS number, q.kind, q.state, q.received_at, q.due_at, q.verification, q.extension_reason, q.refusal_reason,
       q.closed_at
FROM core.data_request q WHERE q.workspace_id = %(workspace)s AND q.digests && %(digests)s ORDER BY q.id
"""

# As an erasure finds it: by the addresses, keys and telephone numbers that are the person's.
REFUSED = """
SELECT q.received_at, s.name AS source, q.place, q.code AS why_refused, q.raw AS as_it_came, q.replayed_at
FROM core.quarantine q JOIN core.source s ON s.id = q.source_id, (
    SELECT core.pattern_of_names(array_agg(value)) AS names, core.pattern_of_telephones(array_agg(value)) AS telephones
    FROM (SELECT value FROM core.identifier WHERE id = ANY(%(identifiers)s) UNION SELECT unnest(%(named)s::text[])) AS known
) AS person
WHERE q.workspace_id = %(workspace)s AND (q.raw ~* person.names OR q.raw ~ person.telephones) ORDER BY q.id
"""

SECTIONS: Final = (
    Section("identifiers", "identifier", Origin.PROVIDED, IDENTIFIERS),
    Section("records", "record", Origin.PROVIDED, RECORDS),
    Section("values", "identifier_trait", Origin.PROVIDED, OBSERVED_VALUES),
    Section("consents", "consent_record", Origin.PROVIDED, CONSENTS),
    Section("events", "event", Origin.OBSERVED, EVENTS),
    Section("sightings", "sighting", Origin.OBSERVED, SIGHTINGS),
    Section("enriched_values", "identifier_trait", Origin.OBTAINED, ENRICHED_VALUES),
    Section("lookups", "lookup", Origin.OBTAINED, LOOKUPS),
    Section("links", "judgement", Origin.DERIVED, LINKS),
    Section("pairs", "review_pair", Origin.DERIVED, PAIRS),
    Section("profiles", "profile", Origin.DERIVED, PROFILES),
    Section("traits", "trait", Origin.DERIVED, TRAITS),
    Section("relations", "relation", Origin.DERIVED, RELATIONS),
    Section("segments", "membership", Origin.DERIVED, MEMBERSHIPS),
    Section("scores", "score", Origin.DERIVED, SCORES),
    Section("lists", "segment_list_entry", Origin.PROCESSING, LISTS),
    Section("restrictions", "restriction", Origin.PROCESSING, RESTRICTIONS),
    Section("recipients", "audience_member", Origin.PROCESSING, RECIPIENTS),
    Section("purposes", "purpose", Origin.PROCESSING, PURPOSES),
    Section("refused", "quarantine", Origin.PROCESSING, REFUSED),
    Section("requests", "data_request", Origin.PROCESSING, REQUESTS),
)

WITHHELD: Final[Mapping[str, str]] = MappingProxyType(
    {
        "announcement": "names what another system holds, until it is fetched and becomes a record or an event",
        "blocking_key": "hashes made of `values`, so that records are found that may be the same person",
        "inbox": "holds what arrived for the moment until it becomes an event; a package shows the event",
        "membership_change": "entries and exits of the last weeks, to be told to others; they are in `segments`",
        "permission_change": "what was permitted until a moment ago; what is permitted is in `consents`",
        "message": "digests of messages, so that none is stored twice: nothing that the event does not have",
        "quarantine_order": "what staff ordered for refused items",
        "quarantine_reading": "what refused items came in",
        "data_request_step": "what staff did and noted about a request; its dates and reasons are in `requests`",
        "confirmation": "how a consent was asked for and confirmed; the consent itself is in `consents`",
        "review_verdict": "what a steward said of a pair: the pair is in `pairs`, and the rest is the steward's",
        "refusal": "that two identifiers are not taken for one person: the other one may be somebody else's",
        "suppression": "of somebody who was erased there is nothing to show: digests, without values",
        "request_work": "how a request was carried out; its kind and its end are in `requests`",
        "erasure_subject": "of somebody who was erased, until the destinations have answered",
        "breach_evidence": "who is affected by a breach is told so by itself (Art. 34)",
        "source_notice": "that the person was told of a provider; what came of it is in `enriched_values`",
        "identity_doubt": "why staff doubted who asks; the person was told",
    }
)


def sections_for(*, is_portability: bool) -> tuple[Section, ...]:
    """Portability takes what a person provided and what was observed of them, and nothing that was derived."""
    return tuple(each for each in SECTIONS if not is_portability or each.origin in PORTABLE)

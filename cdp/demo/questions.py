"""What the demo asks of the database for its result, each question under the purpose that may know the answer."""

import json
from typing import Any

from django.db import connection

from cdp.demo.people import Row, number_of
from cdp.kernel.purposes import Purpose
from consent import gate
from consent.gate import Permit
from identity.matching import accuracy


def profile_of(identifier_type: str, value: str, *, workspace_id: int) -> int:
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
        rows = _ask(permit, "SELECT profile_id FROM identifier WHERE type = %s AND value = %s", identifier_type, value)
    return int(rows[0][0])


def people(crm: list[Row], webshop: list[Row], *, workspace_id: int) -> dict[str, Any]:
    """Pairwise precision, recall and F1 over both sources, and what the links rest on."""
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
        rows = _ask(permit, "SELECT value, profile_id FROM identifier WHERE type IN ('crm:id', 'user_id')")
        kinds = dict(_ask(permit, _JUDGEMENTS_BY_KIND))
        ((review,),) = _ask(permit, "SELECT count(*) FROM review_pair WHERE judgement_id IS NULL")
    found = dict(rows)
    truth = {row["rec_id"]: number_of(row) for row in (*crm, *webshop) if row["rec_id"] in found}
    return {
        "records": len(found), "profiles": len(set(found.values())), "truth": len(set(truth.values())),
        "deterministic": kinds.get("DETERMINISTIC", 0), "probabilistic": kinds.get("PROBABILISTIC", 0),
        "review": review, **accuracy.pairwise(found, truth).as_dict(),
    }  # fmt: skip


def enrichment(*, workspace_id: int) -> dict[str, Any]:
    with gate.permit(Purpose.ENRICHMENT, workspace_id=workspace_id) as permit:
        ((lookups,),) = _ask(permit, "SELECT count(*) FROM lookup")
        kinds = _ask(
            permit, "SELECT value #>> '{}', count(*) FROM trait WHERE name = 'phone_type' GROUP BY 1 ORDER BY 1"
        )
    return {"lookups": lookups, "phone_type": dict(kinds)}


def sizes(*, workspace_id: int) -> dict[str, int]:
    """Members by segment."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        return dict(_ask(permit, _SIZES))


def audience(segment: str, *, workspace_id: int) -> dict[str, int]:
    """Of the members of a segment: who may be seen for advertising, who of them can be reached, who was sent."""
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
        ((seen, reached, sent),) = _ask(permit, _AUDIENCE, segment)
    members = sizes(workspace_id=workspace_id).get(segment, 0)
    return {"members": members, "sent": sent, "no_consent": members - seen, "no_email": seen - reached}


def a_present_member(segment: str, *, workspace_id: int) -> str:
    """The user id of one who is on the platform now: the first by profile id."""
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
        return str(_ask(permit, _PRESENT_MEMBER, segment)[0][0])


def a_near_member(event: str, *, workspace_id: int) -> str:
    """The user id of one who bought twice in 90 days, whom one more purchase brings into `frequent`."""
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
        return str(_ask(permit, _NEAR_MEMBER, event)[0][0])


def addresses_of(identifier: str, *, workspace_id: int) -> set[str]:
    """The keys of this person in the ledger of what was sent and is there."""
    kind, _, value = identifier.partition(":")
    profile = profile_of(kind, value, workspace_id=workspace_id)
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
        rows = _ask(permit, "SELECT key FROM audience_member WHERE profile_id = %s AND state = 'PRESENT'", profile)
    return {key for (key,) in rows}


def two_strangers(*, workspace_id: int) -> tuple[int, int]:
    """E-mail addresses (identifier ids) of two different people, both in the audience `lapsed`."""
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
        (left,), (right,) = _ask(permit, _STRANGERS)
    return int(left), int(right)


def picture(identifiers: tuple[int, int], *, workspace_id: int) -> str:
    """Everything that a merge or its undo may change about the people behind these identifiers, as one text."""
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
        members = _ask(permit, _TOGETHER, list(identifiers))
        profiles = sorted({profile for _, profile in members})
        traits = _ask(permit, _TRAITS, profiles)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        memberships = _ask(permit, _MEMBERSHIPS, profiles)
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
        audiences = _ask(permit, _ON_PLATFORMS, profiles)
    return json.dumps([members, traits, memberships, audiences], default=str)


def are_one(identifiers: tuple[int, int], *, workspace_id: int) -> bool:
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
        rows = _ask(permit, "SELECT DISTINCT profile_id FROM identifier WHERE id = ANY(%s)", list(identifiers))
    return len(rows) == 1


def stored(*, workspace_id: int) -> int:
    """How many events there are."""
    with gate.permit(Purpose.ANALYTICS, workspace_id=workspace_id) as permit:
        return int(_ask(permit, "SELECT count(*) FROM event")[0][0])


def pending_members(*, workspace_id: int) -> int:
    """How many audience members wait to be sent."""
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
        return int(_ask(permit, "SELECT count(*) FROM audience_member WHERE state IN ('ADDING', 'REMOVING')")[0][0])


def _ask(_: Permit[Any], query: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())


_JUDGEMENTS_BY_KIND = """
SELECT kind, count(*) FROM judgement j
WHERE retracts_id IS NULL AND NOT EXISTS (SELECT 1 FROM judgement r WHERE r.retracts_id = j.id) GROUP BY kind
"""
_SIZES = """
SELECT s.slug, count(m.id) FROM segment s LEFT JOIN membership m ON m.segment_id = s.id AND m.left_at IS NULL
GROUP BY s.slug ORDER BY s.slug
"""
_AUDIENCE = """
SELECT count(*),
       count(*) FILTER (WHERE EXISTS (SELECT 1 FROM identifier i WHERE i.profile_id = m.profile_id AND i.type = 'email')),
       count(*) FILTER (WHERE EXISTS (
           SELECT 1 FROM audience_member a JOIN audience ON audience.id = a.audience_id
           WHERE audience.segment_id = m.segment_id AND a.profile_id = m.profile_id AND a.state = 'PRESENT'))
FROM membership m JOIN segment s ON s.id = m.segment_id WHERE s.slug = %s AND m.left_at IS NULL
"""
_PRESENT_MEMBER = """
SELECT i.value FROM audience_member a JOIN audience ON audience.id = a.audience_id
JOIN segment s ON s.id = audience.segment_id JOIN identifier i ON i.profile_id = a.profile_id AND i.type = 'user_id'
WHERE s.slug = %s AND a.state = 'PRESENT' ORDER BY i.profile_id, i.value LIMIT 1
"""
_NEAR_MEMBER = """
SELECT i.value FROM event e JOIN identifier i ON i.profile_id = e.profile_id AND i.type = 'user_id'
WHERE e.name = %s AND e.occurred_at > now() - interval '90 days'
  AND EXISTS (SELECT 1 FROM identifier x WHERE x.profile_id = e.profile_id AND x.type = 'email')
GROUP BY i.value HAVING count(*) = 2 ORDER BY i.value LIMIT 1
"""
_STRANGERS = """
SELECT min(i.id) FROM audience_member a JOIN audience ON audience.id = a.audience_id
JOIN segment s ON s.id = audience.segment_id JOIN identifier i ON i.profile_id = a.profile_id AND i.type = 'email'
WHERE s.slug = 'lapsed' AND a.state = 'PRESENT' GROUP BY i.profile_id ORDER BY i.profile_id LIMIT 2
"""
_TOGETHER = """
SELECT id, profile_id FROM identifier
WHERE profile_id IN (SELECT profile_id FROM identifier WHERE id = ANY(%s)) ORDER BY id
"""
_TRAITS = """
SELECT profile_id, name, value::text, source_id, identifier_id, observed_at, rule FROM trait
WHERE profile_id = ANY(%s) ORDER BY profile_id, name
"""
_MEMBERSHIPS = """
SELECT profile_id, segment_id, version_id, entered_at, entered_cause FROM membership
WHERE profile_id = ANY(%s) AND left_at IS NULL ORDER BY profile_id, segment_id
"""
_ON_PLATFORMS = """
SELECT a.profile_id, a.audience_id, a.key, a.state FROM audience_member a
WHERE a.profile_id = ANY(%s) AND a.state IN ('PRESENT', 'ADDING', 'REMOVING') ORDER BY a.profile_id, a.audience_id, a.key
"""

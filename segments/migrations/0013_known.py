"""What people have and did, by name and kind of value: what rules are checked against.

Names are found by leaping from one to the next in an index, which works only beside the gate: behind a barrier nothing is
in order. So the leaps are in the views, each to somebody whom the purpose may see. Kinds are those of a bounded sample.
"""

from django.db import migrations

from cdp.kernel.purposes import Purpose
from cdp.models.access import purpose_view

MOST_NAMES = 1_000
SAMPLE = 10_000  # rows that are looked at for all names together
LARGEST = 1_000  # and for one of them

# More names than that: the one too many tells so.
NAMES = f"""
WITH RECURSIVE leap (name, place) AS (
    (SELECT {{first}}, 1)
    UNION ALL
    SELECT {{following}}, leap.place + 1 FROM leap WHERE leap.name IS NOT NULL AND leap.place <= {MOST_NAMES}
), named AS MATERIALIZED (SELECT leap.name FROM leap WHERE leap.name IS NOT NULL),
each (rows) AS MATERIALIZED (SELECT LEAST({LARGEST}, {SAMPLE} / GREATEST(1, count(*))) FROM named)
"""  # noqa: S608  # numbers of ours

TRAITS = "FROM core.trait t JOIN core.profile p ON p.id = t.profile_id WHERE {permitted:p}"
TRAIT_LEAPS = NAMES.format(
    first=f"(SELECT t.name {TRAITS} ORDER BY t.name LIMIT 1)",
    following=f"(SELECT t.name {TRAITS} AND t.name > leap.name ORDER BY t.name LIMIT 1)",
)
KNOWN_TRAIT = f"""
{TRAIT_LEAPS}
SELECT DISTINCT named.name, jsonb_typeof(seen.value) AS kind
FROM named CROSS JOIN LATERAL (
    SELECT t.value {TRAITS} AND t.name = named.name ORDER BY t.workspace_id, t.name LIMIT (SELECT rows FROM each)
) AS seen
"""  # noqa: S608  # parts of ours

EVENTS = "FROM core.event e JOIN core.identifier i ON i.id = e.identifier_id WHERE {permitted:i}"
EVENT_LEAPS = NAMES.format(
    first=f"(SELECT e.name {EVENTS} ORDER BY e.name LIMIT 1)",
    following=f"(SELECT e.name {EVENTS} AND e.name > leap.name ORDER BY e.name LIMIT 1)",
)
# The newest and the oldest, for what is sent of an event changes in time. An event without properties is one row too.
KNOWN_PROPERTY = f"""
{EVENT_LEAPS}
SELECT DISTINCT named.name AS event, property.key AS property, jsonb_typeof(property.value) AS kind
FROM named CROSS JOIN LATERAL (
    (SELECT e.properties {EVENTS} AND e.name = named.name
     ORDER BY e.occurred_at DESC LIMIT (SELECT (rows + 1) / 2 FROM each))
    UNION ALL
    (SELECT e.properties {EVENTS} AND e.name = named.name
     ORDER BY e.occurred_at LIMIT (SELECT (rows + 1) / 2 FROM each))
) AS seen
LEFT JOIN LATERAL jsonb_each(
    CASE WHEN jsonb_typeof(seen.properties) = 'object' THEN seen.properties ELSE '{{}}' END
) AS property ON true
"""  # noqa: S608  # parts of ours


class Migration(migrations.Migration):
    dependencies = [("segments", "0012_kpis"), ("consent", "0003_purpose_schemas")]

    operations = [
        purpose_view(Purpose.SEGMENTATION, "known_trait", KNOWN_TRAIT),
        purpose_view(Purpose.SEGMENTATION, "known_property", KNOWN_PROPERTY),
    ]

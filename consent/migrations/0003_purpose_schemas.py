"""One schema of views for each purpose, over the core tables. Later apps add the views of their own tables."""

from django.db import migrations

from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, purpose_view

SCHEMAS = "".join(f"CREATE SCHEMA {purpose}; GRANT USAGE ON SCHEMA {purpose} TO {purpose};" for purpose in Purpose)

IDENTIFIER = """
SELECT i.id, i.workspace_id, i.type, i.value, i.profile_id, i.created_at
FROM core.identifier i WHERE {permitted:i}
"""
PROFILE = """
SELECT p.id, p.workspace_id, p.merged_into_id, p.created_at
FROM core.profile p WHERE p.merged_into_id IS NULL AND {permitted:p}
"""
OBSERVED = """
SELECT t.id, t.workspace_id, t.identifier_id, t.source_id, t.name, t.value, t.observed_at, t.confidence
FROM core.identifier_trait t
WHERE EXISTS (SELECT 1 FROM core.identifier i WHERE i.id = t.identifier_id AND {permitted:i})
"""
TRAIT = """
SELECT t.id, t.workspace_id, t.profile_id, t.name, t.value, t.source_id, t.identifier_id, t.observed_at, t.confidence,
       t.rule
FROM core.trait t WHERE EXISTS (SELECT 1 FROM core.profile p WHERE p.id = t.profile_id AND {permitted:p})
"""
RECORD = """
SELECT r.id, r.workspace_id, r.source_id, r.key, r.identifier_id, r.fields, r.loaded_at
FROM core.record r WHERE EXISTS (SELECT 1 FROM core.identifier i WHERE i.id = r.identifier_id AND {permitted:i})
"""
EVENT = """
SELECT e.id, e.workspace_id, e.source_id, e.identifier_id, i.profile_id, e.message_id, e.kind, e.name, e.occurred_at,
       e.received_at, e.properties
FROM core.event e JOIN core.identifier i ON i.id = e.identifier_id WHERE {permitted:i}
"""

VIEWS = {
    Purpose.IDENTITY: {"profile": PROFILE, "record": RECORD},
    Purpose.ENRICHMENT: {"identifier": IDENTIFIER, "profile": PROFILE, "event": EVENT},
    Purpose.SEGMENTATION: {"identifier": IDENTIFIER, "profile": PROFILE, "trait": TRAIT, "event": EVENT},
    Purpose.LEARNING: {"profile": PROFILE, "trait": TRAIT, "event": EVENT},
    Purpose.ADVERTISING: {"identifier": IDENTIFIER, "profile": PROFILE, "trait": TRAIT, "event": EVENT},
    Purpose.ANALYTICS: {"identifier": IDENTIFIER, "profile": PROFILE, "trait": TRAIT, "event": EVENT},
}

COLLECTION = Purpose.COLLECTION
IDENTITY = Purpose.IDENTITY


class Migration(migrations.Migration):
    dependencies = [("consent", "0002_permissions")]

    operations = [
        migrations.RunSQL(SCHEMAS, migrations.RunSQL.noop),
        *(purpose_view(purpose, name, query) for purpose, views in VIEWS.items() for name, query in views.items()),
        # What a purpose writes about people it writes through the gate too.
        purpose_view(IDENTITY, "identifier", IDENTIFIER, "SELECT, UPDATE (profile_id)"),
        purpose_view(IDENTITY, "identifier_trait", OBSERVED),
        purpose_view(IDENTITY, "trait", TRAIT, "SELECT, INSERT, UPDATE, DELETE"),
        purpose_view(Purpose.ENRICHMENT, "identifier_trait", OBSERVED, "SELECT, INSERT, UPDATE"),
        purpose_view(Purpose.ENRICHMENT, "trait", TRAIT, "SELECT, INSERT, UPDATE, DELETE"),
        # Ids only: which identifiers were seen together, and which profile redirects to which.
        grant("SELECT", "sighting", to=IDENTITY),
        grant("SELECT (id, workspace_id, merged_into_id), UPDATE (merged_into_id)", "profile", to=IDENTITY),
        # Collection stores what arrives, before anybody's permission can be known.
        grant("SELECT, DELETE", "inbox", to=COLLECTION),
        grant("INSERT", "event", to=COLLECTION),
        grant("SELECT, INSERT", "message", "sighting", to=COLLECTION),
        grant("SELECT (id, workspace_id, type, value), INSERT", "identifier", to=COLLECTION),
        grant("SELECT, INSERT, UPDATE", "identifier_trait", "record", "quarantine", to=COLLECTION),
        migrations.RunSQL(
            f"GRANT EXECUTE ON FUNCTION core.ensure_event_partition TO {COLLECTION}", migrations.RunSQL.noop
        ),
        *(grant("SELECT", "workspace", "source", to=purpose) for purpose in Purpose),
        *(grant("SELECT, INSERT, DELETE, UPDATE (failed_at, error)", "outbox", to=purpose) for purpose in Purpose),
        *(grant("SELECT, INSERT, UPDATE", "run", to=purpose) for purpose in Purpose),
    ]

from django.db import migrations

from cdp.kernel.logins import OPERATOR, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import append_only, grant, purpose_view, row_security

SEGMENTATION, LEARNING = Purpose.SEGMENTATION, Purpose.LEARNING

MEMBERSHIP = """
SELECT m.id, m.workspace_id, m.segment_id, m.profile_id, m.version_id, m.entered_at, m.entered_cause, m.left_at,
       m.left_cause
FROM core.membership m
WHERE EXISTS (SELECT 1 FROM core.profile p WHERE p.id = m.profile_id AND p.merged_into_id IS NULL AND {permitted:p})
"""
SCORE = """
SELECT s.id, s.workspace_id, s.model_slug, s.profile_id, s."group", s.model_id, s.computed_at
FROM core.score s WHERE EXISTS (SELECT 1 FROM core.profile p WHERE p.id = s.profile_id AND {permitted:p})
"""


class Migration(migrations.Migration):
    dependencies = [("segments", "0001_tables"), ("consent", "0003_purpose_schemas")]

    operations = [
        row_security("segment", "segment_version", "membership", "deadline", "learned_model", "score"),
        append_only("segment_version"),
        *(
            grant("SELECT, INSERT, UPDATE", "segment", "segment_version", to=login)
            for login in (WEB, OPERATOR, SEGMENTATION, LEARNING)
        ),
        *(grant("SELECT", "segment", "segment_version", to=p) for p in (Purpose.ADVERTISING, Purpose.ANALYTICS)),
        # Segmentation keeps the memberships of people it may no longer see, in order to end them: ids and times.
        grant("SELECT, INSERT, UPDATE", "membership", to=SEGMENTATION),
        grant("SELECT, INSERT, UPDATE, DELETE", "deadline", to=SEGMENTATION),
        grant("SELECT", "membership", "deadline", "score", "learned_model", to=WEB),
        *(purpose_view(p, "membership", MEMBERSHIP) for p in (Purpose.ADVERTISING, Purpose.ANALYTICS)),
        grant("SELECT, INSERT", "learned_model", to=LEARNING),
        purpose_view(LEARNING, "score", SCORE, "SELECT, INSERT, UPDATE, DELETE"),
        purpose_view(SEGMENTATION, "score", SCORE),
        grant("SELECT", "learned_model", to=SEGMENTATION),
    ]

"""A learned group is used only while the person permits both: to be learnt about, and to be segmented by it.

Learning cannot take back the score of somebody whom it may no longer see, so segmentation does not see it either.
"""

from django.db import migrations

from cdp.kernel.purposes import Purpose
from cdp.models.access import purpose_view

SCORE = f"""
SELECT s.id, s.workspace_id, s.model_slug, s.profile_id, s."group", s.model_id, s.computed_at
FROM core.score s WHERE EXISTS (
    SELECT 1 FROM core.profile p
    WHERE p.id = s.profile_id AND {{permitted:p}} AND (p.permitted & {Purpose.LEARNING.bit}) <> 0
)
"""  # noqa: S608  # the bit is a constant of ours


class Migration(migrations.Migration):
    dependencies = [("segments", "0002_access")]

    operations = [
        migrations.RunSQL(f"DROP VIEW {Purpose.SEGMENTATION}.score", migrations.RunSQL.noop),
        purpose_view(Purpose.SEGMENTATION, "score", SCORE),
    ]

"""Before there is an audience it is asked how many a destination would reach: types of identifiers, without their values."""

from django.db import migrations

from cdp.kernel.purposes import Purpose
from cdp.models.access import purpose_view

REACHABLE = """
SELECT d.workspace_id, d.id AS destination_id, i.profile_id, i.type
FROM core.identifier i
JOIN core.profile p ON p.id = i.profile_id AND p.merged_into_id IS NULL
JOIN core.destination d ON d.workspace_id = i.workspace_id
WHERE {permitted:p:COALESCE(NULLIF(d.recipient, ''), d.kind)}
"""


class Migration(migrations.Migration):
    dependencies = [("activation", "0007_review_weighs"), ("consent", "0022_consents_end")]

    operations = [purpose_view(Purpose.ADVERTISING, "reachable", REACHABLE)]

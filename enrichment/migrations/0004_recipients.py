"""Whom a provider may be asked about is read through a view that asks for this provider: a look-up is a disclosure."""

from django.db import migrations

from cdp.kernel.purposes import Purpose
from cdp.models.access import purpose_view

QUESTION = """
SELECT i.id, i.workspace_id, i.type, i.value, i.profile_id, s.id AS source_id
FROM core.identifier i
JOIN core.profile p ON p.id = i.profile_id
JOIN core.source s ON s.workspace_id = i.workspace_id AND s.kind = 'ENRICHMENT'
WHERE {permitted:p:s.name}
"""


class Migration(migrations.Migration):
    dependencies = [("enrichment", "0003_providers_as_sources"), ("consent", "0015_gate")]

    operations = [purpose_view(Purpose.ENRICHMENT, "question", QUESTION)]

"""What is sent to a destination is read through a view that asks whether the person permits this recipient.

The role of advertising has no other way to the members of an audience: which recipient is asked for follows from the
destination of the audience, and not from anything that a worker says.
"""

import re

import django.core.validators
from django.db import migrations, models

from cdp.kernel.purposes import Purpose
from cdp.models.access import purpose_view

CANDIDATE = """
SELECT a.workspace_id, a.id AS audience_id, a.destination_id, m.profile_id, i.id AS identifier_id, i.type, i.value
FROM core.audience a
JOIN core.destination d ON d.id = a.destination_id
JOIN core.membership m ON m.segment_id = a.segment_id AND m.left_at IS NULL
JOIN core.profile p ON p.id = m.profile_id AND p.merged_into_id IS NULL
JOIN core.identifier i ON i.profile_id = m.profile_id AND i.type = ANY(a.identifier_types)
WHERE {permitted:p:COALESCE(NULLIF(d.recipient, ''), d.kind)}
"""


class Migration(migrations.Migration):
    dependencies = [("activation", "0005_erasing"), ("consent", "0015_gate")]

    operations = [
        migrations.AddField(
            model_name="destination",
            name="recipient",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="whom people permit or refuse by this name, such as meta; empty: the kind",
                max_length=64,
                validators=[django.core.validators.RegexValidator(re.compile("^[a-z0-9_-]{0,64}$"))],
                verbose_name="recipient",
            ),
        ),
        purpose_view(Purpose.ADVERTISING, "candidate", CANDIDATE),
    ]

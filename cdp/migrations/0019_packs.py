"""A row of the ledger of work names many subjects at once: a pack.

Safe while old code runs. It writes rows of one subject as before. A pack that it meets it can neither work on, for it
finds no subject, nor set aside, for that is refused here: it fails and comes again, until a worker that knows packs is
faster. So nothing of a pack is lost. (Only activation's would not fail: nobody hands packs over to it.)
"""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cdp", "0018_masks_by_recipient")]

    operations = [
        migrations.AddField(
            model_name="outboxrow",
            name="subjects",
            field=django.contrib.postgres.fields.ArrayField(
                models.BigIntegerField(), help_text="a pack: many at once, in the order given", null=True
            ),
        ),
        migrations.AlterField(
            model_name="outboxrow", name="subject_id", field=models.BigIntegerField(help_text="one alone", null=True)
        ),
        migrations.AddConstraint(
            model_name="outboxrow",
            constraint=models.CheckConstraint(
                condition=models.Q(("subject_id", None), ("subjects", None), _connector="XOR"),
                name="outbox_names_one_or_a_pack",
            ),
        ),
        migrations.AddConstraint(
            model_name="outboxrow",
            constraint=models.CheckConstraint(
                condition=models.Q(("failed_at", None), ("subjects", None), _connector="OR"),
                name="outbox_set_aside_alone",
            ),
        ),
    ]

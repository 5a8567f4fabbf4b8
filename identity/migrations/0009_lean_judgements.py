"""A batch judges by the million, in the name of one model and one run, of which no login may delete either.

So that each row is checked against them for nothing: what is checked are the two identifiers that it is about.
"""

import django.db.models.deletion
from django.db import migrations, models

PROTECT = django.db.models.deletion.PROTECT


class Migration(migrations.Migration):
    dependencies = [("identity", "0008_households"), ("consent", "0019_officer")]

    operations = [
        migrations.AlterField(
            "judgement",
            "model",
            models.ForeignKey(
                blank=True, db_constraint=False, null=True, on_delete=PROTECT, to="identity.linkagemodel",
                verbose_name="model",
            ),
        ),
        migrations.AlterField(
            "judgement",
            "run",
            models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=PROTECT, to="cdp.run"),
        ),
    ]  # fmt: skip

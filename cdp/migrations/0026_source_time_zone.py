"""The time zone of a source: that of its people who gave none."""

from django.db import migrations, models

import cdp.models.sources


class Migration(migrations.Migration):
    dependencies = [("cdp", "0025_causes")]

    operations = [
        migrations.AddField(
            model_name="source",
            name="time_zone",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="of people who gave none, where a value of theirs comes from here; empty: that of the workspace",
                max_length=64,
                validators=[cdp.models.sources.check_time_zone],
                verbose_name="time zone",
            ),
        ),
    ]

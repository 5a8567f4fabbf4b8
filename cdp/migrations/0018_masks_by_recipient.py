"""What a person permits to each recipient whom they named, and where they live, as the decision knew it.

Triggers write both (see consent/migrations). NULL for nearly everybody: the column costs nothing then.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cdp", "0017_event_without_key")]

    operations = [
        migrations.AddField(
            model_name="profile",
            name="permitted_by_recipient",
            field=models.JSONField(
                help_text="of whoever named a recipient: a mask for each of those, and as an empty name for all others;"
                " `permitted` is what they have in common",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="profile",
            name="jurisdiction",
            field=models.CharField(
                help_text="where the person lives, as far as the decision knew: FR, US-CA", max_length=6, null=True
            ),
        ),
    ]

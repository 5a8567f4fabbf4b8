"""Files that people give the console to load, and the place in its input at which a run goes on."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0004_connections"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="bookmark",
            field=models.JSONField(
                db_default={}, default=dict, help_text="the place in its input that this position is"
            ),
        ),
    ]

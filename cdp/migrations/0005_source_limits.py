"""Sources may have a limit. Adding columns without a default rewrites nothing, and old code does not know of them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0004_connections"),
    ]

    operations = [
        migrations.AddField(
            model_name="source",
            name="events_per_second",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="empty: as the installation says; 0: no limit",
                null=True,
                verbose_name="events per second",
            ),
        ),
        migrations.AddField(
            model_name="source",
            name="burst",
            field=models.PositiveIntegerField(
                blank=True, help_text="empty: those of one second", null=True, verbose_name="events at once"
            ),
        ),
    ]

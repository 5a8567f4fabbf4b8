"""Sources may have a limit, and public keys. Nothing is rewritten, and old code need not know of the columns."""

from django.db import migrations, models

from cdp.models.sources import check_public_keys


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
        migrations.AddField(
            model_name="source",
            name="public_keys",
            field=models.TextField(
                blank=True,
                db_default="",
                default="",
                help_text="RSA, in PEM, one or several: then only calls with an access token are taken",
                validators=[check_public_keys],
                verbose_name="public keys",
            ),
        ),
    ]

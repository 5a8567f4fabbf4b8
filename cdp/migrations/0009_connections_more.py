"""Who reads a connection now, why it rests, and its last reading. Records that their source has no more."""

import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import WORKER_BY_QUEUE
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant

WORKER = WORKER_BY_QUEUE["ingestion"]


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0008_corrections"),
    ]

    operations = [
        migrations.AddField(
            model_name="connection",
            name="leased_until",
            field=models.DateTimeField(help_text="until then one process alone may read", null=True),
        ),
        migrations.AddField(
            model_name="connection",
            name="paused_at",
            field=models.DateTimeField(
                help_text="nothing is read until a person has acted", null=True, verbose_name="paused at"
            ),
        ),
        migrations.AddField(
            model_name="connection",
            name="run",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, to="cdp.run", verbose_name="last reading"
            ),
        ),
        migrations.AddField(
            model_name="record",
            name="deleted_at",
            field=models.DateTimeField(help_text="when the source was seen to have it no more", null=True),
        ),
        *(
            grant("UPDATE (leased_until, paused_at, run_id)", "connection", to=reader)
            for reader in (WORKER, Purpose.COLLECTION)
        ),
        grant("DELETE", "identifier_trait", to=Purpose.COLLECTION),
    ]

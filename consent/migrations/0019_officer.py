"""Who deletes what is past its period is the worker of rights, and no longer the one that stores what arrives.

The record of processing activities names internal recipients and subcontractors.
"""

from django.db import migrations, models

from cdp.kernel.logins import RIGHTS, WORKER_BY_QUEUE
from cdp.models.access import grant


class Migration(migrations.Migration):
    dependencies = [("consent", "0018_last_erasure")]

    operations = [
        *(
            migrations.AddField(
                model_name="controllerdetails",
                name=name,
                field=models.TextField(blank=True, db_default="", help_text=help_text, verbose_name=verbose_name),
            )
            for name, verbose_name, help_text in (
                ("internal_recipients", "internal recipients", "services and people who may see the data"),
                ("subcontractors", "subcontractors", "such as hosting and maintenance"),
            )
        ),
        grant("SELECT", "retention_period", to=RIGHTS),
        migrations.RunSQL(
            f"REVOKE ALL ON core.retention_period FROM {WORKER_BY_QUEUE['ingestion']}", migrations.RunSQL.noop
        ),
    ]

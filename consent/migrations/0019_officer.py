"""Who deletes what is past its period is the worker of rights, and no longer the one that stores what arrives."""

from django.db import migrations

from cdp.kernel.logins import RIGHTS, WORKER_BY_QUEUE
from cdp.models.access import grant


class Migration(migrations.Migration):
    dependencies = [("consent", "0018_last_erasure")]

    operations = [
        grant("SELECT", "retention_period", to=RIGHTS),
        migrations.RunSQL(
            f"REVOKE ALL ON core.retention_period FROM {WORKER_BY_QUEUE['ingestion']}", migrations.RunSQL.noop
        ),
    ]

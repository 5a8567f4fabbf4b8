"""One sender at a time for each destination, and indexes by which it finds its work."""

from django.db import migrations, models

from cdp.kernel.purposes import Purpose
from cdp.models.access import grant


class Migration(migrations.Migration):
    dependencies = [("activation", "0003_access")]

    operations = [
        migrations.AddField(
            model_name="destination",
            name="leased_until",
            field=models.DateTimeField(
                null=True,
                editable=False,
                help_text="one sender at a time: what was removed must not be added by an older request",
            ),
        ),
        migrations.RemoveIndex(model_name="audiencemember", name="audience_member_pending"),
        migrations.AddIndex(
            model_name="audiencemember",
            index=models.Index(
                fields=["audience", "state", "due_at"],
                condition=models.Q(state__in=["ADDING", "REMOVING"]),
                name="audience_member_due",
            ),
        ),
        migrations.AddIndex(
            model_name="syncrun",
            index=models.Index(fields=["audience"], condition=models.Q(finished_at=None), name="sync_run_open"),
        ),
        grant("UPDATE (leased_until)", "destination", to=Purpose.ADVERTISING),
    ]

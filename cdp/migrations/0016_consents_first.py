"""What people said comes before all other work: found by an index of its own, however much waits."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0015_rights_scopes"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="outboxrow",
            index=models.Index(
                condition=models.Q(("cause", "CONSENT"), ("failed_at", None)),
                fields=["stage", "workspace", "id"],
                name="outbox_consents_first",
            ),
        ),
    ]

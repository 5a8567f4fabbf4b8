"""What is known of people is found by person: without these indexes each segment was searched for each of them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0025_causes"),
        ("segments", "0013_known"),
    ]

    operations = [
        migrations.AlterField(
            model_name="deadline",
            name="profile",
            field=models.ForeignKey(
                db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, to="cdp.profile"
            ),
        ),
        migrations.AddIndex(
            model_name="deadline",
            index=models.Index(
                fields=["profile"], include=("segment", "due_at", "workspace"), name="deadline_by_profile"
            ),
        ),
        migrations.AddIndex(
            model_name="membership",
            index=models.Index(
                condition=models.Q(("left_at", None)),
                fields=["profile"],
                include=("segment", "id", "workspace"),
                name="membership_open_by_profile",
            ),
        ),
    ]

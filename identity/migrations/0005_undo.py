"""Which model links is said by a row; so going back is a row too."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

from cdp.kernel.logins import WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import append_only, grant, row_security


class Migration(migrations.Migration):
    dependencies = [
        ("identity", "0004_live"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ModelActivation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="created at"
                    ),
                ),
                (
                    "author",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="author",
                    ),
                ),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="activations",
                        to="identity.linkagemodel",
                        verbose_name="model",
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "activation of a model",
                "verbose_name_plural": "activations of models",
                "db_table": "model_activation",
            },
        ),
        row_security("model_activation"),
        append_only("model_activation"),
        *(grant("SELECT, INSERT", "model_activation", to=role) for role in (Purpose.IDENTITY, WEB)),
    ]

"""Judgements are read by the identifiers that they are about, and carry no other index of an identifier or a workspace."""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models


def key(to: str, **options: Any) -> "models.ForeignKey[Any, Any]":
    return models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to=f"cdp.{to}", **options)


class Migration(migrations.Migration):
    dependencies = [("identity", "0002_access")]

    operations = [
        migrations.AlterField("judgement", "workspace", key("workspace", db_constraint=False)),
        migrations.AlterField("judgement", "left", key("identifier", related_name="+")),
        migrations.AlterField("judgement", "right", key("identifier", related_name="+")),
    ]

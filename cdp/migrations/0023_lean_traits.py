"""A trait is found by its profile, with which its unique key begins, or by its workspace, with which the index of names does.

Written by the million, it is checked against its profile and its identifier, and as the values that it is chosen from
neither against the workspace nor against the source: nobody deletes those while they have rows.
"""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models


def key(to: str, **options: Any) -> "models.ForeignKey[Any, Any]":
    return models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to=f"cdp.{to}", **options)


class Migration(migrations.Migration):
    dependencies = [("cdp", "0022_lean_people")]

    operations = [
        migrations.AlterField("trait", "workspace", key("workspace", db_constraint=False)),
        migrations.AlterField("trait", "profile", key("profile", related_name="traits")),
        migrations.AlterField("trait", "source", key("source", db_constraint=False)),
    ]

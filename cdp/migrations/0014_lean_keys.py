"""Rows that are written by the million carry only the indexes and checks that somebody needs.

A foreign key of Django brings an index, also where a unique key begins with its column, and a check for each row, also
where a whole batch has one workspace and one source, which nobody deletes while it has rows.
"""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

CASCADE = django.db.models.deletion.CASCADE
OF_IDENTIFIER = (("identifiertrait", "identifier"), ("record", "identifier"))
OF_A_PAIR = (("sighting", "left"), ("sighting", "right"))
CHECKED = (("identifier", "workspace"), ("profile", "workspace"))
UNCHECKED = (
    *((model, "workspace") for model in ("identifiertrait", "sighting", "record", "message", "outboxrow")),
    *((model, "source") for model in ("identifiertrait", "sighting", "record", "message")),
)


def key(to: str, **options: Any) -> "models.ForeignKey[Any, Any]":
    return models.ForeignKey(db_index=False, on_delete=CASCADE, to=f"cdp.{to}", **options)


class Migration(migrations.Migration):
    dependencies = [("cdp", "0013_uploads")]

    operations = [
        *(migrations.AlterField(model, name, key("identifier")) for model, name in OF_IDENTIFIER),
        *(migrations.AlterField(model, name, key("identifier", related_name="+")) for model, name in OF_A_PAIR),
        *(migrations.AlterField(model, name, key(name)) for model, name in CHECKED),
        *(migrations.AlterField(model, name, key(name, db_constraint=False)) for model, name in UNCHECKED),
    ]

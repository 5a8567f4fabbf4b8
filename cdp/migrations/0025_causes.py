"""Three more causes: a list by hand, a ranking, and another segment."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0024_file_scope"),
    ]

    operations = [
        migrations.AlterField(
            model_name="outboxrow",
            name="cause",
            field=models.CharField(
                choices=[
                    ("EVENT", "an event or record arrived"),
                    ("LEARNT", "an identifier, a link or a value became known"),
                    ("MERGE", "profiles were merged"),
                    ("SPLIT", "a merge was undone"),
                    ("CONSENT", "a consent changed"),
                    ("DEFINITION", "the definition changed"),
                    ("LIST", "somebody was put on a list, or taken off"),
                    ("RANK", "a ranking was computed anew"),
                    ("REFERENCE", "membership of another segment changed"),
                    ("DEADLINE", "time passed"),
                ],
                max_length=12,
            ),
        ),
    ]

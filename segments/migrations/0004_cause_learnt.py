"""One more cause: something became known of a person."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("segments", "0003_scores_ask_for_learning"),
    ]

    operations = [
        migrations.AlterField(
            model_name="membership",
            name="entered_cause",
            field=models.CharField(
                choices=[
                    ("EVENT", "an event or record arrived"),
                    ("LEARNT", "an identifier, a link or a value became known"),
                    ("MERGE", "profiles were merged"),
                    ("SPLIT", "a merge was undone"),
                    ("CONSENT", "a consent changed"),
                    ("DEFINITION", "the definition changed"),
                    ("DEADLINE", "time passed"),
                ],
                max_length=12,
                verbose_name="why it entered",
            ),
        ),
        migrations.AlterField(
            model_name="membership",
            name="left_cause",
            field=models.CharField(
                blank=True,
                choices=[
                    ("EVENT", "an event or record arrived"),
                    ("LEARNT", "an identifier, a link or a value became known"),
                    ("MERGE", "profiles were merged"),
                    ("SPLIT", "a merge was undone"),
                    ("CONSENT", "a consent changed"),
                    ("DEFINITION", "the definition changed"),
                    ("DEADLINE", "time passed"),
                ],
                max_length=12,
                verbose_name="why it left",
            ),
        ),
    ]

"""Pairs have a priority, a claim, a second opinion and a second look; what each steward said is kept."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, WEB
from cdp.models.access import erasure_rule, grant, row_security

VERDICTS_ERASED = """
DELETE FROM review_verdict WHERE pair_id IN (SELECT id FROM review_pair WHERE left_id = ANY($1) OR right_id = ANY($1))
"""


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0021_identity_scopes"),
        ("consent", "0009_erasure"),
        ("identity", "0006_rules"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ReviewRules",
            fields=[
                (
                    "workspace",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        serialize=False,
                        to="cdp.workspace",
                    ),
                ),
                (
                    "largest_alone",
                    models.PositiveIntegerField(
                        default=50,
                        help_text="one steward may make a profile of so many identifiers; a larger one waits for a second steward",
                        verbose_name="largest profile",
                    ),
                ),
                (
                    "most_audiences_alone",
                    models.PositiveIntegerField(
                        default=5,
                        help_text="likewise for a merge that touches so many audiences at destinations",
                        verbose_name="most audiences",
                    ),
                ),
            ],
            options={
                "verbose_name": "review rules",
                "verbose_name_plural": "review rules",
                "db_table": "review_rules",
            },
        ),
        migrations.CreateModel(
            name="ReviewVerdict",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "answer",
                    models.CharField(
                        choices=[("SAME", "same person"), ("NOT_SAME", "not the same person"), ("UNSURE", "unsure")],
                        max_length=10,
                        verbose_name="answer",
                    ),
                ),
                ("opinion", models.FloatField(help_text="the second opinion of that moment", null=True)),
                ("given_at", models.DateTimeField(verbose_name="given at")),
                ("withdrawn_at", models.DateTimeField(null=True, verbose_name="withdrawn at")),
            ],
            options={
                "db_table": "review_verdict",
            },
        ),
        migrations.AddField(
            model_name="reviewpair",
            name="claimed_by",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="reviewpair",
            name="claimed_until",
            field=models.DateTimeField(blank=True, help_text="until then the pair is nobody else's", null=True),
        ),
        migrations.AddField(
            model_name="reviewpair",
            name="look",
            field=models.CharField(
                choices=[
                    ("NONE", "not needed so far"),
                    ("PROPOSED", "waits for a second steward"),
                    ("CONFIRMED", "confirmed by a second steward"),
                    ("REFUSED", "refused by a second steward"),
                ],
                db_default="NONE",
                default="NONE",
                max_length=9,
                verbose_name="second look",
            ),
        ),
        migrations.AddField(
            model_name="reviewpair",
            name="opinion",
            field=models.FloatField(
                blank=True, help_text="probability of one person", null=True, verbose_name="second opinion"
            ),
        ),
        migrations.AddField(
            model_name="reviewpair",
            name="opinion_basis",
            field=models.JSONField(db_default={}, default=dict, help_text="who says so: classifier, versions, seed"),
        ),
        migrations.AddField(
            model_name="reviewpair",
            name="priority",
            field=models.FloatField(
                db_default=0.0, default=0.0, help_text="what an answer is worth", verbose_name="priority"
            ),
        ),
        migrations.AddField(
            model_name="reviewpair",
            name="proposed_by",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="proposed by",
            ),
        ),
        migrations.AddField(
            model_name="reviewpair",
            name="second",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="second steward",
            ),
        ),
        migrations.AddIndex(
            model_name="reviewpair",
            index=models.Index(
                models.F("workspace"),
                models.OrderBy(models.F("priority"), descending=True),
                models.F("id"),
                condition=models.Q(("judgement", None)),
                name="review_pair_queue",
            ),
        ),
        migrations.AddIndex(
            model_name="reviewpair",
            index=models.Index(
                condition=models.Q(("claimed_by__isnull", False), ("judgement", None)),
                fields=["claimed_by"],
                name="review_pair_claimed",
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewpair",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("look", "NONE"), ("proposed_by", None), ("second", None)),
                    models.Q(("look", "PROPOSED"), ("proposed_by__isnull", False), ("second", None)),
                    models.Q(
                        ("look__in", ["CONFIRMED", "REFUSED"]),
                        ("proposed_by__isnull", False),
                        ("second__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="review_pair_look_has_its_stewards",
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewpair",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("second", None), models.Q(("second", models.F("proposed_by")), _negated=True), _connector="OR"
                ),
                name="review_pair_second_is_another",
            ),
        ),
        migrations.AddField(
            model_name="reviewverdict",
            name="author",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="reviewverdict",
            name="judgement",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                help_text="what it wrote to the ledger, if anything",
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="identity.judgement",
            ),
        ),
        migrations.AddField(
            model_name="reviewverdict",
            name="pair",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="verdicts",
                to="identity.reviewpair",
            ),
        ),
        migrations.AddField(
            model_name="reviewverdict",
            name="workspace",
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace"),
        ),
        migrations.AddIndex(
            model_name="reviewverdict",
            index=models.Index(
                models.F("workspace"),
                models.F("author"),
                models.OrderBy(models.F("id"), descending=True),
                name="review_verdict_newest",
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewverdict",
            constraint=models.UniqueConstraint(
                condition=models.Q(("withdrawn_at", None)), fields=("pair", "author"), name="review_verdict_is_one"
            ),
        ),
        row_security("review_verdict", "review_rules"),
        grant("SELECT, INSERT, UPDATE", "review_verdict", to=WEB),
        *(grant("SELECT, INSERT, UPDATE", "review_rules", to=login) for login in (WEB, OPERATOR)),
        erasure_rule("review_verdict", VERDICTS_ERASED, place=9),
    ]

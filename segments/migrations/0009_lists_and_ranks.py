"""Lists by hand, computed traits, where rankings end, and why a membership changed because of them."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, RIGHTS, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import append_only, erasure_rule, grant, purpose_view, row_security

SEGMENTATION = Purpose.SEGMENTATION

LIST_ENTRY = """
SELECT e.id, e.workspace_id, l.slug AS list_slug, p.id AS profile_id, e.added_at, e.removed_at
FROM core.segment_list_entry e JOIN core.segment_list l ON l.id = e.list_id
JOIN core.identifier i ON i.id = e.identifier_id JOIN core.profile p ON p.id = i.profile_id
WHERE p.merged_into_id IS NULL AND {permitted:p}
"""
# Values are compared with sums and averages, which have as many digits as they have.
NUMBERS = """
ALTER TABLE rank_threshold ALTER COLUMN value TYPE numeric, ALTER COLUMN former_value TYPE numeric
"""
WRITERS = (WEB, OPERATOR, SEGMENTATION)
READERS = (Purpose.ADVERTISING, Purpose.ANALYTICS)
WHEN = "SELECT (workspace_id, key, population, computed_at, refresh_at)"


class Migration(migrations.Migration):
    dependencies = [
        ("consent", "0009_erasure"),
        ("cdp", "0027_causes"),
        ("segments", "0007_rules"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
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
                    ("LIST", "somebody was put on a list, or taken off"),
                    ("RANK", "a ranking was computed anew"),
                    ("REFERENCE", "membership of another segment changed"),
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
                    ("LIST", "somebody was put on a list, or taken off"),
                    ("RANK", "a ranking was computed anew"),
                    ("REFERENCE", "membership of another segment changed"),
                    ("DEADLINE", "time passed"),
                ],
                max_length=12,
                verbose_name="why it left",
            ),
        ),
        migrations.AddField(
            "segmentversion",
            "computed",
            models.JSONField(null=True, help_text="how its computed traits were measured when it was published"),
        ),
        migrations.CreateModel(
            name="ComputedTrait",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(verbose_name="slug")),
                ("name", models.CharField(max_length=200, verbose_name="name")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="created at"
                    ),
                ),
                ("archived_at", models.DateTimeField(blank=True, null=True, verbose_name="archived at")),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "computed trait",
                "verbose_name_plural": "computed traits",
                "db_table": "computed_trait",
            },
        ),
        migrations.CreateModel(
            name="ComputedTraitVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField(verbose_name="number")),
                ("definition", models.JSONField(verbose_name="definition")),
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
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="author",
                    ),
                ),
                (
                    "trait",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="versions",
                        to="segments.computedtrait",
                        verbose_name="computed trait",
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "version of a computed trait",
                "verbose_name_plural": "versions of computed traits",
                "db_table": "computed_trait_version",
            },
        ),
        migrations.CreateModel(
            name="RankThreshold",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(help_text="SHA-256 of the canonical form of the leaf", max_length=64)),
                ("leaf", models.JSONField()),
                (
                    "value",
                    models.DecimalField(decimal_places=500, help_text="of any precision", max_digits=1000, null=True),
                ),
                (
                    "profile_id",
                    models.BigIntegerField(
                        help_text="who of equal values is the last one inside; null: all are", null=True
                    ),
                ),
                ("population", models.BigIntegerField(verbose_name="how many were ranked")),
                ("computed_at", models.DateTimeField(verbose_name="computed at")),
                ("refresh_at", models.DateTimeField(verbose_name="is computed anew at")),
                ("former_value", models.DecimalField(decimal_places=500, max_digits=1000, null=True)),
                ("former_profile_id", models.BigIntegerField(null=True)),
                ("is_spread", models.BooleanField(default=True)),
                (
                    "workspace",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace"),
                ),
            ],
            options={
                "db_table": "rank_threshold",
            },
        ),
        migrations.CreateModel(
            name="SegmentList",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.CharField(max_length=51, verbose_name="slug")),
                ("name", models.CharField(max_length=200, verbose_name="name")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="created at"
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "list of people",
                "verbose_name_plural": "lists of people",
                "db_table": "segment_list",
            },
        ),
        migrations.CreateModel(
            name="ListEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.CharField(blank=True, max_length=200, verbose_name="reason")),
                ("added_at", models.DateTimeField(verbose_name="added at")),
                ("removed_at", models.DateTimeField(blank=True, null=True, verbose_name="removed at")),
                (
                    "author",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="author",
                    ),
                ),
                (
                    "identifier",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="cdp.identifier",
                        verbose_name="identifier",
                    ),
                ),
                (
                    "remover",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="removed by",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="cdp.workspace",
                    ),
                ),
                (
                    "list",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="entries",
                        to="segments.segmentlist",
                        verbose_name="list of people",
                    ),
                ),
            ],
            options={
                "verbose_name": "entry of a list",
                "verbose_name_plural": "entries of lists",
                "db_table": "segment_list_entry",
            },
        ),
        migrations.AddConstraint(
            model_name="computedtrait",
            constraint=models.UniqueConstraint(fields=("workspace", "slug"), name="computed_trait_slug_is_unique"),
        ),
        migrations.AddConstraint(
            model_name="computedtraitversion",
            constraint=models.UniqueConstraint(fields=("trait", "number"), name="computed_trait_version_is_unique"),
        ),
        migrations.AddIndex(
            model_name="rankthreshold",
            index=models.Index(fields=["workspace", "refresh_at"], name="rank_threshold_by_time"),
        ),
        migrations.AddConstraint(
            model_name="rankthreshold",
            constraint=models.UniqueConstraint(fields=("workspace", "key"), name="rank_threshold_is_unique"),
        ),
        migrations.AddConstraint(
            model_name="segmentlist",
            constraint=models.UniqueConstraint(fields=("workspace", "slug"), name="segment_list_slug_is_unique"),
        ),
        migrations.AddConstraint(
            model_name="listentry",
            constraint=models.UniqueConstraint(
                condition=models.Q(("removed_at", None)),
                fields=("list", "identifier"),
                name="segment_list_entry_is_open_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="listentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("removed_at", None), ("removed_at__gte", models.F("added_at")), _connector="OR"),
                name="segment_list_entry_ends_after_it_begins",
            ),
        ),
        migrations.RunSQL(NUMBERS, migrations.RunSQL.noop),
        row_security(
            "segment_list", "segment_list_entry", "computed_trait", "computed_trait_version", "rank_threshold"
        ),
        append_only("computed_trait_version"),
        *(grant("SELECT, INSERT, UPDATE", "segment_list", "computed_trait", to=login) for login in WRITERS),
        *(grant("SELECT, INSERT", "computed_trait_version", to=login) for login in WRITERS),
        *(grant("SELECT", "computed_trait", "computed_trait_version", to=reader) for reader in READERS),
        # Who no longer permits it can still be taken off a list.
        grant("SELECT, INSERT, UPDATE", "segment_list_entry", to=SEGMENTATION),
        purpose_view(SEGMENTATION, "list_entry", LIST_ENTRY),
        grant("SELECT", "segment_list_entry", to=WEB),
        grant("SELECT", "segment_list", "segment_list_entry", to=RIGHTS),
        grant("SELECT, INSERT, UPDATE, DELETE", "rank_threshold", to=SEGMENTATION),
        *(grant(WHEN, "rank_threshold", to=reader) for reader in (WEB, *READERS)),
        # The ranking is found anew at once, and ends with somebody else.
        erasure_rule(
            "rank_threshold", "UPDATE rank_threshold SET refresh_at = computed_at WHERE profile_id = ANY($1 || $2)"
        ),
        erasure_rule("segment_list_entry", "DELETE FROM segment_list_entry WHERE identifier_id = ANY($1 || $2)"),
    ]

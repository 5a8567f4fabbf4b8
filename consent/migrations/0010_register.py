"""Who is responsible, how long data is kept, what was deleted, what went wrong; and the role that deletes."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, RETENTION, WEB, WORKER_BY_QUEUE
from cdp.models.access import append_only, erasure_rule, grant, row_security

# A month goes whole if all of it belongs to the workspace that asks. Read by its own name a partition has no policy, so
# the owner sees the rows of the others here. What is younger than a month never goes, whatever was asked.
DROP_EVENT_PARTITION = """
CREATE FUNCTION core.drop_event_partition(month date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp SET lock_timeout = '4s' AS $$
DECLARE
    first date := date_trunc('month', month);
    partition text := format('event_%s', to_char(first, 'YYYY_MM'));
    own bigint := NULLIF(current_setting('tessera.workspace', true), '')::bigint;
    is_shared boolean;
    dropped bigint;
BEGIN
    IF own IS NULL OR to_regclass('core.' || partition) IS NULL OR first + interval '1 month' > now() - interval '30 days' THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('core.ensure_event_partition'));
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM core.%I WHERE workspace_id <> $1)', partition) INTO is_shared USING own;
    IF is_shared THEN
        RETURN NULL;
    END IF;
    LOCK TABLE core.event IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('SELECT count(*), COALESCE(bool_or(workspace_id <> $1), false) FROM core.%I', partition)
        INTO dropped, is_shared USING own;
    IF is_shared THEN
        RETURN NULL;
    END IF;
    EXECUTE format('DROP TABLE core.%I', partition);
    RETURN dropped;
END $$;
REVOKE ALL ON FUNCTION core.drop_event_partition FROM PUBLIC;
"""

# What the role reads of a table: ids, times, and what its condition asks for.
DELETED = {
    "event": "occurred_at",
    "record": "deleted_at",
    "quarantine": "received_at, replayed_at, discarded_at",
    "announcement": "received_at",
    "membership": "left_at",
    "score": "computed_at",
    "audience_member": "changed_at, state",
}
CONFIGURED = ("controller_details", "retention_period", "breach")
EVIDENCE = ("retention_evidence", "breach_evidence", "source_notice")


class Migration(migrations.Migration):
    dependencies = [
        ("consent", "0009_erasure"),
        ("cdp", "0014_lean_keys"),
        ("segments", "0005_lean_keys"),
        ("activation", "0004_one_sender"),
        ("enrichment", "0003_providers_as_sources"),
    ]

    operations = [
        migrations.CreateModel(
            name="Breach",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "nature",
                    models.CharField(
                        choices=[
                            ("CONFIDENTIALITY", "confidentiality"),
                            ("INTEGRITY", "integrity"),
                            ("AVAILABILITY", "availability"),
                        ],
                        max_length=16,
                        verbose_name="nature",
                    ),
                ),
                ("facts", models.TextField(verbose_name="what happened")),
                ("effects", models.TextField(blank=True, verbose_name="likely consequences")),
                ("measures", models.TextField(blank=True, verbose_name="measures taken")),
                ("data_categories", models.TextField(blank=True, verbose_name="categories of data")),
                ("occurred_at", models.DateTimeField(blank=True, null=True, verbose_name="occurred at")),
                ("noticed_at", models.DateTimeField(help_text="the 72 hours run from here", verbose_name="noticed at")),
                (
                    "recorded_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="recorded at"
                    ),
                ),
                (
                    "is_high_risk",
                    models.BooleanField(
                        default=False, help_text="the people must be told, Art. 34", verbose_name="high risk"
                    ),
                ),
                ("authority_told_at", models.DateTimeField(blank=True, null=True, verbose_name="authority told at")),
                (
                    "untold_reason",
                    models.TextField(
                        blank=True,
                        help_text="Art. 33(1): no risk to people is likely",
                        verbose_name="why the authority is told late or not",
                    ),
                ),
                ("people_told_at", models.DateTimeField(blank=True, null=True, verbose_name="people told at")),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "breach",
                "verbose_name_plural": "breaches",
                "db_table": "breach",
            },
        ),
        migrations.CreateModel(
            name="BreachEvidence",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("query", models.JSONField(verbose_name="query")),
                ("people", models.PositiveBigIntegerField(verbose_name="people")),
                (
                    "profile_ids",
                    django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None),
                ),
                ("taken_at", models.DateTimeField(verbose_name="taken at")),
                (
                    "breach",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="evidence", to="consent.breach"
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "affected people",
                "verbose_name_plural": "affected people",
                "db_table": "breach_evidence",
            },
        ),
        migrations.CreateModel(
            name="ControllerDetails",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("controller", models.CharField(max_length=200, verbose_name="controller")),
                ("address", models.TextField(blank=True, verbose_name="address")),
                ("contact", models.CharField(blank=True, max_length=200, verbose_name="contact")),
                ("joint_controllers", models.TextField(blank=True, verbose_name="joint controllers")),
                (
                    "representative",
                    models.CharField(blank=True, max_length=200, verbose_name="representative in the Union"),
                ),
                ("dpo", models.CharField(blank=True, max_length=200, verbose_name="data protection officer")),
                (
                    "dpo_contact",
                    models.CharField(blank=True, max_length=200, verbose_name="contact of the data protection officer"),
                ),
                ("data_subjects", models.TextField(blank=True, verbose_name="categories of people")),
                (
                    "transfers",
                    models.TextField(
                        blank=True,
                        help_text="country, recipient and safeguards",
                        verbose_name="transfers to third countries",
                    ),
                ),
                ("security_measures", models.TextField(blank=True, verbose_name="security measures")),
                ("workspace", models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "controller",
                "verbose_name_plural": "controller",
                "db_table": "controller_details",
            },
        ),
        migrations.CreateModel(
            name="RetentionEvidence",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("schedule", models.CharField(max_length=40, verbose_name="schedule")),
                ("table", models.CharField(max_length=64, verbose_name="table")),
                ("purpose", models.CharField(max_length=20, verbose_name="purpose")),
                ("days", models.PositiveIntegerField(verbose_name="days")),
                ("cutoff", models.DateTimeField(verbose_name="older than")),
                ("rows", models.BigIntegerField(verbose_name="rows")),
                (
                    "partition",
                    models.CharField(
                        blank=True, help_text="that was dropped whole", max_length=64, verbose_name="partition"
                    ),
                ),
                ("reason", models.TextField(verbose_name="reason")),
                ("deleted_at", models.DateTimeField(verbose_name="deleted at")),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "deletion",
                "verbose_name_plural": "deletions",
                "db_table": "retention_evidence",
            },
        ),
        migrations.CreateModel(
            name="RetentionPeriod",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("schedule", models.CharField(max_length=40, verbose_name="schedule")),
                (
                    "days",
                    models.PositiveIntegerField(blank=True, help_text="empty: kept", null=True, verbose_name="days"),
                ),
                ("reason", models.TextField(verbose_name="reason")),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "retention period",
                "verbose_name_plural": "retention periods",
                "db_table": "retention_period",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "schedule"), name="retention_period_is_unique"),
                    models.CheckConstraint(
                        condition=models.Q(("days", None), ("days__gte", 1), _connector="OR"),
                        name="retention_period_is_a_day",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SourceNotice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("told_at", models.DateTimeField()),
                ("identifier", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.identifier")),
                ("source", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.source")),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "db_table": "source_notice",
                "constraints": [
                    models.UniqueConstraint(fields=("source", "identifier"), name="source_notice_is_unique")
                ],
            },
        ),
        row_security(*CONFIGURED, *EVIDENCE),
        append_only("retention_evidence", "breach_evidence"),
        erasure_rule("source_notice", "DELETE FROM source_notice WHERE identifier_id = ANY($1)", place=9),
        *(grant("SELECT, INSERT, UPDATE", *CONFIGURED, to=login) for login in (WEB, OPERATOR)),
        *(grant("SELECT, INSERT", "breach_evidence", "source_notice", to=login) for login in (WEB, OPERATOR)),
        *(grant("SELECT", "retention_evidence", to=login) for login in (WEB, OPERATOR)),
        grant("SELECT", "lookup", to=OPERATOR),
        grant("SELECT", "retention_period", to=WORKER_BY_QUEUE["ingestion"]),
        grant("SELECT", "retention_period", to=RETENTION),
        grant("SELECT, INSERT", "retention_evidence", to=RETENTION),
        *(
            grant(f"SELECT (id, workspace_id, {columns}), DELETE", table, to=RETENTION)
            for table, columns in DELETED.items()
        ),
        migrations.RunSQL(DROP_EVENT_PARTITION, "DROP FUNCTION core.drop_event_partition"),
        migrations.RunSQL(
            f"GRANT EXECUTE ON FUNCTION core.drop_event_partition TO {RETENTION}", migrations.RunSQL.noop
        ),
    ]

"""Requests of people, and what the login that answers them may read: everything, of one workspace, by a traced job.

The trigger holds the life of a request for whoever writes, a console with a bug included: which state follows which,
that nobody's verification is taken away, and that every change leaves its step.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import RIGHTS, WEB
from cdp.models.access import append_only, grant, row_security

FUNCTIONS = """
CREATE FUNCTION core.data_request_changes() RETURNS trigger LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'RECEIVED' THEN
            RAISE EXCEPTION 'a request begins as RECEIVED' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
        ('RECEIVED', 'IN_PROGRESS'), ('RECEIVED', 'REFUSED'), ('RECEIVED', 'DUPLICATE'), ('RECEIVED', 'TAKEN_BACK'),
        ('IN_PROGRESS', 'COMPLETED'), ('IN_PROGRESS', 'REFUSED'), ('IN_PROGRESS', 'DUPLICATE'),
        ('IN_PROGRESS', 'TAKEN_BACK')
    ) THEN
        RAISE EXCEPTION 'a request that is % cannot become %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.id, NEW.workspace_id, NEW.kind, NEW.key, NEW.digests, NEW.received_at)
       IS DISTINCT FROM (OLD.id, OLD.workspace_id, OLD.kind, OLD.key, OLD.digests, OLD.received_at) THEN
        RAISE EXCEPTION 'who asked for what, and when, is never changed' USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.verification <> '' AND (NEW.verification, NEW.verified_at)
       IS DISTINCT FROM (OLD.verification, OLD.verified_at) THEN
        RAISE EXCEPTION 'a verification is never changed' USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.closed_at IS NOT NULL AND to_jsonb(NEW) - 'identifiers' - 'step' - 'stepped_at' - 'stepped_by' - 'note'
       <> to_jsonb(OLD) - 'identifiers' - 'step' - 'stepped_at' - 'stepped_by' - 'note' THEN
        RAISE EXCEPTION 'a closed request is never changed' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state <> OLD.state AND NEW.step = OLD.step THEN
        RAISE EXCEPTION 'a change of state names its step' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION core.data_request_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.identifiers <> OLD.identifiers
       AND to_jsonb(NEW) - 'identifiers' = to_jsonb(OLD) - 'identifiers' THEN
        RETURN NULL;  -- encrypted anew with another key
    END IF;
    INSERT INTO data_request_step (workspace_id, request_id, step, from_state, to_state, stepped_at, stepped_by, note)
    VALUES (NEW.workspace_id, NEW.id, NEW.step, CASE TG_OP WHEN 'UPDATE' THEN OLD.state ELSE '' END, NEW.state,
            NEW.stepped_at, NEW.stepped_by, NEW.note);
    RETURN NULL;
END $$;

CREATE TRIGGER data_request_changes BEFORE INSERT OR UPDATE ON core.data_request
    FOR EACH ROW EXECUTE FUNCTION core.data_request_changes();
CREATE TRIGGER data_request_changed AFTER INSERT OR UPDATE ON core.data_request
    FOR EACH ROW EXECUTE FUNCTION core.data_request_changed();
"""

TABLES = ("data_request", "data_request_step", "identity_doubt", "verification_code", "data_package")
STEP = "step, stepped_at, stepped_by, note"

# What the answer to a person is made of. Of destinations neither the settings nor the secrets.
HELD = (
    "audience",
    "audience_member",
    "consent_record",
    "event",
    "identifier",
    "identifier_trait",
    "judgement",
    "lookup",
    "membership",
    "profile",
    "record",
    "review_pair",
    "score",
    "segment",
    "sighting",
    "trait",
    "learned_model",
)


class Migration(migrations.Migration):
    dependencies = [
        ("consent", "0007_ledger"),
        ("cdp", "0015_rights_scopes"),
        ("identity", "0003_lean_keys"),
        ("enrichment", "0003_providers_as_sources"),
        ("segments", "0005_lean_keys"),
        ("activation", "0004_one_sender"),
    ]

    operations = [
        migrations.CreateModel(
            name="DataRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("ACCESS", "access (Art. 15)"),
                            ("RECTIFICATION", "rectification (Art. 16)"),
                            ("ERASURE", "erasure (Art. 17)"),
                            ("RESTRICTION", "restriction (Art. 18)"),
                            ("PORTABILITY", "portability (Art. 20)"),
                            ("OBJECTION", "objection (Art. 21)"),
                            ("HUMAN_REVIEW", "review by a human (Art. 22)"),
                            ("WITHDRAWAL", "withdrawal of consent (Art. 7(3))"),
                        ],
                        max_length=20,
                        verbose_name="kind",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("RECEIVED", "received"),
                            ("IN_PROGRESS", "in progress"),
                            ("COMPLETED", "completed"),
                            ("REFUSED", "refused"),
                            ("DUPLICATE", "duplicate"),
                            ("TAKEN_BACK", "taken back"),
                        ],
                        default="RECEIVED",
                        max_length=20,
                        verbose_name="state",
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        blank=True, help_text="of the sender: the same key again is the same request", max_length=100
                    ),
                ),
                ("identifiers", models.BinaryField(help_text="who asks, as JSON under FIELD_ENCRYPTION_KEYS")),
                (
                    "digests",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BinaryField(max_length=32), help_text="of the identifiers, keyed", size=None
                    ),
                ),
                (
                    "verification",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "not verified"),
                            ("MANUAL", "by hand"),
                            ("CODE", "by a code"),
                            ("CODE_AND_IDENTIFIER", "by a code and a second identifier"),
                            ("LOGGED_IN", "logged in"),
                        ],
                        default="",
                        max_length=20,
                        verbose_name="verification",
                    ),
                ),
                ("verified_at", models.DateTimeField(null=True, verbose_name="verified at")),
                ("received_at", models.DateTimeField(verbose_name="received at")),
                (
                    "first_due_at",
                    models.DateTimeField(
                        help_text="for a refusal or the notice of an extension", verbose_name="first date"
                    ),
                ),
                ("due_at", models.DateTimeField(verbose_name="due at")),
                ("notified_at", models.DateTimeField(null=True, verbose_name="extension told at")),
                ("extension_reason", models.TextField(blank=True, default="", verbose_name="reason of the extension")),
                ("refusal_reason", models.TextField(blank=True, default="", verbose_name="reason of the refusal")),
                ("closed_at", models.DateTimeField(null=True, verbose_name="closed at")),
                ("step", models.CharField(max_length=30, verbose_name="last step")),
                ("stepped_at", models.DateTimeField(verbose_name="at")),
                (
                    "stepped_by",
                    models.CharField(help_text="user:ID, key:ID, or system", max_length=40, verbose_name="by"),
                ),
                ("note", models.TextField(blank=True, default="", verbose_name="note")),
                (
                    "duplicate_of",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="consent.datarequest",
                        verbose_name="duplicate of",
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "request of a person",
                "verbose_name_plural": "requests of people",
                "db_table": "data_request",
            },
        ),
        migrations.CreateModel(
            name="DataPackage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("secrets", models.BinaryField(help_text="the key of the file, under FIELD_ENCRYPTION_KEYS")),
                (
                    "stored_as",
                    models.CharField(blank=True, default="", help_text="its name below PACKAGE_DIR", max_length=80),
                ),
                ("counts", models.JSONField(default=dict, help_text="rows by section")),
                ("size", models.BigIntegerField(default=0, verbose_name="bytes")),
                ("failures", models.PositiveSmallIntegerField(db_default=0, default=0)),
                (
                    "error",
                    models.CharField(blank=True, default="", help_text="class of the last failure", max_length=100),
                ),
                ("ordered_at", models.DateTimeField(verbose_name="ordered at")),
                ("built_at", models.DateTimeField(null=True, verbose_name="built at")),
                ("link_digest", models.CharField(blank=True, db_index=True, default="", max_length=64)),
                ("link_expires_at", models.DateTimeField(null=True, verbose_name="link ends at")),
                ("downloads_left", models.PositiveSmallIntegerField(default=0, verbose_name="downloads left")),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
                (
                    "request",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="package", to="consent.datarequest"
                    ),
                ),
            ],
            options={
                "verbose_name": "package",
                "verbose_name_plural": "packages",
                "db_table": "data_package",
            },
        ),
        migrations.CreateModel(
            name="IdentityDoubt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("started_at", models.DateTimeField(verbose_name="from")),
                ("ended_at", models.DateTimeField(null=True, verbose_name="to")),
                ("reason", models.TextField(verbose_name="reason")),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="doubts", to="consent.datarequest"
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "db_table": "identity_doubt",
            },
        ),
        migrations.CreateModel(
            name="RequestStep",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("step", models.CharField(max_length=30, verbose_name="step")),
                ("from_state", models.CharField(blank=True, max_length=20, verbose_name="from")),
                (
                    "to_state",
                    models.CharField(
                        choices=[
                            ("RECEIVED", "received"),
                            ("IN_PROGRESS", "in progress"),
                            ("COMPLETED", "completed"),
                            ("REFUSED", "refused"),
                            ("DUPLICATE", "duplicate"),
                            ("TAKEN_BACK", "taken back"),
                        ],
                        max_length=20,
                        verbose_name="to",
                    ),
                ),
                ("stepped_at", models.DateTimeField(verbose_name="at")),
                ("stepped_by", models.CharField(max_length=40, verbose_name="by")),
                ("note", models.TextField(blank=True, verbose_name="note")),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="steps", to="consent.datarequest"
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "step of a request",
                "verbose_name_plural": "steps of requests",
                "db_table": "data_request_step",
            },
        ),
        migrations.CreateModel(
            name="VerificationCode",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.BinaryField(max_length=32)),
                ("expires_at", models.DateTimeField()),
                ("tries", models.PositiveSmallIntegerField(db_default=0, default=0)),
                ("codes_sent", models.PositiveSmallIntegerField(db_default=1, default=1)),
                (
                    "request",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="code", to="consent.datarequest"
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "db_table": "verification_code",
            },
        ),
        migrations.AddIndex(
            model_name="datarequest",
            index=models.Index(
                condition=models.Q(("closed_at", None)), fields=["workspace", "due_at"], name="data_request_open_by_due"
            ),
        ),
        migrations.AddConstraint(
            model_name="datarequest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("key", ""), _negated=True),
                fields=("workspace", "key"),
                name="data_request_key_is_unique",
            ),
        ),
        migrations.AddConstraint(
            model_name="datarequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("verification", ""), _negated=True),
                    ("state__in", ["RECEIVED", "REFUSED", "TAKEN_BACK"]),
                    _connector="OR",
                ),
                name="data_request_is_verified_first",
            ),
        ),
        migrations.AddConstraint(
            model_name="datarequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("verification", ""), ("verified_at", None)),
                    models.Q(models.Q(("verification", ""), _negated=True), ("verified_at__isnull", False)),
                    _connector="OR",
                ),
                name="data_request_verification_has_its_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="datarequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("notified_at", None),
                    models.Q(
                        ("notified_at__lte", models.F("first_due_at")),
                        models.Q(("extension_reason", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="data_request_extension_was_told_in_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="datarequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("notified_at__isnull", False), ("due_at", models.F("first_due_at")), _connector="OR"
                ),
                name="data_request_is_due_later_only_if_told",
            ),
        ),
        migrations.AddConstraint(
            model_name="datarequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "REFUSED"), _negated=True),
                    models.Q(
                        ("closed_at__lte", models.F("first_due_at")), models.Q(("refusal_reason", ""), _negated=True)
                    ),
                    _connector="OR",
                ),
                name="data_request_refusal_was_told_in_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="datarequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("closed_at", None), ("state__in", ["RECEIVED", "IN_PROGRESS"])),
                    models.Q(
                        models.Q(("state__in", ["RECEIVED", "IN_PROGRESS"]), _negated=True),
                        ("closed_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="data_request_closed_has_its_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="datarequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("duplicate_of__isnull", False), ("state", "DUPLICATE")),
                    models.Q(models.Q(("state", "DUPLICATE"), _negated=True), ("duplicate_of", None)),
                    _connector="OR",
                ),
                name="data_request_duplicate_names_the_other",
            ),
        ),
        migrations.AddConstraint(
            model_name="datarequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        [
                            "ACCESS",
                            "RECTIFICATION",
                            "ERASURE",
                            "RESTRICTION",
                            "PORTABILITY",
                            "OBJECTION",
                            "HUMAN_REVIEW",
                            "WITHDRAWAL",
                        ],
                    )
                ),
                name="data_request_kind_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="identitydoubt",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at", None)), fields=("request",), name="identity_doubt_one_at_a_time"
            ),
        ),
        migrations.AddConstraint(
            model_name="identitydoubt",
            constraint=models.CheckConstraint(
                condition=models.Q(("ended_at", None), ("ended_at__gte", models.F("started_at")), _connector="OR"),
                name="identity_doubt_ends_after_it_starts",
            ),
        ),
        migrations.AddIndex(
            model_name="requeststep",
            index=models.Index(fields=["request", "id"], name="data_request_step_by_request"),
        ),
        migrations.AddConstraint(
            model_name="verificationcode",
            constraint=models.CheckConstraint(
                condition=models.Q(("tries__lte", 5)), name="verification_code_has_five_tries"
            ),
        ),
        migrations.AddConstraint(
            model_name="verificationcode",
            constraint=models.CheckConstraint(
                condition=models.Q(("codes_sent__lte", 5)), name="verification_code_is_sent_five_times"
            ),
        ),
        migrations.RunSQL(FUNCTIONS, migrations.RunSQL.noop),
        row_security(*TABLES),
        append_only("data_request_step"),
        grant("SELECT, INSERT, UPDATE", "data_request", "data_package", to=WEB),
        grant("SELECT, INSERT", "data_request_step", to=WEB),
        grant("SELECT, INSERT, UPDATE (ended_at)", "identity_doubt", to=WEB),
        grant("SELECT, INSERT, UPDATE", "verification_code", to=WEB),
        grant(f"SELECT, UPDATE ({STEP})", "data_request", to=RIGHTS),
        grant("SELECT, INSERT", "data_request_step", to=RIGHTS),
        grant("SELECT (id, workspace_id, request_id, started_at, ended_at)", "identity_doubt", to=RIGHTS),
        grant("SELECT, UPDATE", "data_package", to=RIGHTS),
        grant("SELECT", *HELD, to=RIGHTS),
        grant("SELECT (id, workspace_id, slug, kind)", "destination", to=RIGHTS),
    ]

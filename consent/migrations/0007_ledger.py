"""The ledger proves what it says: purposes have versions, records name them, and a chain of hashes holds the order.

The chain has one link for each record, made in the transaction of the record: a trigger takes the lock that the
recording takes anyway, reads the head, and folds the whole statement into it by one window aggregate. A link for each
statement would be smaller by half, but a receipt could not show its own place, nor the check name the row.
"""

import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from cdp.kernel.logins import OPERATOR, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import append_only, grant, row_security

CHAIN = """
-- What of a record cannot change unnoticed. A later column joins it when it is not empty: old links must still hold.
-- Without SET and STRICT, so that Postgres folds it into the query.
CREATE FUNCTION core.consent_digest(r core.consent_record, notice text) RETURNS bytea LANGUAGE sql STABLE
RETURN sha256(convert_to(jsonb_build_array(
    r.workspace_id, r.id, r.identifier_type, encode(r.identifier_digest, 'hex'), r.purpose, r.state,
    (extract(epoch FROM r.occurred_at) * 1000000)::bigint, (extract(epoch FROM r.expires_at) * 1000000)::bigint,
    r.is_verified, r.source_id, r.notice_id, notice, r.key, (extract(epoch FROM r.recorded_at) * 1000000)::bigint,
    r.recipient, r.jurisdiction, r.rule
)::text, 'UTF8'));

CREATE FUNCTION core.consent_genesis(workspace bigint) RETURNS bytea LANGUAGE sql IMMUTABLE
RETURN sha256(convert_to('tessera consent ledger ' || workspace, 'UTF8'));

-- The first value is the state that the fold begins with: the hash of the head.
CREATE FUNCTION core.consent_chained(before bytea, digest bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN sha256(before || digest);
END $$;
CREATE AGGREGATE core.consent_chain(bytea) (SFUNC = core.consent_chained, STYPE = bytea);
"""

# {rows}: the new records, as rows of consent_record named r.
EXTEND = """
    WITH head AS (
        SELECT w.workspace_id, COALESCE(l.position, 0) AS position,
               COALESCE(l.hash, core.consent_genesis(w.workspace_id)) AS hash
        FROM (SELECT DISTINCT workspace_id FROM {rows} r) AS w LEFT JOIN LATERAL (
            SELECT position, hash FROM core.consent_link WHERE workspace_id = w.workspace_id
            ORDER BY position DESC LIMIT 1
        ) AS l ON true
    ),
    block AS (
        SELECT workspace_id, position, NULL::bigint AS record_id, hash FROM head
        UNION ALL
        SELECT h.workspace_id, h.position + row_number() OVER (PARTITION BY h.workspace_id ORDER BY r.id), r.id,
               core.consent_digest(ROW(r.*)::core.consent_record, n.digest)
        FROM {rows} r JOIN head h ON h.workspace_id = r.workspace_id LEFT JOIN core.notice n ON n.id = r.notice_id
    ),
    chained AS (
        SELECT workspace_id, position, record_id, core.consent_chain(hash) OVER (
            PARTITION BY workspace_id ORDER BY position ROWS UNBOUNDED PRECEDING
        ) AS hash FROM block
    )
    INSERT INTO core.consent_link (workspace_id, position, record_id, hash)
    SELECT workspace_id, position, record_id, hash FROM chained WHERE record_id IS NOT NULL
"""

# Its name comes before that of the trigger that decides: both take the same lock, and in the order of names.
CHAINING = f"""
CREATE FUNCTION core.consent_is_chained() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(4711, workspace_id::integer)
        FROM (SELECT DISTINCT workspace_id FROM said ORDER BY workspace_id) AS touched;
    EXECUTE $query${EXTEND.format(rows="said")}$query$;  -- planned for the size of each statement
    RETURN NULL;
END $$;
CREATE TRIGGER consent_record_is_chained AFTER INSERT ON core.consent_record
    REFERENCING NEW TABLE AS said FOR EACH STATEMENT EXECUTE FUNCTION core.consent_is_chained();
"""  # noqa: S608  # text of our own

RULES = """
CREATE FUNCTION core.purpose_gets_its_rule() RETURNS trigger
LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
DECLARE
    said jsonb := jsonb_build_object(
        'purpose', NEW.purpose, 'legal_basis', NEW.legal_basis, 'description', NEW.description,
        'is_special', NEW.is_special, 'data_categories', to_jsonb(NEW.data_categories),
        'retention_days', NEW.retention_days, 'regimes', NEW.regimes
    );
BEGIN
    NEW.fingerprint := encode(sha256(convert_to(said::text, 'UTF8')), 'hex');
    IF TG_OP = 'UPDATE' AND NEW.fingerprint = OLD.fingerprint THEN
        NEW.version := OLD.version;
        RETURN NEW;
    END IF;
    NEW.version := 1 + COALESCE(
        (SELECT max(version) FROM purpose_rule WHERE workspace_id = NEW.workspace_id AND purpose = NEW.purpose), 0
    );
    INSERT INTO purpose_rule (workspace_id, purpose, version, fingerprint, rule)
    VALUES (NEW.workspace_id, NEW.purpose, NEW.version, NEW.fingerprint, said);
    RETURN NEW;
END $$;
CREATE TRIGGER purpose_gets_its_rule BEFORE INSERT OR UPDATE ON core.purpose
    FOR EACH ROW EXECUTE FUNCTION core.purpose_gets_its_rule();
"""

# What was there before gets its versions and its links, workspace by workspace. Nobody is decided anew.
FILL = f"""
ALTER TABLE core.purpose DISABLE TRIGGER purpose_changed;
DO $$ DECLARE w bigint; BEGIN
    FOR w IN SELECT id FROM core.workspace ORDER BY id LOOP
        PERFORM set_config('tessera.workspace', w::text, true);
        UPDATE core.purpose SET version = version WHERE workspace_id = w;
        {EXTEND.format(rows="core.consent_record")};
    END LOOP;
    PERFORM set_config('tessera.workspace', '', true);
END $$;
ALTER TABLE core.purpose ENABLE TRIGGER purpose_changed;
"""  # noqa: S608  # text of our own

# The gate answers for every recipient at once. What names one recipient grants nothing here, and a refusal of one bars
# all of them, whatever is granted later by others: too strict, and never too lax. Each replaces what stands once.
RECIPIENTS = (
    ("SELECT purpose, occurred_at, expires_at", "SELECT purpose, recipient, occurred_at, expires_at"),
    ("state = 'UNKNOWN' AS is_silent",
     "(state = 'UNKNOWN' OR recipient <> '' AND state NOT IN ('REFUSED', 'WITHDRAWN')) AS is_silent"),
    ("state IN ('GIVEN', 'RENEWED') AND (", "recipient = '' AND state IN ('GIVEN', 'RENEWED') AND ("),
    ("DISTINCT ON (identifier_id, purpose)", "DISTINCT ON (identifier_id, purpose, recipient)"),
    ("ORDER BY identifier_id, purpose, occurred_at", "ORDER BY identifier_id, purpose, recipient, occurred_at"),
    ("max(occurred_at) FILTER (WHERE denies)",
     "max(CASE recipient WHEN '' THEN occurred_at ELSE 'infinity' END) FILTER (WHERE denies)"),
)  # fmt: skip


def name_recipients(_: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Change the function as it stands, whoever changed it last."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef('core.refresh_permissions'::regproc)")
        code = cursor.fetchone()[0]
        for before, after in RECIPIENTS:
            assert code.count(before) == 1, before
            code = code.replace(before, after)
        cursor.execute(code)


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0014_lean_keys"),
        ("consent", "0006_signals"),
    ]

    operations = [
        migrations.CreateModel(
            name="ConsentSettings",
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
                    "keeps_addresses",
                    models.BooleanField(
                        default=False,
                        help_text="of who asks and who confirms, as evidence",
                        verbose_name="keeps IP addresses",
                    ),
                ),
                (
                    "confirmation_hours",
                    models.PositiveIntegerField(
                        default=72,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="hours to confirm",
                    ),
                ),
            ],
            options={
                "verbose_name": "consent settings",
                "verbose_name_plural": "consent settings",
                "db_table": "consent_settings",
            },
        ),
        migrations.AddField(
            model_name="consentrecord",
            name="jurisdiction",
            field=models.CharField(blank=True, db_default="", default="", max_length=6, verbose_name="jurisdiction"),
        ),
        migrations.AddField(
            model_name="consentrecord",
            name="recipient",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="the platform or channel that alone is meant; empty: the purpose as a whole",
                max_length=64,
                verbose_name="recipient",
            ),
        ),
        migrations.AddField(
            model_name="consentrecord",
            name="rule",
            field=models.CharField(
                db_default="",
                default="",
                help_text="fingerprint of the purpose's rule when it was recorded",
                max_length=64,
            ),
        ),
        migrations.AddField(
            model_name="purposepolicy",
            name="data_categories",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=64),
                blank=True,
                db_default=[],
                default=list,
                size=None,
                verbose_name="data categories",
            ),
        ),
        migrations.AddField(
            model_name="purposepolicy",
            name="fingerprint",
            field=models.CharField(db_default="", default="", editable=False, max_length=64),
        ),
        migrations.AddField(
            model_name="purposepolicy",
            name="is_special",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="data of GDPR Art. 9, such as health",
                verbose_name="special categories",
            ),
        ),
        migrations.AddField(
            model_name="purposepolicy",
            name="regimes",
            field=models.JSONField(
                blank=True,
                db_default={},
                default=dict,
                help_text='by jurisdiction, such as {"US-CA": "OPT_OUT"}; the longest code that fits holds',
                verbose_name="regimes",
            ),
        ),
        migrations.AddField(
            model_name="purposepolicy",
            name="retention_days",
            field=models.PositiveIntegerField(
                blank=True,
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="retention in days",
            ),
        ),
        migrations.AddField(
            model_name="purposepolicy",
            name="version",
            field=models.PositiveIntegerField(db_default=1, default=1, editable=False, verbose_name="version"),
        ),
        migrations.CreateModel(
            name="Confirmation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("token_digest", models.CharField(max_length=64)),
                ("identifier_type", models.CharField(max_length=64)),
                ("identifier_digest", models.BinaryField(max_length=32)),
                (
                    "purpose",
                    models.CharField(
                        choices=[
                            ("collection", "collection"),
                            ("identity", "identity"),
                            ("enrichment", "enrichment"),
                            ("segmentation", "segmentation"),
                            ("learning", "learning"),
                            ("advertising", "advertising"),
                            ("analytics", "analytics"),
                        ],
                        max_length=20,
                    ),
                ),
                ("recipient", models.CharField(blank=True, default="", max_length=64)),
                ("jurisdiction", models.CharField(blank=True, default="", max_length=6)),
                ("requested_at", models.DateTimeField(verbose_name="requested at")),
                ("requested_from", models.GenericIPAddressField(null=True, verbose_name="requested from")),
                ("expires_at", models.DateTimeField(verbose_name="expires at")),
                ("confirmed_at", models.DateTimeField(null=True, verbose_name="confirmed at")),
                ("confirmed_from", models.GenericIPAddressField(null=True, verbose_name="confirmed from")),
                (
                    "notice",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, to="consent.notice"),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "double opt-in",
                "verbose_name_plural": "double opt-ins",
                "db_table": "confirmation",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "token_digest"), name="confirmation_token_is_unique"),
                    models.CheckConstraint(
                        condition=models.Q(("expires_at__gt", models.F("requested_at"))),
                        name="confirmation_expires_after_it_is_requested",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ConsentLink",
            fields=[
                ("record_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("position", models.BigIntegerField()),
                ("hash", models.BinaryField(max_length=32)),
                (
                    "workspace",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="cdp.workspace",
                    ),
                ),
            ],
            options={
                "db_table": "consent_link",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("workspace", "position"), name="consent_link_position_is_taken_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PurposeRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("purpose", models.CharField(max_length=20, verbose_name="purpose")),
                ("version", models.PositiveIntegerField(verbose_name="version")),
                ("fingerprint", models.CharField(help_text="SHA-256 of the rule as Postgres writes it", max_length=64)),
                ("rule", models.JSONField(verbose_name="rule")),
                (
                    "recorded_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="recorded at"
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "version of a purpose",
                "verbose_name_plural": "versions of purposes",
                "db_table": "purpose_rule",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "purpose", "version"), name="purpose_rule_is_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="SigningKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kid", models.CharField(help_text="thumbprint of the public key, RFC 7638", max_length=43)),
                ("public", models.BinaryField(max_length=32)),
                ("private", models.BinaryField(help_text="encrypted under FIELD_ENCRYPTION_KEYS")),
                ("created_at", models.DateTimeField()),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "db_table": "signing_key",
                "constraints": [models.UniqueConstraint(fields=("workspace", "kid"), name="signing_key_is_unique")],
            },
        ),
        migrations.RunSQL(CHAIN, migrations.RunSQL.noop),
        migrations.RunSQL(RULES, migrations.RunSQL.noop),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.RunSQL(CHAINING, migrations.RunSQL.noop),
        migrations.RunPython(name_recipients, migrations.RunPython.noop),
        row_security("purpose_rule", "consent_link", "consent_settings", "confirmation", "signing_key"),
        append_only("purpose_rule", "consent_link", "signing_key"),
        *(grant("SELECT", "consent_link", "consent_settings", to=login) for login in (WEB, OPERATOR)),
        grant("SELECT (workspace_id, purpose, fingerprint)", "purpose", to=Purpose.COLLECTION),  # hears signals
        *(grant("SELECT, INSERT", "purpose_rule", "signing_key", to=login) for login in (WEB, OPERATOR)),
        *(grant("INSERT, UPDATE", "consent_settings", to=login) for login in (WEB, OPERATOR)),
        grant("SELECT, INSERT, UPDATE (confirmed_at, confirmed_from)", "confirmation", to=WEB),
    ]

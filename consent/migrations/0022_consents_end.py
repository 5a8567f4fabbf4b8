"""A purpose says after how many days a consent ends, and nothing is kept longer than it says.

The end of a consent is part of its record, as the rule was when it was given.

Whoever records must know by which rule an end was set: the same statement again is the same one, whatever the rule is now.
"""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import migrations, models

from cdp.kernel.logins import PURPOSES_BY_LOGIN, RETENTION
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant

# What has no such end keeps the fingerprint that it had.
RULES = """
CREATE OR REPLACE FUNCTION core.purpose_gets_its_rule() RETURNS trigger
LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
DECLARE
    said jsonb := jsonb_build_object(
        'purpose', NEW.purpose, 'legal_basis', NEW.legal_basis, 'description', NEW.description,
        'is_special', NEW.is_special, 'data_categories', to_jsonb(NEW.data_categories),
        'retention_days', NEW.retention_days, 'regimes', NEW.regimes
    ) || CASE NEW.scope WHEN 'PERSON' THEN '{}'::jsonb ELSE jsonb_build_object('scope', NEW.scope) END
      || CASE WHEN NEW.consent_days IS NULL THEN '{}'::jsonb ELSE jsonb_build_object('consent_days', NEW.consent_days) END;
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
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0021_silence_is_told_once")]

    operations = [
        migrations.AddField(
            model_name="purposepolicy",
            name="consent_days",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="of consents that are given from now on; empty: until they are withdrawn",
                null=True,
                validators=[MinValueValidator(1), MaxValueValidator(36500)],
                verbose_name="consent ends after, in days",
            ),
        ),
        migrations.AddConstraint(
            model_name="purposepolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("consent_days", None),
                    models.Q(("consent_days__range", (1, 36500)), ("legal_basis", "CONSENT")),
                    _connector="OR",
                ),
                name="purpose_ends_consents_alone",
            ),
        ),
        migrations.RunSQL(RULES, migrations.RunSQL.noop),
        grant("SELECT (consent_days)", "purpose", to=Purpose.COLLECTION),  # hears signals
        *(grant("SELECT", "purpose_rule", to=role) for role in (*PURPOSES_BY_LOGIN, Purpose.COLLECTION)),
        grant("SELECT (workspace_id, purpose, retention_days)", "purpose", to=RETENTION),
    ]

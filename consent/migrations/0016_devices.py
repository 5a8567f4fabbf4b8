"""Some purposes are judged device by device: cookies are agreed to in a browser, and for that browser.

A yes holds on the device where it was said and nowhere else, however many identifiers are merged with it. So what an
identifier of a device permits follows from its own rows alone. What belongs to no single device, which is the profile and
all its other identifiers, is permitted where every device permits it: then no view of a profile shows what one of its
devices does not permit, and none of them had to be changed.

Silence of a device counts, so under consent it is a no. Of the other identifiers only those count that were heard.
Restrictions and objections are the person's and reach every device.
"""

from django.db import migrations, models

from cdp.kernel.logins import OPERATOR
from cdp.models.access import grant

# The scope is part of the rule that records name. What is judged by the person keeps the fingerprint that it had.
RULES = """
CREATE OR REPLACE FUNCTION core.purpose_gets_its_rule() RETURNS trigger
LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
DECLARE
    said jsonb := jsonb_build_object(
        'purpose', NEW.purpose, 'legal_basis', NEW.legal_basis, 'description', NEW.description,
        'is_special', NEW.is_special, 'data_categories', to_jsonb(NEW.data_categories),
        'retention_days', NEW.retention_days, 'regimes', NEW.regimes
    ) || CASE NEW.scope WHEN 'PERSON' THEN '{}'::jsonb ELSE jsonb_build_object('scope', NEW.scope) END;
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
    dependencies = [("consent", "0015_gate")]

    operations = [
        migrations.AddField(
            model_name="purposepolicy",
            name="scope",
            field=models.CharField(
                choices=[("PERSON", "the person: all identifiers together"), ("DEVICE", "each device by itself")],
                db_default="PERSON",
                default="PERSON",
                help_text="whose word counts; device by device only what cookies are for: advertising and analytics",
                max_length=6,
                verbose_name="scope",
            ),
        ),
        migrations.AddConstraint(
            model_name="purposepolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(("scope", "PERSON"), ("purpose__in", ["advertising", "analytics"]), _connector="OR"),
                name="purpose_by_device_only_reads",
            ),
        ),
        migrations.RunSQL(RULES, migrations.RunSQL.noop),
        # `consent explain` answers for a device, and for the person where something is sent.
        grant("SELECT (permitted)", "profile", to=OPERATOR),
        # `manage.py requests` does what the officer does in the console.
        grant("SELECT, INSERT, UPDATE", "data_request", "data_package", "verification_code", to=OPERATOR),
        grant("SELECT, INSERT", "data_request_step", to=OPERATOR),
        grant("SELECT, INSERT, UPDATE (ended_at)", "identity_doubt", to=OPERATOR),
        grant("SELECT, INSERT, UPDATE (due_at, outcome, done_at)", "request_work", to=OPERATOR),
    ]

"""Workspaces apart, ledgers as they are, and what `web` and `operator` may do with the core tables."""

from django.db import migrations

from cdp.kernel.logins import OPERATOR, PURPOSES_BY_LOGIN, WEB
from cdp.models.access import grant, row_security

REFUSE_CHANGE = """
CREATE FUNCTION core.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND EXISTS (
        SELECT 1 FROM core.workspace WHERE id = OLD.workspace_id AND closed_at IS NOT NULL
    ) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only: write a later row instead', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
"""

# An identifier founds a profile with its own id; until it is merged it stands for itself.
FOUND_PROFILE = """
CREATE FUNCTION core.found_profile() RETURNS trigger LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
BEGIN
    NEW.profile_id := COALESCE(NEW.profile_id, NEW.id);
    RETURN NEW;
END $$;
CREATE TRIGGER identifier_founds_profile BEFORE INSERT ON core.identifier
    FOR EACH ROW EXECUTE FUNCTION core.found_profile();
"""

EVERY_LOGIN = tuple(PURPOSES_BY_LOGIN)
CONFIGURATION = ("workspace", "source", "write_key", "api_key", "member", "auth_user")
PERSONAL = ("identifier", "identifier_trait", "sighting", "profile", "trait", "event", "record")


class Migration(migrations.Migration):
    dependencies = [("cdp", "0001_core")]

    operations = [
        migrations.RunSQL(REFUSE_CHANGE, "DROP FUNCTION core.refuse_change"),
        migrations.RunSQL(FOUND_PROFILE, "DROP FUNCTION core.found_profile CASCADE"),
        row_security(*PERSONAL, "inbox", "message", "quarantine", "run"),
        *(grant("SELECT", "workspace", "source", "django_migrations", to=login) for login in EVERY_LOGIN),
        *(grant("SELECT, INSERT, DELETE, UPDATE (failed_at, error)", "outbox", to=login) for login in EVERY_LOGIN),
        *(grant("SELECT, INSERT, UPDATE", "run", to=login) for login in EVERY_LOGIN),
        *(grant("SELECT, INSERT, UPDATE, DELETE", *CONFIGURATION, "auth_group", to=login) for login in (WEB, OPERATOR)),
        *(
            grant(
                "SELECT, INSERT, UPDATE, DELETE",
                "auth_group_permissions",
                "auth_user_groups",
                "auth_user_user_permissions",
                "auth_permission",
                to=login,
            )
            for login in (WEB, OPERATOR)
        ),
        *(grant("SELECT, INSERT", "inbox", to=login) for login in (WEB, OPERATOR)),
        *(grant("SELECT, INSERT, UPDATE", "quarantine", to=login) for login in (WEB, OPERATOR)),
        grant("SELECT", *PERSONAL, to=WEB),
    ]

"""Who permits to be recognised from now on is recognised now: what was seen of them waited behind the gate.

And those whose permission has run out are found by an index.
"""

from importlib import import_module

from django.db import migrations

from cdp.kernel.purposes import Purpose

BEFORE: str = import_module("consent.migrations.0002_permissions").REFRESH

TELLING = """
        RETURNING p.workspace_id, p.id
    )
"""
TELLING_IDENTITY = f"""
        RETURNING p.workspace_id, p.id, new.permitted & ~old.permitted & {Purpose.IDENTITY.bit} <> 0 AS is_recognised
    ),
    recognised AS (
        INSERT INTO outbox (workspace_id, stage, subject_id, cause)
        SELECT i.workspace_id, 'IDENTITY', i.id, 'CONSENT' FROM on_profiles p JOIN identifier i ON i.profile_id = p.id
        WHERE tells AND p.is_recognised
    )
"""  # noqa: S608  # a bit of our own

# In the order of ids everybody would be walked over, in each batch, to find that nobody's time has come.
WALK = "WHERE permitted_until <= clock_timestamp() ORDER BY id LIMIT most"
JUMP = "WHERE permitted_until <= clock_timestamp() ORDER BY permitted_until LIMIT most"


def with_identity(functions: str) -> str:
    """The functions of the first migration, and nothing else of them changed."""
    assert functions.count(TELLING) == functions.count(WALK) == 1
    changed = functions.replace(TELLING, TELLING_IDENTITY).replace(WALK, JUMP)
    return changed.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


class Migration(migrations.Migration):
    dependencies = [("consent", "0003_purpose_schemas")]

    operations = [migrations.RunSQL(with_identity(BEFORE), migrations.RunSQL.noop)]

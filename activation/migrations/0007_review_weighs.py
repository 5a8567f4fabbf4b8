"""Pairs that wait for a steward are ordered by what hangs on them: identity counts audiences by profile, ids only."""

from django.db import migrations

from cdp.kernel.purposes import Purpose
from cdp.models.access import grant


class Migration(migrations.Migration):
    dependencies = [("activation", "0006_recipients")]

    operations = [
        grant("SELECT (workspace_id, profile_id, audience_id, state)", "audience_member", to=Purpose.IDENTITY)
    ]

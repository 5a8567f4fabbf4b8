"""Pairs that wait for a steward are ordered by what hangs on them: identity counts segments by profile, ids only."""

from django.db import migrations

from cdp.kernel.purposes import Purpose
from cdp.models.access import grant


class Migration(migrations.Migration):
    dependencies = [("segments", "0005_lean_keys")]

    operations = [grant("SELECT (workspace_id, profile_id, left_at)", "membership", to=Purpose.IDENTITY)]

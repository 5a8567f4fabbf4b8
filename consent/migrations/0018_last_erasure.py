"""Whoever stores people may know which erasure was the last: ids that were looked up before it may be gone since."""

from django.db import migrations

from cdp.kernel.purposes import Purpose
from cdp.models.access import grant


class Migration(migrations.Migration):
    dependencies = [("consent", "0017_lean_decision")]

    operations = [grant("SELECT (id, workspace_id)", "erasure", to=Purpose.COLLECTION)]

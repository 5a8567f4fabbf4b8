"""A provider becomes a source of the workspace when it is first asked."""

from django.db import migrations

from cdp.kernel.purposes import Purpose
from cdp.models.access import grant


class Migration(migrations.Migration):
    dependencies = [("enrichment", "0002_access")]

    operations = [grant("INSERT", "source", to=Purpose.ENRICHMENT)]

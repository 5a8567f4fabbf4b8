from django.db import migrations

from cdp.kernel.logins import WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, row_security


class Migration(migrations.Migration):
    dependencies = [("enrichment", "0001_tables"), ("consent", "0003_purpose_schemas")]

    operations = [
        row_security("lookup"),
        grant("SELECT, INSERT, UPDATE", "lookup", to=Purpose.ENRICHMENT),
        grant("SELECT", "lookup", to=WEB),
    ]

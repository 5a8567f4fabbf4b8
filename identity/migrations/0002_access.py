from django.db import migrations

from cdp.kernel.logins import OPERATOR, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import append_only, grant, row_security

IDENTITY = Purpose.IDENTITY


class Migration(migrations.Migration):
    dependencies = [("identity", "0001_tables"), ("consent", "0003_purpose_schemas")]

    operations = [
        row_security("judgement", "linkage_model", "review_pair", "identity_rules"),
        append_only("judgement", "linkage_model"),
        grant("SELECT, INSERT", "judgement", "linkage_model", to=IDENTITY),
        grant("SELECT, INSERT, UPDATE, DELETE", "review_pair", to=IDENTITY),
        grant("SELECT", "identity_rules", to=IDENTITY),
        grant("SELECT, INSERT", "judgement", to=WEB),
        grant("SELECT, UPDATE", "review_pair", to=WEB),
        grant("SELECT", "linkage_model", to=WEB),
        *(grant("SELECT, INSERT, UPDATE", "identity_rules", to=login) for login in (WEB, OPERATOR)),
    ]

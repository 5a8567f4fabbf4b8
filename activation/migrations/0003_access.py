from django.db import migrations

from cdp.kernel.logins import OPERATOR, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, row_security

ADVERTISING = Purpose.ADVERTISING


class Migration(migrations.Migration):
    dependencies = [("activation", "0002_ledger"), ("segments", "0002_access")]

    operations = [
        row_security("destination", "audience", "audience_member", "sync_run"),
        *(grant("SELECT, INSERT, UPDATE, DELETE", "destination", "audience", to=login) for login in (WEB, OPERATOR)),
        grant("SELECT, UPDATE (paused_until, failure)", "destination", to=ADVERTISING),
        grant("SELECT", "audience", to=ADVERTISING),
        # The ledger holds hashes of people who may have withdrawn: they are needed in order to remove them.
        grant("SELECT, INSERT, UPDATE", "audience_member", "sync_run", to=ADVERTISING),
        grant("SELECT", "audience_member", "sync_run", to=WEB),
    ]

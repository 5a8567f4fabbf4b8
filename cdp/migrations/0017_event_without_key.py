"""Events lose the index of their primary key.

Nobody looks an event up by its id: it only tells apart events of one moment, and the database alone gives it. That a
message is stored once is what `message` sees to. The index was a tenth of what storing an event cost.
"""

from django.db import migrations

KEY = "ALTER TABLE core.event ADD PRIMARY KEY (id, occurred_at)"


class Migration(migrations.Migration):
    dependencies = [("cdp", "0016_consents_first")]

    operations = [migrations.RunSQL("ALTER TABLE core.event DROP CONSTRAINT event_pkey", KEY)]

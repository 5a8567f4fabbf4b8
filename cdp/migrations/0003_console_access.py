"""The console's own tables: sessions, its log, and what permissions refer to."""

from django.db import migrations

from cdp.kernel.logins import OPERATOR, WEB
from cdp.models.access import grant


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0002_access"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("sessions", "0001_initial"),
    ]

    operations = [
        grant("SELECT, INSERT, UPDATE, DELETE", "django_session", "django_admin_log", "django_content_type", to=login)
        for login in (WEB, OPERATOR)
    ]

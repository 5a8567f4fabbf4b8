"""`manage.py webhooks create|list`."""

from typing import Any

from cdp.ingestion.subscribing import WEBHOOK_KINDS, webhook_path
from cdp.management.subscribing import SubscribingCommand
from cdp.models import Connection


class Command(SubscribingCommand):
    help = "Connect systems that send webhooks."
    kinds = WEBHOOK_KINDS

    def described(self, connection: Connection) -> dict[str, Any]:
        return {**super().described(connection), "path": webhook_path(connection)}

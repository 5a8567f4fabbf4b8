"""`manage.py streams create|list`. `manage.py consume` reads them."""

from typing import Any

from cdp.ingestion.subscribing import STREAM_KINDS
from cdp.management.subscribing import SubscribingCommand
from cdp.models import Connection


class Command(SubscribingCommand):
    help = "Connect Kafka, Valkey and Redis streams."
    kinds = STREAM_KINDS

    def described(self, connection: Connection) -> dict[str, Any]:
        return {**super().described(connection), "position": connection.cursor}

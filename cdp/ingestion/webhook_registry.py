"""The webhooks there are, by the kind of their source. A new one is a folder, and a line here."""

from collections.abc import Mapping
from typing import Final

from cdp.ingestion.webhook import Fetching, Webhook
from cdp.ingestion.webhooks.generic.webhook import WEBHOOK as GENERIC
from cdp.ingestion.webhooks.surveymonkey.webhook import WEBHOOK as SURVEYMONKEY
from cdp.ingestion.webhooks.typeform.webhook import WEBHOOK as TYPEFORM
from cdp.models import SourceKind

WEBHOOKS: Final[Mapping[SourceKind, Webhook]] = {
    SourceKind.WEBHOOK: GENERIC,
    SourceKind.TYPEFORM: TYPEFORM,
    SourceKind.SURVEYMONKEY: SURVEYMONKEY,
}
FETCHING: Final[Mapping[SourceKind, Fetching]] = {SourceKind.SURVEYMONKEY: SURVEYMONKEY}

"""Ask providers about identifiers."""

from collections.abc import Mapping
from datetime import datetime

from cdp.models import Cause
from consent.gate import Enrichment, Permit


def enrich(permit: Permit[Enrichment], subjects: Mapping[int, Cause], *, now: datetime) -> Mapping[int, Cause]:
    raise NotImplementedError

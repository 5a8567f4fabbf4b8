"""Keep audiences."""

from collections.abc import Mapping
from datetime import datetime

from cdp.models import Cause
from consent.gate import Advertising, Permit


def reconcile(permit: Permit[Advertising], subjects: Mapping[int, Cause], *, now: datetime) -> Mapping[int, Cause]:
    raise NotImplementedError


def send_due(*, workspace_id: int, now: datetime) -> int:
    raise NotImplementedError

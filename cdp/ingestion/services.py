"""Accept and store what arrives."""

from collections.abc import Mapping
from datetime import datetime

from cdp.models import Cause
from consent.gate import Collection, Permit


def store(permit: Permit[Collection], subjects: Mapping[int, Cause], *, now: datetime) -> Mapping[int, Cause]:
    raise NotImplementedError

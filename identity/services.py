"""Link identifiers to people."""

from collections.abc import Mapping
from datetime import datetime

from cdp.models import Cause
from consent.gate import Identity, Permit


def link(permit: Permit[Identity], subjects: Mapping[int, Cause], *, now: datetime) -> Mapping[int, Cause]:
    raise NotImplementedError

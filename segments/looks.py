"""As of when a profile is looked at, and why."""

from dataclasses import dataclass
from datetime import datetime

from cdp.models import Cause


@dataclass(frozen=True, slots=True)
class Look:
    """`waiting` are the segments that waited for this instant: only these are written, as another one may know less of it
    than it was told since. None: all are.
    """

    at: datetime
    cause: Cause
    waiting: frozenset[int] | None = None

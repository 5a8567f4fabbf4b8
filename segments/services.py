"""Keep memberships."""

from collections.abc import Mapping
from datetime import datetime

from cdp.models import Cause
from consent.gate import Permit, Segmentation


def evaluate(permit: Permit[Segmentation], subjects: Mapping[int, Cause], *, now: datetime) -> Mapping[int, Cause]:
    raise NotImplementedError


def due(permit: Permit[Segmentation], *, now: datetime, most: int) -> Mapping[int, Cause]:
    raise NotImplementedError

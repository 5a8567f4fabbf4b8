"""Ranks: what is frozen of a ranking between two refreshes, and who lies inside of it.

Nobody can be ranked alone. So the value of the last one inside is found over everybody, kept, and every profile is
compared with it until the next refresh.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Threshold:
    """The last one inside. No value: nobody had any, so nobody is inside.

    `profile_id` is given where ties are broken by it (`top 100`), and is None where they are included (`top 10%`).
    """

    value: Decimal | None
    profile_id: int | None
    computed_at: datetime

"""The demo's purchases: the CDNOW sample (Fader and Hardie), 2,357 customers of a record shop in 1997 and 1998.

Shipped with the `lifetimes` package. The dates are moved by whole days so that the last purchase was yesterday.
"""

import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from cdp.demo.people import SEED, Row, installed_file, number_of

EVENT_NAME = "Order Completed"


@dataclass(frozen=True)
class Purchase:
    user_id: str
    message_id: str
    made_at: datetime
    quantity: int
    revenue: float


def purchases(webshop: list[Row], *, today: date) -> list[Purchase]:
    """6,919 purchases, each by one of 2,357 customers of the web shop, drawn once from a fixed seed."""
    lines = installed_file("lifetimes", "datasets", "CDNOW_sample.txt").read_text().split("\n")
    rows = [line.split() for line in lines if line.strip()]
    shift = today - timedelta(days=1) - max(_day(row) for row in rows)
    buyers = _buyers(webshop, {row[1] for row in rows})
    return [
        Purchase(
            user_id=buyers[row[1]],
            message_id=f"cdnow-{place:05d}",
            made_at=datetime.combine(_day(row) + shift, time(12), UTC),
            quantity=int(row[3]),
            revenue=float(row[4]),
        )
        for place, row in enumerate(rows)
    ]


def _buyers(webshop: list[Row], customers: set[str]) -> dict[str, str]:
    people = [row["rec_id"] for row in sorted(webshop, key=number_of)]
    chosen = random.Random(SEED + 2).sample(people, len(customers))  # noqa: S311  # repeatable, not secret
    return dict(zip(sorted(customers), chosen, strict=True))


def _day(row: list[str]) -> date:
    text = row[2]
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))

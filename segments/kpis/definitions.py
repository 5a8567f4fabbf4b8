"""What a figure of a segment means, as data: one class for each kind, with what it needs to know.

A *period* is a day, a week or a month of the workspace's time zone, half-open. Somebody is a member *at an instant* when
they entered before it and left at it or later, so that size at the end = size at the beginning + entries - exits, and
*while a member* from the instant of entering until that of leaving. A share, a mean or a median of nothing is missing;
a count or a sum of nothing is 0.
"""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final, cast

import msgspec
from msgspec import Meta

from cdp.kernel.errors import TesseraError

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Days = Annotated[int, Meta(ge=1, le=3_650)]
Where = dict[Name, str | int | float | bool]


class Period(StrEnum):
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"


class Who(StrEnum):
    """Of whom a share is taken: members at any time of the period, at its beginning, or at its end."""

    DURING = "DURING"
    START = "START"
    END = "END"


class Measure(StrEnum):
    """How a value is written, and tested: shares by two proportions, the others by control limits."""

    COUNT = "COUNT"
    SHARE = "SHARE"
    MONEY = "MONEY"
    DAYS = "DAYS"
    MEAN = "MEAN"


class InvalidKpiError(TesseraError):
    """The definition of the figure is not as it must be."""

    code = "invalid_kpi"


class Figure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all kinds have. A period is computed again, once a day, until `settles_days` after its end: what arrives later
    than that is not looked at.
    """

    measure: ClassVar[Measure]

    period: Period = Period.MONTH
    settles_days: Annotated[int, Meta(ge=0, le=400)] = 7

    @property
    def settling_time(self) -> timedelta:
        """From the end of a period until its value stands."""
        return timedelta(days=self.settles_days)


class Size(Figure, frozen=True, tag="SIZE"):
    """Members at the end of the period."""

    measure = Measure.COUNT


class Entries(Figure, frozen=True, tag="ENTRIES"):
    """Entries in the period. Who enters twice is counted twice, and is one of n people."""

    measure = Measure.COUNT


class Exits(Figure, frozen=True, tag="EXITS"):
    """Exits in the period. Who leaves twice is counted twice, and is one of n people."""

    measure = Measure.COUNT


class Conversion(Figure, frozen=True, tag="CONVERSION"):
    """Of `who`, the share that did `event` in the period: while a member if `who` is DURING, else whether or not."""

    measure = Measure.SHARE

    event: Name
    where: Where = {}
    who: Who = Who.DURING


class Average(Figure, frozen=True, tag="AVERAGE"):
    """The average basket: the mean of the number `amount` over the events in the period that people did while members.

    Events without that number are left out.
    """

    measure = Measure.MONEY

    event: Name
    amount: Name
    where: Where = {}
    unit: str = ""


class Revenue(Figure, frozen=True, tag="REVENUE"):
    """The sum of the number `amount` over the events in the period that people did while members."""

    measure = Measure.MONEY

    event: Name
    amount: Name
    where: Where = {}
    unit: str = ""


class Retention(Figure, frozen=True, tag="RETENTION"):
    """Of the members at the beginning, the share that are members at the end; with an `event`, that did it in the period."""

    measure = Measure.SHARE

    event: Name | None = None
    where: Where = {}


class Renewal(Figure, frozen=True, tag="RENEWAL"):
    """Of what came `due` in the period for people who were members then, the share that was `renewed`.

    Both events carry `key`, the same for one contract; a renewal counts from `within_days` before until as long after
    the due event. Of a contract that is due twice in a period the first time counts.
    """

    measure = Measure.SHARE

    due: Name
    renewed: Name
    key: Name
    where: Where = {}
    within_days: Days = 30

    @property
    def settling_time(self) -> timedelta:
        """Until the last contract of the period had its time."""
        return timedelta(days=max(self.settles_days, self.within_days))


class Opportunities(Figure, frozen=True, kw_only=True):
    """Opportunities that were `closed` in the period, by people who were members then, and whose opening is known.

    The events carry `key`, the same for one opportunity. Of one that closes twice in a period the first time counts; it
    was opened at the first `opened` in the `within_days` before.
    """

    opened: Name
    closed: Name
    key: Name
    where: Where = {}
    within_days: Days = 730


class Cycle(Opportunities, frozen=True, tag="CYCLE"):
    """The length of the sales cycle: the median of the days from opening to closing."""

    measure = Measure.DAYS


class Contacts(Opportunities, frozen=True, kw_only=True, tag="CONTACTS"):
    """Contacts per opportunity: how many of `contacts` there were from opening until closing, in the mean."""

    measure = Measure.MEAN

    contacts: Annotated[list[Name], Meta(min_length=1, max_length=20)]


Kpi = Size | Entries | Exits | Conversion | Average | Revenue | Retention | Renewal | Cycle | Contacts
KINDS: Final[Mapping[str, type[Figure]]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (Size, Entries, Exits, Conversion, Average, Revenue, Retention, Renewal, Cycle, Contacts)
}


def read_kpi(data: object) -> Kpi:
    """From its JSON form. Raises `InvalidKpiError`, which names the place."""
    try:
        found = msgspec.convert(data, Kpi)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        raise InvalidKpiError(f"{message}.", place=place.strip("`.") or None) from None
    if b"\\u0000" in msgspec.json.encode(found):
        raise InvalidKpiError("A text holds a NUL, which no event can hold.")
    return cast("Kpi", found)


def as_json(kpi: Kpi) -> dict[str, object]:
    """With all that was left out, so that a default that changes one day changes no definition."""
    return cast("dict[str, object]", msgspec.to_builtins(kpi))

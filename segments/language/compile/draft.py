"""What the leaves of a query ask for while they are compiled: columns of the passes over the facts, and of the subjects.

Who asks for the same twice gets the same column, so leaves share what they have in common.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Final

from sqlglot import exp

from segments.language.compile.expressions import Parameters, call, column, constant, given, scalar, whole
from segments.language.ranks import Threshold
from segments.language.tree import CalendarUnit, Zone


class Asked(Enum):
    """About whom a query asks, and as of when. It takes, besides the values of its rules:"""

    EVERYBODY = auto()
    """`now`"""
    SOME = auto()
    """`profiles`, `identifiers` that are theirs, and `now`: the instant is a constant, so windows bound what is read."""
    EACH_AT_ITS_INSTANT = auto()
    """`profiles`, `identifiers` that are theirs, and `instants`, one for each profile."""


Filter = Sequence[exp.Expr]


@dataclass(slots=True)
class Reach:
    """How far back a pass over the events must read: constants, so that partitions out of reach are not touched."""

    seconds: int = 0
    since: datetime | None = None
    is_endless: bool = False

    def include(self, bound: int | datetime | None) -> None:
        """So many seconds before the instant asked about, or since an instant, or for ever."""
        if bound is None:
            self.is_endless = True
        elif isinstance(bound, int):
            self.seconds = max(self.seconds, bound)
        else:
            self.since = bound if self.since is None else min(self.since, bound)


@dataclass(slots=True)
class Facts:
    """One pass over a table: a row for each profile, and what is aggregated of its rows."""

    alias: str
    names: dict[str, exp.Expr] = field(default_factory=dict)
    """Which rows the pass must see: those of these events, traits, models, segments or lists."""
    columns: dict[str, exp.Expr] = field(default_factory=dict)
    filters: list[Filter] = field(default_factory=list)
    """Rows by which something is true or known: over everybody no others are grouped."""
    reach: Reach = field(default_factory=Reach)
    _known: dict[object, str] = field(default_factory=dict)

    def column(self, key: object, made: Callable[[], exp.Expr]) -> exp.Expr:
        """The key says everything that the aggregate depends on: `made` is called for the first one."""
        if key not in self._known:
            name = self._known[key] = f"{self.alias}{len(self._known)}"
            self.columns[name] = made()
        return column(self._known[key])

    def is_any(self, key: object, conditions: Filter) -> exp.Expr:
        """Whether a row is like this. Null where there is no row."""
        self.filters.append(conditions)
        return self.column(key, lambda: exp.LogicalOr(this=exp.and_(*conditions, copy=False)))


WORKSPACE_ZONE: Final = "core.workspace_zone"


@dataclass(slots=True)
class Draft:
    asked: Asked
    frozen: Mapping[str, Threshold]
    tells_changes: bool = True
    """Or only who is in."""
    parameters: Parameters = field(default_factory=Parameters)
    events: Facts = field(default_factory=lambda: Facts("e"))
    chained: Facts = field(default_factory=lambda: Facts("e"))
    """The events of sequences."""
    traits: Facts = field(default_factory=lambda: Facts("t"))
    scores: Facts = field(default_factory=lambda: Facts("s"))
    members: Facts = field(default_factory=lambda: Facts("m"))
    lists: Facts = field(default_factory=lambda: Facts("i"))
    starts: dict[tuple[CalendarUnit, int, Zone], str] = field(default_factory=dict)
    """Beginnings of calendar units, counted from the one of the instant asked about."""
    needs_zone: bool = False
    """Of each profile."""
    has_events_by_zone: bool = False
    needs_permission: bool = False
    of_event: Sequence[exp.Expr] = ()
    """What is asked of every event besides: whose it is."""

    def keep(self, names: Collection[str]) -> None:
        """Only these columns are asked for after all."""
        for facts in (self.events, self.traits, self.scores, self.members, self.lists):
            facts.columns = {name: made for name, made in facts.columns.items() if name in names}

    def zone(self, zone: Zone) -> exp.Expr:
        """In the row of a profile."""
        if zone is Zone.PROFILE:
            self.needs_zone = True
            return column("zone")
        return self.shared_zone(zone)

    def zone_of_event(self, zone: Zone) -> exp.Expr:
        if zone is Zone.PROFILE:
            self.needs_zone = self.has_events_by_zone = True
            return column("zone", "e")
        return self.shared_zone(zone)

    def shared_zone(self, zone: Zone) -> exp.Expr:
        if zone is Zone.UTC:
            return constant("UTC")
        return scalar(exp.select(call(WORKSPACE_ZONE)))

    def start_for_event(self, unit: CalendarUnit, shift: int, zone: Zone) -> exp.Expr:
        """In the row of an event: when the calendar unit so many after that of the instant asked about begins.

        Everybody's is found once, each profile's once for each zone; never once for each event.
        """
        if zone is Zone.PROFILE or self.asked is Asked.EACH_AT_ITS_INSTANT:
            self.zone_of_event(zone)
            self.has_events_by_zone = True
            return column(self.starts.setdefault((unit, shift, zone), f"c{len(self.starts)}"), "e")
        return scalar(exp.select(self.local_start(given("now", "timestamptz"), unit, shift, self.shared_zone(zone))))

    def local_start(self, at: exp.Expr, unit: CalendarUnit, shift: int, zone: exp.Expr) -> exp.Expr:
        return call("core.local_start", at, constant(unit), whole(shift), zone)

    @property
    def events_need_subject(self) -> bool:
        """Then each row of an event carries the instant of its profile, and what depends on its zone."""
        return self.asked is Asked.EACH_AT_ITS_INSTANT or self.has_events_by_zone

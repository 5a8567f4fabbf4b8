"""What a query is made of while it is: the columns of each pass over the facts, and what the relations must hold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from sqlglot import exp

from segments.columnar.conditions import Conditions, Values
from segments.columnar.dialects import Dialect, allof, when, whole
from segments.columnar.instants import bounds_in, micros_of, widest_after
from segments.language.periods import EARLIEST
from segments.language.ranks import Threshold
from segments.language.tree import (
    Ahead,
    Anniversary,
    Calendar,
    Condition,
    Consented,
    Learned,
    Listed,
    Measured,
    Member,
    Period,
    Property,
    Zone,
)  # fmt: skip

Chosen = Learned | Listed | Member | Consented


@dataclass(slots=True)
class Needs:
    """What the relations must hold for a query."""

    events: set[str] = field(default_factory=set)
    after: datetime | None = None
    """No event that counts is as old as this. None: all may count."""
    until: datetime | None = None
    traits: set[str] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    chosen: dict[int, Chosen] = field(default_factory=dict)
    periods: dict[int, Calendar] = field(default_factory=dict)
    anniversaries: dict[int, Anniversary] = field(default_factory=dict)
    has_clock: bool = False

    @property
    def has_zones(self) -> bool:
        return bool(self.periods or self.anniversaries or self.has_clock)


class Draft:
    """Rows of a pass are called `f`; what is made of them stands in `of_` and the name of the relation."""

    def __init__(
        self, dialect: Dialect, now: datetime, workspace_zone: tzinfo, frozen: Mapping[str, Threshold]
    ) -> None:
        self.dialect, self.now, self.workspace_zone, self.frozen = dialect, now, workspace_zone, frozen
        self.values = Values(dialect)
        self.conditions = Conditions(dialect, self.values)
        self.needs = Needs(until=now)
        self.leaves: dict[str, exp.Expr] = {}
        self.columns: dict[str, dict[str, exp.Expr]] = {}  # of each table that is read once: name → aggregate
        self.tables: dict[str, exp.Query] = {}  # of leaves that need a table of their own: name → its query
        self.begins: list[datetime | None] = []  # after when the events of each leaf count

    def _some(self, table: str, number: int, conditions: Sequence[exp.Expr]) -> exp.Expr:
        """Whether any row of the person's is so."""
        found = exp.Max(this=when(allof(conditions), whole(1), whole(0)))
        return exp.EQ(this=self._column(table, f"l{number}", found), expression=whole(1))

    def _column(self, table: str, name: str, aggregate: exp.Expr) -> exp.Expr:
        self.columns.setdefault(table, {})[name] = aggregate
        return column(name, f"of_{table}")

    def _happened_column(self, name: str, aggregate: exp.Expr, conditions: Sequence[exp.Expr]) -> exp.Expr:
        made = exp.Filter(this=aggregate, expression=exp.Where(this=allof([each.copy() for each in conditions])))
        return self._column("happened", name, made)

    def _is_named(self, name: str) -> exp.Expr:
        return exp.EQ(this=column("name", "f"), expression=self.values.text(name))

    def _counted(self, rule: Measured, number: int) -> list[exp.Expr]:
        self.needs.events.add(rule.event)
        self.begins.append(widest_after(rule.period, self.now))
        return [self._is_named(rule.event), *self._where(rule.where), *self._during(rule.period, number)]

    def _where(self, where: Iterable[Condition]) -> list[exp.Expr]:
        properties = column("properties", "f")
        return [self.conditions.holds(one, properties.copy(), (one.name, *one.inside)) for one in where]

    def _during(self, period: Period | Ahead, number: int, *, is_dated: bool = False) -> list[exp.Expr]:
        """Within the bounds of the period, which stand in a table if they are those of the profile's zone."""
        micros = column("micros", "f")
        if isinstance(period, Calendar) and period.zone is Zone.PROFILE:
            self.needs.periods[number] = period
            after, until = column(f"after_{number}", "f"), column(f"until_{number}", "f")
            return [exp.GT(this=micros, expression=after), exp.LTE(this=micros.copy(), expression=until)]
        is_theirs = isinstance(period, Calendar) and period.zone is Zone.WORKSPACE
        first, last = bounds_in(period, self.now, self.workspace_zone if is_theirs else UTC)
        lower: list[exp.Expr] = [exp.GT(this=micros, expression=whole(first))] if first > micros_of(EARLIEST) else []
        is_open = not is_dated and last == micros_of(self.now)  # `happened` has nothing later
        return lower if is_open else [*lower, exp.LTE(this=micros.copy(), expression=whole(last))]

    def _value(self, of_property: Property) -> exp.Expr:
        return self.conditions.found(column("properties", "f"), (of_property.name, *of_property.inside))


def column(name: str, table: str) -> exp.Expr:
    return exp.column(name, table)


def or_nought(value: exp.Expr) -> exp.Expr:
    return exp.Coalesce(this=value, expressions=[whole(0)])


def is_known(value: exp.Expr) -> exp.Expr:
    return exp.Not(this=exp.Is(this=value, expression=exp.null()))

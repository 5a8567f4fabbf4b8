"""Rules as one query over everybody, at an instant that is known: for DuckDB, Spark and ClickHouse.

As the instant is known, every period is a pair of whole numbers, microseconds since 1970, that Python computed; where
they differ by the zone of a profile, they stand in a small table. So no engine does arithmetic with calendars, and one
query is as good as another. It reads these relations, which `relations` makes for the rules that are asked:

    event   id, identifier_id, source_id, message_id, name, micros, properties
    who     identifier_id, profile_id               whoever may be seen now
    person  profile_id, zone                        likewise
    trait   profile_id, name, value                 JSON
    moment  profile_id, name, micros, day           traits that are dates
    chosen  leaf, profile_id                        who is in a group, on a list, in another segment, or consents
    score   profile_id, model, value
    zone    zone, and two columns for each period or anniversary that depends on it
    clock   zone, begins, ends, shift               what clocks show, for counting calendar units

The result has a row for each person: `profile_id` and, for each rule, a column r0, r1, … that is true or false.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from sqlglot import exp

from cdp.kernel.errors import TesseraError
from segments.columnar.dialects import DIALECTS, allof, is_true, whole
from segments.columnar.draft import Needs, column, is_known
from segments.columnar.instants import micros_of
from segments.columnar.people import People
from segments.columnar.ranked import Ranked
from segments.columnar.sequences import sequence
from segments.language.json_form import canonical
from segments.language.ranks import Threshold
from segments.language.tree import (
    And,
    Anniversary,
    Consented,
    Count,
    Dated,
    Event,
    Leaf,
    Learned,
    Listed,
    Measured,
    Member,
    Near,
    Node,
    Not,
    Or,
    Rank,
    Sample,
    Score,
    Step,
    Trait,
    leaves_of,
)  # fmt: skip
from segments.language.tree import Sequence as Steps


class UnsupportedRuleError(TesseraError):
    """The engine has no proven expression for a condition of the rule: take another one."""

    code = "rule_unsupported_by_engine"

    def __init__(self, what: object, dialect: str) -> None:
        kind = type(what).__name__
        message = f"{kind} cannot be computed by {dialect}: take the engine postgres"
        super().__init__(message, condition=kind, engine=dialect)


@dataclass(frozen=True, slots=True)
class Compiled:
    sql: str
    parameters: Mapping[str, str]
    needs: Needs


def compile_rules(
    rules: Sequence[Node],
    *,
    dialect: str,
    now: datetime,
    workspace_zone: tzinfo = UTC,
    frozen: Mapping[str, Threshold] | None = None,
) -> Compiled:
    """The query that evaluates these rules at once. Computed traits must have been resolved."""
    return _Compiler(DIALECTS[dialect], now, workspace_zone, frozen or {}).compiled(rules)


class _Compiler(People, Ranked):
    def compiled(self, rules: Sequence[Node]) -> Compiled:
        distinct = {canonical(leaf): leaf for rule in rules for leaf in leaves_of(rule)}
        for number, (key, leaf) in enumerate(distinct.items()):
            self.leaves[key] = self._leaf(leaf, number)
        self.needs.after = None if None in self.begins else min(filter(None, self.begins), default=self.now)
        query = self._known(rules)
        for name, table in self._tables().items():
            query = query.with_(name, as_=table, copy=False)
        return Compiled(query.sql(self.dialect.name), self.values.given, self.needs)

    # -- the tree

    def _known(self, rules: Sequence[Node]) -> exp.Select:
        answers = [exp.alias_(is_true(self._tree(rule)), f"r{place}") for place, rule in enumerate(rules)]
        query = exp.select(*_named({"person": ["profile_id"]}), *answers).from_("person")
        for name in (*self.columns, *self.tables):
            relation = f"of_{name}" if name in self.columns else name
            query = query.join(relation, on=f"{relation}.profile_id = person.profile_id", join_type="left")
        return query

    def _tree(self, node: Node) -> exp.Expr:
        match node:
            case And(children):
                return exp.and_(*(self._tree(child) for child in children), copy=False)
            case Or(children):
                return exp.or_(*(self._tree(child) for child in children), copy=False)
            case Not(child):
                return exp.not_(self._tree(child), copy=False)
            case _:
                return is_true(self.leaves[canonical(node)].copy())

    def _tables(self) -> dict[str, exp.Query]:
        """Of events first those that any leaf reads, then what is made of them."""
        tables: dict[str, exp.Query] = {}
        if self.needs.events:
            tables["happened"] = self._happened()
        for name, columns in self.columns.items():
            tables[f"of_{name}"] = self._aggregated(name, columns)
        return {**tables, **self.tables}

    def _aggregated(self, name: str, columns: Mapping[str, exp.Expr]) -> exp.Select:
        made = [exp.alias_(value, column, copy=False) for column, value in columns.items()]
        query = exp.select(*_named({"f": ["profile_id"]}), *made).group_by("f.profile_id")
        if name == "happened":
            return query.from_("happened AS f")
        if name == "moment" and self.needs.has_zones:
            dated = {"m": ("profile_id", "name", "micros", "day"), "zone": self._of_zones()}
            zoned = exp.select(*_named(dated)).from_("moment AS m")
            zoned = zoned.join("person", on="person.profile_id = m.profile_id")
            zoned = zoned.join("zone", on="zone.zone = person.zone")
            return query.from_(zoned.subquery("f"))
        return query.from_(f"{name} AS f")

    def _happened(self) -> exp.Select:
        """The events that any leaf may count, with whose they are by now."""
        columns = {"who": ("profile_id",), "event": ("name", "micros", "source_id", "message_id", "properties")}
        query = exp.select(*_named(columns)).from_("event").join("who", on="who.identifier_id = event.identifier_id")
        if self.needs.has_zones:
            query = query.select(*_named({"zone": self._of_zones()}))
            query = query.join("person", on="person.profile_id = who.profile_id")
            query = query.join("zone", on="zone.zone = person.zone")
        names = [self.values.text(name) for name in sorted(self.needs.events)]
        query = query.where(exp.In(this=column("name", "event"), expressions=names))
        query = query.where(exp.LTE(this=column("micros", "event"), expression=whole(micros_of(self.now))))
        if self.needs.after is not None:
            query = query.where(exp.GT(this=column("micros", "event"), expression=whole(micros_of(self.needs.after))))
        return query

    def _of_zones(self) -> list[str]:
        """The columns of `zone`."""
        ends = [f"{end}_{number}" for number in self.needs.periods for end in ("after", "until")]
        return ["zone", *ends, *(f"days_{number}" for number in self.needs.anniversaries)]

    # -- leaves

    def _leaf(self, leaf: Leaf, number: int) -> exp.Expr:  # noqa: C901, PLR0911  # one case for each kind
        match leaf:
            case Trait(condition):
                return self._some("trait", number, self._of_trait(condition))
            case Near():
                return self._some("trait", number, self._near(leaf))
            case Dated(trait, period):
                self.needs.dates.add(trait)
                return self._some(
                    "moment", number, [self._is_named(trait), *self._during(period, number, is_dated=True)]
                )
            case Anniversary():
                return self._some("moment", number, self._anniversary(leaf, number))
            case Event():
                return self._event(leaf, number)
            case Steps():
                return self._sequence(leaf, number)
            case Learned() | Member() | Consented() | Listed():
                self.needs.chosen[number] = leaf
                return self._some("chosen", number, [exp.EQ(this=column("leaf", "f"), expression=whole(number))])
            case Score():
                return self._some("score", number, self._score(leaf))
            case Rank():
                return self._rank(leaf, number)
            case Sample():
                return self._sample(leaf)
            case _:
                raise UnsupportedRuleError(leaf, self.dialect.name)

    def _sequence(self, leaf: Steps, number: int) -> exp.Expr:
        first = leaf.steps[0]
        begins = self._counted(Measured(first.event, Count(), first.where, leaf.period), number)
        steps = [allof(begins), *(self._is_step(step) for step in leaf.steps[1:])]
        without = [self._is_step(step) for step in leaf.without]
        then_not = self._is_step(leaf.then_not) if leaf.then_not else None
        within = leaf.within.seconds * 1_000_000 if leaf.within else None
        self.tables[f"t{number}"] = sequence(steps, without, then_not, within, micros_of(self.now))
        return is_known(column("profile_id", f"t{number}"))

    def _is_step(self, step: Step) -> exp.Expr:
        self.needs.events.add(step.event)
        return allof([self._is_named(step.event), *self._where(step.where)])


def _named(columns: Mapping[str, Iterable[str]]) -> list[exp.Expr]:
    """Columns of several tables under their own names, which ClickHouse would make longer."""
    return [exp.alias_(column(name, table), name) for table, names in columns.items() for name in names]

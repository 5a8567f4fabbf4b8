"""Memberships kept step by step, against a chronicle that a watcher of the reference writes.

A story is a row of steps: something arrives, becomes known or is said, or time passes. After each, every segment must
hold whom the reference holds to be in, and its history must have the same periods, to the microsecond.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from hypothesis import strategies as st

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, OutboxRow, Stage, Workspace
from consent import gate
from consent.models import ConsentState
from segments import membership, queries, ranks, services
from segments.language import And, Node, Not, Or, canonical, leaves_of, to_json
from segments.language.periods import MOMENT, Stretch
from segments.language.ranks import Threshold
from segments.language.reference import Facts, is_in, next_change, threshold
from segments.language.tree import Listed, Member, Rank
from segments.models import Deadline, Membership, RankThreshold, Segment
from tests.factories.populations import Person, Population
from tests.factories.rules import (
    LIST,
    Strategy,
    happenings_about,
    leaves,
    offsets_from,
    or_missing,
    persons_about,
    starts,
    stored,
    timezones,
    trees,
)
from tests.proof.laws import taken_back

Step = tuple[Any, ...]
PEOPLE: Final = 3


@dataclass(frozen=True)
class Story:
    start: datetime
    persons: Sequence[Person]
    rules: Sequence[Node]
    steps: Sequence[Step]


# -- what may happen ------------------------------------------------------------------------------------------------

who = st.integers(0, PEOPLE - 1)


@cache
def steps_about(start: datetime, rules: Strategy) -> Strategy:
    waits = st.one_of(
        st.tuples(st.just("wait until a deadline")), st.tuples(st.just("wait until just before a deadline")),
        st.tuples(st.just("wait"), offsets_from(start).map(abs)),
    )  # fmt: skip
    news = st.one_of(
        st.tuples(st.just("happen"), who, happenings_about(start)),
        st.tuples(st.just("happen"), who, happenings_about(start)),
        st.tuples(st.just("learn"), who, st.sampled_from(["country", "age"]), or_missing(stored)),
        st.tuples(st.just("learn"), who, st.just("timezone"), or_missing(timezones)),
        st.tuples(st.just("say"), who, st.sampled_from([Purpose.ADVERTISING, Purpose.SEGMENTATION]), st.booleans()),
        st.tuples(st.just("enlist"), who), st.tuples(st.just("merge")), st.tuples(st.just("undo")),
        st.tuples(st.just("publish"), st.integers(0, 2), rules),
    )  # fmt: skip
    return st.one_of(waits, waits, news)


@cache
def stories(*kinds: str) -> Strategy:
    """With leaves of these kinds, or of all."""

    def about(start: datetime) -> Strategy:
        rule = trees(leaves(*kinds, start=start))
        rules = st.lists(rule, min_size=1, max_size=3)
        persons = st.lists(persons_about(start), min_size=PEOPLE, max_size=PEOPLE)
        return st.builds(
            Story, st.just(start), persons, rules, st.lists(steps_about(start, rule), min_size=1, max_size=8)
        )

    return starts.flatmap(about)


# -- what the reference sees ----------------------------------------------------------------------------------------


@dataclass
class Spell:
    """A time in a segment."""

    entered_at: datetime
    left_at: datetime | None = None
    left_cause: str = ""


@dataclass
class Chronicle:
    """What a watcher of the reference writes down: whoever is in, from the instant on at which he is."""

    population: Population
    rules: dict[str, Node]
    """In an order in which a rule names only segments before it."""
    spells: dict[tuple[str, int], list[Spell]] = field(default_factory=dict)
    ranks: dict[str, Rank] = field(default_factory=dict)
    thresholds: dict[str, Threshold] = field(default_factory=dict)
    """Of the rankings, by the canonical form."""

    def begin(self, now: datetime) -> None:
        """Each segment is computed after those that it names, and its rankings before it."""
        for slug, rule in self.rules.items():
            self.publish(slug, rule, now)

    def publish(self, slug: str, rule: Node, now: datetime) -> None:
        """Rankings that were found already end where they did."""
        self.rules[slug] = rule
        ranks = [leaf for leaf in leaves_of(rule) if isinstance(leaf, Rank)]
        self.rank([rank for rank in ranks if canonical(rank) not in self.thresholds], now)
        self._look_at(slug, now, Cause.DEFINITION)

    def refresh(self, now: datetime) -> None:
        """Rankings that are due are found anew, but for those that no rule has any more: they are forgotten."""
        wanted = {canonical(leaf) for rule in self.rules.values() for leaf in leaves_of(rule) if isinstance(leaf, Rank)}
        due = {
            key: rank for key, rank in self.ranks.items() if self.thresholds[key].computed_at + _refresh(rank) <= now
        }
        for key in due.keys() - wanted:
            del self.ranks[key], self.thresholds[key]
        self.rank([rank for key, rank in due.items() if key in wanted], now)
        self.look(now, Cause.RANK)

    def rank(self, ranks: Sequence[Rank], now: datetime) -> None:
        population = [self._facts(facts, profile) for profile, facts in self.population.facts.items()]
        self.ranks |= {canonical(rank): rank for rank in ranks}
        self.thresholds |= {canonical(rank): threshold(rank, population, now) for rank in ranks}

    def wait(self, since: datetime, until: datetime) -> None:
        """Nothing happens but time."""
        at: datetime | None = since
        while at := self._next_change(at):
            if at > until:
                break
            self.look(at, Cause.DEADLINE)

    def look(self, now: datetime, cause: Cause) -> None:
        for slug in self.rules:
            self._look_at(slug, now, cause)

    def _look_at(self, slug: str, now: datetime, cause: Cause) -> None:
        seen = self.population.facts
        for profile in self.population.known:
            is_member = profile in seen and is_in(self.rules[slug], self._facts(seen[profile], profile), now)
            self._write(slug, profile, is_member, now, cause)

    def history(self, slug: str) -> list[tuple[int, datetime, datetime | None]]:
        rows = [(key[1], spell) for key, spells in self.spells.items() if key[0] == slug for spell in spells]
        return sorted(((profile, one.entered_at, one.left_at) for profile, one in rows), key=str)

    def members(self, slug: str) -> list[int]:
        return [
            profile for profile in sorted(self.population.known) if (found := self.spells.get((slug, profile)))
            and any(spell.left_at is None for spell in found)
        ]  # fmt: skip

    def _next_change(self, at: datetime) -> datetime | None:
        found = [
            next_change(rule, self._facts(facts, profile), at)
            for profile, facts in self.population.facts.items()
            for rule in self.rules.values()
        ]
        return min((change for change in found if change is not None), default=None)

    def _facts(self, facts: Facts, profile: int) -> Facts:
        memberships: dict[str, list[Stretch]] = {
            slug: [(spell.entered_at, spell.left_at) for spell in self.spells.get((slug, profile), ())]
            for slug in self.rules
        }
        return replace(facts, memberships=memberships, thresholds=self.thresholds)

    def _write(self, slug: str, profile: int, is_member: bool, now: datetime, cause: Cause) -> None:
        spells = self.spells.setdefault((slug, profile), [])
        current = next((spell for spell in spells if spell.left_at is None), None)
        last = max(spells, key=lambda spell: spell.left_at or now, default=None)
        if current and not is_member:
            current.left_at, current.left_cause = now, cause
        elif is_member and not current and cause is Cause.SPLIT and last and last.left_cause is Cause.MERGE:
            last.left_at, last.left_cause = None, ""  # an undone merge gives back what it ended
        elif is_member and not current:
            spells.append(Spell(now))


# -- the law --------------------------------------------------------------------------------------------------------


def membership_is_what_the_reference_saw(workspace: Workspace, story: Story) -> None:
    with taken_back(workspace):
        told = _Telling(workspace, story)
        told.compare()
        for step in story.steps:
            told.take(*step)
            told.compare()


class _Telling:
    def __init__(self, workspace: Workspace, story: Story) -> None:
        self.workspace, self.now = workspace, story.start
        persons = [{**person, "memberships": {}, "lists": {}} for person in story.persons]
        self.population = Population(workspace, story.start, persons)
        self.population.enlist(self.population.identifiers[0], story.start)
        rules: dict[str, Node] = {f"s{place}": _referring(rule, place) for place, rule in enumerate(story.rules)}
        self.chronicle = Chronicle(self.population, rules)
        self.segments = {slug: self._segment(slug, rule) for slug, rule in rules.items()}
        self.chronicle.begin(self.now)

    def _segment(self, slug: str, rule: Node) -> Segment:
        return services.create_segment(
            workspace_id=self.workspace.pk, slug=slug, name="", definition=to_json(rule), author=None, now=self.now
        )

    def take(self, kind: str, *details: Any) -> None:
        if kind.startswith("wait"):
            before, self.now = self.now, self._later(kind, *details)
            self._evaluate({})
            self.chronicle.wait(before, self.now)
            self._evaluate(self._reranked())
            self.chronicle.refresh(self.now)
            return
        if kind == "publish":
            self._publish(*details)
            return
        touched = self._touched(kind, *details)
        if touched:
            cause = next(iter(touched.values()))
            self._evaluate(touched)
            self.chronicle.look(self.now, cause)

    def _publish(self, place: int, rule: Node) -> None:
        place %= len(self.segments)
        slug, rule = f"s{place}", _referring(rule, place)
        segment = self.segments[slug]
        segment.refresh_from_db()
        services.publish(segment=segment, definition=to_json(rule), author=None, now=self.now)
        self.chronicle.publish(slug, rule, self.now)
        self.chronicle.look(self.now, Cause.REFERENCE)

    def compare(self) -> None:
        for slug, segment in self.segments.items():
            expected = self.chronicle.members(slug)
            assert list(queries.members_of(segment)) == expected, f"members of {slug}"
            assert self._computed_anew(slug) == expected, f"members of {slug}, computed anew"
            rows = Membership.objects.filter(segment=segment).values_list("profile_id", "entered_at", "left_at")
            assert sorted(rows, key=str) == self.chronicle.history(slug), f"history of {slug}"
        kept = RankThreshold.objects.filter(workspace=self.workspace).values_list("value", "profile_id", "computed_at")
        found = [(one.value, one.profile_id, one.computed_at) for one in self.chronicle.thresholds.values()]
        assert Counter(kept) == Counter(found), "where rankings end"

    def _computed_anew(self, slug: str) -> Sequence[int]:
        rule, frozen = self.chronicle.rules[slug], self.chronicle.thresholds
        with gate.permit(Purpose.SEGMENTATION, workspace_id=self.workspace.pk) as permit:
            return queries.matching(permit, rule, now=self.now, frozen=frozen).members

    def _later(self, kind: str, *wait: timedelta) -> datetime:
        if wait:
            return self.now + wait[0]
        following = Deadline.objects.filter(due_at__gt=self.now).order_by("due_at").values_list("due_at", flat=True)
        due = following.first() or self.now
        return max(self.now, due - MOMENT if "before" in kind else due)

    def _reranked(self) -> Mapping[int, Cause]:
        """Whom the product hands over after the rankings that are due were found anew."""
        ranks.refresh_due(workspace_id=self.workspace.pk, now=self.now)
        rows = OutboxRow.objects.filter(workspace=self.workspace, stage=Stage.SEGMENTS, cause=Cause.RANK)
        subjects = [profile for row in rows for profile in (row.subjects or [row.subject_id])]
        rows.delete()
        return dict.fromkeys(subjects, Cause.RANK)

    def _evaluate(self, touched: Mapping[int, Cause]) -> None:
        with gate.permit(Purpose.SEGMENTATION, workspace_id=self.workspace.pk) as permit:
            waiting = membership.due(permit, now=self.now, most=100)
            membership.evaluate(permit, {**waiting, **touched}, now=self.now)
            assert not membership.due(permit, now=self.now, most=100), "deadlines that have come are done"

    def _touched(self, kind: str, *details: Any) -> Mapping[int, Cause]:
        """Does it, and says who is to be looked at, and why."""
        one, other = self.population.identifiers[:2]
        is_merged = self.population.owner[other.pk] != other.pk
        match kind, *details:
            case ("merge",) if not is_merged:
                self.population.merge(one, other)
                return {one.pk: Cause.MERGE, other.pk: Cause.MERGE}
            case ("undo",) if is_merged:
                self.population.split(other)
                return {one.pk: Cause.SPLIT, other.pk: Cause.SPLIT}
            case [_, place, *rest]:
                identifier = self.population.identifiers[place]
                cause = self._news(kind, identifier, *rest)
                return {identifier.profile_id: cause} if cause else {}
        return {}

    def _news(self, kind: str, identifier: Identifier, *details: Any) -> Cause | None:
        match [kind, *details]:
            case ["happen", happening]:
                return Cause.EVENT if self.population.happen(identifier, happening) else None
            case ["learn", name, value]:
                self.population.learn(identifier, {name: value})
                return Cause.LEARNT
            case ["say", purpose, is_given]:
                state = ConsentState.GIVEN if is_given else ConsentState.WITHDRAWN
                self.population.say(identifier, purpose, state)
                return Cause.CONSENT
            case ["enlist"]:
                self.population.enlist(identifier, self.now)
                return Cause.LIST
        return None


def _referring(rule: Node, place: int) -> Node:
    """Another segment is the one before, where there is one; else the list takes its place."""
    match rule:
        case And(children):
            return And(tuple(_referring(child, place) for child in children))
        case Or(children):
            return Or(tuple(_referring(child, place) for child in children))
        case Not(child):
            return Not(_referring(child, place))
        case Member():
            return Member(f"s{place - 1}") if place else Listed(LIST)
        case Rank():
            return replace(rule, among=f"s{place - 1}" if place and rule.among else None)
        case _:
            return rule


def _refresh(rank: Rank) -> timedelta:
    return timedelta(seconds=rank.refresh.seconds)

"""People of `tests.factories.rules` in the database, and the same facts for the reference evaluator."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, Profile, Source, Workspace
from consent.models import ConsentState
from segments.language import Node, canonical, leaves_of
from segments.language.periods import Stretch
from segments.language.ranks import Threshold
from segments.language.reference import Fact, Facts, is_in, threshold
from segments.language.tree import Rank
from segments.models import LearnedModel, Membership, Segment, SegmentVersion
from tests.factories import LONG_AGO, SourceFactory, say
from tests.factories.rules import LIST, MISSING, SEGMENT
from tests.factories.segments import as_json, merge, people, split

SOURCE_ZONE, FROM_ZONED_SOURCE = "Australia/Lord_Howe", "age"
"""The second source has a zone, and this trait comes from it."""

Person = Mapping[str, Any]
Key = tuple[int, str]


class Population:
    """What happens to it happens in both. A profile of the reference is made of what its identifiers brought."""

    def __init__(self, workspace: Workspace, start: datetime, persons: Sequence[Person]) -> None:
        self.workspace, self.start = workspace, start
        self.zone = ZoneInfo(workspace.time_zone)
        self.sources = [SourceFactory(workspace=workspace, time_zone=zone) for zone in ("", SOURCE_ZONE)]
        self.identifiers: list[Identifier] = people(len(persons), workspace)
        self.known = {identifier.pk: Facts(workspace_zone=self.zone) for identifier in self.identifiers}
        self.owner = {identifier.pk: identifier.pk for identifier in self.identifiers}
        """Whose profile an identifier belongs to."""
        self.hidden: set[int] = set()
        """Profiles that do not permit segmentation, or have gone into another one."""
        self.seen_keys: dict[Key, Fact] = {}
        self.said = 0
        for identifier, person in zip(self.identifiers, persons, strict=True):
            self._live(identifier, person)

    @property
    def facts(self) -> dict[int, Facts]:
        """By profile, of those that may be seen: its own, with the events and lists of all its identifiers."""
        return {pk: self._whole(pk) for pk in sorted(self.known) if pk not in self.hidden}

    def _whole(self, pk: int) -> Facts:
        parts = [self.known[each] for each, owner in self.owner.items() if owner == pk]
        return replace(
            self.known[pk],
            profile_id=pk,
            source_zone=ZoneInfo(SOURCE_ZONE) if FROM_ZONED_SOURCE in self.known[pk].traits else None,
            events=[fact for part in parts for fact in part.events],
            lists={
                name: [one for part in parts for one in part.lists.get(name, ())]
                for part in parts
                for name in part.lists
            },
        )

    def members(self, tree: Node, now: datetime) -> list[int]:
        return [profile for profile, facts in self.facts.items() if is_in(tree, facts, now)]

    def freeze(self, rules: Iterable[Node], now: datetime) -> dict[str, Threshold]:
        """The thresholds of all ranks, found at this instant."""
        ranks = [leaf for rule in rules for leaf in leaves_of(rule) if isinstance(leaf, Rank)]
        frozen = {canonical(rank): threshold(rank, self.facts.values(), now) for rank in ranks}
        self.known = {pk: replace(known, thresholds=frozen) for pk, known in self.known.items()}
        return frozen

    def happen(self, identifier: Identifier, happening: tuple[str, timedelta, Mapping[str, Any], Key]) -> bool:
        """An event arrives, or once more one whose key is known: that one is told to the reference again, and is not
        stored, as ingestion does. Returns whether it was new.
        """
        name, offset, properties, key = happening
        source = self.sources[key[0]]
        fact = self.seen_keys.get(key)
        is_new = fact is None
        if fact is None:
            fact = self.seen_keys[key] = Fact(name, self.start + offset, properties, source.pk, key[1])
            _store(identifier, source, fact)
            self.known[identifier.pk].events.append(fact)
        elif fact in self.known[identifier.pk].events:
            self.known[identifier.pk].events.append(fact)
        return is_new

    def learn(self, identifier: Identifier, traits: Mapping[str, Any]) -> None:
        """These traits of the profile have other values from now on, or are `MISSING`."""
        known = self.known[self.owner[identifier.pk]].traits
        for name, value in traits.items():
            known.pop(name, None)
            _run("DELETE FROM trait WHERE (profile_id, name) = (%s, %s)", identifier.profile_id, name)
            if value is not MISSING:
                known[name] = value
                _know(identifier, self.sources[name == FROM_ZONED_SOURCE], name, value)

    def permit(self, identifier: Identifier, purposes: Iterable[str]) -> None:
        """Of the two purposes that rules ask for, these."""
        asked = Purpose.ADVERTISING.bit | Purpose.ANALYTICS.bit
        given = sum(Purpose(purpose).bit for purpose in purposes)
        mask = Profile.objects.values_list("permitted", flat=True).get(pk=identifier.profile_id) & ~asked | given
        Profile.objects.filter(pk=identifier.profile_id).update(permitted=mask)
        permitted = frozenset(str(purpose) for purpose in Purpose if mask & purpose.bit)
        self.known[identifier.pk] = replace(self.known[identifier.pk], permitted=permitted)

    def say(self, identifier: Identifier, purpose: Purpose, state: ConsentState) -> None:
        """The ledger decides who permits what. The reference takes its word: this is not about consent."""
        self.said += 1
        say(identifier, purpose, state, LONG_AGO + timedelta(seconds=self.said))
        self._read_permissions()

    def enlist(self, identifier: Identifier, at: datetime) -> None:
        """Onto the list, or off it again."""
        stretches = self.known[identifier.pk].lists.setdefault(LIST, [])
        if stretches and stretches[-1][1] is None:
            _run(_END, at, identifier.pk)
            stretches[-1] = (stretches[-1][0], at)
        elif _enlist(identifier, LIST, [(at, None)]):
            stretches.append((at, None))

    def merge(self, survivor: Identifier, other: Identifier) -> None:
        merge(survivor, other)
        self.owner[other.pk] = survivor.pk
        self._read_permissions()

    def split(self, identifier: Identifier) -> None:
        split(identifier)
        self.owner[identifier.pk] = identifier.pk
        self._read_permissions()

    def _read_permissions(self) -> None:
        self.hidden.clear()
        rows = Profile.objects.filter(pk__in=self.known).values_list("pk", "permitted", "merged_into_id")
        for pk, mask, merged_into in rows:
            permitted = frozenset(str(purpose) for purpose in Purpose if mask & purpose.bit)
            self.known[pk] = replace(self.known[pk], permitted=permitted)
            if merged_into is not None or Purpose.SEGMENTATION not in permitted:
                self.hidden.add(pk)

    def _live(self, identifier: Identifier, person: Person) -> None:
        self.learn(identifier, person["traits"])
        self.permit(identifier, person["permitted"])
        self.known[identifier.pk].groups.update(person["groups"])
        self.known[identifier.pk].scores.update(person["scores"])
        for model in {*person["groups"], *person["scores"]}:
            _score(identifier, model, person["groups"].get(model), person["scores"].get(model))
        for slug, spans in person["lists"].items():
            stretches = self._stretches(spans)
            if _enlist(identifier, slug, stretches):
                self.known[identifier.pk].lists[slug] = stretches
        for spans in person["memberships"].values():
            stretches = self._stretches(spans)
            _have_been_in(identifier, stretches)
            self.known[identifier.pk].memberships[SEGMENT] = stretches
        for happening in person["events"]:
            self.happen(identifier, happening)

    def _stretches(self, spans: Iterable[tuple[timedelta, timedelta | None]]) -> list[Stretch]:
        """One after the other, as the tables demand."""
        in_order: list[Stretch] = []
        for begins, ends in sorted(spans, key=lambda span: span[0]):
            is_free = not in_order or (in_order[-1][1] is not None and in_order[-1][1] <= self.start + begins)
            if is_free and (ends is None or begins < ends):
                in_order.append((self.start + begins, None if ends is None else self.start + ends))
        return in_order


# -- rows -----------------------------------------------------------------------------------------------------------

_EVENT = """
INSERT INTO event (workspace_id, source_id, identifier_id, message_id, kind, name, occurred_at, received_at, seen_with,
    properties, context)
VALUES (%s, %s, %s, %s, 'track', %s, %s, %s, '{}', %s::jsonb, '{}')
"""
_TRAIT = """
INSERT INTO trait (workspace_id, profile_id, name, value, source_id, identifier_id, observed_at, confidence, rule)
VALUES (%s, %s, %s, %s::jsonb, %s, %s, %s, 1, 'RECENT')
"""

_LIST = "INSERT INTO segment_list (workspace_id, slug, name) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_ENTRY = """
INSERT INTO segment_list_entry (workspace_id, list_id, added_at, removed_at, identifier_id, reason)
SELECT workspace_id, id, %s, %s, %s, '' FROM segment_list WHERE (workspace_id, slug) = (%s, %s)
"""

_END = "UPDATE segment_list_entry SET removed_at = %s WHERE identifier_id = %s AND removed_at IS NULL"


def _store(identifier: Identifier, source: Source, fact: Fact) -> None:
    at = fact.occurred_at
    _run(_EVENT, identifier.workspace_id, source.pk, identifier.pk, fact.message_id, fact.name, at, at,
         as_json(fact.properties))  # fmt: skip


def _know(identifier: Identifier, source: Source, name: str, value: object) -> None:
    _run(
        _TRAIT, identifier.workspace_id, identifier.profile_id, name, as_json(value), source.pk, identifier.pk, LONG_AGO
    )


def _score(identifier: Identifier, model: str, group: str | None, value: object) -> None:
    learned, _ = LearnedModel.objects.get_or_create(
        workspace_id=identifier.workspace_id, slug=model, version=1, defaults={"specification": {}, "result": {}}
    )
    columns = {"workspace_id": identifier.workspace_id, "model_slug": model, "profile_id": identifier.profile_id,
               '"group"': group or "", "model_id": learned.pk, "computed_at": LONG_AGO}  # fmt: skip
    if is_there("score", "value"):
        columns["value"] = value
    names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
    _run(f"INSERT INTO score ({names}) VALUES ({places})", *columns.values())


def _enlist(identifier: Identifier, slug: str, stretches: Iterable[Stretch]) -> bool:
    if not is_there("segment_list_entry", "added_at"):
        return False
    _run(_LIST, identifier.workspace_id, slug, slug)
    for begins, ends in stretches:
        _run(_ENTRY, begins, ends, identifier.pk, identifier.workspace_id, slug)
    return True


@cache
def is_there(table: str, column: str) -> bool:
    """Not all that rules can ask about is there from the first migration on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM information_schema.columns WHERE table_schema = 'core' AND (table_name, column_name) = (%s, %s)",
            [table, column],
        )
        return cursor.fetchone() is not None


def _have_been_in(identifier: Identifier, stretches: Iterable[Stretch]) -> None:
    segment, _ = Segment.objects.get_or_create(workspace_id=identifier.workspace_id, slug=SEGMENT, name=SEGMENT)
    version, _ = SegmentVersion.objects.get_or_create(
        workspace_id=identifier.workspace_id, segment=segment, number=1, definition={}
    )
    Membership.objects.bulk_create(
        Membership(
            workspace_id=identifier.workspace_id, segment=segment, version=version, profile_id=identifier.profile_id,
            entered_at=begins, entered_cause=Cause.EVENT, left_at=ends, left_cause=Cause.EVENT if ends else "",
        )
        for begins, ends in stretches
    )  # fmt: skip


def _run(sql: str, *parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)

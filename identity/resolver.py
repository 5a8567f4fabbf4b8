"""From judgements to people: a pure function of the set of judgements, whatever order they came in.

Positive judgements are taken from the strongest to the weakest, and each unites two clusters unless a guard refuses:
of two claims that cannot both be true, a steward's holds, and else the one with more evidence. What record linkage found
is heard within a community of records alone (`identity.matching.communities`), not over a bridge between two.
A refusal is part of the result, with its reason. The id of a person is the smallest identifier id of the cluster, so
it follows from the cluster alone, and whoever undoes a merge gets the old ids back.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from identity.matching import communities
from identity.matching.communities import Link
from identity.windows import NO_WINDOWS, Windows

ANY_TYPE: Final = "*"  # in the limits: of all types together
DEFAULT_LIMITS: Final[Mapping[str, int]] = MappingProxyType({"user_id": 1, ANY_TYPE: 500})
# Several people may hold these at once: a family's mailbox, an office's telephone, a browser in a shop.
SHAREABLE_TYPES: Final = frozenset({"email", "phone", "anonymous_id"})
# In the limits: with how many of one type that tells people apart these are seen before they are nobody's. A device is
# not counted: everybody has several.
SHARED_AFTER: Final = "*shared"
DEFAULT_SHARED_AFTER: Final = 25


class Kind(StrEnum):
    """Who judged. Of two judgements on one pair the stronger kind's counts."""

    PROBABILISTIC = "PROBABILISTIC"
    DETERMINISTIC = "DETERMINISTIC"
    STEWARD = "STEWARD"

    @property
    def strength(self) -> int:
        return tuple(Kind).index(self)


class Reason(StrEnum):
    """Why a positive judgement united nothing."""

    SHARED = "SHARED"  # one of the two identifiers is held by several people
    NOT_SAME = "NOT_SAME"  # somebody said that the two sides are not one person
    LIMIT = "LIMIT"  # the person would have too many identifiers of a type
    SIZE = "SIZE"  # the person would have too many identifiers altogether
    BRIDGE = "BRIDGE"  # too few of the records on the two sides resemble each other: they are two communities


class Judgement(NamedTuple):
    left: int
    right: int
    is_same: bool
    kind: Kind
    weight: float


class Refusal(NamedTuple):
    """`evidence` has the numbers that the reason rests on, by name."""

    left: int
    right: int
    reason: Reason
    evidence: tuple[tuple[str, Any], ...] = ()


class Objection(NamedTuple):
    reason: Reason
    evidence: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Resolution:
    """`clusters` maps every identifier to its person. A judgement whose ends are one person after all is not refused."""

    clusters: Mapping[int, int]
    refusals: tuple[Refusal, ...]


def resolve(
    identifiers: Mapping[int, str],
    judgements: Iterable[Judgement],
    limits: Mapping[str, int] = DEFAULT_LIMITS,
    windows: Windows = NO_WINDOWS,
) -> Resolution:
    """Cluster `identifiers` (id → type). Judgements on identifiers that are not among them are left out.

    What no chain of judgements connects does not influence each other, so each group is resolved by itself, and
    one to which no guard objects needs no more than a glance. That makes a million identifiers a matter of seconds.
    """
    heard = [one for one in prevailing(judgements) if one.left in identifiers and one.right in identifiers]
    shared = shared_identifiers(identifiers, heard, limits)
    clusters = dict(zip(identifiers, identifiers, strict=True))
    refusals = [_void(one, shared) for one in heard if one.is_same and is_void(one, shared)]
    for group in _groups(heard, shared):
        ends = {end for one in group for end in one[:2]}
        if nothing_objects(group, ends, identifiers, limits) and not windows.may_object(ends, identifiers):
            clusters.update(dict.fromkeys(ends, min(ends)))
        else:
            people, refused = _resolved(group, identifiers, limits, windows)
            clusters.update(people)
            refusals += refused
    kept = (one for one in refusals if clusters[one.left] != clusters[one.right])
    return Resolution(clusters, tuple(sorted(kept)))


def nothing_objects(
    group: Sequence[Judgement], ends: Collection[int], identifiers: Mapping[int, str], limits: Mapping[str, int]
) -> bool:
    """No guard would refuse any of these judgements, whatever their order: true of nearly every group."""
    if len(ends) > limits.get(ANY_TYPE, len(ends)):
        return False
    limited = [kind for kind in map(identifiers.__getitem__, ends) if kind in limits]
    if len(limited) > 1 and any(count > limits[kind] for kind, count in Counter(limited).items()):
        return False
    if len(ends) < communities.FEWEST_RECORDS:  # too few for two communities
        return all(one.is_same for one in group)
    degrees = Counter(end for one in group if one.kind is Kind.PROBABILISTIC for end in one[:2])
    is_one_community = len(degrees) < communities.FEWEST_RECORDS or communities.is_closely_tied(degrees.values())
    return is_one_community and all(one.is_same for one in group)


def _groups(heard: Iterable[Judgement], shared: Collection[int]) -> Iterable[list[Judgement]]:
    """The judgements of each set of identifiers that positive ones connect, with the negative ones inside it."""
    live = [one for one in heard if one.is_same and not (shared and is_void(one, shared))]
    parent = _parents(live)
    groups: defaultdict[int, list[Judgement]] = defaultdict(list)
    for one in live:
        groups[_root(parent, one.left)].append(one)
    for one in heard:
        if not one.is_same and one.left in parent and one.right in parent:
            root = _root(parent, one.left)
            if root == _root(parent, one.right):
                groups[root].append(one)
    return groups.values()


def _parents(links: Iterable[Judgement | Link]) -> dict[int, int]:
    """A union-find in which whatever the links connect has one root."""
    parent: dict[int, int] = {}
    for link in links:
        left, right = _root(parent, link.left), _root(parent, link.right)
        if left != right:
            parent[right] = left
    return parent


def _root(parent: dict[int, int], one: int) -> int:
    above = parent.setdefault(one, one)
    while above != one:
        parent[one] = parent[above]
        one = above
        above = parent[one]
    return one


def _resolved(
    group: Sequence[Judgement], identifiers: Mapping[int, str], limits: Mapping[str, int], windows: Windows
) -> tuple[dict[int, int], list[Refusal]]:
    """A mailbox or telephone that turns out to be claimed by two people belongs to neither: it is shared, and all is
    resolved anew without what it says.
    """
    types = {end: identifiers[end] for one in group for end in (one.left, one.right)}
    shared: frozenset[int] = frozenset()
    while True:
        people, refusals = _united(types, group, limits, shared, windows)
        contested = _contested(refusals, types, group) - shared
        if not contested:
            return people, refusals
        shared |= contested


def _united(
    types: Mapping[int, str],
    group: Sequence[Judgement],
    limits: Mapping[str, int],
    shared: frozenset[int],
    windows: Windows,
) -> tuple[dict[int, int], list[Refusal]]:
    live = [one for one in group if not (one.is_same and is_void(one, shared))]
    refusals = [_void(one, shared) for one in group if one.is_same and is_void(one, shared)]
    clusters = _Clusters(types, live, limits, windows)
    refusals += [
        Refusal(one.left, one.right, *objection)
        for one in sorted((one for one in live if one.is_same), key=_strongest_first)
        if (objection := clusters.unite(one))
    ]
    return clusters.people(), refusals


def _void(judgement: Judgement, shared: Collection[int]) -> Refusal:
    culprits = tuple(end for end in (judgement.left, judgement.right) if end in shared)
    return Refusal(judgement.left, judgement.right, Reason.SHARED, (("identifiers", culprits),))


def _contested(
    refusals: Iterable[Refusal], identifiers: Mapping[int, str], heard: Iterable[Judgement]
) -> frozenset[int]:
    """Shareable identifiers of which a person who was seen with them could not have them."""
    seen = {(one.left, one.right) for one in heard if one.kind is Kind.DETERMINISTIC}
    return frozenset(
        end
        for refusal in refusals
        if refusal.reason is Reason.LIMIT and (refusal.left, refusal.right) in seen
        for end in (refusal.left, refusal.right)
        if identifiers[end] in SHAREABLE_TYPES
    )


def prevailing(judgements: Iterable[Judgement]) -> list[Judgement]:
    """One judgement for each pair: the strongest kind's, "not the same" before "same", then the heavier."""
    best: dict[tuple[int, int], Judgement] = {}
    for judgement in judgements:
        pair = (judgement.left, judgement.right)
        if pair not in best or _authority(judgement) > _authority(best[pair]):
            best[pair] = judgement
    return list(best.values())


def shared_identifiers(
    identifiers: Mapping[int, str], judgements: Iterable[Judgement], limits: Mapping[str, int]
) -> frozenset[int]:
    """Identifiers that were seen with more of an exclusive type than one person may have, or with very many of any type
    that tells people apart.
    """
    seen_with: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for judgement in judgements:
        if judgement.is_same and judgement.kind is Kind.DETERMINISTIC:
            for one, other in ((judgement.left, judgement.right), (judgement.right, judgement.left)):
                if identifiers[one] in SHAREABLE_TYPES and identifiers[one] not in limits:
                    seen_with[one][identifiers[other]] += 1
    return frozenset(one for one, types in seen_with.items() if _is_too_many(types, limits))


def _is_too_many(types: Mapping[str, int], limits: Mapping[str, int]) -> bool:
    return any(count > most_companions(kind, limits) for kind, count in types.items())


def most_companions(kind: str, limits: Mapping[str, int]) -> float:
    """With how many identifiers of a type an address or telephone may have been seen and still be one person's."""
    usual = math.inf if kind == "anonymous_id" else limits.get(SHARED_AFTER, math.inf)
    return min(limits.get(kind, math.inf), usual)


def is_void(judgement: Judgement, shared: Collection[int]) -> bool:
    """What was seen with a shared identifier says nothing; a steward's word on it stands."""
    return judgement.kind is Kind.DETERMINISTIC and (judgement.left in shared or judgement.right in shared)


def joins_two_of_a_kind(judgement: Judgement, identifiers: Mapping[int, str]) -> bool:
    """Two accounts, or two addresses, that a steward says are one person's: then that person has two of what each had.

    A steward who gives one address to one account says nothing of the kind.
    """
    is_one_type = identifiers[judgement.left] == identifiers[judgement.right]
    are_accounts = not {identifiers[judgement.left], identifiers[judgement.right]} & SHAREABLE_TYPES
    return judgement.kind is Kind.STEWARD and (is_one_type or are_accounts)


def _authority(judgement: Judgement) -> tuple[int, bool, float]:
    return judgement.kind.strength, not judgement.is_same, judgement.weight


def _strongest_first(judgement: Judgement) -> tuple[bool, float, int, int]:
    """A mailbox that two were seen with is less evidence than a name, a birth date and an address that agree."""
    return judgement.kind is not Kind.STEWARD, -judgement.weight, judgement.left, judgement.right


def uniting(ledger: Sequence[Judgement], left: int, right: int) -> list[int]:
    """Places of the positive judgements that, heard in the order of the ledger, would bring `left` and `right` together.

    Without them the two are apart, and everything else is as it was before they met.
    """
    sides: dict[int, frozenset[int]] = {}
    places = []
    for place, judgement in enumerate(ledger):
        joined = sides.get(judgement.left, frozenset([judgement.left])) | sides.get(
            judgement.right, frozenset([judgement.right])
        )
        if {left, right} <= joined:
            places.append(place)
        else:
            sides.update(dict.fromkeys(joined, joined))
    return places


class _Clusters:
    """A union-find whose roots know what a guard must ask: sizes, counts of types, and foes."""

    def __init__(
        self,
        identifiers: Mapping[int, str],
        judgements: Collection[Judgement],
        limits: Mapping[str, int],
        windows: Windows,
    ) -> None:
        self.identifiers, self.limits, self.windows = identifiers, limits, windows
        self.dates = windows.dates_of(identifiers)
        self.parent = {one: one for one in identifiers}
        self.size = dict.fromkeys(identifiers, 1)
        self.accounts: dict[int, int] = {}  # how many people's worth of limits a root has, where not one
        self.types = {one: Counter([kind]) for one, kind in identifiers.items() if kind in limits}
        self.foes: defaultdict[int, dict[int, tuple[int, int]]] = defaultdict(dict)  # with the pair that was judged
        for judgement in judgements:
            if not judgement.is_same:
                self.foes[judgement.left][judgement.right] = judgement[:2]
                self.foes[judgement.right][judgement.left] = judgement[:2]
        self.ties = _Ties(judgements, limits)

    def unite(self, judgement: Judgement) -> Objection | None:
        left, right = self.root(judgement.left), self.root(judgement.right)
        if left == right:
            return None
        accounts = self._accounts_together(left, right, judgement)
        objection = self._objection(left, right, judgement, accounts)
        if objection is None:
            self._merge(left, right)
            self.accounts[self.root(left)] = accounts
        return objection

    def people(self) -> dict[int, int]:
        smallest: dict[int, int] = {}
        for one in sorted(self.parent):
            smallest.setdefault(self.root(one), one)
        return {one: smallest[self.root(one)] for one in self.parent}

    def root(self, one: int) -> int:
        return _root(self.parent, one)

    def _objection(self, left: int, right: int, judgement: Judgement, accounts: int) -> Objection | None:
        if right in self.foes.get(left, ()):
            return Objection(Reason.NOT_SAME, (("pair", self.foes[left][right]),))
        together, largest = self.size[left] + self.size[right], self.limits.get(ANY_TYPE, len(self.parent))
        if together > largest:
            return Objection(Reason.SIZE, (("count", together), ("limit", largest)))
        return (
            self._limit_exceeded(left, right, accounts)
            or self._window_exceeded(left, right, accounts)
            or self.ties.objection(judgement)
        )

    def _accounts_together(self, left: int, right: int, judgement: Judgement) -> int:
        """How many people's worth of limits the union has: a steward who says that two of a kind are one adds them."""
        one, other = self.accounts.get(left, 1), self.accounts.get(right, 1)
        return one + other if joins_two_of_a_kind(judgement, self.identifiers) else max(one, other)

    def _limit_exceeded(self, left: int, right: int, accounts: int) -> Objection | None:
        if left not in self.types or right not in self.types:
            return None
        together = self.types[left] + self.types[right]
        for kind, count in sorted(together.items()):
            if count > self.limits[kind] * accounts:
                allowed = self.limits[kind] * accounts
                return Objection(Reason.LIMIT, (("type", kind), ("count", count), ("limit", allowed)))
        return None

    def _window_exceeded(self, left: int, right: int, accounts: int) -> Objection | None:
        if left not in self.dates or right not in self.dates:
            return None
        kind = self.windows.exceeded_by(self.dates[left], self.dates[right], accounts)
        if kind is None:
            return None
        window = self.windows.by_type[kind]
        count = sum(dated == kind for dated, _ in self.dates[left] + self.dates[right])
        found = (("type", kind), ("count", count), ("limit", window.most * accounts), ("days", window.days))
        return Objection(Reason.LIMIT, found)

    def _merge(self, left: int, right: int) -> None:
        """The larger stays the root, so that what is carried over is the smaller part."""
        if self.size[left] < self.size[right]:
            left, right = right, left
        self.parent[right] = left
        self.size[left] += self.size[right]
        if right in self.types:
            self.types[left] = self.types.get(left, Counter()) + self.types.pop(right)
        if right in self.dates:
            self.dates[left] = self.dates.get(left, ()) + self.dates.pop(right)
        for foe, pair in self.foes.pop(right, {}).items():
            self.foes[foe].pop(right)
            self.foes[foe].setdefault(left, pair)
            self.foes[left].setdefault(foe, pair)


class _Ties:
    """Which records of a group resemble each other closely enough: those of one community.

    Only what record linkage found is measured by it. A sighting or a steward's word joins communities all the same.
    """

    def __init__(self, judgements: Collection[Judgement], limits: Mapping[str, int]) -> None:
        compared = [one for one in judgements if one.is_same and one.kind is Kind.PROBABILISTIC]
        records = {end for one in compared for end in (one.left, one.right)}
        known = [one for one in judgements if one.is_same and one.left in records and one.right in records]
        self.links = [Link(one.left, one.right, one.weight) for one in known]
        self.community: dict[int, int] = {}
        for links in _connected(self.links):
            found = communities.communities(links, largest=limits.get(ANY_TYPE))
            first = len(self.community)  # numbers of no other group of records
            self.community |= {record: first + number for record, number in found.items()}

    def objection(self, judgement: Judgement) -> Objection | None:
        if judgement.kind is not Kind.PROBABILISTIC:
            return None
        one, other = sorted((self.community[judgement.left], self.community[judgement.right]))
        if one == other:
            return None
        bridge = self.bridges[one, other]
        numbers = (("links", bridge.links), ("pairs", bridge.pairs), ("within", round(bridge.within, 3)))
        return Objection(Reason.BRIDGE, numbers)

    @cached_property
    def bridges(self) -> Mapping[tuple[int, int], communities.Bridge]:
        return communities.bridges(self.links, self.community)


def _connected(links: Sequence[Link]) -> Iterable[list[Link]]:
    parent = _parents(links)
    groups: defaultdict[int, list[Link]] = defaultdict(list)
    for link in links:
        groups[_root(parent, link.left)].append(link)
    return groups.values()

"""From judgements to people: a pure function of the set of judgements, whatever order they came in.

Positive judgements are taken from the strongest to the weakest, and each unites two clusters unless a guard refuses:
of two claims that cannot both be true, a steward's holds, and else the one with more evidence.
A refusal is part of the result, with its reason. The id of a person is the smallest identifier id of the cluster, so
it follows from the cluster alone, and whoever undoes a merge gets the old ids back.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from identity.windows import NO_WINDOWS, Windows

ANY_TYPE: Final = "*"  # in the limits: of all types together
DEFAULT_LIMITS: Final[Mapping[str, int]] = MappingProxyType({"user_id": 1, ANY_TYPE: 500})
# Several people may hold these at once: a family's mailbox, an office's telephone, a browser in a shop.
SHAREABLE_TYPES: Final = frozenset({"email", "phone", "anonymous_id"})
# In the limits: with how many of one type that tells people apart these are seen before they are nobody's. A device is
# not counted: everybody has several.
SHARED_AFTER: Final = "*shared"
DEFAULT_SHARED_AFTER: Final = 25
# Between two clusters of records at least this share of all pairs must be linked, or the union hangs on a thread.
THINNEST_BRIDGE: Final = 0.2


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
    BRIDGE = "BRIDGE"  # too few of the records on the two sides resemble each other


class Judgement(NamedTuple):
    left: int
    right: int
    is_same: bool
    kind: Kind
    weight: float


class Refusal(NamedTuple):
    left: int
    right: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Resolution:
    """`clusters` maps every identifier to its person."""

    clusters: Mapping[int, int]
    refusals: tuple[Refusal, ...]


def resolve(
    identifiers: Mapping[int, str],
    judgements: Iterable[Judgement],
    limits: Mapping[str, int] = DEFAULT_LIMITS,
    windows: Windows = NO_WINDOWS,
) -> Resolution:
    """Cluster `identifiers` (id → type). Judgements on identifiers that are not among them are left out.

    A mailbox or telephone that turns out to be claimed by two people belongs to neither: it is shared, and all is
    resolved anew without what it says.
    """
    heard = [one for one in prevailing(judgements) if one.left in identifiers and one.right in identifiers]
    shared = shared_identifiers(identifiers, heard, limits)
    while True:
        resolution = _united(identifiers, heard, limits, shared, windows)
        contested = _contested(resolution.refusals, identifiers, heard) - shared
        if not contested:
            return resolution
        shared |= contested


def _united(
    identifiers: Mapping[int, str],
    heard: Collection[Judgement],
    limits: Mapping[str, int],
    shared: frozenset[int],
    windows: Windows,
) -> Resolution:
    clusters = _Clusters(identifiers, heard, limits, windows)
    refusals = []
    for judgement in sorted((one for one in heard if one.is_same), key=_strongest_first):
        if is_void(judgement, shared):
            reason: Reason | None = Reason.SHARED
        else:
            reason = clusters.unite(judgement)
        if reason:
            refusals.append(Refusal(judgement.left, judgement.right, reason))
    return Resolution(clusters.people(), tuple(refusals))


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
    """A union-find whose roots know what a guard must ask: counts of types, foes, and likenesses to other clusters."""

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
        self.foes: defaultdict[int, set[int]] = defaultdict(set)
        self.likenesses: defaultdict[int, Counter[int]] = defaultdict(Counter)
        compared = [one for one in judgements if one.is_same and one.kind is Kind.PROBABILISTIC]
        self.records = dict.fromkeys({end for one in compared for end in (one.left, one.right)}, 1)
        for judgement in judgements:
            self._remember(judgement)

    def _remember(self, judgement: Judgement) -> None:
        for one, other in ((judgement.left, judgement.right), (judgement.right, judgement.left)):
            if not judgement.is_same:
                self.foes[one].add(other)
            elif one in self.records and other in self.records:
                self.likenesses[one][other] += 1

    def unite(self, judgement: Judgement) -> Reason | None:
        left, right = self.root(judgement.left), self.root(judgement.right)
        if left == right:
            return None
        accounts = self._accounts_together(left, right, judgement)
        reason = self._objection(left, right, judgement.kind, accounts)
        if reason is None:
            self._merge(left, right)
            self.accounts[self.root(left)] = accounts
        return reason

    def people(self) -> dict[int, int]:
        smallest: dict[int, int] = {}
        for one in sorted(self.parent):
            smallest.setdefault(self.root(one), one)
        return {one: smallest[self.root(one)] for one in self.parent}

    def root(self, one: int) -> int:
        while self.parent[one] != one:
            self.parent[one] = self.parent[self.parent[one]]
            one = self.parent[one]
        return one

    def _objection(self, left: int, right: int, kind: Kind, accounts: int) -> Reason | None:
        if right in self.foes.get(left, ()):
            return Reason.NOT_SAME
        if self.size[left] + self.size[right] > self.limits.get(ANY_TYPE, len(self.parent)):
            return Reason.SIZE
        if self._exceeds_limit(left, right, accounts) or self._exceeds_window(left, right, accounts):
            return Reason.LIMIT
        if kind is Kind.PROBABILISTIC and self._is_thin(left, right):
            return Reason.BRIDGE
        return None

    def _accounts_together(self, left: int, right: int, judgement: Judgement) -> int:
        """How many people's worth of limits the union has: a steward who says that two of a kind are one adds them."""
        one, other = self.accounts.get(left, 1), self.accounts.get(right, 1)
        return one + other if joins_two_of_a_kind(judgement, self.identifiers) else max(one, other)

    def _exceeds_limit(self, left: int, right: int, accounts: int) -> bool:
        if left not in self.types or right not in self.types:
            return False
        together = self.types[left] + self.types[right]
        return any(count > self.limits[kind] * accounts for kind, count in together.items())

    def _exceeds_window(self, left: int, right: int, accounts: int) -> bool:
        if left not in self.dates or right not in self.dates:
            return False
        return self.windows.are_exceeded_by(self.dates[left], self.dates[right], accounts)

    def _is_thin(self, left: int, right: int) -> bool:
        pairs = self.records[left] * self.records[right]
        return self.likenesses[left][right] < THINNEST_BRIDGE * pairs

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
        if right in self.records:
            self.records[left] = self.records.get(left, 0) + self.records.pop(right)
        for foe in self.foes.pop(right, ()):
            self.foes[foe].discard(right)
            self.foes[foe].add(left)
            self.foes[left].add(foe)
        for other, count in self.likenesses.pop(right, Counter()).items():
            self.likenesses[other].pop(right, None)
            if other != left:
                self.likenesses[left][other] += count
                self.likenesses[other][left] += count

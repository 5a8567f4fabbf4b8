"""Very many people by a glance: where no guard of the resolver could refuse anything, whoever is judged the same is one.

The answer is that of `resolver.resolve`, from arrays in place of one judgement after the other: a million in a second. Where
a guard might object nothing is decided here, only told: the resolver looks at those, and they are few.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from identity.matching import communities
from identity.resolver import ANY_TYPE, SHAREABLE_TYPES, Kind, most_companions

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Crowd:
    """Identifiers in the order of their ids, each with its type (a place in `types`) and its present profile; and every
    judgement that counts, its two ends by their places among the identifiers. In `parting` are the ends of each that counted
    until now.
    """

    ids: Numbers
    kinds: Numbers
    types: Sequence[str]
    profiles: Numbers
    left: Numbers
    right: Numbers
    is_same: Flags
    judged_by: Numbers  # a place in `Kind`
    parting: tuple[Numbers, Numbers]


@dataclass(frozen=True, slots=True)
class Glance:
    """For each identifier: the person that it belongs to, unless that is doubtful; and the number of its neighbourhood:
    all whom judgements, those that just ceased to count, and present profiles connect, which are resolved together.
    """

    people: Numbers
    neighbourhoods: Numbers
    is_doubtful: Flags


def look_at(crowd: Crowd, limits: Mapping[str, int], windowed: Collection[str] = ()) -> Glance:
    """`windowed` are the types of which only so many may be new within some days: whoever has one is doubtful."""
    left, right = crowd.left[crowd.is_same], crowd.right[crowd.is_same]
    groups = _connected(len(crowd.ids), left, right)
    first_of_profile = _firsts(np.unique(crowd.profiles, return_inverse=True)[1])
    everybody = np.arange(len(crowd.ids), dtype=np.int64)
    one_end, other_end = crowd.parting
    near = _connected(
        len(crowd.ids),
        np.concatenate([left, one_end, everybody]),
        np.concatenate([right, other_end, first_of_profile]),
    )
    questioned = np.zeros(len(crowd.ids), dtype=np.bool_)
    for found in _questioned(crowd, groups, limits, windowed):
        questioned |= found[groups]
    is_doubtful = np.zeros(len(crowd.ids), dtype=np.bool_)
    is_doubtful[near[questioned]] = True
    return Glance(crowd.ids[_firsts(groups)], near, is_doubtful[near])


def shares(seen: Glance, chosen: Flags, count: int) -> list[Flags]:
    """The chosen, of whom there are some, in so many shares of about the same size: none cuts through a neighbourhood."""
    bounds = np.quantile(seen.neighbourhoods[chosen], np.arange(1, count) / count)
    share = np.searchsorted(bounds, seen.neighbourhoods, side="right")
    return [chosen & (share == place) for place in range(count)]


def _connected(size: int, left: Numbers, right: Numbers) -> Numbers:
    """For each place the number of its group."""
    links = coo_array((np.ones(len(left), dtype=np.int32), (left, right)), shape=(size, size))
    groups: Numbers = connected_components(links, directed=False)[1].astype(np.int64)
    return groups


def _firsts(groups: Numbers) -> Numbers:
    """For each place the first place of its group."""
    firsts = np.zeros(len(groups), dtype=np.int64)
    places = np.arange(len(groups), dtype=np.int64)
    firsts[groups[::-1]] = places[::-1]  # where several are written, the last one stays
    return firsts[groups]


# -- where a guard might object -------------------------------------------------------------------------------------


def _questioned(crowd: Crowd, groups: Numbers, limits: Mapping[str, int], windowed: Collection[str]) -> Iterator[Flags]:
    """By number of the group, one guard after the other."""
    sizes = _counted(groups, groups)
    if ANY_TYPE in limits:
        yield sizes > limits[ANY_TYPE]
    for place, name in enumerate(crowd.types):
        has_it = groups[crowd.kinds == place]
        if name in windowed:
            yield _counted(has_it, groups) > 0
        if name in limits:
            yield (_counted(has_it, groups) > limits[name]) & (sizes > 1)
    yield _counted(groups[crowd.left[~crowd.is_same & (groups[crowd.left] == groups[crowd.right])]], groups) > 0
    yield _counted(groups[_shared(crowd, limits)], groups) > 0
    yield (sizes >= communities.FEWEST_RECORDS) & _is_loose(crowd, groups)


def _counted(some: Numbers, groups: Numbers) -> Numbers:
    return np.bincount(some, minlength=len(groups)).astype(np.int64)


def _shared(crowd: Crowd, limits: Mapping[str, int]) -> Numbers:
    """Places of addresses and telephones that were seen with too many: see `resolver.shared_identifiers`."""
    seen = crowd.is_same & (crowd.judged_by == _place_of(Kind.DETERMINISTIC))
    one = np.append(crowd.left[seen], crowd.right[seen])
    other = np.append(crowd.right[seen], crowd.left[seen])
    can_be = _flags(crowd.types, (name for name in SHAREABLE_TYPES if name not in limits))[crowd.kinds]
    companions, counts = np.unique(
        one[can_be[one]] * len(crowd.types) + crowd.kinds[other[can_be[one]]], return_counts=True
    )
    most = np.array([most_companions(name, limits) for name in crowd.types])
    found: Numbers = companions[counts > most[companions % max(len(crowd.types), 1)]] // max(len(crowd.types), 1)
    return found


def _is_loose(crowd: Crowd, groups: Numbers) -> Flags:
    """Not all records resemble most of the others (see `communities`), or one pair was judged more than once."""
    alike = crowd.is_same & (crowd.judged_by == _place_of(Kind.PROBABILISTIC))
    degrees = _counted(np.append(crowd.left[alike], crowd.right[alike]), groups)
    records = groups[degrees > 0]
    compared = _counted(records, groups)
    fewest = np.full(len(groups), np.iinfo(np.int64).max)
    np.minimum.at(fewest, records, degrees[degrees > 0])
    is_loose = (compared >= communities.FEWEST_RECORDS) & (fewest < communities.CLOSELY_TIED * (compared - 1))
    pairs, counts = np.unique(crowd.left * len(groups) + crowd.right, return_counts=True)
    twice = groups[pairs[counts > 1] // max(len(groups), 1)]
    return np.asarray(is_loose | (_counted(twice, groups) > 0), dtype=np.bool_)


def _place_of(kind: Kind) -> int:
    return tuple(Kind).index(kind)


def _flags(types: Sequence[str], chosen: Iterable[str]) -> npt.NDArray[np.bool_]:
    names = frozenset(chosen)
    return np.array([name in names for name in types], dtype=np.bool_)

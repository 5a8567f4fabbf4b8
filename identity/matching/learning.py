"""What agreement says, learnt without labels: expectation–maximisation over counted patterns of agreement.

A pattern is the level at which each comparison found two records (-1: nothing to compare). Pairs are counted by pattern
first, so learning costs by the number of patterns and not of pairs: many starts and many rounds are cheap.

A pair is of one person, of two strangers, or of two relatives: those agree as strangers do on what is a person's own
(`own`: name, birth date), and as one person's records do on the rest (surname, street, telephone). Without this third
class the records of one household, which are many more than those of one person, would be learnt as "the same".
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Levels = list[Floats]
"""For each comparison the probability of each of its levels"""
Own = Mapping[int, float]
"""The places of comparisons of what is a person's own, and how many relatives usually agree on it all the same"""

ROUNDS: Final = 500
SETTLED: Final = 1e-8  # of the log-likelihood for each pair: less gain than this is none
MOST_SHARED: Final = 10.0  # times as many relatives as usual agree on what is a person's own, or they were one person
SHARED_AT_ALL: Final = 0.8  # or it were nobody's own
RELATIVES_KNOWN: Final = 1_000.0  # pairs of relatives that everybody has seen
_SMALLEST: Final = 1e-9
_SHARES: Final = (0.5, 0.05, 0.002)  # of matches, to start from


@dataclass(frozen=True, slots=True)
class Patterns:
    """`levels` has a row for each pattern and a column for each comparison; `counts` says how many pairs had it."""

    levels: npt.NDArray[np.int64]
    counts: Floats
    sizes: tuple[int, ...]  # how many levels each comparison has

    @property
    def pairs(self) -> float:
        return float(self.counts.sum())


class Classes(NamedTuple):
    """How large a share of the pairs are matches or of relatives, and how often each level occurs; and of relatives, for
    each comparison of what is a person's own, how many agree as one person does.
    """

    share: float
    related: float
    matches: Levels
    strangers: Levels
    alike: Floats


@dataclass(frozen=True, slots=True)
class Learnt:
    """What one start of one session came to. `found` counts the matches at each level, not their shares; `related` is the
    share of relatives; `strange` says of each pattern how surely it is of strangers.
    """

    share: float
    found: Levels
    likelihood: float
    has_converged: bool
    related: float
    alike: Floats
    strange: Floats


def shares_of(patterns: Patterns, weights: Floats | None = None, known: Levels | None = None) -> Levels:
    """How often each level occurs among the pairs at which there was something to compare, and those `known` besides."""
    found = counted(patterns, weights)
    return [_normal(one) for one in (added(found, known) if known else found)]


def added(found: Levels, known: Levels) -> Levels:
    return [one + more for one, more in zip(found, known, strict=True)]


def learn(
    patterns: Patterns,
    strangers: Levels,
    active: Sequence[int],
    known: Levels | None = None,
    own: Own = MappingProxyType({}),
) -> Learnt:
    """The best of several starts, by likelihood. What `strangers` share is known and stays; `known` are matches seen
    elsewhere, by level, which count as if they were seen here too. Without an active comparison that is a person's `own`
    relatives cannot be told from one person, and there are none.

    A start can end with the classes in each other's place or with nothing found; the likelihood tells them apart.
    """
    counted = known or [np.zeros_like(one) for one in strangers]
    facts = _facts(active, own)
    return max((_climb(patterns, strangers, facts, counted, *start) for start in _starts(strangers)), key=_quality)


def strange(patterns: Patterns, classes: Classes, own: Own = MappingProxyType({})) -> Floats:
    """How likely pairs of each pattern are of strangers, by all comparisons."""
    everything = range(len(patterns.sizes))
    facts = _facts(everything, own)
    of_classes = _of_classes(patterns, classes, facts, _evidence(patterns, classes.strangers, everything))
    return _strange(np.exp(of_classes - np.logaddexp.reduce(of_classes)))


def _strange(chance: Floats) -> Floats:
    """What neither matches nor relatives explain."""
    left: Floats = 1 - chance[0]
    return left - chance[2] if len(chance) > 2 else left


class _Facts(NamedTuple):
    """Places of comparisons: of what is a person's own, and of what relatives share."""

    own: Own
    shared: list[int]

    @property
    def all(self) -> list[int]:
        return [*self.own, *self.shared]


def _facts(places: Collection[int], own: Own) -> _Facts:
    return _Facts(
        {place: own[place] for place in places if place in own}, [place for place in places if place not in own]
    )


def usually_alike(own: Own, comparisons: int) -> Floats:
    """For each of so many comparisons."""
    shares = np.zeros(comparisons)
    shares[list(own)] = list(own.values())
    return shares


def _of_classes(patterns: Patterns, classes: Classes, facts: _Facts, unlike: Floats) -> Floats:
    """The log-likelihood of each pattern as a match, as a pair of strangers (`unlike`), and as one of relatives."""
    shared = _evidence(patterns, classes.matches, facts.shared)
    rows = [
        shared + _evidence(patterns, classes.matches, facts.own) + np.log(classes.share),
        unlike + np.log(max(1 - classes.share - classes.related, _SMALLEST)),
    ]
    if classes.related:
        rows.append(shared + _evidence(patterns, _of_relatives(classes), facts.own) + np.log(classes.related))
    return np.array(rows)


def _of_relatives(classes: Classes) -> Levels:
    """Of what is a person's own: as of strangers, but for twins, who share a birth date, and for father and son of one name."""
    each = zip(classes.alike, classes.matches, classes.strangers, strict=True)
    return [alike * matches + (1 - alike) * strangers for alike, matches, strangers in each]


def _alike(patterns: Patterns, related: Floats, facts: _Facts, classes: Classes) -> Floats:
    """How many of those who are likely `related` agree on each of what is a person's own, as one person does."""
    found, relatives = classes.alike.copy(), counted(patterns, related)
    for place, usual in facts.own.items():
        as_one = found[place] * classes.matches[place]
        either = as_one + (1 - found[place]) * classes.strangers[place]
        number = float(relatives[place] @ (as_one / np.maximum(either, _SMALLEST)))
        of = float(relatives[place].sum()) + RELATIVES_KNOWN
        found[place] = min((number + RELATIVES_KNOWN * usual) / of, MOST_SHARED * usual, SHARED_AT_ALL)
    return found


def _quality(learnt: Learnt) -> float:
    return learnt.likelihood


def _starts(strangers: Levels) -> Iterator[tuple[float, Levels]]:
    """Matches agree at the first level mostly; or as strangers do, but for the rare levels, which are likelier."""
    falling = [_normal(0.3 ** np.arange(one.size, dtype=np.float64)) for one in strangers]
    rarer = [
        _normal(np.sqrt(np.maximum(one, _SMALLEST)) ** 0.5 * fall) for one, fall in zip(strangers, falling, strict=True)
    ]
    for share in _SHARES:
        yield share, falling
        yield share, rarer


def _normal(values: Floats) -> Floats:
    shares: Floats = values / max(values.sum(), _SMALLEST)
    return shares


def _agreement(matches: Levels, known: Levels, active: Sequence[int]) -> float:
    """What the matches seen elsewhere say of these shares."""
    return sum(float(known[place] @ np.log(np.maximum(matches[place], _SMALLEST))) for place in active)


def _climb(
    patterns: Patterns, strangers: Levels, facts: _Facts, known: Levels, share: float, matches: Levels
) -> Learnt:
    """Until the likelihood of all pairs gains nothing more, or the rounds are used up: then it has not converged."""
    unlike = _evidence(patterns, strangers, facts.all)
    alike = usually_alike(facts.own, len(strangers))
    classes = Classes(share, share if facts.own else 0.0, matches, strangers, alike)
    before, has_converged = -np.inf, False
    for _ in range(ROUNDS):
        of_classes = _of_classes(patterns, classes, facts, unlike)
        either = np.logaddexp.reduce(of_classes)
        chance = np.exp(of_classes - either)
        likelihood = float(patterns.counts @ either) + _agreement(classes.matches, known, facts.all)
        classes = _maximised(patterns, chance, known, facts, classes)
        has_converged = likelihood - before < SETTLED * patterns.pairs
        if has_converged:
            break
        before = likelihood
    return Learnt(
        classes.share,
        counted(patterns, chance[0]),
        likelihood,
        has_converged,
        classes.related,
        classes.alike,
        _strange(chance),
    )


def _maximised(patterns: Patterns, chance: Floats, known: Levels, facts: _Facts, before: Classes) -> Classes:
    """The classes that explain best which pairs were likely of which of them."""
    shares = np.clip(chance @ patterns.counts / patterns.pairs, _SMALLEST, 1 - _SMALLEST)
    matches = shares_of(patterns, chance[0], known)
    if not facts.own:
        return before._replace(share=float(shares[0]), related=0.0, matches=matches)
    together = shares_of(patterns, chance[0] + chance[2], known)
    for place in facts.shared:
        matches[place] = together[place]
    alike = _alike(patterns, chance[2], facts, before)
    return Classes(float(shares[0]), float(shares[2]), matches, before.strangers, alike)


def _evidence(patterns: Patterns, levels: Levels, active: Iterable[int]) -> Floats:
    total = np.zeros(patterns.counts.size)
    for place in active:
        padded = np.append(np.log(np.maximum(levels[place], _SMALLEST)), 0.0)  # -1, nothing to compare, takes the last
        total += padded[patterns.levels[:, place]]
    return total


def counted(patterns: Patterns, weights: Floats | None) -> Levels:
    weighted: Floats = patterns.counts if weights is None else patterns.counts * weights
    return [
        np.bincount(patterns.levels[:, place] + 1, weights=weighted, minlength=size + 1)[1:].astype(np.float64)
        for place, size in enumerate(patterns.sizes)
    ]

"""Events one after the other: of the chains that end at an event the one that started latest is followed, for all profiles
at once. `language.compile.sequences` says why that one suffices.
"""

from collections.abc import Sequence as Several
from functools import reduce
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from segments.arrays.comparing import Truths
from segments.arrays.counting import Answer
from segments.arrays.periods import Counted, Counts
from segments.arrays.streams import NEVER, SECOND, Instants, Kind, Stream, instants_of, profiles_of
from segments.language.tree import Sequence, Step

Keys = NDArray[np.int64]
NONE = -1
"""In place of a key: it is less than all of them."""


def steps_of(leaf: Sequence) -> list[Step]:
    """Whose events are asked for, in this order."""
    return [*leaf.steps, *leaf.without, *([leaf.then_not] if leaf.then_not else [])]


def answer(leaf: Sequence, kinds: Several[Kind], counts: Counts) -> Answer:
    """`kinds` are those of the events of `steps_of`."""
    streams, firsts = [counts.stream(kind) for kind in kinds], counts.counted(kinds[0], leaf.period)
    steps, without = streams[: len(leaf.steps)], streams[len(leaf.steps) : len(leaf.steps) + len(leaf.without)]
    last, starts = steps[-1], _starts(firsts, steps)
    is_complete = _is_complete(leaf, starts, last, without)
    changes = [firsts.begins, *(each.times(each.later_than(0), each.later_than(0) < each.ends) for each in streams)]
    if leaf.then_not is not None and leaf.within is not None:
        until = instants_of(last.keys) + leaf.within.seconds * SECOND
        is_complete &= _next_after(last.keys, streams[-1]) >= until
        is_over = until <= last.at[profiles_of(last.keys)]
        changes.append(_earliest(until, is_complete & ~is_over, last))
        is_complete &= is_over
    found = _latest(starts, is_complete, last)
    return Answer(found < NEVER, reduce(np.minimum, [*changes, firsts.ends(found)]))


def _starts(firsts: Counted, steps: Several[Stream]) -> Keys:
    """For each event of the last step the key of the latest start of a chain that leads to it, or none."""
    starts = np.where(firsts.is_each, firsts.stream.keys, NONE)
    for before, step in pairwise(steps):
        latest = np.concatenate([[NONE], np.maximum.accumulate(starts)])[np.searchsorted(before.keys, step.keys)]
        starts = np.where(profiles_of(latest) == profiles_of(step.keys), latest, NONE)
    return starts


def _is_complete(leaf: Sequence, starts: Keys, last: Stream, without: Several[Stream]) -> Truths:
    """The last event has happened, soon enough, and nothing that is excluded lies between."""
    happened = instants_of(last.keys)
    truths: Truths = (starts != NONE) & (happened <= last.at[profiles_of(last.keys)])
    if leaf.within is not None:
        truths &= happened < instants_of(starts) + leaf.within.seconds * SECOND
    for excluded in without:
        before = np.concatenate([[NONE], excluded.keys])[np.searchsorted(excluded.keys, last.keys)]
        truths &= before <= starts
    return truths


def _next_after(keys: Keys, stream: Stream) -> Instants:
    """For each key when the first event of the same profile strictly after it happened."""
    following = np.append(stream.keys, NONE)[np.searchsorted(stream.keys, keys, side="right")]
    return np.where(profiles_of(following) == profiles_of(keys), instants_of(following), NEVER)


def _earliest(instants: Instants, is_one: Truths, last: Stream) -> Instants:
    found = np.full(len(last.at), NEVER)
    np.minimum.at(found, profiles_of(last.keys[is_one]), instants[is_one])
    return found


def _latest(starts: Keys, is_one: Truths, last: Stream) -> Instants:
    """For each profile the latest start of these chains; never, where there is none."""
    found = np.full(len(last.at), NONE)
    np.maximum.at(found, profiles_of(last.keys[is_one]), starts[is_one])
    return np.where(found == NONE, NEVER, instants_of(found))

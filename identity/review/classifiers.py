"""recordlinkage's classifiers on the comparisons that the model has weighed. Loads pandas: only whoever needs it does.

At first an unsupervised one (ECM) that knows of each comparison only whether it speaks for or against. Once stewards
have judged enough pairs, a logistic regression that learns from them, on the weights themselves. The same pairs and
judgements give the same opinion.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import recordlinkage
from threadpoolctl import threadpool_limits

JUDGED_FOR_LOGISTIC: Final = 50
MOST_LEARNT_FROM: Final = 50_000
SEED: Final = 20_261_126
CERTAIN: Final = 1e-6

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Vectors:
    """Match weights of each comparison of some pairs; and of the judged ones whether they are the same person."""

    ids: Sequence[int]
    evidence: Sequence[Mapping[str, Any]]
    is_same: Sequence[bool | None]


def form_opinions(vectors: Vectors) -> tuple[dict[int, float], dict[str, Any]]:
    """Pair → probability that it is one person, of those that nobody judged; and who says so."""
    judged = [place for place, is_same in enumerate(vectors.is_same) if is_same is not None]
    basis: dict[str, Any] = {
        "by": "NOBODY",
        "judged": len(judged),
        "learnt_from": 0,
        "seed": SEED,
        "versions": {name: version(name) for name in ("recordlinkage", "scikit-learn", "pandas", "numpy")},
    }
    waiting = [place for place, is_same in enumerate(vectors.is_same) if is_same is None]
    if not waiting:
        return {}, basis
    frame = _frame(vectors)
    heard = {vectors.is_same[place] for place in judged}
    with _one_thread():
        if len(judged) >= JUDGED_FOR_LOGISTIC and heard == {True, False}:
            learnt: Numbers | None = _by_logistic(frame, judged, vectors)
            basis |= {"by": "LOGISTIC", "learnt_from": len(judged)}
        else:
            learnt = _by_ecm(frame)
            basis |= {"by": "ECM" if learnt is not None else "NOBODY", "learnt_from": len(frame)}
    if learnt is None:
        return {}, basis
    return {vectors.ids[place]: float(learnt[place]) for place in waiting}, basis


def _frame(vectors: Vectors) -> pd.DataFrame:
    """A row for each pair, as recordlinkage wants it. What a comparison could not see weighs nothing."""
    names = sorted({name for one in vectors.evidence for name, weight in one.items() if _is_number(weight)})
    rows = [[_weight(one.get(name)) for name in names] for one in vectors.evidence]
    index = pd.MultiIndex.from_arrays([range(len(rows)), range(len(rows))])
    return pd.DataFrame(np.array(rows, dtype=float).reshape(len(rows), len(names)), index=index, columns=names)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _weight(value: object) -> float:
    return float(value) if isinstance(value, int | float) and _is_number(value) else 0.0


def _by_logistic(frame: pd.DataFrame, judged: Sequence[int], vectors: Vectors) -> Numbers:
    known = frame.iloc[list(judged)]
    same = known.index[[bool(vectors.is_same[place]) for place in judged]]
    classifier = recordlinkage.LogisticRegressionClassifier(random_state=SEED)
    classifier.fit(known, same)
    return _within(classifier.prob(frame).to_numpy())


def _by_ecm(frame: pd.DataFrame) -> Numbers | None:
    """None where no comparison tells two pairs apart: then there is nothing to learn from."""
    speaks = (frame > 0).astype(float)
    speaks = speaks.loc[:, speaks.min() < speaks.max()]
    if speaks.shape[1] == 0:
        return None
    classifier = recordlinkage.ECMClassifier(init="jaro", binarize=None, atol=CERTAIN)
    classifier.fit(speaks.iloc[:MOST_LEARNT_FROM])
    return _within(classifier.prob(speaks).to_numpy())


def _within(probabilities: Numbers) -> Numbers:
    """No classifier is certain, and a formula that divided by nothing knows nothing."""
    return np.clip(np.nan_to_num(probabilities, nan=0.5), CERTAIN, 1 - CERTAIN)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The same digits every time; and recordlinkage's own warnings about pandas and about zeros concern nobody."""
    with threadpool_limits(1), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield

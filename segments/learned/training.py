"""From customers to groups: the result as it is stored, and the picture. Touches no database."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from cdp.kernel.errors import TesseraError
from segments.learned import clustering, description, plot
from segments.learned.clustering import Candidate, Clustering, Demands
from segments.learned.description import Group
from segments.learned.features import FEATURES, Customers, Scale
from segments.learned.specification import Specification


class NobodyToLearnFromError(TesseraError):
    """Nobody who permits learning has bought anything yet: check `event`, and `columns` for a file."""

    code = "nobody_to_learn_from"


def train(customers: Customers, asked: Specification) -> tuple[dict[str, Any], str]:
    """Raises `NoGroupsError` when no number of groups keeps what the specification demands."""
    if not len(customers.ids):
        raise NobodyToLearnFromError
    scale = Scale.of(customers.values)
    demands = Demands(asked.smallest_allowed(len(customers.ids)), asked.minimum_stability, asked.resamples)
    ks = range(asked.k.min, asked.k.max + 1)
    found = clustering.cluster(scale.apply(customers.values), ks=ks, seed=asked.seed, demands=demands)
    groups = description.describe(customers.values, found.labels)
    picture = plot.draw(customers.values, found, groups, demands, seed=asked.seed)
    return _result(customers, asked, scale, found, groups, demands), picture


def _result(
    customers: Customers,
    asked: Specification,
    scale: Scale,
    found: Clustering,
    groups: Sequence[Group],
    demands: Demands,
) -> dict[str, Any]:
    chosen = found.chosen
    return {
        "features": list(FEATURES),
        "scale": {"mean": list(scale.mean), "deviation": list(scale.deviation)},
        "centres": chosen.centres.tolist(),
        "seed": asked.seed,
        "k": chosen.k,
        "why": _why(found, demands),
        "groups": [_group(group, share) for group, share in zip(groups, chosen.jaccard, strict=True)],
        "criteria": [_criteria(candidate) for candidate in found.candidates],
        "demands": {"smallest_group": demands.smallest_group, "stability": demands.stability},
        "resamples": demands.resamples,
        "data": {
            "customers": len(customers.ids),
            "set_aside": customers.set_aside,
            "at": customers.at.isoformat(),
            "digest": customers.digest(),
        },
        "versions": {library: version(library) for library in ("numpy", "scikit-learn")},
    }


def _why(found: Clustering, demands: Demands) -> str:
    accepted = [candidate.k for candidate in found.candidates if not candidate.refusal]
    return (
        f"k = {found.chosen.k} has the best silhouette ({found.chosen.silhouette:.2f}) among the numbers of groups that"
        f" are stable (at least {demands.stability:.2f}) and large enough (at least {demands.smallest_group} members):"
        f" {', '.join(map(str, accepted))}."
    )


def _group(group: Group, comes_again: float) -> dict[str, Any]:
    return {
        "group": group.group,
        "name": group.name.en,
        "name_fr": group.name.fr,
        "size": group.size,
        "words": group.words.en,
        "words_fr": group.words.fr,
        "medians": dict(zip(FEATURES, group.medians, strict=True)),
        "jaccard": round(comes_again, 6),
    }


def _criteria(candidate: Candidate) -> dict[str, Any]:
    return {
        "k": candidate.k,
        "silhouette": round(candidate.silhouette, 6),
        "stability": round(candidate.stability, 6),
        "jaccard": [round(share, 6) for share in candidate.jaccard],
        "sizes": list(candidate.sizes),
        "smallest_share": round(candidate.smallest_share, 6),
        "refused": candidate.refusal or None,
    }

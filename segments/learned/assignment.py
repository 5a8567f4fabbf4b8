"""The group of customers who came after the training: that of the nearest frozen centre, on the frozen scale."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from segments.learned.clustering import nearest
from segments.learned.features import Scale, Values


def assign(model: Mapping[str, Any], features: Values) -> list[str]:
    """`model` is the stored result of a training, `features` have one row of recency, frequency and money each.

    For the customers of the training this gives the groups of the training.
    """
    if not len(features):
        return []
    scale = Scale(tuple(model["scale"]["mean"]), tuple(model["scale"]["deviation"]))
    labels = nearest(scale.apply(features), np.array(model["centres"], float))
    return [model["groups"][label]["group"] for label in labels]

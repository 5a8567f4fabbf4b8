"""Histograms of numbers that lie closer together than bins can be narrow."""

import numpy as np

from cdp.ingestion.quality.statistics import histogram


def test_histogram__of_numbers_that_nearly_are_one__has_one_bin():
    close = np.array([1.0, np.nextafter(1.0, 2)])

    assert histogram(close) == {"from": 1.0, "to": float(close[1]), "counts": [2]}

"""The picture."""

import re

import numpy as np
import pytest

from segments.learned import clustering, description, plot
from segments.learned.clustering import Demands
from segments.learned.features import Scale

DEMANDS = Demands(smallest_group=10, stability=0.8, resamples=4)


@pytest.fixture(scope="module")
def drawn():
    random = np.random.default_rng(5)
    loyal = np.column_stack([random.uniform(1, 20, 80), random.integers(5, 12, 80), random.uniform(200, 500, 80)])
    passing = np.column_stack([random.uniform(200, 400, 120), np.ones(120), random.uniform(5, 20, 120)])
    values = np.concatenate([loyal, passing])
    found = clustering.cluster(Scale.of(values).apply(values), ks=range(2, 5), seed=1, demands=DEMANDS)
    groups = description.describe(values, found.labels)
    return [plot.draw(values, found, groups, DEMANDS, seed=1) for _ in range(2)]


def texts(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_plot__drawn_twice__has_the_same_bytes(drawn):
    first, second = drawn

    assert first == second
    assert "dc:date" not in first


def test_plot__names_the_groups_and_the_criteria(drawn):
    words = texts(drawn[0])

    assert "Loyal (80, 40%)" in words
    assert "Came and went (120, 60%)" in words
    assert {"stability (adjusted Rand index)", "silhouette", "share of the smallest group", "Why 2 groups"} <= set(
        words
    )


def test_plot__of_many_customers__draws_a_sample(monkeypatch, drawn):
    monkeypatch.setattr(plot, "MOST_POINTS", 10)

    places, jitter = plot._drawn(np.ones((200, 3)), seed=1)

    assert len(places) == len(jitter) == 10
    assert len(set(places.tolist())) == 10

"""The choice of k: stable and useful first, the silhouette last."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segments.learned import clustering
from segments.learned.clustering import Demands, NoGroupsError, nearest

DEMANDS = Demands(smallest_group=30, stability=0.8, resamples=8)
KS = range(2, 7)


def blobs(*sizes_and_centres, spread=0.3):
    random = np.random.default_rng(1)
    return np.concatenate([random.normal(centre, spread, (size, 3)) for size, centre in sizes_and_centres])


THREE_GROUPS = blobs((200, (0, 0, 0)), (150, (5, 0, 9)), (100, (0, 5, 4)))


def test_cluster__of_three_clear_groups__finds_them():
    found = clustering.cluster(THREE_GROUPS, ks=KS, seed=7, demands=DEMANDS)

    assert found.chosen.k == 3
    assert found.chosen.sizes == (150, 100, 200)  # by the last coordinate, the highest first
    assert found.chosen.stability == pytest.approx(1.0)
    assert found.chosen.jaccard == pytest.approx((1.0, 1.0, 1.0))
    assert found.labels.tolist() == [2] * 200 + [0] * 150 + [1] * 100


def test_cluster__twice_with_one_seed__is_the_same_to_the_last_digit():
    first, second = (clustering.cluster(THREE_GROUPS, ks=KS, seed=7, demands=DEMANDS) for _ in range(2))

    assert first.chosen.centres.tobytes() == second.chosen.centres.tobytes()
    assert [c.stability for c in first.candidates] == [c.stability for c in second.candidates]


def test_cluster__of_rows_in_another_order__finds_the_same_groups():
    order = np.random.default_rng(3).permutation(len(THREE_GROUPS))

    straight = clustering.cluster(THREE_GROUPS, ks=[3], seed=7, demands=DEMANDS)
    shuffled = clustering.cluster(THREE_GROUPS[order], ks=[3], seed=7, demands=DEMANDS)

    assert shuffled.labels.tolist() == straight.labels[order].tolist()


def test_cluster__when_the_best_silhouette_splits_off_a_handful__refuses_it():
    """A few extreme customers far away give k = 2 by far the best silhouette."""
    points = blobs((300, (0, 0, 0)), (200, (1.2, 0, 0)), (12, (60, 60, 60)))

    found = clustering.cluster(points, ks=[2, 3], seed=7, demands=Demands(1, 0.8, 8))
    assert (found.chosen.k, min(found.chosen.sizes)) == (2, 12)

    with pytest.raises(NoGroupsError) as refused:
        clustering.cluster(points, ks=[2, 3], seed=7, demands=DEMANDS)
    assert "the smallest group has 12 members, at least 30 are asked" in refused.value.details["refused"][2]
    assert "the smallest group has 12 members, at least 30 are asked" in refused.value.details["refused"][3]


def test_cluster__of_one_cloud__refuses_what_does_not_come_again():
    cloud = blobs((400, (0, 0, 0)))

    with pytest.raises(NoGroupsError) as refused:
        clustering.cluster(cloud, ks=[5, 6, 7], seed=7, demands=DEMANDS)

    assert refused.value.code == "no_stable_groups"
    assert refused.value.message.startswith("No number of groups will do for 400 customers. k = 5: not stable: 0.")
    assert refused.value.details["refused"].keys() == {5, 6, 7}
    assert all(reason.startswith("not stable: 0.") for reason in refused.value.details["refused"].values())


def test_cluster__of_equal_rows__refuses_every_k():
    with pytest.raises(NoGroupsError):
        clustering.cluster(np.ones((200, 3)), ks=[2, 3], seed=7, demands=DEMANDS)


def test_cluster__of_fewer_rows_than_groups__refuses():
    with pytest.raises(NoGroupsError) as refused:
        clustering.cluster(np.ones((2, 3)), ks=[2, 3], seed=7, demands=DEMANDS)

    assert refused.value.details == {"refused": {}, "rows": 2}
    assert refused.value.message == "No number of groups will do for 2 customers. There are fewer of them than groups."


def test_cluster__of_more_rows_than_are_fitted__labels_them_all(monkeypatch):
    monkeypatch.setattr(clustering, "MOST_ROWS_TO_FIT", 150)

    found = clustering.cluster(THREE_GROUPS, ks=KS, seed=7, demands=DEMANDS)

    assert found.chosen.sizes == (150, 100, 200)
    assert len(found.labels) == 450


coordinates = st.floats(-1e6, 1e6, allow_nan=False, width=64)


@settings(max_examples=50, deadline=None)
@given(
    points=hnp.arrays(float, st.tuples(st.integers(1, 30), st.just(3)), elements=coordinates),
    centres=hnp.arrays(float, st.tuples(st.integers(1, 6), st.just(3)), elements=coordinates),
)
def test_nearest__of_any_batch__is_that_of_each_point_alone(points, centres):
    together = nearest(points, centres).tolist()

    assert together == [nearest(point[np.newaxis], centres)[0] for point in points]

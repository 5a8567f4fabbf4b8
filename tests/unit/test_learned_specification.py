"""What somebody asks to be learnt."""

from datetime import UTC, date, datetime

import pytest

from segments.learned import specification
from segments.learned.specification import KRange, SpecificationError


def test_specification__without_keys__has_the_defaults():
    made = specification.read({})

    assert (made.model, made.name, made.k, made.minimum_share) == ("rfm", "rfm", KRange(2, 12), 0.02)
    assert made.at is None


def test_specification__read_back_from_what_is_stored__is_the_same():
    made = specification.read(
        {"name": "value-groups", "k": {"min": 3, "max": 5}, "at": date(1998, 7, 1), "columns": {
            "customer": "id", "date": "day", "money": "dollars"}}
    )  # fmt: skip

    assert specification.read(made.as_document()) == made
    assert made.at == datetime(1998, 7, 1, tzinfo=UTC)


def test_specification__with_one_k__asks_for_just_that():
    assert specification.read({"k": 4}).k == KRange(4, 4)


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"clusters": 3}, "clusters"),
        ({"model": "dbscan"}, "model"),
        ({"name": "Not a slug"}, "name"),
        ({"event": ""}, "event"),
        ({"money": 3}, "money"),
        ({"k": {"min": 1}}, "k"),
        ({"k": {"min": 5, "max": 4}}, "k"),
        ({"k": {"from": 2}}, "k"),
        ({"k": "four"}, "k"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"minimum_size": 0}, "minimum_size"),
        ({"minimum_share": 1}, "minimum_share"),
        ({"minimum_stability": "high"}, "minimum_stability"),
        ({"resamples": 1}, "resamples"),
        ({"at": "yesterday"}, "at"),
        ({"columns": {"customer": "id"}}, "columns"),
        ({"columns": ["id"]}, "columns"),
    ],
)
def test_specification__with_a_wrong_value__names_the_key(document, key):
    with pytest.raises(SpecificationError) as refused:
        specification.read(document)

    assert refused.value.details == {"key": key}
    assert key in refused.value.message


@pytest.mark.parametrize(("rows", "smallest"), [(100, 30), (1_500, 30), (2_357, 47), (10_000, 200)])
def test_smallest_allowed__is_a_share_and_never_below_the_minimum(rows, smallest):
    assert specification.read({}).smallest_allowed(rows) == smallest

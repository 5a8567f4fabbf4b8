"""What a model keeps of relatives, and what is told of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.matching.relatives import RELATIVES, kept, relatives_of


@given(share=st.floats(1e-9, 0.4), related=st.floats(1e-9, 0.4))
def test_relatives__of_a_model__are_told_as_often_as_they_were_found(share, related):
    settings = {
        "probability_two_random_records_match": share,
        RELATIVES: kept(share, related, {"given_name": 0.02}),
    }

    told = relatives_of(settings)

    assert told.per_match == pytest.approx(related / share)
    assert told.alike == {"given_name": 0.02}


def test_relatives__of_a_model_that_found_none__are_none():
    assert relatives_of({"probability_two_random_records_match": 0.1}) is None

"""How far two models are apart."""

from hypothesis import given
from hypothesis import strategies as st

from identity.matching.drift import ALARMING_BITS, Shift, drift, weights_of


def model(**comparisons):
    return {
        "comparisons": [
            {
                "output_column_name": name,
                "comparison_levels": [
                    {"label_for_charts": "missing", "is_null_level": True},
                    *(
                        {"label_for_charts": label, "m_probability": match, "u_probability": stranger}
                        for label, (match, stranger) in levels.items()
                    ),
                ],
            }
            for name, levels in comparisons.items()
        ]
    }


def test_drift__a_level_that_moved__comes_first_with_both_weights():
    older = model(surname={"same": (0.5, 0.125), "else": (0.5, 0.5)})
    newer = model(surname={"same": (0.5, 0.0078125), "else": (0.5, 0.25)})

    assert drift(older, newer) == [Shift("surname", "same", 2.0, 6.0), Shift("surname", "else", 0.0, 1.0)]
    assert [one.is_alarming for one in drift(older, newer)] == [True, False]


def test_drift__exactly_the_bound__is_no_alarm():
    assert not Shift("surname", "same", 1.0, 1.0 + ALARMING_BITS).is_alarming


def test_drift__a_level_that_one_lacks__moved_by_its_whole_weight():
    (shift,) = drift(model(), model(phone={"same": (1.0, 0.0625)}))

    assert shift == Shift("phone", "same", None, 4.0)
    assert shift.is_alarming


def test_weights_of__a_level_without_both_probabilities__is_none():
    assert weights_of(model(surname={"same": (None, 0.1), "else": (0.5, 0.25)})) == {("surname", "else"): 1.0}


probabilities = st.floats(1e-6, 1)
models = st.dictionaries(
    st.sampled_from("abc"), st.dictionaries(st.sampled_from("xyz"), st.tuples(probabilities, probabilities))
).map(lambda given: model(**given))


@given(models, models)
def test_drift__the_other_way_round__is_the_same_distance(older, newer):
    there, back = drift(older, newer), drift(newer, older)

    assert [(one.comparison, one.level, one.older, one.newer) for one in there] == [
        (one.comparison, one.level, one.newer, one.older) for one in back
    ]


@given(models)
def test_drift__of_a_model_to_itself__is_nowhere(one):
    assert not any(shift.older != shift.newer or shift.is_alarming for shift in drift(one, one))

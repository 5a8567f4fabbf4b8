"""Which rights a legal basis gives: the table, cell by cell."""

import itertools

import pytest

from consent.models import LegalBasis
from consent.request_states import FOLLOWING, OPEN, RequestState, may_follow
from consent.rights import ARTICLES, RIGHTS_BY_BASIS, Right, offers

ERASURE, PORTABILITY, OBJECTION, WITHDRAWAL = Right.ERASURE, Right.PORTABILITY, Right.OBJECTION, Right.WITHDRAWAL


@pytest.mark.parametrize(
    ("basis", "offered"),
    [
        ("CONSENT", {ERASURE, PORTABILITY, WITHDRAWAL}),
        ("CONTRACT", {ERASURE, PORTABILITY}),
        ("LEGITIMATE_INTEREST", {ERASURE, OBJECTION}),
        ("LEGAL_OBLIGATION", {ERASURE}),
        ("PUBLIC_INTEREST", {OBJECTION}),
        ("VITAL_INTERESTS", {ERASURE}),
    ],
)
def test_offers__of_one_basis__are_those_of_the_table(basis, offered):
    found = {right for right, offer in offers([basis]).items() if offer.is_offered}

    assert found == offered | {Right.ACCESS, Right.RECTIFICATION, Right.RESTRICTION, Right.HUMAN_REVIEW}


def test_offers__always__say_why_not():
    for number in range(len(RIGHTS_BY_BASIS) + 1):
        for bases in itertools.combinations(RIGHTS_BY_BASIS, number):
            assert all(bool(offer.reason) is not offer.is_offered for offer in offers(bases).values())


def test_offers__erasure_under_a_legal_obligation_alone__is_limited():
    assert offers(["LEGAL_OBLIGATION"])[ERASURE].is_limited
    assert not offers(["LEGAL_OBLIGATION", "CONSENT"])[ERASURE].is_limited


def test_bases_and_articles__are_complete():
    assert set(RIGHTS_BY_BASIS) == set(LegalBasis.values)
    assert set(ARTICLES) == set(Right)


def test_states__that_are_closed__are_followed_by_none():
    assert {state for state in RequestState if FOLLOWING[state]} == OPEN
    assert not any(may_follow(state, RequestState.RECEIVED) for state in RequestState)

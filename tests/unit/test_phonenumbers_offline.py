"""What the numbering plans say."""

import phonenumbers
import pytest

from cdp.kernel.identifiers import Identifier
from enrichment.providers.phonenumbers_offline.provider import PhonenumbersOffline


def answer_to(number):
    (answer,) = PhonenumbersOffline().look_up([Identifier("phone", number)])
    return answer


@pytest.mark.parametrize(
    ("number", "kind", "region"),
    [
        ("+33612345678", "mobile", "FR"),
        ("+33142685300", "fixed_line", "FR"),
        ("+33912345678", "voip", "FR"),
        ("+14155552671", "fixed_line_or_mobile", "US"),
        ("+448001111111", "toll_free", "GB"),
        ("+33899123456", "premium_rate", "FR"),
    ],
)
def test_phone__that_is_valid__has_a_type_and_a_region(number, kind, region):
    assert answer_to(number).traits == {"phone_type": kind, "phone_region": region}


def test_phone__that_belongs_to_no_region__has_a_type_only():
    assert answer_to("+80012345678").traits == {"phone_type": "toll_free"}


def test_phone__that_no_plan_has__is_a_miss():
    answer = answer_to("+3360000")

    assert (dict(answer.traits), answer.failure) == ({}, None)


def test_phone__that_is_no_number__fails_for_good_without_quoting_it():
    answer = answer_to("+999 secret")

    assert answer.failure.is_permanent
    assert "secret" not in answer.failure.message


def test_version__is_that_of_the_plans():
    assert PhonenumbersOffline().version == phonenumbers.__version__

"""Normalising is idempotent, whatever comes."""

from hypothesis import given
from hypothesis import strategies as st

from cdp.ingestion import normalise

REGIONS = st.sampled_from(["", "FR", "AU", "US", "DE"])
KINDS = st.sampled_from(["user_id", "anonymous_id", "email", "phone", "crm:id"])
TRAITS = st.sampled_from(["email", "phone", "date_of_birth", "given_name", "full_name", "plan"])
SCALARS = st.one_of(
    st.text(max_size=40), st.emails(), st.integers(), st.floats(), st.booleans(), st.none(), st.dates().map(str),
    st.from_regex(r"\A(\+33|0)[1-9][ 0-9.]{8,14}\Z"), st.from_regex(r"\A[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}\Z"),
)  # fmt: skip


@given(raw=SCALARS, kind=KINDS, region=REGIONS)
def test_identifier_value__of_its_own_result__is_that_result(raw, kind, region):
    once = normalise.identifier_value(kind, raw, region=region)

    assert once is None or normalise.identifier_value(kind, once, region=region) == once


@given(raw=SCALARS, trait=TRAITS, region=REGIONS)
def test_trait_value__of_its_own_result__is_that_result(raw, trait, region):
    once = normalise.trait_value(trait, raw, region=region)

    assert normalise.trait_value(trait, once, region=region) == once or once != once  # noqa: PLR0124  # NaN


@given(raw=st.emails())
def test_email__from_an_address__keeps_its_domain_and_loses_its_case(raw):
    normal = normalise.email(raw)

    assert normal is None or normal == normal.lower()
    assert normalise.email(raw.upper()) == normal or not raw.isascii()

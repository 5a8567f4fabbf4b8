"""What the strings of an event answer: a yes only from a string that is worth it, a no from whatever can be read."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.embedded import CHECKOUT
from consent.signals import tc_string
from consent.signals.bits import MalformedSignalError
from consent.signals.strings import GPP_STRING, NOTHING, TC_STRING, TCF_PURPOSES, Carried, carried, hear
from tests.factories.signals import MARCH, gpp_header, tc_core, tc_vendors

NOW = datetime(2026, 11, 21, tzinfo=UTC)
OURS = 755
FIXTURES = CHECKOUT / "tests" / "conformance" / "signals"
GIVEN_ONE_AND_FOUR = f"{tc_core(consents=(1, 4), vendors=(OURS,))}.{tc_vendors(1, (OURS,))}"
US_SALE_OPT_OUT = "1YYN"


def heard(text, *, name=TC_STRING, sections=None, vendor=OURS):
    return hear(Carried(name, text, sections), vendor=vendor, now=NOW)


def granted(answers):
    return sorted(purpose for purpose, is_yes in answers.items() if is_yes)


def test_tc_string__answers_for_the_vendor_on_each_purpose():
    said = heard(GIVEN_ONE_AND_FOUR)

    assert (sorted(said.purposes), granted(said.purposes), said.faults) == (list(TCF_PURPOSES), [1, 4], ())
    assert said.answers["TCF", "4"] is True
    assert said.answers["TCF", "2"] is False


@pytest.mark.parametrize(
    "text",
    [
        f"{tc_core(consents=(1, 4), vendors=(OURS,))}.{tc_vendors(1, (7,))}",
        f"{tc_core(consents=(1, 4), vendors=(7,))}.{tc_vendors(1, (OURS,))}",
        f"{tc_core(interests=(2, 7), vendor_interests=(OURS,))}.{tc_vendors(1, (OURS,))}",
    ],
    ids=["not disclosed", "another vendor", "by legitimate interest"],
)
def test_tc_string__without_consent_to_the_vendor__refuses(text):
    assert granted(heard(text).purposes) == []
    assert len(heard(text).purposes) == len(TCF_PURPOSES)


def test_tc_string__without_a_vendor_of_ours__answers_nothing():
    assert heard(GIVEN_ONE_AND_FOUR, vendor=None).answers == {}


def test_tc_string__with_a_fault__refuses_and_never_permits():
    said = heard(f"{tc_core(policy=3, consents=(1, 4), vendors=(OURS,))}.{tc_vendors(1, (OURS,))}")

    assert said.faults == ("policy_ended",)
    assert said.purposes == dict.fromkeys(set(TCF_PURPOSES) - {1, 4}, False)


@pytest.mark.parametrize("fixture", ["tc_strings.json", "gpp_strings.json"])
def test_string__of_the_registered_libraries__permits_what_their_words_permit(fixture):
    name = TC_STRING if fixture.startswith("tc") else GPP_STRING
    for made in json.loads((FIXTURES / fixture).read_text()):
        for vendor in (2, 35, OURS):
            said = heard(made["text"], name=name, vendor=vendor)

            for purpose in granted(said.purposes) if name == TC_STRING else ():
                assert purpose in made["said"]["purposeConsents"]
                assert vendor in made["said"]["vendorConsents"]
                assert made["said"]["vendorsDisclosed"] is None or vendor in made["said"]["vendorsDisclosed"]
            assert not any(said.answers[signal] for signal in said.answers if signal[0] == "OPT_OUT")


def test_gpp_string__hears_the_tc_string_in_it_and_us_privacy():
    text = f"{gpp_header([2, 6])}~{GIVEN_ONE_AND_FOUR}~{US_SALE_OPT_OUT}"

    said = heard(text, name=GPP_STRING)

    assert (granted(said.purposes), said.opt_outs) == ([1, 4], {"sale": True})
    assert said.answers["OPT_OUT", "sale"] is False


def test_gpp_string__hears_only_the_sections_in_force():
    text = f"{gpp_header([2, 6])}~{GIVEN_ONE_AND_FOUR}~{US_SALE_OPT_OUT}"

    assert heard(text, name=GPP_STRING, sections=frozenset({6})).purposes == {}
    assert heard(text, name=GPP_STRING, sections=frozenset({2})).opt_outs == {}
    assert heard(text, name=GPP_STRING, sections=frozenset({-1})) == NOTHING


def test_gpp_string__of_usnat__tells_opt_outs_and_no_consent():
    text = "DBABLA~CaVkCBWQRUWo"  # sale: did not opt out; sharing: opted out; targeted advertising: not applicable

    said = heard(text, name=GPP_STRING)

    assert said.opt_outs == {"sale": False, "sharing": True}
    assert said.answers == {("OPT_OUT", "sharing"): False}


def test_strings__are_read_under_the_names_of_the_interfaces():
    consent = {"tcString": "a", "gppString": "b", "applicableSections": [7, "8", 2]}

    assert list(carried(consent)) == [Carried(TC_STRING, "a"), Carried(GPP_STRING, "b", frozenset({7, 2}))]


@pytest.mark.parametrize("consent", [None, "text", [], {}, {"tcString": 7, "gppString": ""}, {"tcString": {}}])
def test_strings__of_what_has_none__are_none(consent):
    assert list(carried(consent)) == []


texts = st.one_of(
    st.text(max_size=80),
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~", max_size=120),
    st.builds(
        lambda text, place, other: text[: place % len(text)] + other + text[place % len(text) + 1 :],
        st.sampled_from([GIVEN_ONE_AND_FOUR, f"{gpp_header([2, 6])}~{GIVEN_ONE_AND_FOUR}~1YYN"]),
        st.integers(0, 300),
        st.sampled_from("AB_-.~1x"),
    ),
)


@given(texts, st.sampled_from([TC_STRING, GPP_STRING]), st.sampled_from([None, OURS]))
def test_string__whatever_it_is__permits_only_what_a_faultless_one_says(text, name, vendor):
    try:
        said = heard(text, name=name, vendor=vendor)
    except MalformedSignalError:
        return
    if vendor is None or (name == TC_STRING and said.faults):
        assert not any(said.answers.values())
    elif name == TC_STRING:
        decoded = tc_string.decode(text)
        assert set(granted(said.purposes)) <= set(decoded.purpose_consents)
        assert not granted(said.purposes) or vendor in decoded.vendor_consents


def test_string__made_before_its_time__permits_nothing():
    said = hear(Carried(TC_STRING, GIVEN_ONE_AND_FOUR), vendor=OURS, now=MARCH.replace(year=2025))

    assert said.faults == ("made_in_the_future",)
    assert granted(said.purposes) == []

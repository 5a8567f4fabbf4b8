"""The merge rule, case by case. That Postgres decides alike is in tests/properties/test_consent.py."""

from datetime import UTC, datetime, timedelta

import pytest

from consent.policy import Policy, Rule, Statement, decide, held_back, regime_in

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OPT_IN = Policy("CONSENT")
INTEREST = Policy("LEGITIMATE_INTEREST")


def said(state: str, days_ago: float = 10, who: str = "phone", **more: object) -> Statement:
    return Statement(who, state, NOW - timedelta(days=days_ago), **more)


@pytest.mark.parametrize(
    ("policy", "allowed", "rule"),
    [
        (OPT_IN, False, Rule.SILENCE_REFUSES),
        (INTEREST, True, Rule.SILENCE_PERMITS),
        (Policy(None), False, Rule.NOT_PURSUED),
    ],
)
def test_decide__when_nobody_said_anything__follows_the_legal_basis(policy, allowed, rule):
    decision = decide(policy, [], NOW)

    assert (decision.allowed, decision.rule, decision.changes_at) == (allowed, rule, None)


@pytest.mark.parametrize("state", ["GIVEN", "RENEWED"])
def test_decide__when_one_identifier_grants__allows(state):
    decision = decide(OPT_IN, [said(state)], NOW)

    assert (decision.allowed, decision.rule) == (True, Rule.GRANTED)


@pytest.mark.parametrize("policy", [OPT_IN, INTEREST])
@pytest.mark.parametrize("state", ["REQUESTED", "DEFERRED", "EXPIRED", "TERMINATED", "INVALIDATED"])
def test_decide__when_the_last_word_does_not_grant__refuses_on_every_basis(policy, state):
    decision = decide(policy, [said("GIVEN", 20), said(state, 10)], NOW)

    assert (decision.allowed, decision.rule) == (False, Rule.NOT_GRANTED)


BY_DEVICE = Policy("CONSENT", is_by_device=True)


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ([said("GIVEN", who="phone"), said("GIVEN", who="tablet")], Rule.GRANTED),
        ([said("GIVEN", who="phone")], Rule.SILENCE_REFUSES),
        ([said("GIVEN", who="phone"), said("GIVEN", who="tablet"), said("REFUSED", who="e-mail")], Rule.DENIED),
        ([said("REFUSED", 9, who="phone"), said("GIVEN", 1, who="tablet", is_verified=True)], Rule.DENIED),
        ([said("GIVEN", who="e-mail", is_verified=True)], Rule.SILENCE_REFUSES),
        ([said("GIVEN", who="phone"), said("EXPIRED", who="tablet")], Rule.NOT_GRANTED),
    ],
)
def test_decide__for_a_person_with_two_devices__asks_each_of_them(words, rule):
    decision = decide(BY_DEVICE, words, NOW, devices=["phone", "tablet"])

    assert (decision.allowed, decision.rule) == (rule is Rule.GRANTED, rule)


def test_decide__by_device_for_whoever_has_none__is_as_for_a_person():
    assert decide(BY_DEVICE, [said("GIVEN", who="e-mail")], NOW).rule is Rule.GRANTED
    assert decide(BY_DEVICE, [], NOW).rule is Rule.SILENCE_REFUSES


def test_decide__when_the_last_word_is_unknown__is_silence():
    assert decide(INTEREST, [said("UNKNOWN")], NOW).rule is Rule.SILENCE_PERMITS
    assert decide(OPT_IN, [said("GIVEN", 20), said("UNKNOWN", 10)], NOW).rule is Rule.SILENCE_REFUSES


@pytest.mark.parametrize("state", ["REFUSED", "WITHDRAWN"])
def test_decide__when_any_identifier_denies__refuses_though_another_granted_later(state):
    decision = decide(INTEREST, [said(state, 10, "phone"), said("GIVEN", 1, "tablet")], NOW)

    assert (decision.allowed, decision.rule) == (False, Rule.DENIED)


def test_decide__when_a_verified_identifier_grants_after_the_denial__allows():
    denial, grant = said("REFUSED", 10, "phone"), said("GIVEN", 1, "login", is_verified=True)

    decision = decide(OPT_IN, [denial, grant], NOW)

    assert (decision.allowed, decision.rule) == (True, Rule.GRANTED_AFTER_DENIAL)


@pytest.mark.parametrize("days_ago", [10, 11])
def test_decide__when_the_verified_grant_is_not_later_than_the_denial__refuses(days_ago):
    denial, grant = said("REFUSED", 10, "phone"), said("GIVEN", days_ago, "login", is_verified=True)

    assert decide(OPT_IN, [denial, grant], NOW).rule is Rule.DENIED


def test_decide__when_the_identifier_itself_takes_its_denial_back__allows():
    assert decide(OPT_IN, [said("WITHDRAWN", 10), said("GIVEN", 1)], NOW).rule is Rule.GRANTED


@pytest.mark.parametrize("other", ["REFUSED", "EXPIRED", "UNKNOWN"])
def test_decide__when_two_words_fall_on_one_instant__takes_the_one_that_permits_less(other):
    statements = [said("GIVEN"), said(other)]

    assert not decide(OPT_IN, statements, NOW).allowed
    assert not decide(OPT_IN, statements[::-1], NOW).allowed


def test_decide__when_the_grant_has_run_out__refuses():
    grant = said("GIVEN", 10, expires_at=NOW)

    assert decide(OPT_IN, [grant], NOW).rule is Rule.NOT_GRANTED
    assert decide(OPT_IN, [grant], NOW - timedelta(microseconds=1)).rule is Rule.GRANTED


def test_decide__when_a_statement_lies_ahead__does_not_count_it_yet_and_tells_when():
    ahead = said("WITHDRAWN", -3)

    decision = decide(INTEREST, [ahead], NOW)

    assert (decision.allowed, decision.changes_at) == (True, NOW + timedelta(days=3))
    assert decide(INTEREST, [ahead], NOW + timedelta(days=3)).rule is Rule.DENIED


def test_decide__tells_the_first_instant_at_which_it_may_change():
    first, second = NOW + timedelta(days=1), NOW + timedelta(days=2)

    decision = decide(OPT_IN, [said("GIVEN", 5, "a", expires_at=second), said("GIVEN", 5, "b", expires_at=first)], NOW)

    assert decision.changes_at == first


def test_every_rule__has_a_sentence():
    assert [decide(policy, [], NOW).reason for policy in (OPT_IN, INTEREST, Policy(None))] == [
        "nobody said anything, and the purpose rests on consent",
        "nobody said anything, and the purpose does not rest on consent",
        "the workspace does not pursue this purpose",
    ]


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([said("GIVEN", recipient="email")], {"": False, "email": True, "meta": False}),
        ([said("GIVEN", 20), said("WITHDRAWN", 10, recipient="meta")], {"": False, "email": True, "meta": False}),
        # Only in its own name is a refusal of a recipient taken back, however sure the other grant is.
        (
            [said("WITHDRAWN", 20, recipient="meta"), said("GIVEN", 10, is_verified=True)],
            {"": False, "email": True, "meta": False},
        ),
        (
            [said("WITHDRAWN", 20, recipient="meta"), said("GIVEN", 10, recipient="meta")],
            {"": False, "email": False, "meta": True},
        ),
        # A withdrawal of everything outlasts a grant for one, unless that one is verified.
        ([said("WITHDRAWN", 20), said("GIVEN", 10, recipient="meta")], {"": False, "meta": False}),
        ([said("WITHDRAWN", 20), said("GIVEN", 10, recipient="meta", is_verified=True)], {"": False, "meta": True}),
        ([said("GIVEN", 20), said("REQUESTED", 10, recipient="meta")], {"": True, "meta": True}),
    ],
)
def test_decide__for_a_recipient__hears_what_names_it_and_what_names_none(statements, allowed):
    assert {recipient: decide(OPT_IN, statements, NOW, recipient).allowed for recipient in allowed} == allowed


@pytest.mark.parametrize(
    ("place", "regime"), [("US-CA", "OPT_IN"), ("US-NY", "OPT_OUT"), ("FR", "OPT_IN"), ("", "OPT_IN")]
)
def test_regime_in__a_region__is_its_own_or_that_of_its_country(place, regime):
    assert regime_in({"US": "OPT_OUT", "US-CA": "OPT_IN"}, place) == regime


@pytest.mark.parametrize(
    ("holds", "rule"),
    [
        ({Rule.OBJECTION}, Rule.OBJECTION),
        ({Rule.OBJECTION, Rule.RESTRICTION}, Rule.RESTRICTION),
        ({Rule.SUPPRESSION, Rule.RESTRICTION}, Rule.SUPPRESSION),
    ],
)
def test_held_back__is_no_whatever_was_said_for_the_gravest_reason(holds, rule):
    granted = decide(OPT_IN, [said("GIVEN", is_verified=True)], NOW)

    decision = held_back(granted, holds)

    assert (decision.allowed, decision.rule) == (False, rule)
    assert held_back(granted, set()) == granted

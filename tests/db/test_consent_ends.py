"""A purpose says after how many days a consent ends, and every way of recording keeps to it."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from cdp.kernel.identifiers import Identifier as Named
from cdp.kernel.purposes import Purpose
from consent import queries, services
from consent.models import ConsentRecord, LegalBasis, PurposePolicy
from consent.services import ConsentStatement, KeyReusedError, Recorded, record_consents
from tests.factories import SourceFactory

ADA = Named("email", "ada@example.com")


@pytest.fixture
def policy(workspace):
    """Consents to advertising end after 180 days."""
    workspace.purposepolicy_set.filter(purpose="advertising").update(consent_days=180)
    return workspace.purposepolicy_set.get(purpose="advertising")


def statement(at, state="GIVEN", **changes):
    return ConsentStatement(ADA, "advertising", state, at, **changes)


def ends():
    return list(ConsentRecord.objects.order_by("pk").values_list("expires_at", flat=True))


def allowed(workspace, at, now):
    asked = {"identifier": ADA, "purpose": Purpose.ADVERTISING, "at": at, "now": now}
    return queries.effective(workspace_id=workspace.pk, **asked).decision.allowed


@pytest.mark.parametrize("login", ["web", "operator", "rights"])
@pytest.mark.parametrize(
    ("state", "own_days", "days"),
    [("GIVEN", None, 180), ("RENEWED", None, 180), ("GIVEN", 30, 30), ("GIVEN", 999, 180), ("WITHDRAWN", None, None)],
)
def test_consent__where_its_purpose_ends_consents__ends_then_or_before(
    login, state, own_days, days, workspace, policy, now, as_login
):
    own = own_days and now + timedelta(days=own_days)
    as_login(login)

    record_consents(workspace_id=workspace.pk, statements=[statement(now, state, expires_at=own)], now=now)

    as_login("none")
    assert ends() == [days and now + timedelta(days=days)]


def test_consent__after_the_days_of_its_purpose__permits_nothing(workspace, policy, now):
    record_consents(workspace_id=workspace.pk, statements=[statement(now)], now=now)

    days = [timedelta(days=180) - timedelta(seconds=1), timedelta(days=180)]
    assert [allowed(workspace, now + each, now) for each in days] == [True, False]


def test_statement__again_after_the_rule_changed__is_the_same_one(workspace, policy, now):
    given = [statement(now, key="1"), statement(now, "RENEWED", expires_at=now + timedelta(days=999))]
    record_consents(workspace_id=workspace.pk, statements=given, now=now)
    PurposePolicy.objects.filter(pk=policy.pk).update(consent_days=None)

    assert record_consents(workspace_id=workspace.pk, statements=given, now=now) == Recorded(recorded=0, duplicates=2)
    assert ends() == [now + timedelta(days=180)] * 2


def test_statement__again_with_an_end_of_its_own__is_another_one(workspace, policy, now):
    record_consents(workspace_id=workspace.pk, statements=[statement(now, key="1")], now=now)
    other = statement(now, key="1", expires_at=now + timedelta(days=30))

    with pytest.raises(KeyReusedError):
        record_consents(workspace_id=workspace.pk, statements=[other], now=now)

    assert ends() == [now + timedelta(days=180)]


def test_signal__that_repeats_a_consent__does_not_prolong_it_and_gives_it_anew_when_it_ended(workspace, policy, now):
    source = SourceFactory(workspace=workspace).pk
    days = [200, 100, 21, 20, 0]  # ago: given, repeated, repeated, ended and given anew, repeated
    for ago in days:
        said = [statement(now - timedelta(days=ago))]
        services.record_signals(workspace_id=workspace.pk, statements=said, now=now, source=source)

    given = ConsentRecord.objects.order_by("pk").values_list("occurred_at", "expires_at")
    assert list(given) == [
        (now - timedelta(days=200), now - timedelta(days=20)),
        (now - timedelta(days=20), now + timedelta(days=160)),
    ]


def test_purpose__that_does_not_rest_on_consent__has_no_consents_that_end(workspace, policy):
    policy.legal_basis = LegalBasis.LEGITIMATE_INTEREST

    with pytest.raises(ValidationError, match="Only what rests on consent"):
        policy.clean()
    with pytest.raises(IntegrityError, match="purpose_ends_consents_alone"), transaction.atomic():
        policy.save()

    assert PurposePolicy.objects.get(pk=policy.pk).legal_basis == LegalBasis.CONSENT


def test_rule__of_consents_that_end__is_a_version_of_its_own(workspace, policy):
    before = policy.fingerprint

    PurposePolicy.objects.filter(pk=policy.pk).update(consent_days=90)

    policy.refresh_from_db()
    assert (policy.version, policy.fingerprint != before) == (3, True)

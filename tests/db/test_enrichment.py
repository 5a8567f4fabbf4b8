"""Enrichment: who is asked about, once each, and where the values go."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from django.db import connection

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, IdentifierTrait, Source, SourceKind, Trait
from consent import gate
from consent.models import ConsentState, PurposePolicy
from enrichment import registry, services
from enrichment.models import Lookup
from enrichment.provider import Answer, ProviderUnusableError, QuestionFailedError
from identity import golden
from tests.factories import IdentifierFactory, SourceFactory, say

MOBILE, FIXED = "+33612345678", "+33142685300"


@dataclass
class FakeProvider:
    """Knows what it is told to know, and remembers what it was asked."""

    knows: dict[str, Answer | None] = field(default_factory=dict)
    version: str = "1"
    fails_after: int | None = None
    slug: str = "fake"
    identifier_types: frozenset[str] = frozenset({"email"})
    asked: list[str] = field(default_factory=list)

    def look_up(self, questions: Sequence):
        for number, question in enumerate(questions):
            if number == self.fails_after:
                raise ProviderUnusableError(is_permanent=False)
            self.asked.append(question.value)
            yield self.knows.get(question.value) or Answer(question, {"job": "mathematician"}, 0.75, Decimal("0.10"))


@pytest.fixture
def fake(monkeypatch):
    provider = FakeProvider()
    monkeypatch.setattr(registry, "PROVIDERS", (provider,))
    return provider


def phone(workspace, value=MOBILE):
    return IdentifierFactory(workspace=workspace, type="phone", value=value)


def enrich(workspace, *people, now):
    with gate.permit(Purpose.ENRICHMENT, workspace_id=workspace.pk) as permit:
        return services.enrich(permit, {person.profile_id: Cause.EVENT for person in people}, now=now)


def golden_values(profile_id):
    return dict(Trait.objects.filter(profile_id=profile_id).values_list("name", "value"))


def test_enrich__a_phone__writes_values_with_their_provenance(workspace, now):
    person = phone(workspace)

    enrich(workspace, person, now=now)

    source = Source.objects.get(workspace=workspace, name="phonenumbers-offline")
    assert source.kind == SourceKind.ENRICHMENT
    observed = IdentifierTrait.objects.filter(identifier=person, source=source, observed_at=now, confidence=1.0)
    assert dict(observed.values_list("name", "value")) == {"phone_type": "mobile", "phone_region": "FR"}
    lookup = Lookup.objects.get()
    assert (lookup.source, lookup.identifier, lookup.is_found, lookup.looked_up_at) == (source, person, True, now)
    assert golden_values(person.profile_id) == {"phone_type": "mobile", "phone_region": "FR"}
    assert set(Trait.objects.values_list("source", flat=True)) == {source.pk}


def test_enrich__whatever_it_learns__hands_all_subjects_on(workspace, now):
    known, other = phone(workspace), IdentifierFactory(workspace=workspace)

    assert enrich(workspace, known, other, now=now) == {known.profile_id: Cause.EVENT, other.profile_id: Cause.EVENT}
    assert [lookup.identifier for lookup in Lookup.objects.all()] == [known]


def test_enrich__of_who_does_not_permit_it__asks_nobody(workspace, fake, now):
    silent, refusing = IdentifierFactory.create_batch(2, workspace=workspace)
    say(refusing, Purpose.ENRICHMENT, ConsentState.REFUSED)

    enrich(workspace, silent, refusing, now=now)

    assert fake.asked == [silent.value]
    assert not IdentifierTrait.objects.filter(identifier=refusing).exists()
    assert not Lookup.objects.filter(identifier=refusing).exists()


@pytest.mark.parametrize(
    ("provider", "state", "is_asked"),
    [("fake", "REFUSED", False), ("another", "REFUSED", True), ("fake", "GIVEN", True), ("fake", "REQUESTED", False)],
)
def test_enrich__of_who_spoke_of_one_provider__asks_as_they_said_of_that_one(
    provider, state, is_asked, workspace, fake, now
):
    person = IdentifierFactory(workspace=workspace)
    say(person, Purpose.ENRICHMENT, ConsentState(state), recipient=provider)

    enrich(workspace, person, now=now)

    assert fake.asked == ([person.value] if is_asked else [])


def test_enrich__of_who_permits_one_provider_and_no_other__asks_that_one(workspace, fake, now):
    person = IdentifierFactory(workspace=workspace)
    PurposePolicy.objects.filter(workspace=workspace, purpose=Purpose.ENRICHMENT).update(legal_basis="CONSENT")
    enrich(workspace, person, now=now)
    assert fake.asked == []

    say(person, Purpose.ENRICHMENT, ConsentState.GIVEN, recipient="fake")
    enrich(workspace, person, now=now)

    assert fake.asked == [person.value]
    assert Lookup.objects.get().identifier == person


def test_enrich__of_another_type_of_identifier__asks_nothing(workspace, fake, now):
    enrich(workspace, phone(workspace), now=now)

    assert fake.asked == []


def test_enrich__a_second_time__asks_nothing_and_changes_nothing(workspace, fake, now):
    person = IdentifierFactory(workspace=workspace)
    enrich(workspace, person, now=now)
    before = list(IdentifierTrait.objects.values())

    enrich(workspace, person, now=now)

    assert fake.asked == [person.value]
    assert list(IdentifierTrait.objects.values()) == before
    assert Lookup.objects.count() == 1


def test_enrich__with_a_new_version_of_the_provider__asks_again(workspace, fake, now):
    person = IdentifierFactory(workspace=workspace)
    enrich(workspace, person, now=now)
    fake.version = "2"

    enrich(workspace, person, now=now)

    assert fake.asked == [person.value] * 2
    assert Lookup.objects.get().provider_version == "2"
    assert IdentifierTrait.objects.count() == 1


def test_enrich__at_a_disabled_source__asks_nothing(workspace, fake, now):
    SourceFactory(workspace=workspace, name="fake", kind=SourceKind.ENRICHMENT, is_enabled=False)

    enrich(workspace, IdentifierFactory(workspace=workspace), now=now)

    assert fake.asked == []


def test_enrich__what_the_provider_does_not_know__is_a_miss_that_is_not_asked_again(workspace, fake, now):
    person = IdentifierFactory(workspace=workspace)
    fake.knows[person.value] = Answer(_question(person))

    enrich(workspace, person, now=now)
    enrich(workspace, person, now=now)

    assert fake.asked == [person.value]
    assert Lookup.objects.get().is_found is False
    assert not IdentifierTrait.objects.exists()


@pytest.mark.parametrize(("is_permanent", "times"), [(True, 1), (False, 2)])
def test_enrich__when_one_question_fails__answers_the_others_and_retries_what_may_pass(
    is_permanent, times, workspace, fake, now
):
    failing, fine = IdentifierFactory.create_batch(2, workspace=workspace)
    failure = QuestionFailedError(is_permanent=is_permanent)
    fake.knows[failing.value] = Answer(_question(failing), failure=failure)

    enrich(workspace, failing, fine, now=now)
    enrich(workspace, failing, fine, now=now)

    assert fake.asked.count(failing.value) == times
    assert fake.asked.count(fine.value) == 1
    assert list(IdentifierTrait.objects.values_list("identifier_id", "value")) == [(fine.pk, "mathematician")]


def test_enrich__when_the_provider_breaks_down__keeps_what_it_said_and_asks_the_rest_later(workspace, fake, now):
    first, second = IdentifierFactory.create_batch(2, workspace=workspace)
    fake.fails_after = 1

    assert len(enrich(workspace, first, second, now=now)) == 2
    assert list(Lookup.objects.values_list("identifier_id", "cost")) == [(first.pk, Decimal("0.10"))]

    fake.fails_after = None
    enrich(workspace, first, second, now=now)
    assert fake.asked == [first.value, second.value]


def test_values__through_a_merge_and_its_undoing__stay_with_their_identifier(workspace, now):
    mobile, fixed = phone(workspace, MOBILE), phone(workspace, FIXED)
    enrich(workspace, mobile, fixed, now=now)
    before = {each.pk: golden_values(each.pk) for each in (mobile, fixed)}

    _move(workspace, fixed, to=mobile.pk)
    assert golden_values(mobile.pk)["phone_type"] in {"mobile", "fixed_line"}
    assert IdentifierTrait.objects.count() == 4
    _move(workspace, fixed, to=fixed.pk)

    assert {each.pk: golden_values(each.pk) for each in (mobile, fixed)} == before
    assert before[fixed.pk]["phone_type"] == "fixed_line"


def test_worker__of_the_enrichment_queue__may_do_all_of_it(workspace, as_login, now):
    person = phone(workspace)
    as_login("worker_enrichment")

    enrich(workspace, person, now=now)

    as_login("none")
    assert Lookup.objects.count() == 1
    assert golden_values(person.profile_id)["phone_region"] == "FR"


def _question(person):
    from cdp.kernel.identifiers import Identifier as Question

    return Question(person.type, person.value)


def _move(workspace, identifier: Identifier, *, to):
    """What the resolver does when it merges and undoes."""
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk) as permit, connection.cursor() as cursor:
        cursor.execute("UPDATE identifier SET profile_id = %s WHERE id = %s", [to, identifier.pk])
        merged_into = None if to == identifier.pk else to
        cursor.execute("UPDATE core.profile SET merged_into_id = %s WHERE id = %s", [merged_into, identifier.pk])
        golden.refresh_traits(permit, {to, identifier.pk})

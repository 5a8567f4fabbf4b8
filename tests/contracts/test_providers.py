"""What every registered provider must keep to, whoever wrote it."""

import re
from decimal import Decimal

import pytest

from cdp.kernel.identifiers import Identifier
from cdp.models import Source
from enrichment import registry
from enrichment.models import Lookup
from enrichment.provider import Answer, ProviderUnusableError, QuestionFailedError

VALUES = {
    "phone": ["+33612345678", "+14155552671", "+3360000", "no number at all", ""],
    "email": ["ada@example.com", "nobody@example.invalid", "no address"],
}


@pytest.fixture(params=registry.providers(), ids=lambda provider: provider.slug)
def provider(request):
    return request.param


def questions_for(provider):
    return [Identifier(type_, value) for type_ in sorted(provider.identifier_types) for value in VALUES[type_]]


def test_providers__have_slugs_of_their_own():
    slugs = [provider.slug for provider in registry.providers()]

    assert slugs
    assert len(set(slugs)) == len(slugs)


def test_provider__has_names_that_fit_their_columns(provider):
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", provider.slug)
    assert len(provider.slug) <= Source._meta.get_field("name").max_length
    assert 0 < len(provider.version) <= Lookup._meta.get_field("provider_version").max_length
    assert provider.identifier_types


def test_provider__answers_each_question_once(provider):
    questions = questions_for(provider)

    answers = list(provider.look_up(questions))

    assert len(questions) > 1
    assert sorted(answer.question for answer in answers) == sorted(questions)


def test_provider__asked_nothing__says_nothing(provider):
    assert list(provider.look_up([])) == []


def test_provider__gives_text_traits_with_confidence_and_cost(provider):
    for answer in provider.look_up(questions_for(provider)):
        assert isinstance(answer, Answer)
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in answer.traits)
        assert all(isinstance(value, str) and value for value in answer.traits.values())
        assert 0 < answer.confidence <= 1
        assert isinstance(answer.cost, Decimal)
        assert answer.cost >= 0


def test_provider__that_fails_at_a_question__gives_no_traits_with_it(provider):
    for answer in provider.look_up(questions_for(provider)):
        assert not (answer.failure and answer.traits)


def test_provider__asked_in_another_order__answers_the_same(provider):
    def by_question(questions):
        return {answer.question: dict(answer.traits) for answer in provider.look_up(questions)}

    questions = questions_for(provider)

    assert by_question(questions) == by_question(questions[::-1])


@pytest.mark.parametrize(("is_permanent", "is_final"), [(True, True), (False, False)])
def test_answer__with_a_failure__is_final_only_if_asking_again_cannot_help(is_permanent, is_final):
    answer = Answer(Identifier("phone", "+1"), failure=QuestionFailedError(is_permanent=is_permanent))

    assert answer.is_final is is_final


def test_errors__say_what_to_do():
    assert QuestionFailedError(is_permanent=True).message.startswith("The provider could not answer this one question")
    assert ProviderUnusableError(is_permanent=False).message.startswith("The provider answers nobody at the moment")

"""Computed traits: in rules, on pages, changed while segments use them."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from cdp.console import person
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Profile
from consent import gate
from consent.models import ConsentState
from segments import computed, membership, queries, services
from segments.language import LanguageError
from segments.models import ComputedTrait, ComputedTraitVersion, Segment
from tests.factories import SourceFactory, say
from tests.factories.segments import happen, know, people

DAY = timedelta(days=1)


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


def define(workspace, slug, definition):
    return computed.create_computed_trait(
        workspace_id=workspace.pk, slug=slug, name="", definition=definition, author=None
    )


def create(workspace, slug, rule, now) -> Segment:
    return services.create_segment(workspace_id=workspace.pk, slug=slug, name="", definition=rule, author=None, now=now)


def values(workspace, profiles, now, purpose=Purpose.SEGMENTATION):
    with gate.permit(purpose, workspace_id=workspace.pk) as permit:
        return computed.values_of(permit, profiles, now=now)


def test_rule__with_a_computed_trait__is_exact_at_every_moment(workspace, source, now):
    ada, _ = people(2, workspace)
    happen(ada, source, "Order", now, {"amount": 60})
    happen(ada, source, "Order", now - DAY, {"amount": 50})
    define(workspace, "spent", 'sum of "amount" of "Order" in last 2 days')
    segment = create(workspace, "spenders", 'computed "spent" > 100', now)
    before = queries.members_of(segment)

    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        membership.evaluate(permit, membership.due(permit, now=now + DAY, most=10), now=now + DAY)

    assert (before, queries.members_of(segment)) == ([ada.pk], [])
    found = services.find_matching(
        workspace_id=workspace.pk, definition='computed "spent" > 100', engine="reference", now=now
    )
    assert found.members == [ada.pk]


def test_change__of_a_computed_trait__publishes_the_segments_that_use_it_and_no_others(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now, {"amount": 60})
    define(workspace, "spent", 'sum of "amount" of "Order"')
    users = create(workspace, "spenders", 'computed "spent" >= 60', now)
    others = create(workspace, "others", 'done "Order"', now)

    published = computed.change_computed_trait(
        workspace_id=workspace.pk, slug="spent", definition='sum of "refund" of "Order"', author=None, now=now + DAY
    )

    assert published == ["spenders"]
    assert queries.members_of(users) == []
    assert [each.number for each in users.versions.order_by("number")] == [1, 2]
    assert [each.computed["spent"]["measure"] for each in users.versions.order_by("number")] == [
        {"sum": "amount"}, {"sum": "refund"},
    ]  # fmt: skip
    assert others.versions.count() == 1
    assert [each.number for each in ComputedTraitVersion.objects.order_by("number")] == [1, 2]


def test_changed_trait__in_a_rule_by_hand__keeps_what_it_meant_when_it_was_published(workspace, source, now):
    """A live version is computed by what it was published with, whatever somebody adds meanwhile."""
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now, {"amount": 60})
    trait = define(workspace, "spent", 'sum of "amount" of "Order"')
    segment = create(workspace, "spenders", 'computed "spent" >= 60', now)
    newer = {"event": "Order", "measure": {"sum": "refund"}}
    ComputedTraitVersion.objects.create(workspace=workspace, trait=trait, number=2, definition=newer)

    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        membership.evaluate(permit, {ada.pk: Cause.EVENT}, now=now)

    assert queries.members_of(segment) == [ada.pk]


def test_unknown_computed_trait__in_a_rule__is_refused_with_a_suggestion(workspace, now):
    define(workspace, "spent", 'sum of "amount" of "Order"')

    with pytest.raises(LanguageError) as refused:
        create(workspace, "spenders", 'computed "spend" >= 60', now)

    assert (refused.value.code, refused.value.suggestion) == ("unknown_computed_trait", None)
    assert not Segment.objects.exists()


def test_computed_trait__that_a_segment_uses__is_not_archived(workspace, now):
    define(workspace, "spent", 'sum of "amount" of "Order"')
    segment = create(workspace, "spenders", 'computed "spent" >= 60', now)

    with pytest.raises(computed.ComputedTraitUsedError, match="Segments use spent: spenders"):
        computed.archive_computed_trait(workspace_id=workspace.pk, slug="spent", now=now)
    assert ComputedTrait.objects.get().archived_at is None

    services.archive(segment=segment, now=now)
    computed.archive_computed_trait(workspace_id=workspace.pk, slug="spent", now=now)
    assert values(workspace, [], now) == {}
    with pytest.raises(computed.UnknownComputedTraitError):
        computed.archive_computed_trait(workspace_id=workspace.pk, slug="spent", now=now)


def test_computed_trait__that_exists__is_refused(workspace):
    define(workspace, "spent", 'sum of "amount" of "Order"')

    with pytest.raises(computed.ComputedTraitExistsError):
        define(workspace, "spent", 'count of "Order"')

    assert ComputedTraitVersion.objects.count() == 1


@pytest.mark.parametrize("purpose", [Purpose.SEGMENTATION, Purpose.ANALYTICS])
def test_values__of_people__are_json_and_leave_out_what_is_missing(workspace, source, now, purpose):
    ada, grace = people(2, workspace)
    know(ada, source, timezone="Asia/Kathmandu")
    for days, amount, colour in ((0, 10, "red"), (1, 10.5, "blue"), (3, 1, "red")):
        happen(ada, source, "Order", now - days * DAY, {"amount": amount, "colour": colour})
    definitions = {
        "average": 'average of "amount" of "Order"', "colours": 'values of "colour" of "Order"',
        "favourite": 'most frequent "colour" of "Order"', "largest": 'maximum of "amount" of "Order"',
        "orders": 'count of "Order" in last 2 days', "since": 'days since last "Order"',
    }  # fmt: skip
    for slug, definition in definitions.items():
        define(workspace, slug, definition)

    found = values(workspace, [ada.pk, grace.pk], now, purpose)

    assert found == {
        ada.pk: {
            "average": 7.166666667, "colours": ["red", "blue"], "favourite": "red", "largest": 10.5, "orders": 2, "since": 0,
        },
        grace.pk: {"colours": [], "orders": 0},
    }  # fmt: skip


def test_rfm__made_at_once__measures_recency_frequency_and_money(workspace, source, now):
    [ada] = people(1, workspace)
    for days, amount in ((2, 10), (30, 5), (400, 99)):
        happen(ada, source, "Order", now - days * DAY, {"amount": amount})

    made = computed.make_rfm(workspace_id=workspace.pk, event="Order", amount="amount", author=None)

    assert [each.slug for each in made] == ["recency", "frequency", "monetary"]
    assert values(workspace, [ada.pk], now) == {ada.pk: {"recency": 2, "frequency": 2, "monetary": 15}}


def test_values__of_today__are_those_of_the_persons_own_day_and_hidden_from_who_may_not_see_them(
    workspace, source, now
):
    ada, grace, hidden = people(3, workspace)
    know(ada, source, timezone="Asia/Kathmandu")  # a quarter to six in the afternoon: the day began at 18:15 UTC
    for each in (ada, grace, hidden):
        happen(each, source, "Order", now - timedelta(hours=15))  # 21:00 UTC, 22:00 in Paris, 02:45 in Kathmandu
    define(workspace, "today", 'count of "Order" today')
    say(hidden, Purpose.SEGMENTATION, ConsentState.WITHDRAWN)

    found = values(workspace, [ada.pk, grace.pk, hidden.pk], now)
    shown = [dict(person.computed_of(Profile.objects.get(pk=each.pk), now)) for each in (ada, hidden)]

    assert found == {ada.pk: {"today": 1}, grace.pk: {"today": 0}, hidden.pk: {}}
    assert shown == [{"today": 1}, {}]


def test_values__of_too_many_people__are_refused(workspace, now):
    with pytest.raises(computed.TooManyPeopleError):
        values(workspace, list(range(computed.MOST_PEOPLE + 1)), now)


def test_command__creates_changes_and_archives(workspace, now):
    create_ = ("computed", "create", "spent", 'sum of "amount" of "Order"')
    of = ("--workspace", workspace.slug)

    assert command(*create_, *of) == {"computed": "spent"}
    create(workspace, "spenders", 'computed "spent" >= 60', now)
    assert command("computed", "change", "spent", 'sum of "refund" of "Order"', *of)["published"] == ["spenders"]
    assert command("computed", "rfm", "Order", "amount", *of) == {"computed": ["recency", "frequency", "monetary"]}
    assert command("computed", "archive", "recency", *of) == {"archived": "recency"}
    assert command("computed", "show", *of) == {
        "computed": {
            "frequency": 'count of "Order" in last 365 days', "monetary": 'sum of "amount" of "Order" in last 365 days',
            "spent": 'sum of "refund" of "Order"',
        }
    }  # fmt: skip


def command(*arguments) -> dict[str, object]:
    out = StringIO()
    call_command(*arguments, "--json", stdout=out)
    return json.loads(out.getvalue())

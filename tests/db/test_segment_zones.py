"""Another time zone of the workspace: whom that concerns, and that today is another day for them."""

from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from cdp.console.apps import load_pages
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Source, Stage, Workspace
from consent import gate
from segments import membership, queries, services, zones
from segments.models import Membership
from tests import outbox
from tests.factories import SourceFactory
from tests.factories.filled import console_user
from tests.factories.segments import happen, history, know, people

load_pages()
NIGHT = datetime(2026, 11, 21, 2, tzinfo=UTC)  # in Paris it is three in the morning, in New York the day before
YESTERDAY = datetime(2026, 11, 20, 22, tzinfo=UTC)  # in both


def create(workspace, rule):
    return services.create_segment(
        workspace_id=workspace.pk, slug="segment", name="", definition=rule, author=None, now=NIGHT
    )


def handed_over(workspace) -> dict[int, Cause]:
    waiting = outbox.waiting(stage=Stage.SEGMENTS, workspace=workspace)
    return {subject: Cause(cause) for _, subject, cause in waiting}


def change(workspace, zone) -> int:
    return zones.change_time_zone(workspace_id=workspace.pk, time_zone=zone)


def change_of(workspace, source, zone) -> int:
    return zones.change_time_zone_of_source(workspace_id=workspace.pk, name=source.name, time_zone=zone)


def test_zone_of_the_workspace__changed__evaluates_again_who_has_none_of_his_own(workspace):
    source = SourceFactory(workspace=workspace)
    ada, grace, third = people(3, workspace)
    know(grace, source, timezone="Europe/Berlin")
    know(third, source, timezone="Middle/Earth")
    for person in (ada, grace, third):
        happen(person, source, "Order", YESTERDAY)
    segment = create(workspace, 'done "Order" today')
    before = queries.members_of(segment)

    concerned = change(workspace, "America/New_York")
    subjects = handed_over(workspace)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        membership.evaluate(permit, subjects, now=NIGHT)

    assert before == []
    assert (concerned, subjects) == (2, {ada.pk: Cause.LEARNT, third.pk: Cause.LEARNT})
    assert queries.members_of(segment) == [ada.pk, third.pk]
    assert history(Membership.objects.filter(profile=ada.pk)) == [(ada.pk, NIGHT, Cause.LEARNT, None, "")]


def test_zone_of_a_source__is_that_of_its_people_who_gave_none(workspace):
    first, second, third = (SourceFactory(workspace=workspace, time_zone=zone) for zone in ("Europe/Paris", "", ""))
    ada, grace, mary, joan = people(4, workspace)
    know(ada, second, city="Boston")
    know(grace, second, timezone="Europe/Berlin")
    know(mary, second, city="Boston")
    know(mary, first, age=40)
    for person in (ada, grace, mary, joan):
        happen(person, third, "Order", YESTERDAY)
    segment = create(workspace, 'done "Order" today')

    concerned = change_of(workspace, second, "America/New_York")
    subjects = handed_over(workspace)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        membership.evaluate(permit, subjects, now=NIGHT)
    by_reference = services.find_matching(
        workspace_id=workspace.pk, definition='done "Order" today', engine="reference", now=NIGHT
    )

    assert (concerned, set(subjects)) == (2, {ada.pk, mary.pk})  # of two sources with a zone the older one tells it
    assert queries.members_of(segment) == by_reference.members == [ada.pk]


def test_zone_of_a_source__changed_on_its_page__evaluates_its_people_again(workspace, as_login):
    source = SourceFactory(workspace=workspace)
    ada, _ = people(2, workspace)
    know(ada, source, city="Boston")
    create(workspace, 'done "Order" today')
    steward = console_user(workspace)
    as_login("web")
    client = Client()
    client.force_login(steward)
    page = reverse("admin:cdp_source_change", args=[source.pk])

    refused = client.post(page, {"trust": 50, "is_enabled": "on", "time_zone": "Middle/Earth"})
    client.post(page, {"trust": 50, "is_enabled": "on", "time_zone": "America/New_York"})

    assert refused.status_code == 200
    assert set(handed_over(workspace)) == {ada.pk}


@pytest.mark.parametrize(
    ("rule", "concerned"),
    [('done "Order" today in workspace time', 0), ('done "Order" today', 1), ('done "Order" in last 24 hours', 0)],
)
def test_zone_of_a_source__changed__concerns_only_whose_clocks_are_asked(workspace, rule, concerned):
    source = SourceFactory(workspace=workspace)
    ada, _ = people(2, workspace)
    know(ada, source, city="Boston")
    create(workspace, rule)

    assert change_of(workspace, source, "America/New_York") == concerned
    assert change_of(workspace, source, "America/New_York") == 0
    assert change_of(workspace, source, "") == concerned


def test_zone_of_the_workspace__changed__does_not_concern_people_of_a_source_with_a_zone(workspace):
    source = SourceFactory(workspace=workspace, time_zone="Asia/Tokyo")
    ada, grace = people(2, workspace)
    know(ada, source, city="Kyoto")
    create(workspace, 'done "Order" today')

    assert change(workspace, "America/New_York") == 1
    assert set(handed_over(workspace)) == {grace.pk}


@pytest.mark.parametrize(
    ("rule", "concerned"),
    [
        ('done "Order" in last 24 hours', 0),
        ('done "Order" today in UTC', 0),
        ('done "Order" today in workspace time', 2),
        ('anniversary of "birthday" today', 1),
        ('lowest 5 by count of "Order" today', 1),
        ('days with "Order" >= 2', 1),
    ],
)
def test_zone_of_the_workspace__changed__concerns_only_whose_clocks_are_asked(workspace, rule, concerned):
    source = SourceFactory(workspace=workspace)
    _, grace = people(2, workspace)
    know(grace, source, timezone="Europe/Berlin")
    create(workspace, rule)

    assert change(workspace, "America/New_York") == concerned
    assert change(workspace, "America/New_York") == 0
    assert len(handed_over(workspace)) == concerned


def test_zone__that_there_is_not__is_refused_and_nothing_changes(workspace):
    with pytest.raises(zones.UnknownTimeZoneError):
        change(workspace, "Middle/Earth")

    assert Workspace.objects.get(pk=workspace.pk).time_zone == "Europe/Paris"


def test_zone_of_a_source__that_there_is_not__is_refused_and_nothing_changes(workspace):
    source = SourceFactory(workspace=workspace)

    with pytest.raises(zones.UnknownTimeZoneError):
        change_of(workspace, source, "Middle/Earth")
    with pytest.raises(ValidationError, match="Europe/Paris"):
        Source(time_zone="Middle/Earth").clean_fields(exclude=["workspace", "name", "kind"])

    assert Source.objects.get(pk=source.pk).time_zone == ""

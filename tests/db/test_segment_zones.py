"""Another time zone of the workspace: whom that concerns, and that today is another day for them."""

from datetime import UTC, datetime

import pytest

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Stage, Workspace
from consent import gate
from segments import membership, queries, services, zones
from segments.models import Membership
from tests import outbox
from tests.factories import SourceFactory
from tests.factories.segments import happen, history, know, people

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

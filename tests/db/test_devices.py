"""What cookies are for is judged device by device: a yes holds where it was said, and what is shared needs them all."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from cdp.kernel.identifiers import DEVICE_TYPES
from cdp.kernel.purposes import Purpose
from cdp.models import Event, Identifier, OutboxRow, Profile, Stage
from consent import gate
from consent.models import ConsentState, PurposePolicy
from consent.restriction import deny
from tests import outbox
from tests.factories import IdentifierFactory, SourceFactory, say

ANALYTICS = Purpose.ANALYTICS
GIVEN, REFUSED = ConsentState.GIVEN, ConsentState.REFUSED


@pytest.fixture(autouse=True)
def by_device(workspace):
    PurposePolicy.objects.filter(purpose=ANALYTICS).update(scope="DEVICE", legal_basis="CONSENT")


@pytest.fixture
def person(workspace):
    """A laptop, a telephone and a login, by the first of which the profile is called."""
    named = [("anonymous_id", "laptop"), ("anonymous_id", "phone"), ("user_id", "ada")]
    made = [IdentifierFactory(workspace=workspace, type=kind, value=value) for kind, value in named]
    merge(made)
    return made


def merge(identifiers: list[Identifier]) -> None:
    Identifier.objects.filter(pk__in=[each.pk for each in identifiers]).update(profile_id=identifiers[0].pk)


def seen(workspace, view: str, column: str) -> set[object]:
    with gate.permit(ANALYTICS, workspace_id=workspace.pk), connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {view}")
        return {value for (value,) in cursor.fetchall()}


def test_events__of_a_device_that_permits__are_seen_though_another_device_refuses(workspace, person):
    source = SourceFactory(workspace=workspace)
    for each in person:
        Event.objects.create(
            workspace=workspace, source=source, identifier=each, message_id=each.value, kind="track", name="seen",
            occurred_at=timezone.now(), received_at=timezone.now(), seen_with=[], properties={}, context={},
        )  # fmt: skip
    laptop, phone, _ = person

    say(laptop, ANALYTICS, GIVEN)
    say(phone, ANALYTICS, REFUSED)

    assert seen(workspace, "event", "message_id") == {"laptop"}
    assert seen(workspace, "identifier", "value") == {"laptop"}
    assert seen(workspace, "profile", "id") == set()


def test_profile__is_seen_when_every_device_permits__and_a_silent_one_does_not(workspace, person):
    laptop, phone, _ = person

    say(laptop, ANALYTICS, GIVEN)
    with_a_silent_one = seen(workspace, "profile", "id")
    say(phone, ANALYTICS, GIVEN)

    assert (with_a_silent_one, seen(workspace, "profile", "id")) == (set(), {laptop.pk})
    assert seen(workspace, "identifier", "value") == {"laptop", "phone", "ada"}


def test_login__that_was_heard_last_with_a_yes__opens_nothing_of_the_device_that_refused(workspace, person):
    """A banner speaks for every identifier of its event, so the login has the last word of all devices together."""
    laptop, phone, login = person
    for each, state, days in ((phone, REFUSED, 2), (login, REFUSED, 2), (laptop, GIVEN, 1), (login, GIVEN, 1)):
        say(each, ANALYTICS, state, at=timezone.now() - timedelta(days=days), is_verified=each is login)

    assert seen(workspace, "identifier", "value") == {"laptop"}


def test_merge__with_a_device_that_permits__opens_no_other(workspace):
    yes, silent, no = (IdentifierFactory(workspace=workspace, type="android_id", value=value) for value in "abc")
    say(yes, ANALYTICS, GIVEN, is_verified=True)
    say(no, ANALYTICS, REFUSED)

    merge([yes, silent, no])

    assert seen(workspace, "identifier", "value") == {"a"}
    assert seen(workspace, "profile", "id") == set()


@pytest.mark.parametrize("purpose", [ANALYTICS, None])
def test_objection_or_restriction__of_the_login__reaches_every_device(purpose, workspace, person):
    laptop, phone, login = person
    for each in (laptop, phone):
        say(each, ANALYTICS, GIVEN)

    deny(workspace_id=workspace.pk, identifier=login, purpose=purpose, now=timezone.now())

    assert seen(workspace, "identifier", "value") == set()


def test_scope__when_it_changes__decides_for_everybody_anew_and_tells_the_segments(workspace, person):
    laptop, phone, _ = person
    say(laptop, ANALYTICS, GIVEN, at=timezone.now() - timedelta(days=1), is_verified=True)
    say(phone, ANALYTICS, REFUSED, at=timezone.now() - timedelta(days=2))
    OutboxRow.objects.all().delete()

    PurposePolicy.objects.filter(purpose=ANALYTICS).update(scope="PERSON")

    assert seen(workspace, "identifier", "value") == {"laptop", "phone", "ada"}
    assert outbox.subjects_waiting() == outbox.subjects_waiting(stage=Stage.SEGMENTS) == [laptop.pk]


def test_other_purposes__beside_one_that_is_judged_by_device__are_the_persons(workspace, person):
    say(person[0], Purpose.ADVERTISING, GIVEN)

    everybody = Identifier.objects.values_list("permitted", flat=True)
    assert {mask & Purpose.ADVERTISING.bit for mask in everybody} == {Purpose.ADVERTISING.bit}
    assert Profile.objects.get(pk=person[0].pk).permitted & Purpose.ADVERTISING.bit


def test_types_of_devices__are_the_same_in_postgres():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef('core.decide_permissions'::regproc)")
        (code,) = cursor.fetchone()

    assert code.count("'{" + ",".join(sorted(DEVICE_TYPES)) + "}'") == 3

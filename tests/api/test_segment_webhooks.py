"""Entries and exits pushed to an address: signed, each message under one id, again until it is taken."""

from datetime import timedelta
from unittest.mock import Mock

import pytest
from django.utils import timezone

from cdp import http, tasks
from cdp.kernel.logins import WEBHOOKS_QUEUE
from cdp.kernel.purposes import Purpose
from cdp.models import Cause
from consent import gate, retention
from consent.models import ConsentState
from segments import membership, services, webhooks
from segments.models import SegmentWebhook
from tests.factories import SourceFactory, say
from tests.factories.segments import forget, know, people
from tests.fakes.subscriber import Subscriber

DAY = timedelta(days=1)
HOOKS = "segment-webhooks"
PARIS = 'trait "city" = "Paris"'


@pytest.fixture(autouse=True)
def house(settings):
    """The receiver of the tests is on this machine."""
    settings.PRIVATE_ADDRESSES_ALLOWED = True
    http.forget_hosts()


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


@pytest.fixture
def writer(caller, workspace):
    return caller("segments:read", "segments:write", purpose=Purpose.SEGMENTATION)


@pytest.fixture
def them():
    with Subscriber() as receiver:
        yield receiver


@pytest.fixture
def parisians(workspace, now):
    return services.create_segment(
        workspace_id=workspace.pk, slug="parisians", name="", definition=PARIS, author=None, now=now
    )


def subscribe(writer, them, *segments):
    made = writer.post(HOOKS, {"url": f"{them.url}/hook", "segments": list(segments)}).json()
    them.secrets.append(made["secret"])
    return made["id"]


def arrive(workspace, source, *who, **traits):
    for person in who:
        know(person, source, **traits) if traits else forget(person, "city")
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        membership.evaluate(permit, {person.pk: Cause.LEARNT for person in who}, now=timezone.now())


def deliver(workspace, later=timedelta(0)):
    """All that is due then, as the tasks do it."""
    clock = lambda: timezone.now() + later  # noqa: E731  # a clock that is ahead
    for webhook in webhooks.due(workspace_id=workspace.pk, now=clock()):
        while webhooks.deliver(workspace_id=workspace.pk, webhook_id=webhook, clock=clock):
            pass


def test_webhook__hears_of_entries_and_exits_from_its_making_on(workspace, source, writer, them, parisians):
    before, ada = people(2, workspace)
    arrive(workspace, source, before, city="Paris")
    subscribe(writer, them)

    arrive(workspace, source, ada, city="Paris")
    arrive(workspace, source, ada)
    deliver(workspace)
    deliver(workspace)

    assert them.taken == [("entered", "parisians", ada.pk), ("left", "parisians", ada.pk)]
    assert them.violations == []
    assert len(them.asked) == 1


def test_webhook__holds_ids_and_nothing_of_the_person(workspace, source, writer, them, parisians):
    [ada] = people(1, workspace)
    subscribe(writer, them)
    arrive(workspace, source, ada, city="Paris", email=ada.value)

    deliver(workspace)

    [asked] = them.asked
    assert ada.value.encode() not in asked.body
    assert set(them.changes_by_id) == {asked.headers["webhook-id"]}


def test_webhook__of_some_segments__hears_of_no_other(workspace, source, writer, them, parisians, now):
    services.create_segment(
        workspace_id=workspace.pk, slug="anywhere", name="", definition='trait "city" exists', author=None, now=now
    )
    [ada] = people(1, workspace)
    hook = subscribe(writer, them, "anywhere")

    arrive(workspace, source, ada, city="Paris")
    deliver(workspace)

    assert them.taken == [("entered", "anywhere", ada.pk)]
    assert writer.get(f"{HOOKS}/{hook}").json()["delivered_at"] is not None


def test_webhook__for_advertising__hears_only_of_who_permits_it(workspace, source, caller, them, parisians):
    advertiser = caller("segments:write", purpose=Purpose.ADVERTISING)
    ada, grace = people(2, workspace)
    say(ada, Purpose.ADVERTISING, ConsentState.GIVEN)
    subscribe(advertiser, them)

    arrive(workspace, source, ada, grace, city="Paris")
    deliver(workspace)

    assert them.taken == [("entered", "parisians", ada.pk)]


def test_receiver__that_fails__gets_the_same_again_under_the_same_id(workspace, source, writer, them, parisians):
    ada, grace = people(2, workspace)
    hook = subscribe(writer, them)
    arrive(workspace, source, ada, city="Paris")
    them.fail(500, times=1)
    deliver(workspace)
    failed = writer.get(f"{HOOKS}/{hook}").json()
    arrive(workspace, source, grace, city="Paris")

    deliver(workspace)  # too early
    deliver(workspace, timedelta(minutes=1))

    ids = [asked.headers["webhook-id"] for asked in them.asked]
    assert (len(ids), ids[0] == ids[1], ids[2] != ids[1]) == (3, True, True)
    assert them.asked[0].body == them.asked[1].body
    assert them.taken == [("entered", "parisians", ada.pk), ("entered", "parisians", grace.pk)]
    assert (failed["error"], failed["attempts"], failed["disabled_at"]) == ("http_transient: 500", 1, None)
    mended = writer.get(f"{HOOKS}/{hook}").json()
    assert (mended["error"], mended["attempts"], mended["failing_since"]) == ("", 0, None)


def test_receiver__that_fails_for_a_day__is_disabled_and_goes_on_where_it_stopped(
    workspace, source, writer, them, parisians
):
    [ada] = people(1, workspace)
    hook = subscribe(writer, them)
    arrive(workspace, source, ada, city="Paris")
    them.fail(503, times=2)
    deliver(workspace)
    deliver(workspace, DAY + timedelta(minutes=1))
    disabled = writer.get(f"{HOOKS}/{hook}").json()
    deliver(workspace, 2 * DAY)

    enabled = writer.post(f"{HOOKS}/{hook}/enable", {}).json()
    deliver(workspace)

    assert (disabled["disabled_at"] is None, disabled["error"]) == (False, "http_transient: 503")
    assert (enabled["disabled_at"], enabled["error"], enabled["attempts"]) == (None, "", 0)
    assert len(them.asked) == 3
    assert them.taken == [("entered", "parisians", ada.pk)]


def test_receiver__that_is_gone__is_disabled_at_once(workspace, source, writer, them, parisians):
    [ada] = people(1, workspace)
    hook = subscribe(writer, them)
    arrive(workspace, source, ada, city="Paris")
    them.fail(410)

    deliver(workspace)

    found = writer.get(f"{HOOKS}/{hook}").json()
    assert (found["disabled_at"] is None, found["error"]) == (False, "http_permanent: 410")


def test_address__inside_the_house__is_never_called(workspace, source, writer, them, parisians, settings):
    settings.PRIVATE_ADDRESSES_ALLOWED = False
    [ada] = people(1, workspace)
    hook = subscribe(writer, them)
    arrive(workspace, source, ada, city="Paris")

    deliver(workspace)

    assert them.asked == []
    assert writer.get(f"{HOOKS}/{hook}").json()["error"] == "forbidden_address: private"


def test_webhook__whose_place_is_not_kept_any_more__is_disabled_and_enabled_from_now_on(
    workspace, source, writer, them, parisians
):
    ada, grace = people(2, workspace)
    hook = subscribe(writer, them)
    arrive(workspace, source, ada, city="Paris")
    retention.apply_schedules(workspace_id=workspace.pk, now=timezone.now() + 40 * DAY)
    arrive(workspace, source, ada)
    deliver(workspace)
    disabled = writer.get(f"{HOOKS}/{hook}").json()

    writer.post(f"{HOOKS}/{hook}/enable", {})
    arrive(workspace, source, grace, city="Paris")
    SegmentWebhook.objects.update(position_at=timezone.now() + 60 * DAY)  # the deletion of the test is in the future
    deliver(workspace)

    assert (disabled["disabled_at"] is None, disabled["error"]) == (False, "cursor_expired")
    assert them.taken == [("entered", "parisians", grace.pk)]


def test_rotation__signs_with_both_secrets_for_a_day(workspace, source, writer, them, parisians):
    ada, grace = people(2, workspace)
    hook = subscribe(writer, them)
    rotated = writer.post(f"{HOOKS}/{hook}/rotate", {}).json()
    arrive(workspace, source, ada, city="Paris")
    deliver(workspace)
    them.secrets.clear()
    them.secrets.append(rotated["secret"])
    arrive(workspace, source, grace, city="Paris")
    deliver(workspace)
    webhook = SegmentWebhook.objects.get(pk=hook)

    today = webhooks.signed_headers(webhook, "1", b"", timezone.now())
    tomorrow = webhooks.signed_headers(webhook, "1", b"", timezone.now() + DAY)

    assert them.violations == []
    assert len(them.taken) == 2
    assert (today["webhook-signature"].count("v1,"), tomorrow["webhook-signature"].count("v1,")) == (2, 1)


def test_claim__while_another_one_is_at_it__sends_nothing(workspace, source, writer, them, parisians, monkeypatch):
    [ada] = people(1, workspace)
    hook = subscribe(writer, them)
    arrive(workspace, source, ada, city="Paris")
    meanwhile = []
    at_it = {"workspace_id": workspace.pk, "webhook_id": hook, "clock": timezone.now}
    monkeypatch.setattr(http, "request", lambda *_, **__: meanwhile.append(webhooks.deliver(**at_it)))

    deliver(workspace)

    assert meanwhile == [False]


def test_secret__is_shown_once_and_kept_encrypted(writer, them, workspace):
    made = writer.post(HOOKS, {"url": f"{them.url}/hook"}).json()

    assert made["secret"].startswith("whsec_")
    [listed] = writer.get(HOOKS).json()["webhooks"]
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert made["secret"].encode() not in bytes(SegmentWebhook.objects.get().secret)


@pytest.mark.parametrize("url", ["", "ftp://x/", "https://", "https://a:b@example.com/", "nonsense", "https://[::1/"])
def test_address__that_is_none__is_refused(writer, url, workspace):
    assert writer.post(HOOKS, {"url": url}).status_code == 400
    assert not SegmentWebhook.objects.exists()


def test_webhook__of_an_unknown_segment_or_another_workspace__does_not_exist(writer, stranger, them, workspace):
    hook = subscribe(writer, them)

    assert writer.post(HOOKS, {"url": them.url, "segments": ["nowhere"]}).status_code == 404
    for other, status in ((stranger, 404), (writer, 200)):
        assert other.get(f"{HOOKS}/{hook}").status_code == status
    for path in (f"{HOOKS}/{hook}/rotate", f"{HOOKS}/{hook}/enable"):
        answer = stranger.post(path, {})
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_webhook")
    assert stranger.delete(f"{HOOKS}/{hook}").status_code == 404
    assert SegmentWebhook.objects.count() == 1
    assert writer.delete(f"{HOOKS}/{hook}").status_code == 204
    assert not SegmentWebhook.objects.exists()


def test_call__without_the_scope_or_a_key__is_refused(caller, anonymous, workspace):
    member = caller("segments:read")

    assert member.post(HOOKS, {"url": "https://example.com/"}).status_code == 403
    assert (anonymous.get(HOOKS).status_code, anonymous.post(HOOKS, {}).status_code) == (401, 401)
    assert not SegmentWebhook.objects.exists()


def test_tasks__give_each_webhook_one_of_its_own(workspace, source, writer, them, parisians, monkeypatch):
    [ada] = people(1, workspace)
    hooks = [subscribe(writer, them), subscribe(writer, them)]
    arrive(workspace, source, ada, city="Paris")
    sent = Mock()
    monkeypatch.setattr(tasks.tell_webhook, "apply_async", sent)

    tasks.tell_webhooks()
    for call in sent.call_args_list:
        tasks.tell_webhook(**call.kwargs["kwargs"])

    assert [call.kwargs["kwargs"]["webhook_id"] for call in sent.call_args_list] == hooks
    assert {call.kwargs["queue"] for call in sent.call_args_list} == {WEBHOOKS_QUEUE}
    assert them.taken == [("entered", "parisians", ada.pk)] * 2

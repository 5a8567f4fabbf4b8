"""What a webhook only announced is fetched once, whatever happens to the worker or to the other system meanwhile."""

import json
from datetime import timedelta

import pytest
from django.db import DatabaseError

from cdp import http, tasks
from cdp.ingestion import deliveries, fetching
from cdp.ingestion import services as ingestion
from cdp.ingestion.webhooks.surveymonkey.webhook import SurveyMonkey
from cdp.kernel.purposes import Purpose
from cdp.models import Announcement, Cause, Connection, Event, InboxBatch, OutboxRow, QuarantinedItem, Stage
from consent import gate
from tests.fakes.senders import NOW, SURVEYMONKEY
from tests.fakes.surveymonkey import FakeSurveyMonkey, response, survey


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No test waits for its turn but the one that says so."""
    monkeypatch.setattr(SurveyMonkey, "requests_per_minute", 60_000)


@pytest.fixture
def fake():
    http.forget_hosts()
    with FakeSurveyMonkey() as made:
        made.surveys["68388858"] = survey()
        made.responses |= {str(number): response(number) for number in range(1, 5)}
        yield made
    assert made.violations == []


@pytest.fixture
def source(workspace, fake):
    made = SURVEYMONKEY.connect(workspace)
    Connection.objects.update(config={**SURVEYMONKEY.config, "access_url": fake.url})
    return made


@pytest.fixture
def clock():
    """A time that tests move."""

    class Clock:
        now = NOW

        def __call__(self):
            return self.now

    return Clock()


def announce(source, number=1):
    delivery = SURVEYMONKEY.delivery(SURVEYMONKEY.body(number))
    deliveries.receive(source_id=source.pk, delivery=delivery, now=NOW)


def fetch(source, clock):
    return fetching.fetch_due(workspace_id=source.workspace_id, clock=clock)


def kept():
    return [call for batch in InboxBatch.objects.order_by("pk") for call in json.loads(bytes(batch.body))["batch"]]


def test_announced_response__when_it_is_due__is_fetched_and_accepted(source, fake, clock):
    announce(source)

    assert fetch(source, clock) == 1

    identify, event = kept()
    assert identify["traits"] == {"survey_which_colour": "Blue"}
    assert (event["userId"], event["properties"]["survey"]) == ("user-1", "Colours")
    assert InboxBatch.objects.get().received_at == NOW
    announcement = Announcement.objects.get()
    assert (announcement.due_at, announcement.attempts, announcement.error) == (None, 1, "")
    assert announcement.body == {"event_type": "response_completed", "survey_id": "68388858", "response_id": "1"}


def test_announced_response__that_is_done__is_not_fetched_again_when_it_is_announced_again(source, fake, clock):
    announce(source)
    fetch(source, clock)
    announce(source)

    assert fetch(source, clock) == 0
    assert len(kept()) == 2


def test_survey__of_several_responses__is_asked_for_once_in_a_run(source, fake, clock):
    for number in range(1, 5):
        announce(source, number)

    assert fetch(source, clock) == 4

    assert len(kept()) == 8
    assert len([path for path in fake.paths if "/responses/" not in path]) == 1


def test_worker__that_was_killed_before_it_stored__leaves_the_announcement_to_the_next_after_the_lease(
    source, fake, clock, monkeypatch
):
    announce(source)
    monkeypatch.setattr(fetching, "accept_calls", _killed)
    with pytest.raises(KeyboardInterrupt):
        fetch(source, clock)
    monkeypatch.undo()

    assert fetch(source, clock) == 0
    clock.now += fetching.LEASE
    assert fetch(source, clock) == 1
    assert len(kept()) == 2


def test_worker__that_was_killed_after_it_stored__stores_nothing_twice(source, fake, clock):
    announce(source)
    fetch(source, clock)
    Announcement.objects.update(due_at=NOW)  # as if the end of the transaction had been lost

    assert fetch(source, clock) == 1

    with gate.permit(Purpose.COLLECTION, workspace_id=source.workspace_id) as permit:
        waiting = OutboxRow.objects.values_list("subject_id", flat=True)
        ingestion.store(permit, dict.fromkeys(waiting, Cause.EVENT), now=NOW)
    assert Event.objects.count() == 2


def test_storing__that_fails__leaves_neither_calls_nor_a_closed_announcement(source, fake, clock, monkeypatch):
    announce(source)
    monkeypatch.setattr(fetching, "_close", _failing)

    with pytest.raises(DatabaseError):
        fetch(source, clock)

    assert kept() == []
    assert Announcement.objects.get().due_at == NOW + fetching.LEASE


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        ((500, {}), "http_transient"),
        ((429, {}), "http_transient"),
        ((401, {}), "access_denied"),
        ((403, {}), "access_denied"),
    ],
)
def test_other_system__that_fails__is_asked_again_later_and_nothing_is_given_up(failure, code, source, fake, clock):
    announce(source)
    fake.failures = [failure]

    assert fetch(source, clock) == 0

    announcement = Announcement.objects.get()
    assert (announcement.attempts, announcement.error) == (1, code)
    assert NOW + fetching.FIRST_DELAY / 2 <= announcement.due_at <= NOW + fetching.FIRST_DELAY
    connection = Connection.objects.get()
    assert (connection.failures, connection.error) == (1, code)
    assert (kept(), QuarantinedItem.objects.count()) == ([], 0)

    clock.now += fetching.FIRST_DELAY
    assert fetch(source, clock) == 1
    connection.refresh_from_db()
    assert (connection.failures, connection.error) == (0, "")


def test_other_system__that_says_when__is_not_asked_before(source, fake, clock):
    announce(source)
    fake.failures = [(429, {"Retry-After": "5000"})]

    fetch(source, clock)

    assert Announcement.objects.get().due_at >= NOW + timedelta(seconds=5000)


def test_rate_limit__that_is_used_up__postpones_the_rest(source, fake, clock, monkeypatch):
    monkeypatch.setattr(SurveyMonkey, "requests_per_minute", 1)
    announce(source)

    assert fetch(source, clock) == 0

    assert len(fake.paths) == 1
    assert Announcement.objects.get().due_at >= NOW + timedelta(seconds=50)


def test_delay__doubles_and_never_passes_an_hour(source, fake, clock):
    announce(source)
    for attempts, longest in ((1, 60), (5, 960), (50, 3600)):
        Announcement.objects.update(attempts=attempts, due_at=clock.now)
        fake.failures = [(503, {})]
        http.forget_hosts()

        fetch(source, clock)

        seconds = (Announcement.objects.get().due_at - clock.now).total_seconds()
        assert longest / 2 <= seconds <= longest


@pytest.mark.parametrize(("status", "code"), [(404, "gone"), (410, "gone"), (400, "fetch_refused")])
def test_response__that_is_not_to_be_had__lies_in_quarantine_with_its_reason(status, code, source, fake, clock):
    announce(source)
    fake.failures = [(status, {})]

    assert fetch(source, clock) == 1

    item = QuarantinedItem.objects.get()
    assert (item.code, item.place, json.loads(item.raw)["response_id"]) == (code, "webhook:event-1", "1")
    announcement = Announcement.objects.get()
    assert (announcement.due_at, announcement.error) == (None, code)
    assert kept() == []


def test_response__that_keeps_to_no_contract__lies_in_quarantine(source, fake, clock):
    announce(source)
    fake.responses["1"] = {"id": "1", "pages": "many"}

    assert fetch(source, clock) == 1
    assert QuarantinedItem.objects.get().code == "unreadable_response"


def test_connection__that_is_switched_off__is_not_fetched_for(source, fake, clock):
    announce(source)
    Connection.objects.update(is_enabled=False)

    assert fetch(source, clock) == 0
    assert fake.paths == []
    assert Announcement.objects.get().due_at == NOW


def test_private_address__is_refused_unless_the_operator_allows_it(source, fake, clock, settings):
    announce(source)
    settings.PRIVATE_ADDRESSES_ALLOWED = False

    assert fetch(source, clock) == 0
    assert fake.paths == []
    assert Announcement.objects.get().error == "forbidden_address"


def test_fetch__as_the_login_of_its_worker__may_do_all_it_needs(source, fake, clock, as_login):
    for number in (1, 2, 9):
        announce(source, number)
    as_login("worker_ingestion")

    assert fetch(source, clock) == 3

    with gate.permit(Purpose.COLLECTION, workspace_id=source.workspace_id):
        assert len(kept()) == 4


def test_task__finds_what_is_due_in_every_workspace_and_wakes_the_stage(source, fake, monkeypatch):
    announce(source)
    woken = []
    monkeypatch.setattr(tasks, "wake", lambda stage, *, workspace_id: woken.append((stage, workspace_id)))

    tasks.fetch_announced(unknown="of a newer version")

    assert woken == [(Stage.INGESTION, source.workspace_id)]
    assert len(kept()) == 2


def _killed(**_):
    raise KeyboardInterrupt


def _failing(*_, **__):
    raise DatabaseError

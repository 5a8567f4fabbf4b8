"""Sending: whatever fails in between, the receiver comes to hold what it should, and nothing is done twice."""

import time
from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activation import ledger, requesting, sync
from activation import services as activation
from activation.destination import Failure, Limits, Outcome
from activation.destinations.webhook.destination import Webhook
from activation.models import AudienceMember, Destination, MemberState, SyncRun
from cdp import http
from cdp.kernel.purposes import Purpose
from consent import gate
from tests.fakes.audiences import SIGNING_KEY, Fair, key_of
from tests.fakes.receiver import FailingReceiver


@pytest.fixture
def receiver():
    http.forget_hosts()
    with FailingReceiver(SIGNING_KEY) as made:
        yield made
    assert made.violations == []


@pytest.fixture
def fair(workspace, receiver, now):
    return Fair(workspace, receiver, now)


def claim(fair):
    with gate.permit(Purpose.ADVERTISING, workspace_id=fair.workspace.pk) as permit:
        return sync.claim(permit, destination_id=fair.destination.pk, now=fair.now)


def record(fair, assignment, report):
    with gate.permit(Purpose.ADVERTISING, workspace_id=fair.workspace.pk) as permit:
        return sync.record(permit, assignment, report, now=fair.now)


# -- come again -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_taken", [False, True])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_failure__is_tried_again_under_the_same_key(status, is_taken, fair, receiver):
    (someone,) = fair.members(1)
    receiver.fail(status, after=is_taken)

    assert fair.send() == 1
    assert fair.send() == 0  # not yet
    fair.pass_time(seconds=10)
    assert fair.send() == 1

    assert fair.arrived() == {key_of(someone)}
    assert receiver.counts["loyal"].adds == 1
    assert len(set(receiver.idempotency_keys)) == 1
    assert receiver.bodies[0] == receiver.bodies[1]
    assert list(SyncRun.objects.values_list("members", "rejected", "error", "finished_at")) == [(1, 0, "", fair.now)]


def test_waiting__doubles_up_to_an_hour(fair, receiver):
    fair.members(1)
    receiver.fail(500, times=20)

    waits = []
    for _ in range(14):
        http.forget_hosts()
        fair.send()
        due_at = AudienceMember.objects.get().due_at
        waits.append((due_at - fair.now).total_seconds())
        fair.now = due_at

    jitter = waits[0] / 10
    assert 0.5 <= jitter <= 1
    assert waits == pytest.approx([min(3600, 5 * 2**attempt) * jitter for attempt in range(1, 15)], abs=0.001)


def test_retry_after__is_obeyed_for_the_whole_destination(fair, receiver):
    fair.members(1)
    receiver.fail(429, Retry_After="120")
    fair.send()
    fair.members(1)

    fair.pass_time(seconds=119)
    assert fair.send() == 0
    fair.pass_time(seconds=1)

    assert fair.send() == 2
    assert len(fair.arrived()) == 2


def test_time_out__comes_again(fair, receiver, monkeypatch):
    (someone,) = fair.members(1)
    monkeypatch.setattr(requesting, "TIMEOUT", http.Timeout(connect=1, read=0.05, total=1))
    receiver.seconds = 0.3
    fair.send()
    assert SyncRun.objects.get().error == "timeout"

    receiver.heal()
    fair.pass_time(minutes=1)
    fair.send()

    assert fair.arrived() == {key_of(someone)}


# -- a sender that dies, and two at once ----------------------------------------------------------------------------


def test_crash__between_sending_and_recording__sends_the_same_request_again(fair, receiver):
    fair.members(2)
    assignment = claim(fair)
    assert sync.send(assignment, now=fair.now).outcome.failure is None
    # and here the process dies

    assert fair.send() == 0
    fair.now += sync.LEASE
    assert fair.send() == 2

    assert receiver.idempotency_keys == [assignment.idempotency_key] * 2
    assert receiver.counts["loyal"].adds == 2
    assert set(fair.states().values()) == {MemberState.PRESENT}


def test_second_sender__while_the_first_is_at_it__sends_nothing(fair, receiver):
    fair.members(1)
    assignment = claim(fair)
    fair.members(1)

    assert fair.send() == 0
    assert record(fair, assignment, sync.send(assignment, now=fair.now))

    assert fair.send() == 1
    assert receiver.requests == 2
    assert receiver.counts["loyal"].adds == 2


def test_claim__of_a_destination_that_another_saw_free_too__is_refused(fair):
    fair.members(1)
    assert claim(fair)
    fair.members(1)

    assert claim(fair) is None


def test_slow_sender__whose_lease_another_took__does_not_end_that_lease(fair):
    fair.members(1)
    slow = claim(fair)
    fair.now += sync.LEASE
    other = claim(fair)

    record(fair, slow, sync.send(slow, now=fair.now))

    assert Destination.objects.get().leased_until == other.leased_until


def test_withdrawal__while_the_addition_is_under_way__removes_afterwards(fair, receiver):
    (someone,) = fair.members(1)
    assignment = claim(fair)

    fair.withdraw(someone)
    fair.reconcile(someone)
    record(fair, assignment, sync.send(assignment, now=fair.now))

    assert fair.states() == {key_of(someone): MemberState.REMOVING}
    assert fair.send() == 1
    assert fair.arrived() == set()


def test_withdrawal__after_an_addition_that_failed__is_sent_as_a_remove(fair, receiver):
    """The answer was lost, not the request: the key may be there."""
    (someone,) = fair.members(1)
    receiver.fail(500, after=True)
    fair.send()
    assert fair.arrived() == {key_of(someone)}

    fair.withdraw(someone)
    fair.reconcile(someone)

    assert fair.send() == 1
    assert fair.arrived() == set()
    assert SyncRun.objects.filter(finished_at=None).count() == 0


def test_batch__of_which_one_withdrew__is_sent_again_without_them_under_a_new_key(fair, receiver):
    someone, other = fair.members(2)
    receiver.fail(500)
    fair.send()

    fair.withdraw(someone)
    fair.pass_time(minutes=1)
    fair.send()

    assert fair.arrived() == {key_of(other)}
    assert len(set(receiver.idempotency_keys)) == len(receiver.idempotency_keys) == 3
    assert SyncRun.objects.order_by("pk").values_list("operation", "error").first() == ("ADD", "superseded")


def test_same_keys__added_removed_and_added__are_three_requests(fair, receiver):
    (someone,) = fair.members(1)
    fair.send()
    fair.leave(someone)
    fair.reconcile(someone)
    fair.send()
    fair.join(someone)
    fair.reconcile(someone)
    fair.send()

    assert len(set(receiver.idempotency_keys)) == 3
    assert fair.arrived() == {key_of(someone)}


# -- batches --------------------------------------------------------------------------------------------------------


def test_batches__keep_to_the_limit_and_removals_come_first(fair, receiver, monkeypatch):
    leavers = fair.members(3)
    fair.send()
    monkeypatch.setattr(Webhook, "limits", Limits(rows=2, bytes=10_000))
    for leaver in leavers:
        fair.leave(leaver)
    fair.reconcile(*leavers)
    fair.members(3)

    assert fair.send() == 6

    later = [(b'"remove"' in body, body.count(b"_sha256")) for body in receiver.bodies[1:]]
    assert later == [(True, 2), (True, 1), (False, 2), (False, 1)]
    assert list(SyncRun.objects.order_by("pk").values_list("members", flat=True)) == [3, 2, 1, 2, 1]


def test_removal__of_a_key_that_is_wanted_again__is_not_repeated(fair, receiver):
    (someone,) = fair.members(1)
    fair.send()
    fair.leave(someone)
    fair.reconcile(someone)
    receiver.fail(500)
    fair.send()

    fair.join(someone)
    fair.reconcile(someone)
    fair.send()
    fair.pass_time(hours=2)
    fair.send()

    assert fair.arrived() == {key_of(someone)}
    assert [b'"remove"' in body for body in receiver.bodies] == [False, True, False]


# -- refusals -------------------------------------------------------------------------------------------------------


def test_row__that_is_refused__is_rejected_alone_and_not_sent_again(fair, receiver):
    bad, good = fair.members(2)
    receiver.refused_keys = {key_of(bad)}

    fair.send()
    fair.reconcile(bad, good)
    fair.pass_time(hours=2)

    assert fair.send() == 0
    assert fair.states() == {key_of(bad): MemberState.REJECTED, key_of(good): MemberState.PRESENT}
    assert AudienceMember.objects.get(key=key_of(bad)).reason == "planned"
    assert SyncRun.objects.get().rejected == 1


def test_malformed_request__rejects_its_rows_and_stops_nobody_else(fair, receiver, monkeypatch):
    monkeypatch.setattr(Webhook, "limits", Limits(rows=1, bytes=10_000))
    fair.members(2)
    receiver.fail(400)

    assert fair.send() == 2

    assert sorted(fair.states().values()) == [MemberState.PRESENT, MemberState.REJECTED]
    assert set(AudienceMember.objects.values_list("reason", flat=True)) == {"", "http_400"}


def test_removal__that_is_refused__is_never_given_up(fair, receiver):
    (someone,) = fair.members(1)
    fair.send()
    fair.leave(someone)
    fair.reconcile(someone)
    receiver.fail(400, times=8)

    for _ in range(8):
        assert fair.send() == 1
        fair.pass_time(hours=1)
    fair.send()

    assert fair.arrived() == set()
    assert fair.states() == {key_of(someone): MemberState.REMOVED}


def test_unknown__counts_as_present_after_some_tries_and_is_removed(fair, receiver):
    (someone,) = fair.members(1)
    receiver.unsure_keys = {key_of(someone)}
    for _ in range(ledger.UNKNOWN_TRIES):
        assert fair.states() == {key_of(someone): MemberState.ADDING}
        fair.send()
        fair.pass_time(hours=1)
    assert fair.states() == {key_of(someone): MemberState.PRESENT}
    assert fair.send() == 0

    receiver.heal()
    fair.leave(someone)
    fair.reconcile(someone)

    assert fair.send() == 1
    assert fair.arrived() == set()


@pytest.mark.parametrize("status", [301, 401, 403, 404, 410])
def test_destination__that_a_person_must_mend__is_paused_and_tried_again(status, fair, receiver):
    (someone,) = fair.members(1)
    receiver.fail(status)
    fair.send()

    paused = Destination.objects.get()
    assert (paused.failure, paused.paused_until) == (f"http_{status}", fair.now + sync.PAUSE)
    fair.pass_time(minutes=59)
    assert fair.send() == 0
    fair.pass_time(minutes=1)
    assert fair.send() == 1

    mended = Destination.objects.get()
    assert (mended.failure, mended.paused_until) == ("", None)
    assert fair.arrived() == {key_of(someone)}


def test_private_address__is_not_connected_to(fair, receiver, settings):
    settings.PRIVATE_ADDRESSES_ALLOWED = False
    fair.members(1)

    fair.send()

    assert receiver.requests == 0
    assert Destination.objects.get().failure == "private"


def test_unreadable_secrets__pause_one_destination_and_no_other(fair, receiver, monkeypatch):
    broken = fair.connect("broken", receiver.url)
    Destination.objects.filter(pk=broken.pk).update(secrets=b"nonsense")
    fair.open(broken, fair.segment, "broken")
    (someone,) = fair.members(1)

    assert fair.send() == 1

    assert fair.arrived() == {key_of(someone)}
    assert Destination.objects.get(slug="broken").failure == "unreadable_secret"


def test_defect_in_a_destination__comes_again_and_holds_up_nobody(fair, receiver, monkeypatch):
    (someone,) = fair.members(1)
    with monkeypatch.context() as patched:
        patched.setattr(Webhook, "parse", lambda *_: 1 / 0)
        fair.send()
    assert SyncRun.objects.get().error == "defect_ZeroDivisionError"

    fair.pass_time(minutes=1)
    fair.send()

    assert fair.states() == {key_of(someone): MemberState.PRESENT}


def test_slow_destination__does_not_delay_another(fair, receiver, monkeypatch):
    """The fast one gets both its batches while the slow one still thinks about its first."""
    monkeypatch.setattr(Webhook, "limits", Limits(rows=1, bytes=10_000))
    with FailingReceiver(SIGNING_KEY, clock=fair.now.timestamp) as slow:
        slow.seconds = 0.8
        fair.open(fair.connect("slow", slow.url), fair.segment, "slow")
        times = {}
        take = receiver.take
        monkeypatch.setattr(
            receiver,
            "take",
            lambda headers, body: times.setdefault(len(times), time.monotonic()) and take(headers, body),
        )
        fair.members(2)
        began = time.monotonic()

        fair.send()

        assert len(times) == 2
        assert max(times.values()) - began < slow.seconds
        assert len(slow.members("slow")) == 2


# -- always ---------------------------------------------------------------------------------------------------------

PEOPLE = 3
steps = st.one_of(
    st.tuples(st.sampled_from(["join", "leave", "withdraw", "permit_again", "reconcile"]), st.integers(0, PEOPLE - 1)),
    st.tuples(st.sampled_from(["fail", "fail_after"]), st.sampled_from([429, 500, 503])),
    st.tuples(st.sampled_from(["send", "crash", "crash_before"]), st.just(0)),
    st.tuples(st.just("pass_time"), st.sampled_from([3, 30, 600])),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(steps, min_size=3, max_size=25))
def test_receiver__after_any_story__holds_exactly_who_should_be_there(story, workspace, now):
    http.forget_hosts()
    with transaction.atomic(), FailingReceiver(SIGNING_KEY) as receiver:
        fair = Fair(workspace, receiver, now)
        people = [fair.person() for _ in range(PEOPLE)]
        wanted, permitting = set(), set(people)
        for act, what in story:
            http.forget_hosts()
            match act:
                case "fail":
                    receiver.fail(what)
                case "fail_after":
                    receiver.fail(what, after=True)
                case "send":
                    fair.send()
                case "crash" | "crash_before":
                    if (assignment := claim(fair)) and act == "crash":
                        sync.send(assignment, now=fair.now)
                case "pass_time":
                    fair.pass_time(seconds=what)
                case "reconcile":
                    fair.reconcile(people[what])
                case _:
                    getattr(fair, act)(people[what])
                    someone = {people[what]}
                    wanted = {"join": wanted | someone, "leave": wanted - someone}.get(act, wanted)
                    permitting = {"permit_again": permitting | someone, "withdraw": permitting - someone}.get(
                        act, permitting
                    )

        receiver.heal()
        http.forget_hosts()
        fair.reconcile(*people)
        for _ in range(3):
            fair.pass_time(hours=2)
            fair.send()

        assert fair.arrived() == {key_of(one) for one in wanted & permitting}
        assert not AudienceMember.objects.filter(state__in=["ADDING", "REMOVING"]).exists()
        assert not SyncRun.objects.filter(finished_at=None).exists()
        assert receiver.violations == []
        transaction.set_rollback(True)


def test_assignment__jitter_is_between_a_half_and_one(fair):
    fair.members(1)

    assert 0.5 <= claim(fair).jitter <= 1


def test_new_credentials__that_are_refused_too__pause(fair, receiver, monkeypatch):
    monkeypatch.setattr(Webhook, "refresh", lambda _: True)
    monkeypatch.setattr(Webhook, "parse", lambda *_: Outcome(Failure.REFRESH, "http_401"))
    fair.members(1)

    fair.send()

    assert receiver.requests == 2
    assert Destination.objects.get().failure == "http_401"


def test_send_due__when_nothing_is_due__makes_no_request(fair, receiver):
    assert activation.send_due(workspace_id=fair.workspace.pk, now=fair.now + timedelta(days=1)) == 0
    assert receiver.requests == 0


def test_slow_destination__is_waited_for_while_something_else_is_done(fair, receiver, monkeypatch):
    (ada, bob) = fair.members(2)
    monkeypatch.setattr(activation, "PATIENCE_SECONDS", 0.01)
    called = []

    def meanwhile():
        if not called:
            fair.withdraw(bob)
            fair.reconcile(bob)
        called.append(fair.states()[key_of(bob)])
        receiver.seconds = 0.0

    receiver.seconds = 0.2
    activation.send_due(workspace_id=fair.workspace.pk, now=fair.now, meanwhile=meanwhile)

    assert set(called) == {"REMOVING"}
    assert fair.states() == {key_of(ada): "PRESENT", key_of(bob): "REMOVED"}
    assert fair.arrived() == {key_of(ada)}

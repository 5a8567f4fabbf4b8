"""Destinations are told of who was erased: outside of transactions, under one reference, and not for ever."""

import json
import threading
import uuid
from datetime import timedelta

import pytest
from django.db import ProgrammingError, connection, transaction

from activation import erasing, registry
from activation import services as activation
from activation.destination import UNSUPPORTED, Erases, ErasureOutcome, ErasureReply
from activation.destinations.webhook.destination import Webhook
from activation.models import AudienceMember, Destination, ErasureAttempt
from cdp import http
from cdp.kernel.identifiers import Identifier as Named
from consent import erasure
from consent.models import Erasure, ErasureOrder, ErasureSubject
from tests.fakes.audiences import SIGNING_KEY, Fair, key_of
from tests.fakes.receiver import FailingReceiver

ACKNOWLEDGED = ErasureOutcome(ErasureReply.ACKNOWLEDGED)


@pytest.fixture
def receiver():
    http.forget_hosts()
    with FailingReceiver(SIGNING_KEY) as made:
        yield made
    assert made.violations == []


@pytest.fixture
def fair(workspace, receiver, now):
    return Fair(workspace, receiver, now)


@pytest.fixture
def someone(fair):
    """Present in the audience."""
    (made,) = fair.members(1)
    fair.send()
    return made


def erase(fair, identifier, **more):
    done = erasure.erase_person(
        workspace_id=fair.workspace.pk, identifier=Named(identifier.type, identifier.value), now=fair.now, **more
    )
    with connection.cursor() as cursor:  # as the pipeline does
        cursor.execute("SELECT subject_id FROM outbox WHERE stage = 'ACTIVATION'")
        profiles = [profile for (profile,) in cursor.fetchall()]
    for profile in profiles:
        fair.reconcile(Fair.founder(type(identifier)(pk=profile, profile_id=profile)))
    return done


def erased_and_removed(fair, identifier):
    """The audiences are clean; the destination is told by the next call."""
    done = erase(fair, identifier)
    fair.send()
    return done


def order():
    return ErasureOrder.objects.get()


def attempts():
    return list(ErasureAttempt.objects.order_by("order", "number").values_list("number", "reply", "code"))


def erasures_in(receiver):
    return [said for said in map(json.loads, receiver.bodies) if said["operation"] == "erase"]


# -- told -----------------------------------------------------------------------------------------------------------


def test_destination__is_told_once_the_person_is_out_of_its_audiences(fair, receiver, someone):
    done = erase(fair, someone)
    told_early = len(erasures_in(receiver))
    kept = bytes(ErasureSubject.objects.get().identifiers)
    fair.send()
    fair.send()
    fair.send()

    assert told_early == 0
    assert someone.value.encode() not in kept
    assert fair.arrived() == set()
    assert receiver.erased == [(str(order().reference), frozenset({key_of(someone)}))]
    (said,) = erasures_in(receiver)
    assert said == {
        "operation": "erase", "reference": str(order().reference), "erased_at": "2026-11-21T12:00:00Z",
        "person": [{"email_sha256": key_of(someone)}],
    }  # fmt: skip
    done.refresh_from_db()
    assert done.completed_at == fair.now
    assert (order().answer, order().tries, attempts()) == ("ACKNOWLEDGED", 1, [(1, "ACKNOWLEDGED", "")])
    assert not ErasureSubject.objects.exists()
    assert not AudienceMember.objects.exists()
    (answer,) = erasure.certificate(done)["destinations"]
    assert answer == {
        "destination": "ads", "answer": "acknowledged", "code": "", "tries": 1, "answered_at": fair.now
    }  # fmt: skip


def test_destination__is_told_of_the_types_alone_that_it_was_sent(fair, receiver, someone):
    phone = fair.person(type="phone", value="+33612345678")
    fair.merge(someone, phone)

    erased_and_removed(fair, someone)
    fair.send()

    assert receiver.erased == [(str(order().reference), frozenset({key_of(someone)}))]


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 422])
def test_refusal__is_final_and_in_the_certificate(status, fair, receiver, someone):
    erased_and_removed(fair, someone)
    receiver.fail(status)

    fair.send()
    fair.pass_time(days=3)
    fair.send()

    assert (order().answer, order().code, len(erasures_in(receiver))) == ("REFUSED", f"http_{status}", 1)
    assert Erasure.objects.get().completed_at is not None
    assert not ErasureSubject.objects.exists()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_passing_failure__is_told_again_under_the_same_reference(status, fair, receiver, someone):
    erased_and_removed(fair, someone)
    receiver.fail(status)

    fair.send()
    fair.send()  # not yet
    first_code, due_in = order().code, order().due_at - fair.now
    fair.pass_time(minutes=1)
    fair.send()

    assert (first_code, due_in) == (f"http_{status}", erasing.SOONEST_AGAIN)
    assert attempts() == [(1, "", f"http_{status}"), (2, "ACKNOWLEDGED", "")]
    first, again = erasures_in(receiver)
    assert first == again
    assert len(receiver.erased) == 1
    assert (order().answer, order().code) == ("ACKNOWLEDGED", "")


def test_failure__again_and_again__waits_longer_and_ends_as_refused(fair, receiver, someone):
    erased_and_removed(fair, someone)
    receiver.fail(503, times=100)

    waits = []
    while order().answer == "PENDING":
        http.forget_hosts()
        fair.send()
        waits.append((order().due_at - fair.now).total_seconds() / 60)
        fair.now = order().due_at

    assert waits[:-1] == [min(360, 2**number) for number in range(erasing.MOST_TRIES - 1)]
    assert (order().answer, order().code, order().tries) == ("REFUSED", "gave_up", erasing.MOST_TRIES)
    assert len(attempts()) == len(erasures_in(receiver)) == erasing.MOST_TRIES
    assert Erasure.objects.get().completed_at is not None


def test_sender__killed_after_the_notice__sends_the_same_again_and_no_more(fair, receiver, someone, monkeypatch):
    erased_and_removed(fair, someone)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(erasing, "_record", killed)
        with pytest.raises(KeyboardInterrupt):
            fair.send()
    at_once = len(erasures_in(receiver))
    fair.send()
    during_lease = len(erasures_in(receiver))
    fair.now += erasing.LEASE
    fair.send()

    assert (at_once, during_lease, len(erasures_in(receiver))) == (1, 1, 2)
    assert len(receiver.erased) == 1  # the second was the first again, by its key
    assert attempts() == [(1, "", ""), (2, "ACKNOWLEDGED", "")]
    assert order().answer == "ACKNOWLEDGED"


def test_notice__is_sent_by_a_thread_that_has_no_transaction(fair, someone, monkeypatch):
    erased_and_removed(fair, someone)
    seen = []
    erases = Webhook.erase

    def erase_watched(self, notice, send):
        seen.append((threading.current_thread().name.partition("_")[0], connection.connection))
        return erases(self, notice, send)

    monkeypatch.setattr(Webhook, "erase", erase_watched)
    fair.send()

    assert seen == [("eraser", None)]


@pytest.mark.parametrize("trouble", ["secrets", "defect", "closed"])
def test_destination__that_cannot_be_told__waits_for_somebody_to_act(trouble, fair, receiver, someone, monkeypatch):
    erased_and_removed(fair, someone)
    if trouble == "secrets":
        Destination.objects.update(secrets=b"nonsense")
    elif trouble == "closed":
        Destination.objects.update(config={"url": "http://127.0.0.1:9/closed"})
    else:
        monkeypatch.setattr(Webhook, "erase", lambda *_: 1 // 0)

    fair.send()

    code = {"secrets": "unreadable_secret", "defect": "defect_ZeroDivisionError", "closed": "connection"}[trouble]
    assert attempts() == [(1, "", code)]
    assert (order().answer, order().code) == ("PENDING", code)
    assert ErasureSubject.objects.exists()


def test_destination__that_is_disabled__is_told_when_it_is_enabled_again(fair, receiver, someone):
    erased_and_removed(fair, someone)
    Destination.objects.update(is_enabled=False)
    fair.send()
    while_disabled = order().answer
    Destination.objects.update(is_enabled=True)
    fair.send()

    assert (while_disabled, order().answer) == ("PENDING", "ACKNOWLEDGED")


def test_destination__that_is_gone__ends_its_order(fair, someone):
    erased_and_removed(fair, someone)
    fair.destination.delete()

    fair.send()

    assert order().answer == "UNSUPPORTED"
    assert not ErasureSubject.objects.exists()


def test_slow_destination__holds_up_no_audience(fair, receiver, someone):
    erased_and_removed(fair, someone)
    (other,) = fair.members(1)
    seen = []
    take = receiver.take

    def slow(headers, body):
        if b'"erase"' in body:
            fair_is_sent.wait(5)
        else:
            fair_is_sent.set()
        seen.append(json.loads(body)["operation"])
        return take(headers, body)

    fair_is_sent = threading.Event()
    receiver.take = slow
    fair.send()

    assert seen == ["add", "erase"]
    assert fair.arrived() == {key_of(other)}


# -- everybody, and promises ----------------------------------------------------------------------------------------


class Processor(Webhook):
    """Erases whoever is erased here, and says later what became of it."""

    kind = "processor"
    erases = Erases.EVERYBODY
    reply = ErasureOutcome(ErasureReply.PROMISED, "in_progress")
    told = None

    def erase(self, notice, send):
        type(self).told = [*(self.told or ()), notice]
        return self.reply


@pytest.fixture
def processor(fair, monkeypatch):
    monkeypatch.setattr(Processor, "told", [])
    monkeypatch.setitem(registry._MAKERS, Processor.kind, Processor)
    return activation.create_destination(
        workspace_id=fair.workspace.pk, slug="processor", kind=Processor.kind, config={"url": "https://x.example"},
        secrets={}, now=fair.now,
    )  # fmt: skip


def test_processor__is_told_of_everybody_by_all_identifiers_and_of_strangers(fair, processor):
    ada = fair.person()
    phone = fair.person(type="phone", value="+33612345678")
    fair.merge(ada, phone)

    erasure.erase_person(
        workspace_id=fair.workspace.pk, identifier=Named("email", ada.value), now=fair.now,
        others=[Named("email", "nobody@example.com")],
    )  # fmt: skip
    fair.send()

    assert sorted(sorted(map(str, notice.identifiers)) for notice in Processor.told) == [
        ["email:nobody@example.com"], sorted([f"email:{ada.value}", "phone:+33612345678"])
    ]  # fmt: skip
    assert len({notice.reference for notice in Processor.told}) == 2
    assert {notice.reference.version for notice in Processor.told} == {4}


def promised(fair):
    done = erasure.erase_person(
        workspace_id=fair.workspace.pk, identifier=Named("email", "x@example.com"), now=fair.now
    )
    fair.send()
    return done


def hear(fair, processor, outcome=ACKNOWLEDGED, **changes):
    named = {"destination_id": processor.pk, "reference": order().reference, **changes}
    return erasing.hear_answer(workspace_id=fair.workspace.pk, outcome=outcome, now=fair.now, **named)


def test_promise__is_kept_by_a_later_answer_and_asked_for_no_more(fair, processor, as_login):
    done = promised(fair)
    fair.pass_time(days=1)
    fair.send()
    waiting = (order().answer, order().promised_at, len(Processor.told))

    as_login("web")
    heard, again = hear(fair, processor), hear(fair, processor, ErasureOutcome(ErasureReply.REFUSED))

    as_login("none")
    assert waiting == ("PENDING", fair.now - timedelta(days=1), 1)
    assert (heard, again) == (True, False)
    done.refresh_from_db()
    assert (order().answer, done.completed_at) == ("ACKNOWLEDGED", fair.now)
    assert not ErasureSubject.objects.exists()


@pytest.mark.parametrize(
    "changes",
    [{"reference": uuid.uuid4()}, {"destination_id": 0}, {"outcome": ErasureOutcome(ErasureReply.PROMISED)}],
)
def test_answer__that_nobody_waits_for__changes_nothing(changes, fair, processor):
    promised(fair)

    assert hear(fair, processor, **changes) is False
    assert order().answer == "PENDING"


def test_answer__before_the_promise__changes_nothing(fair, processor):
    erasure.erase_person(workspace_id=fair.workspace.pk, identifier=Named("email", "x@example.com"), now=fair.now)

    assert hear(fair, processor) is False
    assert order().answer == "PENDING"


def test_promise__that_is_not_kept__counts_as_refused(fair, processor):
    promised(fair)
    fair.now += erasing.PROMISES_LAST
    fair.send()
    in_time = order().answer
    fair.pass_time(seconds=1)
    fair.send()

    assert (in_time, order().answer, order().code) == ("PENDING", "REFUSED", "promise_not_kept")
    assert not ErasureSubject.objects.exists()


def test_processor__that_supports_it_no_more__is_unsupported(fair, processor, monkeypatch):
    monkeypatch.setattr(Processor, "reply", UNSUPPORTED)

    promised(fair)

    assert (order().answer, Processor.told[0].identifiers) == ("UNSUPPORTED", [Named("email", "x@example.com")])


def test_replay_after_a_restore__of_a_stranger__tells_nobody_what_nobody_knows(fair, processor):
    promised(fair)
    ErasureOrder.objects.all().delete()
    Erasure.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE erasure_mark SET number = 0")

    erasure.reapply_erasures(now=fair.now)
    fair.send()

    assert (order().answer, len(Processor.told)) == ("UNSUPPORTED", 1)


# -- who may read whom it is about ----------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["web", "operator", "rights", "worker_segments"])
def test_subject__is_read_by_the_sender_alone(login, fair, processor, as_login):
    erasure.erase_person(workspace_id=fair.workspace.pk, identifier=Named("email", "x@example.com"), now=fair.now)
    as_login(login)

    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT identifiers FROM erasure_subject")

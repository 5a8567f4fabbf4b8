"""Who records at the same moment as others is recorded with them, and answered for what is theirs."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import zip_longest

import pytest
from django.db import connection
from django.utils import timezone

from cdp.kernel.identifiers import Identifier as Named
from cdp.models import ApiKey, Scope
from cdp.models.tenancy import workspace_scope
from consent import chain, gathering, services
from consent.models import ConsentRecord
from consent.services import ConsentStatement, Recorded

SENDERS = 8


@pytest.fixture
def together(committed, monkeypatch):
    """`together(said, …)`: each of these at once, by a thread of its own; the first is held up until all others wait."""
    gathering._gatherings.clear()
    sizes, stops = [], []

    def record_parts(*, workspace_id, parts):
        def watched():
            said = parts()
            sizes.append(len(said))
            if len(sizes) == 1 == len(said):
                await_waiting(workspace_id)
            if stops and len(said) > 1:
                raise KeyboardInterrupt
            return said

        return services_record_parts(workspace_id=workspace_id, parts=watched)

    def send(statements, api_key=None):
        now = timezone.now()
        try:
            return gathering.record(workspace_id=committed.pk, statements=statements, now=now, api_key=api_key)
        except BaseException as error:  # noqa: BLE001  # an interrupt is no exception
            return error
        finally:
            connection.close()

    def run(*said, api_keys=(), is_stopped=False, is_held_up=True):
        stops.extend([True] * is_stopped)
        sent = list(zip_longest(said, api_keys))
        with ThreadPoolExecutor(len(sent)) as threads:
            first = threads.submit(send, *sent[0])
            while is_held_up and not sizes:
                time.sleep(0.01)
            return [each.result() for each in (first, *[threads.submit(send, *one) for one in sent[1:]])], sizes

    services_record_parts = services.record_parts
    monkeypatch.setattr(services, "record_parts", record_parts)
    return run


def await_waiting(workspace_id):
    deadline = time.monotonic() + 10
    while workspace_id not in gathering._gatherings or len(gathering._gatherings[workspace_id]._waiting) < SENDERS - 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def said(number, **changes):
    values = {
        "identifier": Named("crm:id", str(number)), "purpose": "advertising", "state": "GIVEN",
        "occurred_at": timezone.now() - timedelta(days=1), "key": f"form-{number}",
    }  # fmt: skip
    return ConsentStatement(**{**values, **changes})


def api_key(workspace, **changes):
    values = {"scopes": [Scope.CONSENTS_WRITE], "digest": secrets.token_hex(32), **changes}
    return ApiKey.objects.create(workspace=workspace, name="test", hint="key", **values).pk


def records_of(workspace):
    with workspace_scope(workspace.pk):
        return chain.verify(workspace.pk), ConsentRecord.objects.values_list("key", flat=True).order_by("pk").count()


def test_record__by_many_at_once__takes_two_transactions_and_answers_each(together, committed):
    answers, sizes = together(*([said(number)] for number in range(SENDERS)))

    verified, records = records_of(committed)
    assert answers == [Recorded(1, 0)] * SENDERS
    assert sizes == [1, SENDERS - 1]
    assert (verified.is_whole, verified.head.position, records) == (True, SENDERS, SENDERS)


def test_record__of_one_message_by_many_at_once__counts_once(together, committed):
    same = said(1)
    answers, _ = together(*([same] for _ in range(SENDERS)))

    assert sorted(answers, key=lambda each: each.recorded) == [Recorded(0, 1)] * (SENDERS - 1) + [Recorded(1, 0)]
    assert records_of(committed)[1] == 1


def test_record__beside_one_whose_key_is_known__fails_nobody_but_that_one(together, committed):
    wrong = [said(0, state="WITHDRAWN")]
    answers, sizes = together(*([said(number)] for number in range(SENDERS - 1)), wrong)

    assert answers[:-1] == [Recorded(1, 0)] * (SENDERS - 1)
    assert isinstance(answers[-1], services.KeyReusedError)
    assert sizes == [1, SENDERS - 1] + [1] * (SENDERS - 1)
    assert records_of(committed)[1] == SENDERS - 1


def test_record__while_another_process_has_its_turn__goes_with_all_who_came_meanwhile(together, committed):
    other = connection.copy()
    with other.cursor() as cursor, ThreadPoolExecutor(1) as thread:
        cursor.execute("SELECT pg_advisory_lock(4713, %s)", [committed.pk])
        running = thread.submit(together, *([said(number)] for number in range(SENDERS)), is_held_up=False)
        await_waiting(committed.pk)
        assert records_of(committed)[1] == 0
        cursor.execute("SELECT pg_advisory_unlock_all()")
        answers, sizes = running.result()
    other.close()

    assert (answers, sizes) == ([Recorded(1, 0)] * SENDERS, [SENDERS])
    assert records_of(committed)[1] == SENDERS


def test_record__beside_one_whose_api_key_ended__fails_nobody_but_that_one(together, committed):
    holds, ended = (api_key(committed, revoked_at=revoked_at) for revoked_at in (None, timezone.now()))
    keys = [holds] * (SENDERS - 1) + [ended]

    answers, _ = together(*([said(number)] for number in range(SENDERS)), api_keys=keys)

    assert answers[:-1] == [Recorded(1, 0)] * (SENDERS - 1)
    assert isinstance(answers[-1], services.KeyEndedError)
    assert records_of(committed)[1] == SENDERS - 1


def test_record__with_a_key_that_does_not_allow_it__is_refused_and_records_nothing(committed):
    key = api_key(committed, scopes=[Scope.CONSENTS_READ])

    with pytest.raises(services.KeyEndedError):
        gathering.record(workspace_id=committed.pk, statements=[said(1)], now=timezone.now(), api_key=key)

    assert records_of(committed)[1] == 0


def test_record__by_one_alone__raises_what_was_wrong_and_lets_the_next_go(committed):
    gathering.record(workspace_id=committed.pk, statements=[said(1)], now=timezone.now())

    with pytest.raises(services.KeyReusedError):
        gathering.record(workspace_id=committed.pk, statements=[said(1, state="REFUSED")], now=timezone.now())

    again = gathering.record(workspace_id=committed.pk, statements=[said(2)], now=timezone.now())
    assert (again, records_of(committed)[1]) == (Recorded(1, 0), 2)


def test_record__of_what_is_invalid__is_refused_before_anybody_waits(committed):
    with pytest.raises(services.InvalidStatementError):
        gathering.record(workspace_id=committed.pk, statements=[said(1, purpose="spying")], now=timezone.now())

    assert records_of(committed)[1] == 0


def test_record__while_the_writer_is_stopped__answers_everybody(together, committed):
    """A process that ends while it writes leaves nobody waiting: they are told to send again."""
    answers, sizes = together(*([said(number)] for number in range(SENDERS)), is_stopped=True)

    assert sizes == [1, SENDERS - 1]
    assert answers[0] == Recorded(1, 0)
    assert sorted(type(each).__name__ for each in answers[1:]) == ["KeyboardInterrupt"] + ["UnansweredError"] * (
        SENDERS - 2
    )
    assert records_of(committed)[1] == 1
    assert gathering.record(workspace_id=committed.pk, statements=[said(9)], now=timezone.now()) == Recorded(1, 0)


def test_gatherings__of_more_workspaces_than_are_kept__begin_anew(monkeypatch):
    monkeypatch.setattr(gathering, "MOST_WORKSPACES", 1)
    gathering._gatherings.clear()

    first = gathering._gathering_of(1)

    assert gathering._gathering_of(1) is first
    gathering._gathering_of(2)
    assert list(gathering._gatherings) == [2]

"""What people say is kept as they said it, once, and decides at once."""

import threading
from datetime import datetime, timedelta
from importlib import import_module

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone

from cdp.kernel.identifiers import Identifier as Named
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, Profile, Stage, Workspace
from cdp.models.digests import identifier_digest
from cdp.models.tenancy import workspace_scope
from consent import chain, confirmations, gate, queries, services
from consent.models import ConsentRecord, ConsentState, LegalBasis, Notice, PurposePolicy
from consent.services import ConsentStatement, Recorded, record_consents
from tests import outbox
from tests.factories import IdentifierFactory, SourceFactory, WorkspaceFactory, say

ADA = Named("email", "ada@example.com")


def statement(now: datetime, **changes: object) -> ConsentStatement:
    values = {
        "identifier": ADA,
        "purpose": "advertising",
        "state": "GIVEN",
        "occurred_at": now - timedelta(days=1),
        "key": "1",
    }
    return ConsentStatement(**{**values, **changes})


def is_visible(workspace: Workspace, purpose: Purpose) -> bool:
    """Whether the purpose sees the only person of the test."""
    with gate.permit(purpose, workspace_id=workspace.pk):
        return Profile.objects.only("pk").exists()


# -- record ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["web", "operator"])
def test_record_consents__by_a_login_that_may__decides_at_once(login, workspace, as_login):
    now = timezone.now()
    person = IdentifierFactory(workspace=workspace, value=ADA.value)
    source = SourceFactory(workspace=workspace)
    as_login(login)

    counts = record_consents(workspace_id=workspace.pk, statements=[statement(now)], now=now, source=source.pk)

    assert counts == Recorded(recorded=1, duplicates=0)
    assert is_visible(workspace, Purpose.ADVERTISING)
    as_login("none")
    kept = ConsentRecord.objects.get()
    assert (kept.purpose, kept.state, kept.source, kept.key) == ("advertising", "GIVEN", source, "1")
    assert bytes(kept.identifier_digest) == identifier_digest("email", ADA.value)
    assert outbox.waiting() == [(Stage.SEGMENTS, person.profile_id, Cause.CONSENT)]


def test_record_consents__before_the_person_is_known__decides_when_the_person_comes(workspace):
    now = timezone.now()
    record_consents(workspace_id=workspace.pk, statements=[statement(now)], now=now)

    IdentifierFactory(workspace=workspace, value=ADA.value)

    assert is_visible(workspace, Purpose.ADVERTISING)


@pytest.mark.parametrize("key", ["1", ""])
def test_record_consents__twice__records_once(key, workspace, now):
    given = [statement(now, key=key)]
    record_consents(workspace_id=workspace.pk, statements=given, now=now)

    again = record_consents(workspace_id=workspace.pk, statements=given + given, now=now)

    assert again == Recorded(recorded=0, duplicates=2)
    assert ConsentRecord.objects.count() == 1


def test_record_consents__when_a_key_comes_with_another_statement__refuses_and_records_nothing(workspace, now):
    """Counting it as a duplicate would keep a grant whose withdrawal was sent under the same key."""
    record_consents(workspace_id=workspace.pk, statements=[statement(now)], now=now)

    with pytest.raises(services.KeyReusedError) as refused:
        record_consents(
            workspace_id=workspace.pk,
            statements=[statement(now, key="2"), statement(now, state="WITHDRAWN")],
            now=now,
        )

    assert refused.value.details == {"statements": [1]}
    assert list(ConsentRecord.objects.values_list("key", "state")) == [("1", "GIVEN")]


def test_record_consents__when_one_batch_gives_a_key_twice__refuses_and_records_nothing(workspace, now):
    with pytest.raises(services.KeyReusedError):
        record_consents(
            workspace_id=workspace.pk, statements=[statement(now), statement(now, state="WITHDRAWN")], now=now
        )

    assert not ConsentRecord.objects.exists()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"purpose": "world domination"}, "unknown_purpose"),
        ({"state": "MAYBE"}, "unknown_state"),
        ({"occurred_at": datetime.fromisoformat("2026-11-21T12:00:00.000001Z")}, "occurred_in_the_future"),
        ({"expires_at": datetime.fromisoformat("2026-11-20T12:00:00Z")}, "expires_before_it_occurred"),
        ({"key": "k" * 101}, "too_long"),
        ({"occurred_at": datetime.fromisoformat("0001-01-01T00:00:00+14:00")}, "no_such_time"),
        ({"expires_at": datetime.fromisoformat("9999-12-31T23:59:59-14:00")}, "no_such_time"),
    ],
)
def test_record_consents__when_one_statement_is_bad__refuses_and_records_nothing(changes, fault, workspace, now):
    with pytest.raises(services.InvalidStatementError) as refused:
        record_consents(
            workspace_id=workspace.pk, statements=[statement(now, key="fine"), statement(now, **changes)], now=now
        )

    assert refused.value.details == {"faults": [{"statement": 1, "fault": fault}]}
    assert not ConsentRecord.objects.exists()


def test_record_consents__of_too_many__refuses(workspace, now, monkeypatch):
    monkeypatch.setattr(services, "MOST_STATEMENTS", 1)

    with pytest.raises(services.TooManyStatementsError):
        record_consents(workspace_id=workspace.pk, statements=[statement(now)] * 2, now=now)

    assert not ConsentRecord.objects.exists()


def test_withdraw__hides_the_person_from_the_next_statement(workspace):
    now = timezone.now()
    IdentifierFactory(workspace=workspace, value=ADA.value)
    record_consents(workspace_id=workspace.pk, statements=[statement(now)], now=now)

    services.withdraw(workspace_id=workspace.pk, identifier=ADA, purpose=Purpose.ADVERTISING, now=now)

    assert not is_visible(workspace, Purpose.ADVERTISING)
    assert is_visible(workspace, Purpose.SEGMENTATION)


def test_ledger__whoever_asks__is_never_changed(workspace, now):
    record_consents(workspace_id=workspace.pk, statements=[statement(now)], now=now)

    for statement_of_sql in ("UPDATE consent_record SET state = 'WITHDRAWN'", "DELETE FROM consent_record"):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement_of_sql)

    assert ConsentRecord.objects.get().state == ConsentState.GIVEN


# -- races ----------------------------------------------------------------------------------------------------------


def in_thread(work) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("first", ["identifier", "withdrawal"])
def test_withdrawal__while_the_identifier_is_being_stored__is_not_lost(first, committed):
    """Neither transaction sees what the other has not committed: whichever ends later must look again."""

    def store() -> None:
        with workspace_scope(committed.pk):
            IdentifierFactory(workspace=committed, value=ADA.value)

    def withdraw() -> None:
        services.withdraw(workspace_id=committed.pk, identifier=ADA, purpose=Purpose.SEGMENTATION, now=timezone.now())

    one, other = (store, withdraw) if first == "identifier" else (withdraw, store)
    with transaction.atomic():
        one()
        second = in_thread(other)
        second.join(timeout=0.5)
        assert second.is_alive()  # it waits for us
    second.join(timeout=10)

    with workspace_scope(committed.pk):
        stored = Identifier.objects.get(value=ADA.value)
    assert stored.permitted & Purpose.SEGMENTATION.bit == 0
    assert stored.permitted & Purpose.ANALYTICS.bit != 0


def test_chain__of_two_batches_at_once__does_not_fork(committed):
    """Each would link to the same head: the second waits, and links to the first."""

    def withdraw(purpose: Purpose) -> None:
        services.withdraw(workspace_id=committed.pk, identifier=ADA, purpose=purpose, now=timezone.now())

    with transaction.atomic():
        withdraw(Purpose.ANALYTICS)
        second = in_thread(lambda: withdraw(Purpose.LEARNING))
        second.join(timeout=0.5)
        assert second.is_alive()  # it waits for us
    second.join(timeout=10)

    with workspace_scope(committed.pk):
        verified = chain.verify(committed.pk)
    assert (verified.records, verified.head.position, verified.findings) == (2, 2, ())


def test_confirm__twice_at_once__gives_one_consent(committed):
    said = {"workspace_id": committed.pk, "now": timezone.now()}
    token = confirmations.request_consent(identifier=ADA, purpose="advertising", **said).token
    refused = []

    def confirm() -> None:
        try:
            confirmations.confirm_consent(token=token, **said)
        except confirmations.TokenUsedError as error:
            refused.append(error)

    with transaction.atomic():
        confirm()
        second = in_thread(confirm)
        second.join(timeout=0.5)
        assert second.is_alive()  # it waits for us
    second.join(timeout=10)

    with workspace_scope(committed.pk):
        assert ConsentRecord.objects.filter(state="GIVEN").count() == 1
    assert len(refused) == 1


class Deadlock(Exception):  # noqa: N818  # stands for psycopg's error, whose number alone matters
    sqlstate = "40P01"


def losing(times: int):
    tries = []

    def work() -> int:
        tries.append(1)
        if len(tries) <= times:
            raise OperationalError from Deadlock()
        return len(tries)

    return work


def test_trying_again__after_a_deadlock__succeeds_and_gives_up_in_the_end(committed):
    assert services._trying_again(losing(2)) == 3
    with pytest.raises(OperationalError):
        services._trying_again(losing(3))


@pytest.mark.django_db
def test_trying_again__inside_a_transaction__leaves_it_to_whoever_began_it():
    work = losing(1)
    with pytest.raises(OperationalError):
        services._trying_again(work)
    assert work() == 2


# -- explain --------------------------------------------------------------------------------------------------------


def test_explain__as_operator__tells_of_somebody_hidden_from_every_purpose(workspace, as_login):
    now = timezone.now()
    person = IdentifierFactory(workspace=workspace, value=ADA.value)
    phone = IdentifierFactory(workspace=workspace, type="phone", value="+33612345678")
    Identifier.objects.filter(pk=phone.pk).update(profile_id=person.profile_id)
    for purpose in Purpose:
        say(phone, purpose, ConsentState.WITHDRAWN, at=now - timedelta(days=1))
    as_login("operator")

    answer = queries.explain(workspace_id=workspace.pk, identifier=ADA, purpose=Purpose.ANALYTICS, now=now)

    assert (answer.allowed, answer.profile_id, answer.legal_basis) == (False, person.pk, "LEGITIMATE_INTEREST")
    assert [rule for rule, _ in answer.rules] == ["denied"]
    assert [(row.identifier_id, row.identifier_type, row.state) for row in answer.records] == [
        (phone.pk, "phone", "WITHDRAWN")
    ]


def test_explain__of_somebody_unknown__answers_from_the_ledger_alone(workspace):
    now = timezone.now()
    record_consents(workspace_id=workspace.pk, statements=[statement(now)], now=now)

    answer = queries.explain(workspace_id=workspace.pk, identifier=ADA, purpose=Purpose.ADVERTISING, now=now)

    assert (answer.allowed, answer.profile_id) == (True, None)
    assert [rule for rule, _ in answer.rules] == ["granted", "nobody_yet"]
    assert [row.identifier_id for row in answer.records] == [None]


def test_explain__past_an_expiry_that_nobody_decided__says_that_late_means_closed(workspace):
    now = timezone.now()
    person = IdentifierFactory(workspace=workspace, value=ADA.value)
    say(person, Purpose.ADVERTISING, ConsentState.GIVEN, at=now - timedelta(days=2), expires_at=now + timedelta(days=1))

    answer = queries.explain(
        workspace_id=workspace.pk, identifier=ADA, purpose=Purpose.ANALYTICS, now=now + timedelta(days=2)
    )

    assert not answer.allowed
    assert [rule for rule, _ in answer.rules] == ["silence_permits", "late_means_closed"]


def test_effective__of_now__asks_once_what_holds_the_person_back(workspace, django_assert_num_queries):
    now = timezone.now()
    asked = {"workspace_id": workspace.pk, "identifier": ADA, "purpose": Purpose.ADVERTISING, "now": now}

    with django_assert_num_queries(5):
        queries.effective(at=now, **asked)
    with django_assert_num_queries(6):
        queries.effective(at=now - timedelta(days=1), **asked)


def test_explain_all__agrees_with_the_gate_on_every_purpose(workspace):
    now = timezone.now()
    person = IdentifierFactory(workspace=workspace, value=ADA.value)
    say(person, Purpose.ANALYTICS, ConsentState.REFUSED, at=now - timedelta(days=1))

    answers = queries.explain_all(workspace_id=workspace.pk, identifier=ADA, now=now)

    told = {purpose for purpose, answer in answers.items() if answer.allowed and purpose.is_gated}
    assert told == {purpose for purpose in Purpose if purpose.is_gated and is_visible(workspace, purpose)}
    assert told == {Purpose.IDENTITY, Purpose.ENRICHMENT, Purpose.SEGMENTATION, Purpose.LEARNING}


def test_history__in_the_scope_of_another_workspace__is_empty(workspace, now, as_login):
    record_consents(workspace_id=workspace.pk, statements=[statement(now)], now=now)
    as_login("web")
    assert len(queries.history(workspace_id=workspace.pk, identifier=ADA)) == 1

    with workspace_scope(workspace.pk + 1):
        assert queries.history(workspace_id=workspace.pk, identifier=ADA) == ()


# -- notices and workspaces -----------------------------------------------------------------------------------------


def test_publish_notice__again__is_the_same_and_another_text_is_refused(workspace, now):
    about = {"workspace_id": workspace.pk, "key": "cookies", "version": 1, "locale": "fr", "valid_from": now}
    first = services.publish_notice(**about, text="Nous utilisons…")

    again = services.publish_notice(**about, text="Nous utilisons…")
    with pytest.raises(services.NoticeExistsError):
        services.publish_notice(**about, text="Autre chose")

    assert again.pk == first.pk
    assert Notice.objects.get().text == "Nous utilisons…"


@pytest.mark.parametrize("login", ["web", "operator"])
def test_open_workspace__by_a_login_that_may__has_every_purpose_once(login, db, as_login, now):
    as_login(login)

    made = services.open_workspace(slug="shop", name="Shop", now=now)
    again = services.open_workspace(slug="shop", name="Other", now=now)

    assert (again.pk, again.name) == (made.pk, "Shop")
    with workspace_scope(made.pk):
        bases = dict(PurposePolicy.objects.values_list("purpose", "legal_basis"))
        bits = dict(PurposePolicy.objects.values_list("purpose", "bit"))
    assert bits == {purpose.value: purpose.bit for purpose in Purpose}
    assert bases.pop("advertising") == LegalBasis.CONSENT
    assert set(bases.values()) == {LegalBasis.LEGITIMATE_INTEREST}


def test_open_workspace__that_was_closed__is_refused(db, now):
    WorkspaceFactory(slug="gone", closed_at=now)

    with pytest.raises(services.ClosedWorkspaceError):
        services.open_workspace(slug="gone", name="Gone", now=now)


# -- cost -----------------------------------------------------------------------------------------------------------

MANY = 1_000


def rows_read() -> int:
    """By this transaction, from the tables that the rule looks at."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(seq_tup_read + COALESCE(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
            " WHERE relname IN ('identifier', 'profile', 'consent_record')"
        )
        return int(cursor.fetchone()[0])


def make_young() -> None:
    """Other tests, rolled back, left tables in which autovacuum found dead rows alone: the planner believes them empty."""
    permissions = import_module("consent.migrations.0002_permissions")
    with connection.cursor() as cursor:
        for table, columns in permissions.DISTINCT_VALUES.items():
            cursor.execute("SELECT pg_clear_relation_stats('core', %s)", [table])
            for column, distinct in columns.items():
                cursor.execute(permissions.ASSUME.format(table=table, column=column, distinct=distinct))


def test_record_consents__of_many_in_a_young_database__reads_each_row_a_few_times(workspace):
    """Before tables are analysed, a bad plan reads the whole workspace for each statement: a million rows here."""
    make_young()
    now = timezone.now()
    IdentifierFactory(workspace=workspace)  # the first plan of the session is made for one row
    people = [Named("user_id", str(number)) for number in range(MANY)]
    Identifier.objects.bulk_create(
        Identifier(
            workspace=workspace, type=who.type, value=who.value, digest=identifier_digest(who.type, who.value),
            profile_id=None,
        )
        for who in people
    )  # fmt: skip
    before = rows_read()

    for key in ("known", "unknown"):
        names = people if key == "known" else [Named("crm:id", who.value) for who in people]
        record_consents(
            workspace_id=workspace.pk,
            statements=[statement(now, identifier=who, key=f"{key} {who.value}") for who in names],
            now=now,
        )

    assert rows_read() - before < 40 * MANY
    assert Profile.objects.filter(permitted=sum(purpose.bit for purpose in Purpose)).count() == MANY


def test_purposes__changed_for_more_people_than_a_slice__decide_on_everybody(workspace):
    """Ten thousand are decided at once: who begins a slice and who ends one is decided on as all others."""
    many, advertising = 10_001, Purpose.ADVERTISING.bit
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO identifier (workspace_id, type, value, digest)"
            " SELECT %s, 'user_id', n, sha256(convert_to(n::text, 'UTF8')) FROM generate_series(1, %s) AS n",
            [workspace.pk, many],
        )

    PurposePolicy.objects.filter(purpose=Purpose.ADVERTISING).update(legal_basis=LegalBasis.LEGITIMATE_INTEREST)

    masks = sum(purpose.bit for purpose in Purpose)
    assert Profile.objects.filter(permitted=masks - advertising).count() == 0
    assert Profile.objects.filter(permitted=masks).count() == many
    assert Identifier.objects.filter(permitted=masks).count() == many
    assert len(set(outbox.subjects_waiting(stage=Stage.SEGMENTS, cause=Cause.CONSENT))) == many


def test_record_consents__all_new_but_one_whose_key_is_known__refuses_them_all(workspace, now):
    record_consents(workspace_id=workspace.pk, statements=[statement(now, key="form-1")], now=now)
    said = [statement(now, key="form-2"), statement(now, key="form-1", state=ConsentState.WITHDRAWN)]

    with pytest.raises(services.KeyReusedError), transaction.atomic():
        record_consents(workspace_id=workspace.pk, statements=said, now=now)

    assert list(ConsentRecord.objects.values_list("key", flat=True)) == ["form-1"]


def test_record_consents__with_one_key_for_two_statements__refuses_both(workspace, now):
    said = [statement(now, key="form-1"), statement(now, key="form-1", state=ConsentState.WITHDRAWN)]

    with pytest.raises(services.KeyReusedError), transaction.atomic():
        record_consents(workspace_id=workspace.pk, statements=said, now=now)

    assert not ConsentRecord.objects.exists()

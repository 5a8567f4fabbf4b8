"""Who is suppressed is not stored, and who is erased is gone: from every table, and after a restore."""

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from activation import erasing
from activation.models import AudienceMember
from cdp import embedded
from cdp.celery import NobodyIsBack
from cdp.ingestion import services as ingestion
from cdp.kernel.identifiers import Identifier as Named
from cdp.kernel.purposes import Purpose
from cdp.management import doctor
from cdp.models import (
    Event,
    Identifier,
    IdentifierTrait,
    InboxBatch,
    Message,
    OutboxRow,
    Profile,
    QuarantinedItem,
    Record,
    Sighting,
    SourceKind,
)
from consent import catalogue, erasure, erasure_ledger, gate, queries, restriction, suppression
from consent.models import ConsentState, Erasure, ErasureOrder, SuppressedDay, Suppression
from identity.models import Judgement, LinkageModel
from tests import outbox
from tests.factories import IdentifierFactory, SourceFactory, WorkspaceFactory, say
from tests.factories.filled import console_user, fill

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ADA = Named("email", "ada@example.com")
BOB = Named("email", "bob@example.com")


@pytest.fixture(autouse=True)
def ledger(settings, tmp_path):
    settings.ERASURE_LEDGER = tmp_path / "ledger" / "erasures.jsonl"
    return settings.ERASURE_LEDGER


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace, default_region="FR")


@pytest.fixture
def crm(workspace):
    return SourceFactory(workspace=workspace, name="crm", kind=SourceKind.FILE, default_region="FR")


def identify(message, email, **more):
    return {"type": "identify", "messageId": message, "userId": f"user of {email}", "traits": {"email": email}, **more}


def send(source, *events):
    body = json.dumps({"batch": events}).encode()
    return ingestion.accept(source=source, body=body, path_kind="batch", received_at=NOW)


def store(workspace):
    waiting = dict(OutboxRow.objects.filter(stage="INGESTION").values_list("subject_id", "cause"))
    OutboxRow.objects.filter(stage="INGESTION").delete()
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
        return ingestion.store(permit, waiting, now=NOW)


def arrive_as_one(workspace, source):
    """Ada comes with a user id and an address, and identity has found them to be one person."""
    send(source, identify("m1", ADA.value))
    store(workspace)
    first = min(Identifier.objects.values_list("pk", flat=True))
    Profile.objects.exclude(pk=first).update(merged_into=first)
    Identifier.objects.update(profile_id=first)


def load(source, tmp_path, text, *, events=False):
    path = tmp_path / "people.csv"
    path.write_text(text)
    service = ingestion.load_events if events else ingestion.load_records
    return service(
        workspace_id=source.workspace_id, source=source.name, path=path, mapping=None, clock=lambda: NOW,
        report=lambda _: None,
    )  # fmt: skip


def suppress(workspace, named=ADA, **more):
    return suppression.suppress(workspace_id=workspace.pk, identifier=named, now=NOW, **more)


def erase(workspace, named=ADA, **more):
    return erasure.erase_person(workspace_id=workspace.pk, identifier=named, now=NOW, **more)


def emails():
    return set(Identifier.objects.filter(type="email").values_list("value", flat=True))


def dropped():
    return sum(SuppressedDay.objects.values_list("dropped", flat=True))


# -- suppression ----------------------------------------------------------------------------------------------------


def test_event__of_somebody_suppressed__is_dropped_and_counted(workspace, source):
    suppress(workspace)
    send(source, identify("m1", "ADA@example.com"), identify("m2", "bob@example.com"))

    store(workspace)

    assert emails() == {"bob@example.com"}
    assert list(Event.objects.values_list("message_id", flat=True)) == ["m2"]
    assert not QuarantinedItem.objects.exists()
    assert dropped() == 1


def test_suppression__holds_no_value(workspace):
    suppress(workspace)

    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(s)::text FROM suppression s")
        assert "ada" not in cursor.fetchone()[0]


def test_record__of_somebody_suppressed__is_not_stored(workspace, crm, tmp_path):
    suppress(workspace)

    load(crm, tmp_path, "id,email\n1,Ada@example.com\n2,bob@example.com\n")

    assert emails() == {"bob@example.com"}
    assert list(Record.objects.values_list("key", flat=True)) == ["2"]
    assert dropped() == 1


@pytest.mark.parametrize("is_known", [False, True])
def test_columns_of_events__of_somebody_suppressed__are_not_stored(is_known, workspace, crm, tmp_path):
    rows = "email,event,timestamp,total\n{}ada@example.com,Bought,2026-11-20T10:00:00Z,3\nbob@example.com,Bought,2026-11-20T11:00:00Z,4\n"
    if is_known:
        IdentifierFactory(workspace=workspace, value=ADA.value)
    suppress(workspace)

    load(crm, tmp_path, rows.format(""), events=True)

    assert [event.identifier.value for event in Event.objects.all()] == ["bob@example.com"]
    assert dropped() == 1


def test_suppression__of_another_workspace__is_not_asked(workspace, source):
    other = WorkspaceFactory()
    suppression.suppress(workspace_id=other.pk, identifier=ADA, now=NOW)
    send(source, identify("m1", ADA.value))

    store(workspace)

    assert emails() == {ADA.value}


def test_suppression__that_ran_out_or_was_lifted__lets_in(workspace, source):
    suppress(workspace, until=NOW - timedelta(days=400))
    suppress(workspace, BOB)

    gone = suppression.unsuppress(workspace_id=workspace.pk, identifier=BOB)
    send(source, identify("m1", ADA.value), identify("m2", BOB.value))
    store(workspace)

    assert gone == 1
    assert emails() == {ADA.value, BOB.value}


def test_suppression__again_for_a_shorter_time__stays_as_long_as_it_was(workspace):
    suppress(workspace)

    again = suppress(workspace, until=NOW + timedelta(days=1))

    assert again.until is None


def test_suppression__under_the_pepper_before__still_holds(workspace, source, settings):
    suppress(workspace)
    settings.IDENTIFIER_PEPPERS_BEFORE = [settings.IDENTIFIER_PEPPER]
    settings.IDENTIFIER_PEPPER = "another one"
    send(source, identify("m1", ADA.value))

    store(workspace)

    assert emails() == set()
    assert dropped() == 1


def test_identifier__of_somebody_suppressed__is_refused_by_the_database_too(workspace):
    suppress(workspace)

    with pytest.raises(DatabaseError, match="suppressed"), transaction.atomic():
        IdentifierFactory(workspace=workspace, value=ADA.value)

    assert not Identifier.objects.exists()


# -- erasure --------------------------------------------------------------------------------------------------------


def test_every_table_of_people__has_a_rule_or_a_reason(db):
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM erasure_rule")
        ruled = {table for (table,) in cursor.fetchall()}

    assert ruled | erasure.KEPT.keys() >= catalogue.PERSONAL_TABLES
    assert not ruled & erasure.KEPT.keys()
    assert all(erasure.KEPT.values())


def test_table_that_points_to_people__without_a_rule_is_named(db):
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE core.shoe (identifier_id bigint REFERENCES core.identifier, workspace_id bigint)")

    assert erasure.tables_without_a_rule() == ["shoe"]


def test_tables_that_point_to_people__all_have_a_rule(db):
    assert erasure.tables_without_a_rule() == []


def person(workspace, now):
    """Somebody with a row in every table, and two others."""
    return fill(workspace, console_user(workspace), now)


def test_erasure__of_a_person__leaves_no_row_of_theirs_and_all_of_the_others(workspace, now):
    filled = person(workspace, now)
    ada, emilie, _ = filled.people
    Sighting.objects.create(workspace=workspace, left=ada, right=emilie, source=filled.source, seen_at=now)

    done = erase(workspace, Named("email", ada.value))

    assert set(Identifier.objects.values_list("pk", flat=True)) == {filled.people[1].pk, filled.people[2].pk}
    assert set(Profile.objects.values_list("pk", flat=True)) == {filled.people[1].pk, filled.people[2].pk}
    assert Event.objects.count() == 6
    assert not Judgement.objects.exists()
    assert (done.rows["identifier"], done.rows["event"], done.rows["judgement"], done.rows["trait"]) == (2, 3, 1, 4)
    assert Suppression.objects.filter(reason="ERASURE").count() == 2
    assert OutboxRow.objects.filter(stage="IDENTITY", subject_id=emilie.pk, cause="SPLIT").exists()


def test_erasure__of_a_person_at_destinations__orders_their_removal(workspace, now):
    filled = person(workspace, now)

    done = erase(workspace, Named("email", filled.people[0].value))

    order = ErasureOrder.objects.get()
    assert (order.destination, order.answer, done.completed_at) == ("newsletter", "PENDING", None)
    assert OutboxRow.objects.filter(stage="ACTIVATION", subject_id=filled.people[0].profile_id).exists()


def test_erasure__finds_the_person_in_what_waits_or_was_refused(workspace, source):
    send(source, identify("m1", ADA.value), identify("m2", BOB.value), {"type": "?", "email": "Ada@Example.com"})
    send(source, {"type": "?", "email": BOB.value, "note": "not-ada@example.com.au"})

    erase(workspace)

    (batch,) = InboxBatch.objects.all()
    assert [event["messageId"] for event in json.loads(bytes(batch.body))["batch"]] == ["m2"]
    (left,) = QuarantinedItem.objects.all()
    assert "bob@example.com" in left.raw


def test_erasure__of_a_telephone__finds_it_however_it_was_written(workspace, source):
    send(source, {"type": "?", "phone": "06 12.34.56 78"}, {"type": "?", "phone": "06 12.34.56 79"})

    erase(workspace, Named("phone", "+33612345678"))

    assert [item.raw.count("79") for item in QuarantinedItem.objects.all()] == [1]


def test_erasure__frees_no_message_id_for_a_replay(workspace, source):
    arrive_as_one(workspace, source)

    erase(workspace)
    send(source, identify("m1", ADA.value))
    store(workspace)

    assert not Message.objects.exists()
    assert not Event.objects.exists()
    assert not Identifier.objects.exists()
    assert dropped() == 1


def test_erasure__of_somebody_unknown__keeps_them_from_coming(workspace, source):
    done = erase(workspace)
    send(source, identify("m1", ADA.value))
    store(workspace)

    assert sum(done.rows.values()) == 0
    assert done.completed_at == NOW
    assert not Identifier.objects.exists()


def test_erasure__under_the_same_key__happens_once(workspace):
    first = erase(workspace, key="request 7")
    again = erase(workspace, key="request 7")

    assert first.pk == again.pk
    assert erasure_ledger.last_number() == 1


def test_certificate__says_what_and_not_whom(workspace, now):
    filled = person(workspace, now)

    told = json.dumps(erasure.certificate(erase(workspace, Named("email", filled.people[0].value))), default=str)

    assert '"newsletter"' in told
    assert filled.people[0].value not in told


def test_erasure__of_somebody_named_in_the_log_of_staff__empties_what_it_was_called(workspace, now):
    filled = person(workspace, now)
    user, address = get_user_model().objects.get(), filled.people[0].value
    about = {"user_id": user.pk, "content_type_id": None, "action_flag": 2, "object_id": "1"}
    LogEntry.objects.create(object_repr=f"Quarantined: {address}", change_message="[]", **about)
    LogEntry.objects.create(object_repr="spring sale", change_message="[]", **about)

    erase(workspace, Named("email", address))

    assert list(LogEntry.objects.order_by("pk").values_list("object_repr", "change_message")) == [
        ("", ""),
        ("spring sale", "[]"),
    ]


def test_certificate__names_what_nobody_looks_for_and_why(workspace, now):
    filled = person(workspace, now)

    told = erasure.certificate(erase(workspace, Named("email", filled.people[0].value)))["not_searched"]

    assert told == dict(erasure.NOT_SEARCHED)
    assert all(len(reason) > 30 for reason in told.values())


def say_of(identifier, **traits):
    source = SourceFactory(workspace=identifier.workspace)
    for name, value in traits.items():
        IdentifierTrait.objects.create(
            workspace=identifier.workspace,
            identifier=identifier,
            source=source,
            name=name,
            value=value,
            observed_at=NOW,
        )


def test_erasure__takes_values_out_of_models_that_nobody_else_had(workspace):
    mine, also_mine, bob = (
        IdentifierFactory(workspace=workspace, value=value) for value in (ADA.value, "a@l.example", BOB.value)
    )
    Identifier.objects.filter(pk=also_mine.pk).update(profile_id=mine.profile_id)
    for one in (mine, also_mine):
        say_of(one, given_name="Zéphyrine", surname="Müller", phone="+33 6 12 34 56 78", city="Lyon")
    say_of(bob, surname="Müller", city="Lyon")
    counts = {
        "given_name": {"zephyrine": 2, "bob": 5}, "surname": {"muller": 3, "martin": 9}, "phone": {"612345678": 2},
        "email": {"ada@example.com": 1}, "city": {"lyon": 40},
    }  # fmt: skip
    model = LinkageModel.objects.create(
        workspace=workspace, version=1, settings={"comparisons": []}, metadata={"rarest": dict.fromkeys(counts, 0.01)},
        frequencies={column: {value: count * 0.01 for value, count in known.items()} for column, known in counts.items()},
    )  # fmt: skip

    done = erase(workspace)

    kept = LinkageModel.objects.get(pk=model.pk).frequencies
    assert {column: set(known) for column, known in kept.items()} == {
        "given_name": {"bob"}, "surname": {"muller", "martin"}, "phone": set(), "email": set(), "city": {"lyon"},
    }  # fmt: skip
    assert (kept["city"]["lyon"], done.rows["linkage_model"]) == (0.4, 1)


def test_model__is_never_changed_but_by_an_erasure(workspace):
    model = LinkageModel.objects.create(workspace=workspace, version=1, settings={}, frequencies={}, metadata={})

    for change in ({"frequencies": {"city": {}}}, {"settings": {"a": 1}}):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            LinkageModel.objects.filter(pk=model.pk).update(**change)

    assert LinkageModel.objects.get().frequencies == {}


@pytest.mark.parametrize("login", ["operator", "rights", "web"])
def test_erasure__as_each_login_that_may__does_all_of_it(login, workspace, source, as_login):
    arrive_as_one(workspace, source)
    as_login(login)

    done = erase(workspace)

    assert done.rows["event"] == 1
    assert done.rows["identifier"] == 2


def test_erasure__by_a_worker__is_refused(workspace, as_login):
    as_login("worker_ingestion")

    with pytest.raises(DatabaseError, match="permission denied"):
        erase(workspace)


def test_judgement__outside_of_an_erasure__stays_append_only(workspace, now):
    filled = person(workspace, now)

    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('tessera.erasing', 'yes', true)")

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        filled.judgement.delete()

    assert Judgement.objects.filter(pk=filled.judgement.pk).exists()


# -- the ledger outside ---------------------------------------------------------------------------------------------


def test_ledger__of_erasures__has_digests_and_numbers_alone(workspace, source, ledger):
    arrive_as_one(workspace, source)

    erase(workspace)
    erase(workspace, BOB)

    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [(line["number"], line["workspace"], len(line["identifiers"])) for line in lines] == [
        (1, workspace.pk, 2),
        (2, workspace.pk, 1),
    ]
    assert "example.com" not in ledger.read_text()
    assert ledger.stat().st_mode & 0o777 == 0o600
    assert erasure_ledger.followed() == 2


def test_ledger__with_a_line_cut_off__goes_on_after_the_last_whole_one(workspace, ledger):
    erase(workspace)
    with ledger.open("ab") as file:
        file.write(b'{"number": 2, "works')

    done = erase(workspace, BOB)

    assert done.number == 2
    assert [line.number for line in erasure_ledger.lines()] == [1, 2]


def test_ledger__that_is_damaged__is_refused_and_nobody_erased(workspace, ledger):
    erase(workspace)
    ledger.write_text("nonsense\n")

    with pytest.raises(erasure_ledger.BrokenLedgerError):
        erase(workspace, BOB)

    assert Erasure.objects.count() == 1


def test_database__that_is_behind_the_ledger__refuses_until_it_is_reapplied(workspace, source):
    arrive_as_one(workspace, source)
    with transaction.atomic():  # as a restored backup: the line is there, its work is not
        erase(workspace)
        transaction.set_rollback(True)

    with pytest.raises(erasure_ledger.RestoredDatabaseError):
        erasure_ledger.refuse_if_behind()
    again = erasure.reapply_erasures(now=NOW)

    erasure_ledger.refuse_if_behind()
    assert again == 1
    assert not Identifier.objects.exists()
    assert not Event.objects.exists()
    assert erasure.reapply_erasures(now=NOW) == 0
    assert erasure.reapply_erasures(now=NOW, since=NOW) == 1


def test_ledger__of_a_closed_workspace__is_passed_over(workspace):
    erasure_ledger_of(workspace.pk + 4711)

    again = erasure.reapply_erasures(now=NOW)

    assert again == 1
    assert not Erasure.objects.exists()
    erasure_ledger.refuse_if_behind()


def erasure_ledger_of(workspace_id):
    with erasure_ledger.writing() as ledger:
        erasure_ledger.append(ledger, workspace_id=workspace_id, digests=[("email", b"0" * 32)], now=NOW)


# -- restriction and objection --------------------------------------------------------------------------------------


def permitted(identifier):
    identifier.refresh_from_db()
    return {purpose for purpose in Purpose if purpose.is_gated and identifier.permitted & purpose.bit}


def test_restriction__hides_the_person_from_every_purpose_until_lifted(workspace):
    ada, bob = IdentifierFactory(workspace=workspace, value=ADA.value), IdentifierFactory(workspace=workspace)
    before = permitted(ada)

    restriction.deny(workspace_id=workspace.pk, identifier=ADA, now=NOW)
    restriction.deny(workspace_id=workspace.pk, identifier=ADA, now=NOW)
    hidden = permitted(ada)
    lifted = restriction.lift(workspace_id=workspace.pk, identifier=ADA, now=NOW)

    assert hidden == set()
    assert permitted(bob) == before
    assert lifted == 1
    assert permitted(ada) == before
    assert outbox.subjects_waiting(stage="SEGMENTS", cause="CONSENT") == [ada.profile_id] * 2


def test_restriction__outlasts_a_consent(workspace):
    ada = IdentifierFactory(workspace=workspace, value=ADA.value)
    restriction.deny(workspace_id=workspace.pk, identifier=ADA, now=NOW)

    say(ada, Purpose.ADVERTISING, ConsentState.GIVEN, is_verified=True)

    assert permitted(ada) == set()


def test_restriction__of_somebody_unknown__holds_when_they_come(workspace):
    restriction.deny(workspace_id=workspace.pk, identifier=ADA, now=NOW)

    assert permitted(IdentifierFactory(workspace=workspace, value=ADA.value)) == set()


def test_objection__denies_its_purpose_alone(workspace):
    ada = IdentifierFactory(workspace=workspace, value=ADA.value)
    before = permitted(ada)

    restriction.deny(workspace_id=workspace.pk, identifier=ADA, purpose=Purpose.ANALYTICS, now=NOW)
    denied = before - permitted(ada)
    restriction.lift(workspace_id=workspace.pk, identifier=ADA, now=NOW, purpose=Purpose.ANALYTICS)

    assert denied == {Purpose.ANALYTICS}
    assert permitted(ada) == before


@pytest.mark.parametrize(
    ("hold", "rule", "purpose"),
    [
        (lambda who: restriction.deny(**who, now=NOW), "restriction", Purpose.SEGMENTATION),
        (lambda who: restriction.deny(**who, now=NOW, purpose=Purpose.SEGMENTATION), "objection", Purpose.SEGMENTATION),
        (lambda who: suppression.suppress(**who, now=NOW), "suppression", Purpose.ADVERTISING),
    ],
    ids=["restriction", "objection", "suppression"],
)
def test_answer__about_somebody_who_is_held_back__is_no_and_says_why(workspace, hold, rule, purpose):
    ada = IdentifierFactory(workspace=workspace, value=ADA.value)
    say(ada, purpose, ConsentState.GIVEN, is_verified=True)
    who, later = {"workspace_id": workspace.pk, "identifier": ADA}, timezone.now() + timedelta(minutes=1)

    hold(who)
    told = queries.explain(**who, purpose=purpose, now=later)
    effective = queries.effective(**who, purpose=purpose, at=later, now=later)
    earlier = queries.effective(**who, purpose=purpose, at=NOW - timedelta(days=1), now=later)

    assert (told.decision.allowed, told.decision.rule, told.rules[0][0]) == (False, rule, rule)
    assert (effective.decision.allowed, effective.decision.rule) == (False, rule)
    assert earlier.decision.rule != rule


def test_answer__about_somebody_who_is_held_back_no_more__is_what_they_said(workspace):
    ada = IdentifierFactory(workspace=workspace, value=ADA.value)
    say(ada, Purpose.ADVERTISING, ConsentState.GIVEN)
    who = {"workspace_id": workspace.pk, "identifier": ADA}
    restriction.deny(**who, now=NOW)

    restriction.lift(**who, now=NOW)

    assert queries.explain(**who, purpose=Purpose.ADVERTISING, now=timezone.now()).decision.allowed


# -- at the same moment ---------------------------------------------------------------------------------------------


def advisory_locks():
    with connection.cursor() as cursor:
        cursor.execute("SELECT classid, mode FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        return set(cursor.fetchall())


def test_whoever_stores__shares_the_turn_that_erasing_has_alone(workspace):
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk):
        storing = advisory_locks()

    erase(workspace)

    assert (gate.ERASING, "ShareLock") in storing
    assert (gate.ERASING, "ExclusiveLock") in advisory_locks()


def test_other_purposes__take_no_turn(workspace):
    with gate.permit(Purpose.ANALYTICS, workspace_id=workspace.pk):
        assert advisory_locks() == set()


def test_erasure__while_somebody_stores__waits_and_gives_up_without_a_trace(workspace, ledger, monkeypatch):
    ada = IdentifierFactory(workspace=workspace, value=ADA.value)
    monkeypatch.setattr(erasure, "PATIENCE", "20ms")
    monkeypatch.setattr(erasure, "ATTEMPTS", 2)
    other = embedded.default_stack().database_url("postgres", connection.settings_dict["NAME"])

    with psycopg.connect(other) as storing:
        storing.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", [gate.ERASING, workspace.pk])
        with pytest.raises(erasure.BusyWorkspaceError):
            erase(workspace)

    assert Identifier.objects.filter(pk=ada.pk).exists()
    assert not Suppression.objects.exists()
    assert erasure_ledger.last_number() == 0


# -- what destinations answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "answer"), [("REMOVED", "UNSUPPORTED"), ("REJECTED", "REFUSED")])
def test_destination__that_has_removed_a_person_or_will_not__is_in_the_certificate(state, answer, workspace, now):
    filled = person(workspace, now)
    done = erase(workspace, Named("email", filled.people[0].value))
    waiting = erasing.settle_erasures(workspace_id=workspace.pk, now=NOW)
    theirs = AudienceMember.objects.filter(profile_id=filled.people[0].profile_id)
    theirs.update(state=state)

    answers = erasing.settle_erasures(workspace_id=workspace.pk, now=NOW)

    done.refresh_from_db()
    assert waiting == {}
    assert answers == {answer: 1}
    assert done.completed_at == NOW
    assert erasure.certificate(done)["destinations"] == [
        {"destination": "newsletter", "answer": answer.lower(), "code": "", "tries": 0, "answered_at": NOW}
    ]
    assert not theirs.exists()
    assert AudienceMember.objects.count() == 2


@pytest.mark.parametrize(
    "refused",
    [
        {"type": "?", "mail": "x Ada@Example.com"},
        {"type": "?", "tel": "06 12 34 56 78"},
        {"type": "?", "userId": "ada-7"},
    ],
)
def test_what_is_refused__of_somebody_suppressed__is_not_quarantined(refused, workspace, source):
    for named in (ADA, Named("phone", "+33612345678"), Named("user_id", "ada-7")):
        suppress(workspace, named)

    send(source, refused, {"type": "?", "mail": BOB.value})

    assert [BOB.value in item.raw for item in QuarantinedItem.objects.all()] == [True]
    assert dropped() == 1


# -- nothing starts on a restored database --------------------------------------------------------------------------


def ledger_ahead(workspace):
    erasure_ledger_of(workspace.pk)


def test_worker__on_a_restored_database__does_not_start(workspace):
    ledger_ahead(workspace)

    with pytest.raises(SystemExit, match="restored_database"):
        NobodyIsBack(None)


def test_worker__on_a_database_that_follows_the_ledger__starts(workspace):
    erase(workspace)

    assert NobodyIsBack(None)


def test_doctor__on_a_restored_database__says_so(workspace):
    ledger_ahead(workspace)

    (check,) = [check for check in doctor.examine(lambda: NOW) if check.name == "erasures"]

    assert (check.ok, "reapply_erasures" in check.detail) == (False, True)

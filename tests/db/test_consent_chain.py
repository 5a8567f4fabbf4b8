"""Whoever tampers with the ledger, a superuser included, is found by the chain."""

import json
from contextlib import nullcontext
from datetime import timedelta
from importlib import import_module

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from cdp import tasks
from cdp.kernel.identifiers import Identifier as Named
from cdp.models.tenancy import workspace_scope
from consent import chain, published_heads, services
from consent.chain import Fault, Finding, Head
from consent.models import ConsentLink, ConsentRecord, ConsentState, Notice, PurposePolicy
from consent.services import ConsentStatement, record_consents
from tests.factories import SourceFactory, WorkspaceFactory

SAID = 6


@pytest.fixture
def ledger(workspace, now) -> list[int]:
    """Six records in two batches; the ids in the order of the chain."""
    notice = services.publish_notice(
        workspace_id=workspace.pk, key="ads", version=1, locale="en", text="May we?", valid_from=now - timedelta(days=9)
    )
    source = SourceFactory(workspace=workspace)
    said = [
        ConsentStatement(
            Named("email", f"{number}@example.com"), "advertising", "GIVEN", now - timedelta(days=1),
            expires_at=now + timedelta(days=90), notice_id=notice.pk, key=f"{number}", recipient="meta",
            jurisdiction="FR",
        )
        for number in range(SAID)
    ]  # fmt: skip
    for batch in (said[:2], said[2:]):
        record_consents(workspace_id=workspace.pk, statements=batch, now=now, source=source.pk)
    return list(ConsentLink.objects.order_by("position").values_list("record_id", flat=True))


def tamper(*statements: str, **parameters: object) -> None:
    """As a superuser who switched the triggers off."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            cursor.execute(statement, parameters)
        cursor.execute("SET LOCAL session_replication_role = origin")


def test_chain__of_what_was_recorded__is_whole_and_counts_on(ledger, workspace, as_login):
    as_login("operator")

    with workspace_scope(workspace.pk):
        verified = chain.verify(workspace.pk)

    assert (verified.records, verified.head.position, verified.findings) == (SAID, SAID, ())
    assert verified.is_whole
    assert list(ConsentLink.objects.order_by("position").values_list("position", flat=True)) == [1, 2, 3, 4, 5, 6]


def test_chain__of_rows_from_before_the_migration__is_made_by_it(ledger, workspace):
    head = chain.head(workspace.pk)
    tamper("DELETE FROM consent_link")

    with connection.cursor() as cursor:
        cursor.execute(import_module("consent.migrations.0007_ledger").EXTEND.format(rows="core.consent_record"))

    assert chain.verify(workspace.pk, head).findings == ()


def test_chain__of_an_empty_ledger__has_a_head_of_its_own(workspace):
    empty = chain.verify(workspace.pk)
    with workspace_scope(other := WorkspaceFactory().pk):
        elsewhere = chain.head(other)

    assert (empty.records, empty.head.position, empty.is_whole) == (0, 0, True)
    assert empty.head.hash != elsewhere.hash


CHANGES = {
    "workspace": None, "id": None,  # the keys by which a record is found: it is missing, then
    "identifier_type": "'phone'", "identifier_digest": "'\\x00'", "purpose": "'analytics'", "state": "'WITHDRAWN'",
    "occurred_at": "occurred_at - interval '1 microsecond'", "expires_at": "NULL", "is_verified": "NOT is_verified",
    "source": "NULL", "notice": "NULL", "key": "'other'", "recorded_at": "recorded_at + interval '1 microsecond'",
    "recipient": "''", "jurisdiction": "'US-CA'", "rule": "'other'",
}  # fmt: skip


def test_changes__know_every_column_of_the_ledger():
    """A new column belongs into `core.consent_digest`, and here."""
    assert CHANGES.keys() == {field.name for field in ConsentRecord._meta.fields}


@pytest.mark.parametrize("field", [name for name, value in CHANGES.items() if value])
def test_chain__with_a_changed_column__names_the_record(field, ledger, workspace):
    column = ConsentRecord._meta.get_field(field).column

    tamper(f"UPDATE consent_record SET {column} = {CHANGES[field]} WHERE id = %(id)s", id=ledger[2])

    assert chain.verify(workspace.pk).findings == (Finding(Fault.CHANGED, ledger[2], 3),)


def test_chain__without_a_record__names_it(ledger, workspace):
    tamper("DELETE FROM consent_record WHERE id = %(id)s", id=ledger[3])

    assert chain.verify(workspace.pk).findings == (Finding(Fault.MISSING, ledger[3], 4),)


def test_chain__without_a_record_and_its_link__names_the_gap(ledger, workspace):
    tamper(
        "DELETE FROM consent_record WHERE id = %(id)s",
        "DELETE FROM consent_link WHERE record_id = %(id)s",
        id=ledger[3],
    )

    assert chain.verify(workspace.pk).findings == (Finding(Fault.GAP, ledger[4], 5),)


def test_chain__with_two_records_in_each_others_place__names_both(ledger, workspace):
    tamper(
        "UPDATE consent_link SET record_id = -1 WHERE record_id = %(one)s",
        "UPDATE consent_link SET record_id = %(one)s WHERE record_id = %(other)s",
        "UPDATE consent_link SET record_id = %(other)s WHERE record_id = -1",
        one=ledger[1],
        other=ledger[4],
    )

    assert chain.verify(workspace.pk).findings == (
        Finding(Fault.REORDERED, ledger[4], 2),
        Finding(Fault.REORDERED, ledger[1], 5),
    )


def test_chain__with_a_record_slipped_in__names_it(ledger, workspace):
    tamper(
        "INSERT INTO consent_record (workspace_id, identifier_type, identifier_digest, purpose, state, occurred_at,"
        " is_verified, key) VALUES (%(workspace)s, 'email', '\\x00', 'advertising', 'GIVEN', now(), true, 'forged')",
        workspace=workspace.pk,
    )

    (finding,) = chain.verify(workspace.pk).findings
    assert finding == Finding(Fault.UNLINKED, ConsentRecord.objects.get(key="forged").pk, None)


def test_chain__cut_off_at_the_end__is_seen_by_a_noted_head(ledger, workspace):
    noted = chain.head(workspace.pk)
    tamper(
        "DELETE FROM consent_record WHERE id = %(id)s",
        "DELETE FROM consent_link WHERE record_id = %(id)s",
        id=ledger[5],
    )

    assert chain.verify(workspace.pk).is_whole
    assert chain.verify(workspace.pk, noted).findings == (Finding(Fault.HEAD_DIFFERS, None, SAID),)


def test_chain__that_went_on__still_leads_through_a_noted_head(ledger, workspace, now):
    noted = chain.head(workspace.pk)

    services.withdraw(workspace_id=workspace.pk, identifier=Named("crm:id", "1"), purpose="analytics", now=now)

    assert chain.verify(workspace.pk, noted).is_whole
    assert chain.verify(workspace.pk, Head(0, "00")).findings == (Finding(Fault.HEAD_DIFFERS, None, 0),)


def test_chain__with_another_text_of_a_notice__names_the_notice(ledger, workspace):
    tamper("UPDATE notice SET text = 'You must.'")

    assert chain.verify(workspace.pk).findings == (Finding(Fault.NOTICE_CHANGED, Notice.objects.get().pk, None),)


def test_chain__with_a_notice_and_its_digest_changed__names_the_records_that_showed_it(ledger, workspace):
    tamper("UPDATE notice SET text = 'x', digest = encode(sha256('x'), 'hex')")

    assert [each.fault for each in chain.verify(workspace.pk).findings] == [Fault.CHANGED] * SAID


def test_verify__in_slices__finds_the_same(ledger, workspace, monkeypatch):
    monkeypatch.setattr(chain, "SLICE", 2)
    assert chain.verify(workspace.pk).is_whole

    tamper("DELETE FROM consent_record WHERE id = ANY(%(ids)s)", ids=[ledger[2], ledger[3]])

    assert [each.position for each in chain.verify(workspace.pk).findings] == [3, 4]


def test_verify__with_more_faults_than_anybody_reads__stops(ledger, workspace, monkeypatch):
    monkeypatch.setattr(chain, "MOST_FINDINGS", 2)

    tamper("UPDATE consent_record SET state = 'REFUSED'")

    assert len(chain.verify(workspace.pk).findings) == 2


@pytest.mark.parametrize("table", ["consent_link", "notice", "purpose_rule"])
@pytest.mark.parametrize(
    "change", ["UPDATE {} SET workspace_id = workspace_id", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
)
def test_proof__whoever_asks__is_never_changed(table, change, ledger):
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what they still wait for would hinder TRUNCATE before us
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            cursor.execute(change.format(table))


@pytest.mark.parametrize("login", ["web", "operator"])
def test_link__by_a_login__cannot_be_forged(login, ledger, workspace, as_login):
    as_login(login)

    with pytest.raises(Exception, match="permission denied"), transaction.atomic():
        ConsentLink.objects.create(workspace=workspace, record_id=1, position=99, hash=b"0" * 32)
    as_login("none")
    assert ConsentLink.objects.count() == SAID


def test_record__names_the_rule_that_held(workspace):
    now = timezone.now()
    ada = Named("email", "ada@example.com")
    services.withdraw(workspace_id=workspace.pk, identifier=ada, purpose="advertising", now=now, key="1")
    policy = workspace.purposepolicy_set.get(purpose="advertising")

    policy.retention_days = 400
    policy.save()
    services.withdraw(workspace_id=workspace.pk, identifier=ada, purpose="advertising", now=now, key="2")

    rules = dict(workspace.purposerule_set.filter(purpose="advertising").values_list("fingerprint", "rule"))
    told = [
        rules[print_]["retention_days"]
        for print_ in ConsentRecord.objects.order_by("pk").values_list("rule", flat=True)
    ]
    policy.refresh_from_db()
    assert (told, policy.version, len(rules)) == ([None, 400], 2, 2)


@pytest.mark.parametrize(
    ("regimes", "is_fine"),
    [
        ({"US-CA": "OPT_OUT", "US": "OPT_IN"}, True), ({"": "OPT_OUT"}, False), ({"California": "OPT_OUT"}, False),
        ({"US": "MAYBE"}, False), (["US"], False),
    ],
)  # fmt: skip
def test_purpose__with_regimes__is_checked_before_it_is_saved(regimes, is_fine, workspace):
    policy = workspace.purposepolicy_set.get(purpose="advertising")
    policy.regimes = regimes

    with nullcontext() if is_fine else pytest.raises(ValidationError, match="regime"):
        policy.clean()


def test_purpose__judged_by_device__has_that_in_its_rule_and_the_others_are_what_they_were(workspace):
    before = set(workspace.purposerule_set.values_list("fingerprint", flat=True))

    PurposePolicy.objects.filter(purpose="analytics").update(scope="DEVICE")

    added = workspace.purposerule_set.exclude(fingerprint__in=before).get()
    assert (added.purpose, added.version, added.rule["scope"]) == ("analytics", 2, "DEVICE")
    assert not workspace.purposerule_set.filter(version=1, rule__has_key="scope").exists()


@pytest.mark.parametrize("purpose", ["identity", "segmentation", "collection"])
def test_purpose__that_writes_about_the_person__is_never_judged_by_device(purpose, workspace):
    policy = PurposePolicy.objects.get(purpose=purpose)
    policy.scope = "DEVICE"

    with pytest.raises(ValidationError, match="device by device"):
        policy.full_clean()
    with pytest.raises(IntegrityError, match="purpose_by_device_only_reads"), transaction.atomic():
        policy.save()


def test_purpose__saved_without_a_change__stays_the_same_version(workspace):
    policy = workspace.purposepolicy_set.get(purpose="advertising")

    policy.save()

    policy.refresh_from_db()
    assert (policy.version, workspace.purposerule_set.filter(purpose="advertising").count()) == (1, 1)


def test_notice__not_yet_valid_when_somebody_answered__is_refused(workspace, now):
    notice = services.publish_notice(
        workspace_id=workspace.pk, key="ads", version=1, locale="en", text="May we?", valid_from=now
    )
    early = ConsentStatement(
        Named("email", "ada@example.com"),
        "advertising",
        ConsentState.GIVEN,
        now - timedelta(seconds=1),
        notice_id=notice.pk,
    )

    with pytest.raises(services.InvalidStatementError) as refused:
        record_consents(workspace_id=workspace.pk, statements=[early], now=now)

    assert refused.value.details == {"faults": [{"statement": 0, "fault": "notice_not_yet_valid"}]}
    assert not ConsentRecord.objects.exists()


# -- published heads ------------------------------------------------------------------------------------------------


@pytest.fixture
def heads(settings, tmp_path):
    settings.LEDGER_HEADS = tmp_path / "elsewhere" / "heads.jsonl"
    return settings.LEDGER_HEADS


def published(heads, workspace):
    return list(published_heads.published_heads(heads, workspace_id=workspace.pk))


def test_head__published_each_day__is_a_signed_line_and_the_ledger_leads_through_all(heads, ledger, workspace, now):
    first = published_heads.publish_head(workspace_id=workspace.pk, now=now)
    services.withdraw(workspace_id=workspace.pk, identifier=Named("crm:id", "1"), purpose="analytics", now=now)
    second = published_heads.publish_head(workspace_id=workspace.pk, now=now + timedelta(days=1))

    lines = [json.loads(line) for line in heads.read_text().splitlines()]
    assert published(heads, workspace) == [first, second]
    assert [head.position for head in (first, second)] == [SAID, SAID + 1]
    assert [(line["workspace"], line["hash"]) for line in lines] == [
        (workspace.pk, each.hash) for each in (first, second)
    ]
    assert all(line["jws"].count(".") == 2 for line in lines)
    assert chain.verify(workspace.pk, first, second).is_whole


def test_head__published__shows_what_was_cut_off_and_made_anew(heads, ledger, workspace, now):
    published_heads.publish_head(workspace_id=workspace.pk, now=now)
    tamper(
        "DELETE FROM consent_record WHERE id = %(id)s",
        "DELETE FROM consent_link WHERE record_id = %(id)s",
        id=ledger[5],
    )
    services.withdraw(workspace_id=workspace.pk, identifier=Named("crm:id", "1"), purpose="analytics", now=now)

    assert chain.verify(workspace.pk).is_whole
    assert chain.verify(workspace.pk, *published(heads, workspace)).findings == (
        Finding(Fault.HEAD_DIFFERS, None, SAID),
    )


def test_head__published_after_a_crash__drops_the_line_that_was_cut_off(heads, ledger, workspace, now):
    head = published_heads.publish_head(workspace_id=workspace.pk, now=now)
    with heads.open("ab") as file:
        file.write(b'{"workspace": 1, "posi')
    assert published(heads, workspace) == [head]

    published_heads.publish_head(workspace_id=workspace.pk, now=now)

    assert published(heads, workspace) == [head, head]


def test_head__of_another_workspace__is_none_of_this_one(heads, ledger, workspace, now):
    with workspace_scope(other := WorkspaceFactory().pk):
        published_heads.publish_head(workspace_id=other, now=now)

    assert published(heads, workspace) == []


@pytest.mark.parametrize("line", ["{", "[]", '{"workspace": %s}', '{"workspace": %s, "position": "x", "hash": ""}'])
def test_heads__of_a_file_that_was_changed__are_refused(line, heads, workspace):
    heads.parent.mkdir()
    heads.write_text(line.replace("%s", str(workspace.pk)) + "\n")

    with pytest.raises(published_heads.BrokenHeadsError):
        published(heads, workspace)


def test_heads__are_published_by_the_worker_of_rights(heads, ledger, workspace, as_login):
    as_login("rights")

    tasks.publish_heads()

    assert [head.position for head in published(heads, workspace)] == [SAID]

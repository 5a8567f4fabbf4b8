"""The log of breaches: all of them, the 72 hours, and who was affected."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.urls import reverse
from django.utils import timezone

from cdp.management import doctor
from cdp.models import Event
from consent import breaches
from consent.models import Breach, BreachEvidence
from tests.db.test_console import client_of
from tests.factories import IdentifierFactory, SourceFactory
from tests.factories.filled import console_user

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def breach_of(workspace, noticed_at=NOW, now=NOW, **more):
    return breaches.record_breach(
        workspace_id=workspace.pk, noticed_at=noticed_at, facts="A laptop was lost.", nature="CONFIDENTIALITY", now=now, **more
    )  # fmt: skip


def test_record__in_the_future__is_refused_and_nothing_is_kept(workspace):
    with pytest.raises(breaches.NoticedInTheFutureError):
        breach_of(workspace, noticed_at=NOW + timedelta(seconds=1))

    assert not Breach.objects.exists()


@pytest.mark.parametrize(
    ("age", "warned"),
    [(timedelta(hours=47, minutes=59), False), (timedelta(hours=48), True), (timedelta(days=9), True)],
)
def test_clock__warns_a_day_before_its_end_and_after(age, warned, workspace):
    breach = breach_of(workspace, noticed_at=NOW - age)

    assert list(breaches.open_clocks(now=NOW)) == ([breach] if warned else [])
    assert breach.due_at == breach.noticed_at + timedelta(hours=72)


def test_clock__stops_when_the_authority_was_told_or_need_not_be(workspace):
    told = breach_of(workspace, noticed_at=NOW - timedelta(hours=60))
    breach_of(workspace, noticed_at=NOW - timedelta(hours=60), untold_reason="the disk was encrypted")

    breaches.tell_authority(workspace_id=workspace.pk, breach_id=told.pk, at=NOW)

    assert not breaches.open_clocks(now=NOW).exists()


def test_authority__told_late_without_a_reason__is_refused(workspace):
    breach = breach_of(workspace, noticed_at=NOW - timedelta(hours=73))

    with pytest.raises(breaches.LateWithoutReasonError):
        breaches.tell_authority(workspace_id=workspace.pk, breach_id=breach.pk, at=NOW)

    breach.refresh_from_db()
    assert breach.authority_told_at is None
    late = breaches.tell_authority(workspace_id=workspace.pk, breach_id=breach.pk, at=NOW, reason="it was a Sunday")
    assert (late.authority_told_at, late.untold_reason) == (NOW, "it was a Sunday")


def test_evidence__has_the_ids_of_whom_the_source_brought_in_the_period(workspace, as_login):
    shop, crm = SourceFactory(workspace=workspace, name="shop"), SourceFactory(workspace=workspace, name="crm")
    hit, early, other = IdentifierFactory.create_batch(3, workspace=workspace)
    for person, source, at in (
        (hit, shop, NOW),
        (hit, shop, NOW),
        (early, shop, NOW - timedelta(days=2)),
        (other, crm, NOW),
    ):
        Event.objects.create(
            workspace=workspace, source=source, identifier=person, message_id="m", kind="track", name="x", occurred_at=at,
            received_at=at, seen_with=[], properties={}, context={},
        )  # fmt: skip
    breach = breach_of(workspace)
    affected = breaches.Affected(NOW - timedelta(days=1), NOW + timedelta(days=1), shop.pk)
    as_login("web")

    kept = breaches.keep_evidence(workspace_id=workspace.pk, breach_id=breach.pk, affected=affected, now=NOW)

    assert (kept.people, kept.profile_ids, kept.taken_at) == (1, [hit.profile_id], NOW)
    assert kept.query == affected.as_json()


def test_evidence__is_never_changed(workspace):
    breach = breach_of(workspace)
    BreachEvidence.objects.create(workspace=workspace, breach=breach, query={}, people=0, profile_ids=[], taken_at=NOW)

    for change in ("UPDATE breach_evidence SET people = 1", "DELETE FROM breach_evidence"):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)


def test_breach__is_never_deleted(workspace, as_login):
    breach_of(workspace)
    as_login("web")

    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        Breach.objects.all().delete()


def test_doctor__while_the_clock_runs_out__names_the_breach(workspace):
    breach = breach_of(workspace, noticed_at=NOW - timedelta(hours=60))

    found = {check.name: check for check in doctor.examine(lambda: NOW)}["breaches"]

    assert not found.ok
    assert found.detail == f"{workspace}: breach {breach.pk} until 2026-11-22 00:00 UTC"


FORM = {
    "nature": "CONFIDENTIALITY",
    "facts": "A laptop was lost.",
    "authority_told_at_0": "",
    "authority_told_at_1": "",
}


@pytest.mark.parametrize(
    ("age", "told", "fault"), [(-1, None, "noticed_at"), (100, 0, "untold_reason"), (1, None, None)]
)
def test_form__keeps_the_rules_of_the_clock(age, told, fault, workspace, as_login):
    client = client_of(console_user(workspace))
    as_login("web")
    now = timezone.now()
    given = {**FORM, **_moment("noticed_at", now - timedelta(hours=age))}
    given |= {} if told is None else _moment("authority_told_at", now - timedelta(hours=told))

    answer = client.post(reverse("admin:consent_breach_add"), given)

    assert Breach.objects.count() == (0 if fault else 1)
    assert (list(answer.context["adminform"].form.errors) if fault else answer.status_code) == (
        [fault] if fault else 302
    )


def _moment(name, at):
    return {f"{name}_0": f"{at:%Y-%m-%d}", f"{name}_1": f"{at:%H:%M:%S}"}

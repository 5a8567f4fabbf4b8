"""TC and GPP strings that events carry: kept with the event as they came, read once, felt by the ledger."""

import hashlib

import pytest
from django.db import connection

from cdp.ingestion import services as ingestion
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Event
from consent import gate, services
from consent.models import ConsentRecord, ConsentString
from tests.db.test_ingestion_signals import RECEIVED, event, ledger, permits, send, store
from tests.factories import SourceFactory
from tests.factories.signals import gpp_header, tc_core, tc_vendors

OURS = 755
DISCLOSED = tc_vendors(1, (OURS,))
YES = f"{tc_core(consents=(1, 3, 4), vendors=(OURS,))}.{DISCLOSED}"
ONLY_STORAGE = f"{tc_core(consents=(1,), vendors=(OURS,))}.{DISCLOSED}"
OLD_YES = f"{tc_core(policy=2, consents=(1, 3, 4), vendors=(OURS,))}.{DISCLOSED}"
OLD_NO = f"{tc_core(policy=2, consents=(1,), vendors=(OURS,))}.{DISCLOSED}"


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


@pytest.fixture
def mapped(workspace):
    """Advertising needs two purposes of TCF at once; sale under US law is advertising too."""
    services.configure_consent(workspace_id=workspace.pk, vendor_id=OURS)
    for kind, category in (("TCF", "3"), ("TCF", "4"), ("OPT_OUT", "sale"), ("CATEGORY", "Advertising")):
        services.map_signal(
            workspace_id=workspace.pk, kind=kind, category=category, purpose=Purpose.ADVERTISING
        )  # fmt: skip


def said(message_id="m1", *, at="11:00", **consent):
    return event(message_id, at=at, context={"consent": consent})


def states():
    return [row[2] for row in ledger()]


def test_store__of_a_tc_string_that_permits__records_consent_and_keeps_the_string_with_the_event(
    workspace, source, mapped
):
    send(source, said(tcString=YES))

    store(workspace)

    assert ledger() == [("anonymous_id", "advertising", "GIVEN", "11:00")]
    assert permits(Purpose.ADVERTISING)
    assert Event.objects.get().context["consent"] == {"tcString": YES}
    kept = ConsentString.objects.get()
    assert (kept.kind, bytes(kept.digest)) == ("tcString", hashlib.sha256(YES.encode()).digest())
    assert (kept.vendor_id, kept.faults, kept.unreadable, kept.times_seen) == (OURS, [], "", 1)
    assert [purpose for purpose, is_yes in kept.purposes.items() if is_yes] == ["1", "3", "4"]


def test_store__of_a_tc_string_that_permits_no_more__withdraws(workspace, source, mapped):
    send(source, said("m1", tcString=YES), said("m2", at="11:30", tcString=ONLY_STORAGE))

    store(workspace)

    assert states() == ["GIVEN", "WITHDRAWN"]
    assert not permits(Purpose.ADVERTISING)


def test_store__of_a_string_that_cannot_be_read__keeps_the_event_and_counts_the_reason(workspace, source, mapped):
    send(source, said("m1", tcString="nonsense!"), said("m2", tcString="nonsense!"))
    store(workspace)
    send(source, said("m3", tcString="nonsense!"))
    store(workspace)

    assert (states(), Event.objects.count()) == ([], 3)
    assert not permits(Purpose.ADVERTISING)
    kept = ConsentString.objects.get()
    assert kept.unreadable == "The signal cannot be read at character 8: not a character of base64url."
    assert (kept.times_seen, kept.purposes, kept.opt_outs) == (3, {}, {})


@pytest.mark.parametrize(("string", "recorded"), [(OLD_YES, []), (OLD_NO, ["REFUSED"])])
def test_store__of_a_string_with_a_fault__hears_its_no_and_not_its_yes(workspace, source, mapped, string, recorded):
    send(source, said(tcString=string))

    store(workspace)

    assert states() == recorded
    assert not permits(Purpose.ADVERTISING)
    assert ConsentString.objects.get().faults == ["policy_ended"]


def test_store__of_a_tc_string__says_nothing_while_the_workspace_names_no_vendor(workspace, source):
    services.map_signal(workspace_id=workspace.pk, kind="TCF", category="4", purpose=Purpose.ADVERTISING)
    send(source, said(tcString=YES))

    store(workspace)

    assert (states(), ConsentString.objects.get().purposes) == ([], {})


def test_store__of_a_category_beside_a_tc_string__counts_what_permits_less(workspace, source, mapped):
    send(source, said(tcString=ONLY_STORAGE, categoryPreferences={"Advertising": True}))

    store(workspace)

    assert states() == ["REFUSED"]


@pytest.mark.parametrize(
    ("consent", "recorded"),
    [
        ({"gppString": f"{gpp_header([2, 6])}~{YES}~1YYN"}, ["REFUSED"]),
        ({"gppString": f"{gpp_header([2, 6])}~{YES}~1YYN", "applicableSections": [2]}, ["GIVEN"]),
        ({"gppString": f"{gpp_header([6])}~1YYN", "applicableSections": [-1]}, []),
        ({"gppString": f"{gpp_header([6])}~1YNN"}, []),
    ],
    ids=["opted out", "only Europe in force", "nothing in force", "did not opt out"],
)
def test_store__of_a_gpp_string__hears_the_sections_in_force(workspace, source, mapped, consent, recorded):
    send(source, said(**consent))

    store(workspace)

    assert states() == recorded
    assert ConsentString.objects.get().kind == "gppString"


def test_store__of_a_string_that_nobody_mapped__reads_nothing(workspace, source):
    send(source, said(tcString=YES))

    store(workspace)

    assert (states(), ConsentString.objects.count(), Event.objects.count()) == ([], 0, 1)


def test_store__of_a_message_that_comes_again__counts_its_string_once(workspace, source, mapped):
    for _ in range(2):
        send(source, said(tcString=YES))
        store(workspace)

    assert (states(), ConsentString.objects.get().times_seen) == (["GIVEN"], 1)


def test_store__as_the_login_of_its_worker__may_note_strings(workspace, source, mapped, as_login):
    send(source, said(tcString=YES, gppString="D"))
    as_login("worker_ingestion")

    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM inbox")
            key = cursor.fetchone()[0]
        ingestion.store(permit, {key: Cause.EVENT}, now=RECEIVED)

    as_login("none")
    assert (ConsentRecord.objects.count(), ConsentString.objects.count()) == (1, 2)

"""Figures that stray: what is tested once, what becomes an alert, and how it is told."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail

from segments.kpis import editing, telling, watching
from segments.models import KpiAlert, KpiValue, KpiWatch, Segment
from tests.fakes.host import Host

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TODAY = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def kpi(workspace):
    return editing.create_kpi(
        workspace_id=workspace.pk, slug="orders", name="Orders", author=None,
        definition={"kind": "CONVERSION", "event": "Order", "period": "DAY"},
    )  # fmt: skip


@pytest.fixture
def watch(workspace, kpi):
    return editing.watch_kpi(kpi=kpi, segment=None, settings={})


def segment_of(workspace, slug):
    return Segment.objects.create(workspace=workspace, slug=slug, name=slug.title())


def keep(kpi, segment, numerators, people=1_000):
    """The days before today, the newest last; today runs."""
    for back, numerator in enumerate(reversed([*numerators, 1])):
        start = TODAY - back * DAY
        KpiValue.objects.create(
            workspace_id=kpi.workspace_id, version=kpi.live_version, segment=segment, period_start=start,
            period_end=start + DAY, value=numerator / people, numerator=numerator, denominator=people, people=people,
            computed_at=min(start + 2 * DAY, NOW),
        )  # fmt: skip


def look(workspace, now=NOW):
    return watching.watch(workspace_id=workspace.pk, now=now)


def test_watch__alerts_what_strayed_and_no_more_than_once(workspace, kpi, watch, as_login):
    steady, halved = segment_of(workspace, "steady"), segment_of(workspace, "halved")
    keep(kpi, steady, [100, 104, 97, 101, 99, 102])
    keep(kpi, halved, [100, 104, 97, 101, 99, 50])
    as_login("worker_segments")

    assert (look(workspace), look(workspace)) == (1, 0)

    as_login("none")
    alert = KpiAlert.objects.get()
    assert (alert.segment_id, alert.period_start, alert.value) == (halved.pk, TODAY - DAY, 0.05)
    assert alert.expected == pytest.approx(0.1002)
    assert (alert.test, alert.state, alert.due_at) == ("PROPORTIONS", "OPEN", None)
    assert 0 < alert.p < 0.001


def test_watch__of_a_day_that_was_tested__waits_for_the_next(workspace, kpi, watch):
    segment = segment_of(workspace, "loyal")
    keep(kpi, segment, [100, 104, 97, 101, 99, 102])
    look(workspace)

    KpiValue.objects.filter(period_start=TODAY - DAY).update(value=0.05, numerator=50)

    assert look(workspace) == 0
    watch.refresh_from_db()
    assert watch.checked_until == TODAY
    KpiValue.objects.filter(period_start=TODAY).update(value=0.04, numerator=40, computed_at=TODAY + DAY)
    assert look(workspace, NOW + DAY) == 1


@pytest.mark.parametrize(
    "values", [{"minimum_effect": 0.6}, {"significance": 0.00001, "minimum_effect": 0}, {"is_on": False}]
)
def test_watch__that_asks_for_more__does_not_alert(workspace, kpi, values):
    editing.watch_kpi(kpi=kpi, segment=None, settings=values)
    keep(kpi, segment_of(workspace, "halved"), [100, 104, 97, 101, 99, 60])

    assert look(workspace) == 0
    assert not KpiAlert.objects.exists()


def test_watch__of_one_segment__looks_at_no_other(workspace, kpi):
    one, other = segment_of(workspace, "one"), segment_of(workspace, "other")
    for segment in (one, other):
        keep(kpi, segment, [100, 104, 97, 101, 99, 50])
    editing.watch_kpi(kpi=kpi, segment=one, settings={})

    assert look(workspace) == 1
    assert KpiAlert.objects.get().segment_id == one.pk


def test_watch__of_counts__keeps_to_control_limits_and_leaves_out_what_is_withheld(workspace):
    kpi = editing.create_kpi(
        workspace_id=workspace.pk, slug="size", name="", definition={"kind": "SIZE", "period": "DAY"}, author=None
    )
    editing.watch_kpi(kpi=kpi, segment=None, settings={})
    segment = segment_of(workspace, "loyal")
    keep(kpi, segment, [100, 104, 97, 101, 99, 102, 98, 300], people=1)
    KpiValue.objects.filter(value=97).update(
        is_withheld=True, value=None, numerator=None, denominator=None, people=None
    )

    assert look(workspace) == 1
    alert = KpiAlert.objects.get()
    assert (alert.test, alert.value, alert.expected) == ("LIMITS", 300, 100.5)


# -- telling ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def alert(workspace, kpi):
    def make(**addresses):
        watch = editing.watch_kpi(kpi=kpi, segment=None, settings=addresses, signing_key="k")
        return KpiAlert.objects.create(
            workspace=workspace, watch=watch, version=kpi.live_version, segment=segment_of(workspace, "loyal"),
            period_start=TODAY, value=0.05, expected=0.1, test="PROPORTIONS", p=0.0004, created_at=NOW, due_at=NOW,
        )  # fmt: skip

    return make


def tell(workspace, now=NOW):
    return telling.tell(workspace_id=workspace.pk, clock=lambda: now)


def test_alert__is_posted_signed_and_once(workspace, alert, as_login):
    with Host((204, {}, b"")) as host:
        made = alert(url=f"http://127.0.0.1:{host.port}/alerts")
        as_login("worker_segments")
        assert (tell(workspace), tell(workspace)) == (1, 0)

    ((method, path, headers, body),) = host.seen
    signed = hmac.new(b"k", headers["Tessera-Timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert (method, path, headers["Tessera-Signature"]) == ("POST", "/alerts", f"v1={signed}")
    assert json.loads(body) == {
        "alert": made.pk, "kpi": "orders", "segment": "loyal", "period_start": "2026-11-21T00:00:00Z", "value": 0.05,
        "expected": 0.1, "p": 0.0004, "test": "PROPORTIONS",
    }  # fmt: skip
    as_login("none")
    made.refresh_from_db()
    assert (made.told_at, made.due_at, made.error) == (NOW, None, "")


def test_alert__is_written(workspace, alert, settings):
    settings.EMAIL_HOST = "mail.example.com"
    alert(email="sales@example.org")

    assert tell(workspace) == 1
    (letter,) = mail.outbox
    assert (letter.to, letter.subject) == (["sales@example.org"], "Orders: Loyal")
    assert letter.body == (
        "Orders of Loyal, in the period from 2026-11-21 on, is 0.05; 0.1 was expected (two-proportion z-test, adjusted"
        " p = 0.0004).\n"
    )


def test_alert__that_is_not_taken__is_told_again_later_and_at_last_given_up(workspace, alert):
    made = alert(email="sales@example.org")  # there is no server for mail

    assert tell(workspace) == 0
    made.refresh_from_db()
    assert (made.error, made.attempts, made.due_at) == ("mail_not_sent", 1, NOW + timedelta(minutes=1))
    KpiAlert.objects.update(attempts=telling.MOST_ATTEMPTS - 1)
    assert tell(workspace, NOW + timedelta(minutes=1)) == 0
    made.refresh_from_db()
    assert (made.error, made.due_at, made.told_at) == ("mail_not_sent", None, None)
    assert mail.outbox == []


def test_alert__to_a_private_address__is_not_posted(workspace, alert, settings):
    settings.PRIVATE_ADDRESSES_ALLOWED = False
    with Host((204, {}, b"")) as host:
        made = alert(url=f"https://127.0.0.1:{host.port}/")
        assert tell(workspace) == 0

    made.refresh_from_db()
    assert (made.error, host.seen) == ("forbidden_address", [])


def test_watch__when_taken_away__takes_its_alerts(workspace, alert, as_login):
    made = alert(email="sales@example.org")
    as_login("web")

    editing.stop_watching(watch=made.watch)

    assert (KpiWatch.objects.count(), KpiAlert.objects.count()) == (0, 0)


def test_metrics__count_the_alerts_that_nobody_has_seen(workspace, alert, client, as_login):
    made = alert()
    as_login("web")
    before = client.get("/metrics").text
    editing.mark_alert(alert=made, state="SEEN")

    assert "cdp_segments_kpi_alerts 1\n" in before
    assert "cdp_segments_kpi_alerts 0\n" in client.get("/metrics").text

"""Tracking plans at work: versions, refusals on every way in, and counts that hold no value."""

import json
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from cdp.ingestion import plan_queries, plans, sources
from cdp.ingestion import services as ingestion
from cdp.ingestion.plan_check import PlanError
from cdp.ingestion.plans import UnknownPlanVersionError
from cdp.models import (
    Event,
    InboxBatch,
    PlanViolation,
    QuarantinedItem,
    Source,
    SourceKind,
    TrackingPlanVersion,
    Workspace,
)
from cdp.models.closing import close_workspace
from tests.factories import IdentifierFactory, SourceFactory, WorkspaceFactory

RECEIVED = datetime(2026, 11, 21, 12, tzinfo=UTC)
SCHEMA = {"type": "object", "required": ["order_id"], "properties": {"revenue": {"type": "number"}}}
GOOD = {"type": "track", "event": "Order", "userId": "u1", "messageId": "m1", "properties": {"order_id": "o-1"}}
BAD = {**GOOD, "messageId": "m2", "properties": {"order_id": "o-2", "revenue": "secret of Ada"}}
OTHER = {**GOOD, "messageId": "m3", "event": "Viewed", "properties": {}}


def document(action="BLOCK", **more):
    return {"rules": [{"kind": "track", "event": "Order", "on_violation": action, "schema": SCHEMA}], **more}


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace, name="shop")


@pytest.fixture
def put(source, now):
    """Let a plan hold for the source."""

    def add(action="BLOCK", **more):
        return plans.add_version(source=source, document=document(action, **more), author=None, now=now)

    return add


def accept(source, *events):
    body = json.dumps({"batch": events}).encode()
    return ingestion.accept(source=source, body=body, path_kind="batch", received_at=RECEIVED)


def kept():
    return [event for batch in InboxBatch.objects.order_by("pk") for event in json.loads(bytes(batch.body))["batch"]]


def counted(source, since=date(2026, 11, 21)):
    return [
        (one.event, one.path, one.keyword, one.action, one.events)
        for one in plan_queries.violations_since(source, since)
    ]


# -- what becomes of events -----------------------------------------------------------------------------------------


def test_block__refuses_the_event_and_loses_no_other(source, put):
    put("BLOCK")

    accepted = accept(source, GOOD, BAD, OTHER)

    assert accepted.accepted == 2
    assert accepted.rejected == [{"index": 1, "messageId": "m2", "code": "plan_violation"}]
    assert [event["messageId"] for event in kept()] == ["m1", "m3"]
    item = QuarantinedItem.objects.get()
    assert (item.place, item.code) == ("batch[1]", "plan_violation")
    assert item.message == '`/revenue` breaks `type` of the tracking plan: the value is not of type "number".'
    assert json.loads(item.raw) == BAD
    assert counted(source) == [("track Order", "/revenue", "type", "BLOCK", 1)]
    assert plan_queries.refused_examples(source) == [item.pk]


def test_omit__keeps_the_event_without_the_property(source, put):
    put("OMIT")

    accepted = accept(source, BAD)

    assert (accepted.accepted, accepted.rejected) == (1, [])
    assert [event["properties"] for event in kept()] == [{"order_id": "o-2"}]
    assert not QuarantinedItem.objects.exists()
    assert counted(source) == [("track Order", "/revenue", "type", "OMIT", 1)]


def test_warn__keeps_everything_and_counts(source, put):
    put("WARN")

    accept(source, BAD, {**BAD, "messageId": "m4"})
    accept(source, {**BAD, "messageId": "m5"})

    assert [event["properties"] for event in kept()] == [BAD["properties"]] * 3
    assert counted(source) == [("track Order", "/revenue", "type", "WARN", 3)]
    assert PlanViolation.objects.count() == 1, "one row, however often"


def test_unplanned__when_the_plan_blocks_it__is_refused_by_its_own_code(source, put):
    put("WARN", unplanned="BLOCK")

    accepted = accept(source, GOOD, OTHER)

    assert accepted.rejected == [{"index": 1, "messageId": "m3", "code": "unplanned_event"}]
    assert counted(source) == [("track Viewed", "", "unplanned", "BLOCK", 1)]


def test_source__without_a_plan__is_not_checked_and_costs_no_query(source, django_assert_num_queries):
    known = sources.known_source(source)
    with django_assert_num_queries(0):
        check = plans.open_check(known)
        assert check.applied(BAD) is BAD
        check.count(now=RECEIVED)

    assert accept(source, BAD).rejected == []


def test_plan__once_compiled__is_read_no_more(source, put, django_assert_num_queries):
    put()
    known = sources.known_source(source)
    plans.open_check(known)

    with django_assert_num_queries(0):
        assert plans.open_check(known).plan is not None


def test_counts__hold_nothing_of_the_values(source, put):
    put("BLOCK")

    accept(source, {**BAD, "properties": {"order_id": "o", "revenue": "ada@example.com"}})

    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(v::text, ' ') FROM plan_violation v")
        assert "ada" not in cursor.fetchone()[0]


@pytest.mark.parametrize("login", ["web", "operator"])
def test_batch__as_the_login_that_takes_it_in__is_checked_and_counted(login, source, put, as_login):
    put("OMIT")
    as_login(login)

    assert accept(source, BAD).accepted == 1
    assert counted(source) == [("track Order", "/revenue", "type", "OMIT", 1)]


def test_cached_source__learns_of_a_plan_within_seconds(workspace, now, monkeypatch):
    made, key = ingestion.create_source(workspace_id=workspace.pk, name="app", kind=SourceKind.HTTP)
    assert sources.source_of([key]).plan_id is None
    version = plans.add_version(source=made, document=document(), author=None, now=now)

    assert sources.source_of([key]).plan_id is None
    monkeypatch.setattr(sources, "CACHED_SECONDS", 0.0)
    assert sources.source_of([key]).plan_id == version.pk


# -- files ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def load(source, tmp_path, now, as_login):
    def call(*rows):
        path = tmp_path / "events.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        as_login("operator")
        counts = ingestion.load_events(
            workspace_id=source.workspace_id, source="shop", path=path, clock=lambda: now, report=lambda _: None
        )
        as_login("none")
        return counts

    return call


def test_file__of_a_source_with_a_plan__is_checked_row_by_row(source, put, load, now):
    put("BLOCK")

    counts = load(GOOD, BAD, OTHER)

    assert (counts.read, counts.accepted, counts.quarantined) == (3, 2, 1)
    item = QuarantinedItem.objects.get()
    assert (item.place, item.code) == ("events.jsonl:2", "plan_violation")
    assert counted(source, now.date()) == [("track Order", "/revenue", "type", "BLOCK", 1)]


def test_file__under_omit__is_stored_without_the_property_under_its_own_message_id(source, put, load):
    put("OMIT")

    load({**BAD, "messageId": None})
    load({**BAD, "messageId": None, "userId": "u1"})

    event = Event.objects.get()
    assert event.properties == {"order_id": "o-2"}


# -- versions -------------------------------------------------------------------------------------------------------


def test_versions__are_numbered_and_one_holds(source, put, now):
    first, second = put("WARN"), put("BLOCK")
    draft = plans.add_version(source=source, document=document("OMIT"), author=None, now=now, is_live=False)

    assert [first.number, second.number, draft.number] == [1, 2, 3]
    assert Source.objects.get(pk=source.pk).live_plan_id == second.pk
    plans.make_live(source=source, number=1)
    assert Source.objects.get(pk=source.pk).live_plan_id == first.pk
    plans.take_off(source=source)
    assert Source.objects.get(pk=source.pk).live_plan_id is None
    assert accept(source, BAD).rejected == []


def test_version__that_is_no_plan__changes_nothing(source, put, now):
    held = put()

    with pytest.raises(PlanError):
        plans.add_version(source=source, document={"rules": 1}, author=None, now=now)

    assert plans.versions_of(source).count() == 1
    assert Source.objects.get(pk=source.pk).live_plan_id == held.pk


def test_version__that_does_not_exist__is_said(source, put):
    put()

    with pytest.raises(UnknownPlanVersionError, match="no version 7"):
        plans.make_live(source=source, number=7)
    with pytest.raises(UnknownPlanVersionError, match="no tracking plan that holds"):
        plans.version_or_live(SourceFactory(workspace=source.workspace), None)


def test_version__is_never_changed(source, put):
    put()

    for change in ("UPDATE tracking_plan_version SET number = 7", "DELETE FROM tracking_plan_version"):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)


def test_live_plan__of_another_source__is_refused_by_the_database(source, put):
    version = put()
    other = SourceFactory(workspace=source.workspace)

    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    with pytest.raises(IntegrityError, match="source_live_plan_is_its_own"), transaction.atomic():
        Source.objects.filter(pk=other.pk).update(live_plan=version)


def test_workspace__with_plans_and_counts__can_be_closed(source, put, now):
    put("WARN")
    accept(source, BAD)

    deleted = close_workspace(slug=source.workspace.slug, now=now)

    assert (deleted["tracking_plan_version"], deleted["plan_violation"]) == (1, 1)
    assert not Workspace.objects.filter(pk=source.workspace_id).exists()


def test_plans__of_another_workspace__are_not_there(source, put, as_login):
    put()
    other = SourceFactory(workspace=WorkspaceFactory(), name="theirs")
    as_login("web")
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('tessera.workspace', %s, true)", [str(other.workspace_id)])

    assert TrackingPlanVersion.objects.count() == 0


# -- counts over days -----------------------------------------------------------------------------------------------


def test_violations__are_summed_over_the_days_asked_for(source, put):
    put("WARN")
    known = sources.known_source(Source.objects.get(pk=source.pk))
    for day in (0, 0, 1, 9):
        check = plans.open_check(known)
        check.applied(dict(BAD))
        check.count(now=RECEIVED - timedelta(days=day))

    (one,) = plan_queries.violations_since(source, RECEIVED.date() - timedelta(days=6))
    days = plan_queries.violations_by_day(source, 3, now=RECEIVED)

    assert (one.events, one.first_day, one.last_day) == (3, date(2026, 11, 20), date(2026, 11, 21))
    assert [(day.day.day, day.events) for day in days] == [(19, 0), (20, 1), (21, 2)]


# -- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(source, as_login):
    def call(action, *arguments):
        as_login("operator")
        out = StringIO()
        call_command("plans", action, "shop", *arguments, "--workspace", source.workspace.slug, "--json", stdout=out)
        return json.loads(out.getvalue())

    return call


def test_command__puts_shows_and_takes_off(run, tmp_path):
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(document()))

    assert run("put", str(file)) == {"source": "shop", "version": 1, "live": True}
    assert run("put", str(file), "--draft") == {"source": "shop", "version": 2, "live": False}
    assert run("show") == {"source": "shop", "version": 1, "live": True, "plan": document()}
    assert run("live", "2") == {"source": "shop", "version": 2, "live": True}
    assert run("show", "--version", "1")["live"] is False
    assert run("off") == {"source": "shop", "version": None, "live": False}


@pytest.mark.parametrize(("text", "told"), [("{", "is no JSON"), (None, "cannot be read"), ("{}", "required property")])
def test_command__with_a_file_that_is_no_plan__says_why(text, told, run, tmp_path):
    file = tmp_path / "plan.json"
    if text is not None:
        file.write_text(text)

    with pytest.raises(PlanError, match=told):
        run("put", str(file))

    assert not TrackingPlanVersion.objects.exists()


def test_command__tells_what_was_counted(run, source, put, now, monkeypatch):
    put("WARN")
    monkeypatch.setattr("cdp.management.commands.plans.timezone.now", lambda: now)
    accept(source, BAD)

    told = run("violations")

    assert told["since"] == "2026-11-15"
    assert [(one["event"], one["path"], one["events"]) for one in told["violations"]] == [
        ("track Order", "/revenue", 1)
    ]


def test_command__proposes_a_plan_from_what_was_seen(run, source, workspace, now, monkeypatch):
    monkeypatch.setattr("cdp.management.commands.plans.timezone.now", lambda: now)
    person = IdentifierFactory(workspace=workspace)
    for number in range(20):
        values = {"order_id": f"o-{number}", "revenue": number / 4} | ({"coupon": "X"} if number else {})
        Event.objects.create(
            workspace=workspace, source=source, identifier=person, message_id=f"m{number}", kind="track", name="Order",
            occurred_at=now, received_at=now, seen_with=[], properties=values, context={},
        )  # fmt: skip

    told = run("propose")

    assert told == {
        "unplanned": "ALLOW",
        "rules": [
            {
                "kind": "track",
                "event": "Order",
                "on_violation": "WARN",
                "schema": {
                    "type": "object",
                    "properties": {
                        "coupon": {"type": "string"}, "order_id": {"type": "string"}, "revenue": {"type": "number"},
                    },
                    "required": ["order_id", "revenue"],
                },
            }
        ],
    }  # fmt: skip


def test_command__with_nothing_seen__says_so(run):
    with pytest.raises(plans.NothingSeenError, match="no events of the last 30 days"):
        run("propose")

"""Tracking plans by HTTP: keep, let hold, look at what broke them; each key its own workspace alone."""

import json

import pytest

from cdp.ingestion import services as ingestion
from cdp.models import Source, TrackingPlanVersion
from tests.factories import SourceFactory

PLAN = {
    "rules": [
        {
            "kind": "track",
            "event": "Order",
            "on_violation": "BLOCK",
            "schema": {"properties": {"tax": {"type": "number"}}},
        }
    ]
}
BAD = {"type": "track", "event": "Order", "userId": "u1", "messageId": "m1", "properties": {"tax": "much"}}
PATH = "sources/shop/tracking-plan"


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace, name="shop")


@pytest.fixture
def web(owner, source, as_login):
    as_login("web")
    return owner


def test_post__keeps_a_version_that_holds(web, source):
    answer = web.post(PATH, {"plan": PLAN})

    assert answer.status_code == 201
    assert {**answer.json(), "created_at": None} == {"version": 1, "is_live": True, "created_at": None}
    assert web.get(PATH).json()["plan"] == PLAN
    assert Source.objects.get(pk=source.pk).live_plan.number == 1


def test_versions__are_listed_looked_at_and_changed_for_each_other(web):
    web.post(PATH, {"plan": PLAN})
    web.post(PATH, {"plan": {"rules": []}, "live": False})

    assert [(one["version"], one["is_live"]) for one in web.get(f"{PATH}/versions").json()["versions"]] == [
        (2, False), (1, True),
    ]  # fmt: skip
    assert web.get(f"{PATH}/versions/2").json()["plan"] == {"rules": []}
    assert web.post(f"{PATH}/versions/2/live", {}).json()["is_live"] is True
    assert web.get(PATH).json()["version"] == 2
    assert web.delete(PATH).status_code == 204
    assert web.get(PATH).status_code == 404


def test_post__of_a_plan_that_cannot_be_used__says_where(web):
    answer = web.post(PATH, {"plan": {"rules": [{"kind": "page", "schema": {"type": "objct"}}]}})

    assert answer.status_code == 400
    assert (answer.json()["code"], answer.json()["details"]) == ("tracking_plan", {"place": "rules[0].schema.type"})
    assert not TrackingPlanVersion.objects.exists()


def test_violations__are_counted_with_a_way_to_the_quarantine(web, source, now, monkeypatch):
    monkeypatch.setattr("cdp.api.plans.timezone.now", lambda: now)
    web.post(PATH, {"plan": PLAN})
    source.refresh_from_db()
    ingestion.accept(source=source, body=json.dumps({"batch": [BAD]}).encode(), path_kind="batch", received_at=now)

    body = web.get(f"{PATH}/violations", days=2).json()

    assert body["violations"] == [
        {
            "version": 1, "event": "track Order", "path": "/tax", "keyword": "type", "action": "BLOCK", "events": 1,
            "first_day": "2026-11-21", "last_day": "2026-11-21",
        }
    ]  # fmt: skip
    assert body["days"] == [{"day": "2026-11-20", "events": 0}, {"day": "2026-11-21", "events": 1}]
    assert len(body["quarantined"]) == 1
    assert "much" not in json.dumps(body)


@pytest.mark.parametrize("days", ["0", "401", "x"])
def test_violations__of_days_out_of_range__are_refused(days, web):
    assert web.get(f"{PATH}/violations", days=days).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("get", PATH, "plans:read"), ("post", PATH, "plans:write"), ("delete", PATH, "plans:write"),
        ("get", f"{PATH}/versions", "plans:read"), ("get", f"{PATH}/versions/1", "plans:read"),
        ("post", f"{PATH}/versions/1/live", "plans:write"), ("get", f"{PATH}/violations", "plans:read"),
    ],
)  # fmt: skip
def test_call__without_its_scope__is_refused(method, path, scope, caller, anonymous, source):
    others = {"plans:read", "plans:write", "profiles:read"} - {scope}
    body = ({"plan": PLAN},) if method == "post" else ()

    assert getattr(caller(*others), method)(path, *body).status_code == 403
    assert getattr(anonymous, method)(path, *body).status_code == 401
    assert not TrackingPlanVersion.objects.exists()


def test_stranger__finds_no_such_source(stranger, web):
    web.post(PATH, {"plan": PLAN})

    for answer in (stranger.get(PATH), stranger.post(PATH, {"plan": PLAN}), stranger.delete(PATH)):
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_source")
    assert TrackingPlanVersion.objects.count() == 1

"""Figures of segments by HTTP: definitions, values, CSV, watches and alerts; each key its own workspace alone."""

from datetime import UTC, datetime

import pytest

from cdp.models import Workspace
from segments.kpis import editing
from segments.models import Kpi, KpiAlert, KpiValue, KpiWatch, Segment

NOW = datetime(2026, 3, 10, tzinfo=UTC)
ORDERS = {"kind": "CONVERSION", "event": "Order", "period": "MONTH"}


@pytest.fixture
def segment(workspace):
    Workspace.objects.filter(pk=workspace.pk).update(time_zone="UTC")
    return Segment.objects.create(workspace=workspace, slug="loyal", name="Loyal")


@pytest.fixture
def kpi(workspace):
    return editing.create_kpi(workspace_id=workspace.pk, slug="orders", name="=Orders", definition=ORDERS, author=None)


@pytest.fixture
def values(workspace, kpi, segment):
    for month, share, people in ((1, 0.5, 10), (2, None, None), (3, 0.25, 8)):
        KpiValue.objects.create(
            workspace=workspace, version=kpi.live_version, segment=segment, value=share, people=people,
            numerator=share and share * people, denominator=people, is_withheld=people is None, computed_at=NOW,
            period_start=datetime(2026, month, 1, tzinfo=UTC), period_end=datetime(2026, month + 1, 1, tzinfo=UTC),
        )  # fmt: skip


@pytest.fixture
def web(owner, values, as_login):
    as_login("web")
    return owner


def put(caller, path, body):
    return caller.client.put(f"/api/v1/{path}", body, content_type="application/json", headers=caller._headers)


def test_kpi__when_defined__is_told_with_its_sentence(web):
    made = web.post("kpis", {"slug": "web-orders", "definition": {**ORDERS, "where": {"channel": "web"}}})

    assert made.status_code == 201
    assert made.json()["definition"]["who"] == "DURING"
    assert made.json()["sentence"] == (
        'Of all who were members at any time of the period, the share that did “Order” (channel = "web") in it,'
        " while they were members."
    )
    assert [one["slug"] for one in web.get("kpis").json()["kpis"]] == ["orders", "web-orders"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"slug": "orders", "definition": ORDERS}, 409, "kpi_exists"),
        ({"slug": "other", "definition": {"kind": "CONVERSION"}}, 400, "invalid_kpi"),
        ({"slug": "other", "definition": {**ORDERS, "event": "a\x00b"}}, 400, "invalid_kpi"),
        ({"slug": "no slug", "definition": ORDERS}, 400, "validation_failed"),
        ({"slug": "other"}, 400, "validation_failed"),
    ],
)
def test_kpi__that_cannot_be__is_refused_and_nothing_made(web, body, status, code):
    answer = web.post("kpis", body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert Kpi.objects.count() == 1


def test_kpi__when_changed__begins_a_version_and_when_put_away__is_computed_no_longer(web, values):
    changed = put(web, "kpis/orders", {"definition": {**ORDERS, "event": "Sale"}}).json()
    gone = web.delete("kpis/orders")

    assert (changed["version"], changed["name"]) == (2, "=Orders")
    assert (gone.status_code, web.get("kpis/orders").json()["archived_at"] is not None) == (204, True)
    old = web.get("kpis/orders/versions/1", segment="loyal").json()
    assert [one["value"] for one in old["series"][0]["values"]] == [0.5, None, 0.25]
    assert web.get("kpis/orders/versions/9").json()["code"] == "unknown_kpi_version"


def test_figures__of_a_segment__are_told_with_n_and_state(web, values):
    body = web.get("segments/loyal/kpis", **{"from": "2026-02-01", "period": "MONTH"}).json()

    (one,) = body["series"]
    assert (body["segment"], one["kpi"], one["measure"], one["period"]) == ("loyal", "orders", "SHARE", "MONTH")
    assert one["values"][0] == {
        "start": "2026-02-01T00:00:00Z", "end": "2026-03-01T00:00:00Z", "value": None, "numerator": None,
        "denominator": None, "people": None, "is_withheld": True, "is_running": False, "is_settled": True,
        "computed_at": "2026-03-10T00:00:00Z",
    }  # fmt: skip
    assert [(each["value"], each["is_running"]) for each in one["values"]] == [(None, False), (0.25, True)]
    assert web.get("segments/loyal/kpis", until="2026-02-01").json()["series"][0]["values"][0]["people"] == 10
    assert web.get("segments/loyal/kpis", period="DAY").json()["series"] == []
    assert web.get("everybody/kpis").json()["series"][0]["values"] == []
    assert web.get("segments/loyal/kpis", period="YEAR").status_code == 400


def test_figures__as_csv__hold_no_formula(web, values, kpi):
    lines = web.get("segments/loyal/kpis", file="csv").text.splitlines()

    assert lines[0] == (
        "segment,figure,version,period,from,until,value,numerator,denominator,people,state,computed_at,meaning"
    )
    assert lines[1].startswith("loyal,orders,1,MONTH,2026-01-01,2026-02-01,0.5,5.0,10.0,10,settled,2026-03-10T")
    assert lines[2].startswith("loyal,orders,1,MONTH,2026-02-01,2026-03-01,,,,,withheld,")
    assert lines[3].split(",")[10] == "running"


def test_watch__is_made_changed_and_taken_away(web):
    made = web.post("kpi-watches", {"kpi": "orders", "segment": "loyal", "email": "a@example.org", "signing_key": "s"})
    changed = web.post("kpi-watches", {"kpi": "orders", "segment": "loyal", "significance": 0.05}).json()

    assert made.status_code == 201
    assert "signing_key" not in made.json()
    assert changed == {**made.json(), "significance": 0.05}
    assert web.get("kpi-watches").json() == {"watches": [changed]}
    assert bytes(KpiWatch.objects.get().secrets) != b"s"
    assert web.delete(f"kpi-watches/{changed['id']}").status_code == 204
    assert web.get("kpi-watches").json() == {"watches": []}


@pytest.mark.parametrize("told", [{"significance": 2}, {"periods": 1}, {"email": "nobody"}, {"url": "ftp:x"}])
def test_watch__with_settings_beyond_their_bounds__is_refused(web, told):
    answer = web.post("kpi-watches", {"kpi": "orders", **told})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_kpi_watch")
    assert list(answer.json()["details"]["fields"]) == list(told)
    assert not KpiWatch.objects.exists()


def test_alert__is_listed_and_marked(owner, kpi, segment, workspace, as_login):
    watch = KpiWatch.objects.create(workspace=workspace, kpi=kpi)
    alert = KpiAlert.objects.create(
        workspace=workspace, watch=watch, version=kpi.live_version, segment=segment, period_start=NOW, value=0.1,
        expected=0.5, test="PROPORTIONS", p=0.001, created_at=NOW,
    )  # fmt: skip
    as_login("web")

    marked = owner.post(f"kpi-alerts/{alert.pk}", {"state": "SEEN"}).json()

    assert (marked["kpi"], marked["segment"], marked["state"]) == ("orders", "loyal", "SEEN")
    assert owner.get("kpi-alerts", state="SEEN").json() == {"alerts": [marked]}
    assert owner.get("kpi-alerts", state="OPEN").json() == {"alerts": []}
    assert owner.post(f"kpi-alerts/{alert.pk}", {"state": "GONE"}).status_code == 400


@pytest.mark.parametrize(
    "path", ["kpis/orders", "kpis/orders/versions/1", "segments/loyal/kpis", "kpi-watches/1", "kpi-alerts/1"]
)
def test_call__without_its_scope_or_from_elsewhere__is_refused(path, caller, anonymous, stranger, segment, kpi):
    reading, writing = caller("segments:read"), caller("segments:write")
    method = "get" if "kpi-" not in path else "delete" if "watches" in path else None
    for somebody, status in ((anonymous, 401), (stranger, 404)):
        answer = somebody.post(path, {"state": "SEEN"}) if method is None else getattr(somebody, method)(path)
        assert answer.status_code == status

    assert writing.get("kpis").status_code == 403
    assert reading.post("kpis", {"slug": "x", "definition": ORDERS}).status_code == 403
    assert reading.delete("kpis/orders").status_code == 403
    assert Kpi.objects.get().archived_at is None

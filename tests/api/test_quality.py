"""Quality reports by HTTP: the newest, the history, the thresholds; each key its own workspace alone."""

from datetime import UTC, datetime, timedelta

import pytest

from cdp.ingestion import quality_measuring
from cdp.models import QualityReport, QualityThresholds
from tests.factories import SourceFactory

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PATH = "sources/shop/quality"


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace, name="shop")


@pytest.fixture
def reports(source):
    return [
        quality_measuring.measure_day(source=source, day=NOW.date() - timedelta(days=passed), now=NOW)
        for passed in (3, 2, 1)
    ]


@pytest.fixture
def web(owner, reports, as_login):
    as_login("web")
    return owner


def test_newest__is_told_whole_and_without_its_samples(web, reports):
    body = web.get(PATH).json()

    assert body == {
        "id": reports[2].pk, "created_at": "2026-11-21T12:00:00Z", "run": None, "day": "2026-11-20", "rows": 0,
        "alerts": [], "before": reports[1].pk, "parts": [],
    }  # fmt: skip


def test_history__is_paged_newest_first(web, reports):
    first = web.get(f"{PATH}/reports", limit=2).json()
    second = web.get(f"{PATH}/reports", limit=2, cursor=first["next"]).json()

    assert [one["id"] for one in first["reports"] + second["reports"]] == [report.pk for report in reversed(reports)]
    assert second["next"] is None
    assert web.get(f"{PATH}/reports/{reports[0].pk}").json()["day"] == "2026-11-18"


def test_thresholds__are_read_and_changed(web):
    assert web.get(f"{PATH}/thresholds").json()["ks_p"] == 0.01

    changed = web.post(f"{PATH}/thresholds", {"ks_p": 0.05}).json()

    assert (changed["ks_p"], changed["rows_change"]) == (0.05, 0.5)
    assert web.get(f"{PATH}/thresholds").json() == changed


@pytest.mark.parametrize("values", [{"ks_p": -1}, {"ks_p": "much"}])
def test_thresholds__that_make_no_sense__are_refused(values, web):
    assert web.post(f"{PATH}/thresholds", values).status_code == 400
    assert not QualityThresholds.objects.exists()


def test_source__without_a_report__answers_404(web, workspace):
    SourceFactory(workspace=workspace, name="new")

    answer = web.get("sources/new/quality")

    assert (answer.status_code, answer.json()["code"]) == (404, "no_quality_report")
    assert web.get(f"sources/new/quality/reports/{QualityReport.objects.first().pk}").status_code == 404


@pytest.mark.parametrize("path", [PATH, f"{PATH}/reports", f"{PATH}/reports/1", f"{PATH}/thresholds"])
def test_call__without_its_scope_or_from_elsewhere__is_refused(path, caller, anonymous, stranger, source):
    assert caller("plans:write").get(path).status_code == 403
    assert anonymous.get(path).status_code == 401
    assert stranger.get(path).json()["code"] == "unknown_source"
    assert caller("plans:read").post(f"{PATH}/thresholds", {"ks_p": 1}).status_code == 403
    assert not QualityThresholds.objects.exists()

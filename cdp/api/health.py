"""For machines that watch: is the process alive, can it work, and how much waits."""

import hmac
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from cdp import tasks
from cdp.api.problems import problem
from cdp.ingestion import backpressure, limits
from cdp.models import Stage, Workspace
from cdp.models.tenancy import workspace_scope
from consent import breaches

TEXT_FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"

_WAITING = """
SELECT stage, COALESCE(sum(COALESCE(cardinality(subjects), 1)) FILTER (WHERE failed_at IS NULL), 0),
       count(*) FILTER (WHERE failed_at IS NOT NULL)
FROM outbox GROUP BY stage
"""
_QUARANTINED = "SELECT count(*) FROM quarantine WHERE replayed_at IS NULL AND discarded_at IS NULL"
_ALERTS = """
SELECT COALESCE(sum(jsonb_array_length(alerts)), 0)
FROM (SELECT DISTINCT ON (source_id) alerts FROM quality_report ORDER BY source_id, id DESC) AS newest
"""
_STRAYED = "SELECT count(*) FROM kpi_alert WHERE state = 'OPEN'"
# Within a week, or late. While it is doubted who asks the clock stands still.
_DUE_REQUESTS = """
SELECT count(*) FROM data_request r WHERE closed_at IS NULL AND due_at < now() + interval '7 days'
AND NOT EXISTS (SELECT 1 FROM identity_doubt d WHERE d.request_id = r.id AND d.ended_at IS NULL)
"""
# From the statistics of the partitions: counting would read every one of them.
_EVENTS = """
SELECT COALESCE(sum(GREATEST(part.reltuples, 0)), 0)::bigint
FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid WHERE inhparent = 'core.event'::regclass
"""


@require_safe
def live(_: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


@require_safe
def ready(_: HttpRequest) -> HttpResponse:
    """503 when Postgres or the broker does not answer: nothing is lost, but nobody should send here."""
    answers = {"database": database_answers(), "broker": tasks.broker_answers()}
    if all(answers.values()):
        return JsonResponse({"status": "ok", "services": answers})
    return JsonResponse(problem("unavailable", "A service that is needed does not answer.", answers), status=503)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text. Open to this machine alone, or to whoever has METRICS_TOKEN."""
    if not _may_read_metrics(request):
        return JsonResponse(problem("forbidden", "Send METRICS_TOKEN as `Authorization: Bearer TOKEN`."), status=403)
    return HttpResponse("".join(_lines()), content_type=TEXT_FORMAT)


def database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def _may_read_metrics(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(sent.encode(), settings.METRICS_TOKEN.encode())
    return _is_this_machine(request)


def _is_this_machine(request: HttpRequest) -> bool:
    """A proxy on this machine passes the requests of others on: what it forwards is not from here."""
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def _lines() -> list[str]:
    waiting, failed = _outbox()
    failures, lag = _connections()
    quarantined, alerts = _in_all_workspaces(_QUARANTINED), _in_all_workspaces(_ALERTS)
    due, strayed = _in_all_workspaces(_DUE_REQUESTS), _in_all_workspaces(_STRAYED)
    return [
        *_metric("cdp_consent_due_requests", "gauge", "Requests of people due in 7 days, or late.", {"": due}),
        *_metric("cdp_outbox_waiting_subjects", "gauge", "Subjects that wait for a stage.", waiting),
        *_metric("cdp_outbox_failed_subjects", "gauge", "Subjects that were set aside after an error.", failed),
        *_metric(
            "cdp_ingestion_quarantined_items",
            "gauge",
            "Items refused, neither replayed nor discarded.",
            {"": quarantined},
        ),
        *_metric("cdp_ingestion_connection_failures", "gauge", "Failures in a row, refused webhooks too.", failures),
        *_metric("cdp_ingestion_stream_lag_messages", "gauge", "Messages that wait, as the reader saw it.", lag),
        *_metric("cdp_ingestion_quality_alerts", "gauge", "Alerts of each source's newest report.", {"": alerts}),
        *_metric("cdp_segments_kpi_alerts", "gauge", "Figures that strayed, which nobody has seen.", {"": strayed}),
        *_metric("cdp_consent_due_breaches", "gauge", "Breaches whose 72 hours end in a day.", {"": _due_breaches()}),
        *_metric("cdp_ingestion_stored_events", "gauge", "Events stored, as the planner estimates.", {"": _events()}),
        *_metric(
            "cdp_ingestion_limited_requests", "counter", "Calls over their limit.", _labelled("source", _limited())
        ),
        *_metric("cdp_ingestion_used_ratio", "gauge", "From 1 on new calls get 503.", _labelled("limit", _pressure())),
    ]


# What the readers of streams said last; a reader that is down says nothing new.
_CONNECTIONS = """
SELECT 'source="' || s.id || '"', c.failures, s.kind IN ('KAFKA', 'STREAM'), COALESCE((
    SELECT sum((place.value ->> 'lag')::bigint) FROM jsonb_each(c.cursor) AS place
    WHERE s.kind IN ('KAFKA', 'STREAM') AND jsonb_typeof(place.value) = 'object'
), 0)::bigint
FROM connection c JOIN source s ON s.id = c.source_id WHERE c.is_enabled
"""


def _metric(name: str, kind: str, text: str, values: Mapping[str, float]) -> list[str]:
    return [
        f"# HELP {name} {text}\n# TYPE {name} {kind}\n",
        *(f"{name}{{{label}}} {value}\n" if label else f"{name} {value}\n" for label, value in values.items()),
    ]


def _labelled(name: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f'{name}="{of}"': value for of, value in values.items()}


def _outbox() -> tuple[dict[str, int], dict[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(_WAITING)
        counted = {stage: (waiting, failed) for stage, waiting, failed in cursor.fetchall()}
    every = {f'stage="{stage.value.lower()}"': counted.get(stage.value, (0, 0)) for stage in Stage}
    return {stage: each[0] for stage, each in every.items()}, {stage: each[1] for stage, each in every.items()}


def _connections() -> tuple[dict[str, int], dict[str, int]]:
    """Failures of every connection, and the lag of those that are streams."""
    failures: dict[str, int] = {}
    lag: dict[str, int] = {}
    for workspace in Workspace.objects.filter(closed_at=None).values_list("pk", flat=True):
        with workspace_scope(workspace), connection.cursor() as cursor:
            cursor.execute(_CONNECTIONS)
            for label, failed, is_stream, waiting in cursor.fetchall():
                failures[label] = failed
                lag.update({label: waiting} if is_stream else {})
    return failures, lag


def _due_breaches() -> int:
    found, now = 0, timezone.now()
    for workspace in Workspace.objects.filter(closed_at=None).values_list("pk", flat=True):
        with workspace_scope(workspace):
            found += breaches.open_clocks(now=now).count()
    return found


def _in_all_workspaces(query: str) -> int:
    """Row-level security shows one workspace at a time."""
    open_ones = Workspace.objects.filter(closed_at=None).values_list("pk", flat=True)
    return sum(_in_workspace(workspace, query) for workspace in open_ones)


def _in_workspace(workspace_id: int, query: str) -> int:
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(query)
        return int(cursor.fetchone()[0])


def _limited() -> dict[str, int]:
    return {str(source): count for source, count in sorted(limits.refused_by_source().items())}


def _pressure() -> dict[str, float]:
    return {reading.name: round(reading.used, 4) for reading in backpressure.readings(timezone.now())}


def _events() -> int:
    with connection.cursor() as cursor:
        cursor.execute(_EVENTS)
        return int(cursor.fetchone()[0])

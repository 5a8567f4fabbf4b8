"""Wake-ups. The work lies in the outbox; a lost message costs at most the second until the next sweep."""

import time
from datetime import datetime
from typing import Any

import structlog
from celery import current_app, shared_task
from django.db import OperationalError as OperationalDatabaseError
from django.utils import timezone
from kombu.exceptions import OperationalError

from activation import services as activation
from cdp import pipeline
from cdp.ingestion import fetching, reading, replaying, uploads
from cdp.kernel.logins import RIGHTS_QUEUE, WEBHOOKS_QUEUE
from cdp.models import RunState, Stage
from consent import breaches, due_requests, execution, packaging, published_heads, retention
from consent.opendsr import calling, turns
from identity import households
from identity.review import opinions
from identity.review import priority as review_queue
from segments import ranks, webhooks
from segments import services as segments
from segments.kpis import computing, telling

log = structlog.get_logger()

SWEEP_SECONDS = 1.0
SOONEST_AGAIN_SECONDS = 0.02  # of one process: a wake-up in between would find the first still at work
SHORTEST_REST_SECONDS, LONGEST_REST_SECONDS = 0.02, 0.06
RESTING = frozenset({Stage.INGESTION, Stage.SEGMENTS})
TOGETHER_SECONDS = 0.2  # what is handed over meanwhile is told to destinations in one go; a withdrawal does not wait
BROKER_TIMEOUT_SECONDS = 2
REPLAY_SECONDS = 2.0  # of one turn: what arrives meanwhile wants to be stored
UPLOAD_SECONDS = 2.0  # likewise
VERSION_SECONDS = 0.2  # likewise: whoever does something is in his segments within as much
COPY_SECONDS = 2.0  # likewise
WEBHOOK_SECONDS = 5.0  # likewise
KPI_SECONDS = 2.0  # likewise: the figures of other workspaces
FELT_BY = (Stage.IDENTITY, Stage.SEGMENTS, Stage.ACTIVATION)  # where it is felt what was done for a person

_last_woken: dict[tuple[Stage, int], float] = {}
_will_be_woken: dict[tuple[Stage, int], float] = {}
_expected: dict[tuple[Stage, int], datetime] = {}


def wake(stage: Stage, *, workspace_id: int) -> None:
    """Tell the worker of a stage that something waits. Cheap enough for every request."""
    moment = time.monotonic()
    if moment - _last_woken.get((stage, workspace_id), 0) < SOONEST_AGAIN_SECONDS:
        return
    _last_woken[stage, workspace_id] = moment
    _send(stage, workspace_id)


def wake_later(stage: Stage, *, workspace_id: int) -> None:
    """Once for all that is handed over from now until then."""
    moment = time.monotonic()
    if moment < _will_be_woken.get((stage, workspace_id), 0):
        return
    _will_be_woken[stage, workspace_id] = moment + TOGETHER_SECONDS
    _send(stage, workspace_id, countdown=TOGETHER_SECONDS)


def _send(stage: Stage, workspace_id: int, **options: Any) -> None:
    advance.apply_async(
        kwargs={"stage": stage.value, "workspace_id": workspace_id},
        queue=queue_of(stage),
        expires=60,
        retry=False,
        **options,
    )


def broker_answers() -> bool:
    """Whether wake-ups can be sent. Without a broker nothing is lost: the work waits in the outbox."""
    try:
        with current_app.connection_for_write(connect_timeout=BROKER_TIMEOUT_SECONDS) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_TIMEOUT_SECONDS)
    except (OperationalError, OSError):
        return False
    return True


def queue_of(stage: Stage) -> str:
    return stage.value.lower()


@shared_task(name="cdp.advance", acks_late=True, time_limit=3600)
def advance(*, stage: str, workspace_id: int, **_: Any) -> None:
    _run(Stage(stage), workspace_id)


@shared_task(name="cdp.sweep", acks_late=True, time_limit=3600)
def sweep(*, stage: str, **_: Any) -> None:
    """Find what a lost message or a killed worker left behind, and what is due by the clock."""
    for workspace_id in pipeline.open_workspaces():
        _run(Stage(stage), workspace_id)
        if stage == Stage.INGESTION:
            _work_on_quarantine(workspace_id)
        if stage == Stage.SEGMENTS:
            _compute_versions(workspace_id)


def wake_quarantine(*, workspace_id: int) -> None:
    """Tell the worker of ingestion that somebody ordered a replay or a discarding."""
    work_on_quarantine.apply_async(
        kwargs={"workspace_id": workspace_id}, queue=queue_of(Stage.INGESTION), expires=60, retry=False
    )


@shared_task(name="cdp.work_on_quarantine", acks_late=True, time_limit=3600)
def work_on_quarantine(*, workspace_id: int, **_: Any) -> None:
    if _work_on_quarantine(workspace_id):
        wake_quarantine(workspace_id=workspace_id)


def _work_on_quarantine(workspace_id: int) -> bool:
    """One turn for each run that is under way. True when there is more to do. A run that fails tells it itself."""
    runs = []
    for run_id in replaying.unfinished(workspace_id=workspace_id):
        try:
            runs.append(
                replaying.work(workspace_id=workspace_id, run_id=run_id, clock=timezone.now, seconds=REPLAY_SECONDS)
            )
        except OperationalDatabaseError:
            raise
        except Exception:
            log.exception("quarantine.failed", workspace=workspace_id, run=run_id)
    if runs:
        wake(Stage.IDENTITY, workspace_id=workspace_id)
    return any(run.state == RunState.RUNNING for run in runs)


def wake_versions(*, workspace_id: int) -> None:
    """Tell the worker of segments that a version was published that takes a while to compute."""
    compute_versions.apply_async(
        kwargs={"workspace_id": workspace_id}, queue=queue_of(Stage.SEGMENTS), expires=60, retry=False
    )


@shared_task(name="cdp.compute_versions", acks_late=True, time_limit=600)
def compute_versions(*, workspace_id: int, **_: Any) -> None:
    """A short turn, and another one behind what arrived meanwhile. Without a message the sweep goes on each second."""
    _compute_versions(workspace_id)


def _compute_versions(workspace_id: int) -> None:
    if segments.compute_versions(workspace_id=workspace_id, clock=timezone.now, seconds=VERSION_SECONDS):
        wake_versions(workspace_id=workspace_id)
        wake(Stage.ACTIVATION, workspace_id=workspace_id)


@shared_task(name="cdp.read_connections", acks_late=True, time_limit=3600)
def read_connections(**_: Any) -> None:
    """Read what is due of the systems that are read from, each for a few seconds: others want their turn."""
    for workspace_id in pipeline.open_workspaces():
        if reading.read_due(workspace_id=workspace_id, clock=timezone.now):
            wake(Stage.IDENTITY, workspace_id=workspace_id)


def wake_uploads() -> None:
    """Tell the worker of ingestion that a file waits to be loaded."""
    load_uploads.apply_async(queue=queue_of(Stage.INGESTION), expires=60, retry=False)


@shared_task(name="cdp.load_uploads", acks_late=True, time_limit=3600)
def load_uploads(**_: Any) -> None:
    """One turn for a file of each workspace. The schedule comes again at once, after what arrived meanwhile."""
    for workspace_id in pipeline.open_workspaces():
        uploads.forget_old(workspace_id=workspace_id, now=timezone.now())
        if uploads.load_next(workspace_id=workspace_id, clock=timezone.now, seconds=UPLOAD_SECONDS):
            wake(Stage.IDENTITY, workspace_id=workspace_id)


@shared_task(name="cdp.fetch_announced", acks_late=True, time_limit=600)
def fetch_announced(**_: Any) -> None:
    """Fetch what webhooks announced. It lies in a table: a lost message costs the seconds to the next one."""
    for workspace_id in pipeline.open_workspaces():
        if fetching.fetch_due(workspace_id=workspace_id, clock=timezone.now):
            wake(Stage.INGESTION, workspace_id=workspace_id)


@shared_task(name="cdp.measure_quality", acks_late=True, time_limit=600)
def measure_quality(**_: Any) -> None:
    """Yesterday's quality report of one source in each workspace that lacks it. The next call finds the next source."""
    from cdp.ingestion import quality_measuring  # noqa: PLC0415  # loads numpy, which the other queues need not

    for workspace_id in pipeline.open_workspaces():
        quality_measuring.measure_next_day(workspace_id=workspace_id, now=timezone.now())


@shared_task(name="cdp.refresh_ranks", acks_late=True, time_limit=3600)
def refresh_ranks(**_: Any) -> None:
    """Rankings whose time has come end elsewhere; those between are evaluated again."""
    for workspace_id in pipeline.open_workspaces():
        if ranks.refresh_due(workspace_id=workspace_id, now=timezone.now()):
            wake(Stage.SEGMENTS, workspace_id=workspace_id)


@shared_task(name="cdp.copy_events", acks_late=True, time_limit=3600)
def copy_events(**_: Any) -> None:
    """Each minute: what was stored since goes into the columnar copy of the log, and what went stale goes out of it."""
    from segments.columnar import copying  # noqa: PLC0415  # loads DuckDB and Arrow, which the other queues need not

    workspaces = pipeline.open_workspaces()
    for workspace_id in workspaces:
        copying.copy_events(workspace_id=workspace_id, clock=timezone.now, seconds=COPY_SECONDS)
    copying.forget_closed(open_workspaces=workspaces)


@shared_task(name="cdp.order_review", acks_late=True, time_limit=600)
def order_review(**_: Any) -> None:
    """Each minute: the pairs that wait for stewards in the order of what an answer is worth by now."""
    for workspace_id in pipeline.open_workspaces():
        review_queue.order_queue(workspace_id=workspace_id)


@shared_task(name="cdp.form_opinions", acks_late=True, time_limit=3600)
def form_opinions(**_: Any) -> None:
    """Each hour: a second opinion on the pairs that wait, where its library is installed."""
    for workspace_id in pipeline.open_workspaces():
        try:
            opinions.give_opinions(workspace_id=workspace_id, now=timezone.now())
        except opinions.SecondOpinionMissingError:
            log.info("review.no_second_opinion", reason=opinions.SecondOpinionMissingError.code)
            return


@shared_task(name="cdp.relate_people", acks_late=True, time_limit=3600)
def relate_people(**_: Any) -> None:
    """Each night: who belongs with whom, by what group calls and enrichment said since. Where nothing changed, nothing is
    written.
    """
    for workspace_id in pipeline.open_workspaces():
        told = households.relate_everybody(workspace_id=workspace_id, now=timezone.now())
        log.info("relations.found", workspace=workspace_id, **told)


@shared_task(name="cdp.retain", acks_late=True, time_limit=3600)
def retain(**_: Any) -> None:
    """Each night: what is past its period goes. What a night does not finish, the next one does."""
    for workspace_id in pipeline.open_workspaces():
        told = retention.apply_schedules(workspace_id=workspace_id, now=timezone.now())
        log.info("retention.applied", workspace=workspace_id, rows=sum(each.rows for each in told))


@shared_task(name="cdp.compute_kpis", acks_late=True, time_limit=3600)
def compute_kpis(**_: Any) -> None:
    """Each minute: the figures that are due, for a few seconds, and those that strayed."""
    from segments.kpis import watching  # noqa: PLC0415  # loads numpy, which the other queues need not

    for workspace_id in pipeline.open_workspaces():
        told = computing.compute(workspace_id=workspace_id, now=timezone.now(), seconds=KPI_SECONDS)
        if told["values"]:
            log.info("kpis.computed", workspace=workspace_id, **told)
            watching.watch(workspace_id=workspace_id, now=timezone.now())


@shared_task(name="cdp.tell_kpi_alerts", acks_late=True, time_limit=600)
def tell_kpi_alerts(**_: Any) -> None:
    """Figures that strayed are told to whoever watches them. They lie in a table: the schedule comes again at once."""
    for workspace_id in pipeline.open_workspaces():
        telling.tell(workspace_id=workspace_id, clock=timezone.now)


def wake_packages() -> None:
    """Tell the worker of rights that somebody's package was ordered."""
    build_packages.apply_async(queue=RIGHTS_QUEUE, expires=60, retry=False)


@shared_task(name="cdp.build_packages", acks_late=True, time_limit=3600)
def build_packages(**_: Any) -> None:
    """One package in each workspace. The schedule comes again at once."""
    for workspace_id in pipeline.open_workspaces():
        packaging.build_next(workspace_id=workspace_id, now=timezone.now())


@shared_task(name="cdp.forget_packages", acks_late=True, time_limit=600)
def forget_packages(**_: Any) -> None:
    """Away with the packages that are past their time. What one call leaves, the next one finds."""
    for workspace_id in pipeline.open_workspaces():
        packaging.forget_old(workspace_id=workspace_id, now=timezone.now())


def wake_rights() -> None:
    """Tell the worker of rights that a request was begun: its package is to be built, or it is to be carried out."""
    carry_out_requests.apply_async(queue=RIGHTS_QUEUE, expires=60, retry=False)
    wake_packages()


@shared_task(name="cdp.carry_out_requests", acks_late=True, time_limit=3600)
def carry_out_requests(**_: Any) -> None:
    """What people asked for, request by request. What fails is due again later, and the schedule finds it."""
    for workspace_id in pipeline.open_workspaces():
        while execution.carry_out_next(workspace_id=workspace_id, now=timezone.now()) is not None:
            for stage in FELT_BY:
                wake(stage, workspace_id=workspace_id)


def wake_opendsr() -> None:
    """Tell the worker of rights that a controller sent or cancelled a request."""
    work_on_opendsr.apply_async(queue=RIGHTS_QUEUE, expires=60, retry=False)


@shared_task(name="cdp.work_on_opendsr", acks_late=True, time_limit=3600)
def work_on_opendsr(**_: Any) -> None:
    """Begin and end what came by OpenDSR, and call back. It lies in tables: the schedule comes again at once."""
    for workspace_id in pipeline.open_workspaces():
        turns.take_turn(workspace_id=workspace_id, now=timezone.now())
        calling.call_back(workspace_id=workspace_id, clock=timezone.now)


@shared_task(name="cdp.tell_webhooks", acks_late=True, time_limit=600)
def tell_webhooks(**_: Any) -> None:
    """Each address by a task of its own: one that is slow keeps none of the others waiting."""
    for workspace_id in pipeline.open_workspaces():
        for webhook_id in webhooks.due(workspace_id=workspace_id, now=timezone.now()):
            tell_webhook.apply_async(
                kwargs={"workspace_id": workspace_id, "webhook_id": webhook_id},
                queue=WEBHOOKS_QUEUE,
                expires=60,
                retry=False,
            )


@shared_task(name="cdp.tell_webhook", acks_late=True, time_limit=600)
def tell_webhook(*, workspace_id: int, webhook_id: int, **_: Any) -> None:
    """What happened since the last time, one request after the other for a few seconds: others want the thread."""
    until = time.monotonic() + WEBHOOK_SECONDS
    while webhooks.deliver(workspace_id=workspace_id, webhook_id=webhook_id, clock=timezone.now):
        if time.monotonic() > until:
            break


@shared_task(name="cdp.publish_heads", acks_late=True, time_limit=600)
def publish_heads(**_: Any) -> None:
    """Each day: what the ledger of each workspace is, written down outside of the database."""
    for workspace_id in pipeline.open_workspaces():
        head = published_heads.publish_head(workspace_id=workspace_id, now=timezone.now())
        log.info("ledger.published", workspace=workspace_id, position=head.position, hash=head.hash)


@shared_task(name="cdp.tell_due_requests", acks_late=True, time_limit=600)
def tell_due_requests(**_: Any) -> None:
    """A warning in the log for each workspace with requests due within a week, or breaches within a day; ids only."""
    for workspace_id in pipeline.open_workspaces():
        if due := due_requests.due_soon(workspace_id=workspace_id, now=timezone.now()):
            log.warning("data_requests.due", workspace=workspace_id, requests=due)
        if ending := breaches.clocks_ending(workspace_id=workspace_id, now=timezone.now()):
            log.warning("breaches.due", workspace=workspace_id, breaches=ending)


def _run(stage: Stage, workspace_id: int) -> None:
    """Under a steady load a stage does not come to an end, so its heirs are woken after each batch."""

    def wake_heir(heir: Stage) -> None:
        (wake_later if heir is Stage.ACTIVATION else wake)(heir, workspace_id=workspace_id)

    rest = _rest if stage in RESTING else pipeline.no_rest
    pipeline.run_until_idle(stage, workspace_id=workspace_id, now=timezone.now, wake=wake_heir, rest=rest)
    _expect(stage, workspace_id)
    if stage is Stage.ACTIVATION:
        activation.send_due(workspace_id=workspace_id, now=timezone.now(), meanwhile=_reconcile_everywhere)


def _rest(worked_seconds: float) -> None:
    """As long as the batch took, within bounds: what arrives meanwhile is one batch, and others have the cores. Where these
    are idle, a batch is quick, and nobody waits long for the next.
    """
    time.sleep(min(max(worked_seconds, SHORTEST_REST_SECONDS), LONGEST_REST_SECONDS))


def _expect(stage: Stage, workspace_id: int) -> None:
    """What is due before the next sweep is worked when it is due: people leave to the moment, not to the second."""
    due_at = pipeline.next_due(stage, workspace_id=workspace_id)
    ahead = (due_at - timezone.now()).total_seconds() if due_at else SWEEP_SECONDS
    if due_at is None or ahead >= SWEEP_SECONDS or _expected.get((stage, workspace_id)) == due_at:
        return
    _expected[stage, workspace_id] = due_at
    _send(stage, workspace_id, countdown=max(ahead, SOONEST_AGAIN_SECONDS))


def _reconcile_everywhere() -> None:
    """While a destination is waited for: who withdraws leaves the queues of audiences all the same."""
    for workspace_id in pipeline.open_workspaces():
        pipeline.run_until_idle(Stage.ACTIVATION, workspace_id=workspace_id, now=timezone.now, seconds=1)

"""The Celery application: one queue per stage, each worked under the database login of its stage."""

import os
from typing import Any

from celery import Celery, Task, bootsteps
from celery.schedules import crontab
from django.db import close_old_connections

from cdp.kernel import garbage
from cdp.kernel.errors import TesseraError
from cdp.kernel.logins import FIGURES_QUEUE, RIGHTS_QUEUE, WEBHOOKS_QUEUE, WORKER_BY_QUEUE

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cdp.settings")

REUSES_CONNECTIONS = 1_000_000_000


class ConnectedTask(Task[..., Any]):
    """Works on the connection of the task before it, if that one still answers: a new one has to learn the tables
    anew, which takes Postgres longer than most tasks.
    """

    abstract = True

    def before_start(self, *_: object) -> None:
        close_old_connections()


class NobodyIsBack(bootsteps.Step):
    """A worker does not start on a restored database, where people are back who were erased."""

    def __init__(self, parent: object, **options: Any) -> None:
        super().__init__(parent, **options)
        from consent import erasure_ledger  # noqa: PLC0415  # needs the apps, which Celery loads after this module

        try:
            erasure_ledger.refuse_if_behind()
        except TesseraError as error:
            raise SystemExit(f"{error.code}: {error.message}") from error


class SettledGarbage(bootsteps.StartStopStep):
    """All that a worker is made of is there before its first task."""

    def start(self, parent: object) -> None:  # noqa: ARG002  # Celery gives the worker
        garbage.settle()


app = Celery("tessera", task_cls=ConnectedTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf["CELERY_DB_REUSE_MAX"] = REUSES_CONNECTIONS  # else Celery closes them before and after each task
app.autodiscover_tasks(["cdp"])
app.steps["worker"].update({NobodyIsBack, SettledGarbage})
app.conf.beat_schedule = {
    f"sweep-{queue}": {
        "task": "cdp.sweep",
        "schedule": 1.0,
        "kwargs": {"stage": queue.upper()},
        "options": {"queue": queue, "expires": 1.0},
    }
    for queue in WORKER_BY_QUEUE
} | {
    "load-uploads": {
        "task": "cdp.load_uploads",
        "schedule": 1.0,
        "options": {"queue": "ingestion", "expires": 1.0},
    },
    "sweep-connections": {
        "task": "cdp.read_connections",
        "schedule": 5.0,
        "options": {"queue": "ingestion", "expires": 5.0},
    },
    "fetch-announced": {
        "task": "cdp.fetch_announced",
        "schedule": 5.0,
        "options": {"queue": "ingestion", "expires": 5.0},
    },
    "refresh-ranks": {
        "task": "cdp.refresh_ranks",
        "schedule": 15.0,
        "options": {"queue": FIGURES_QUEUE, "expires": 15.0},
    },
    "copy-events": {
        "task": "cdp.copy_events",
        "schedule": 60.0,
        "options": {"queue": "ingestion", "expires": 60.0},
    },
    "order-review": {
        "task": "cdp.order_review",
        "schedule": 60.0,
        "options": {"queue": "identity", "expires": 60.0},
    },
    "form-opinions": {
        "task": "cdp.form_opinions",
        "schedule": 3600.0,
        "options": {"queue": "identity", "expires": 3600.0},
    },
    "relate-people": {
        "task": "cdp.relate_people",
        "schedule": crontab(hour="2", minute="40"),
        "options": {"queue": "identity", "expires": 43_200.0},
    },
    "retain": {
        "task": "cdp.retain",
        "schedule": crontab(hour="3", minute="10"),
        "options": {"queue": RIGHTS_QUEUE, "expires": 3600.0},
    },
    "measure-quality": {
        "task": "cdp.measure_quality",
        "schedule": 60.0,
        "options": {"queue": "ingestion", "expires": 60.0},
    },
    "compute-kpis": {
        "task": "cdp.compute_kpis",
        "schedule": 60.0,
        "options": {"queue": FIGURES_QUEUE, "expires": 60.0},
    },
    "tell-kpi-alerts": {
        "task": "cdp.tell_kpi_alerts",
        "schedule": 60.0,
        "options": {"queue": FIGURES_QUEUE, "expires": 60.0},
    },
    "build-packages": {
        "task": "cdp.build_packages",
        "schedule": 5.0,
        "options": {"queue": RIGHTS_QUEUE, "expires": 5.0},
    },
    "carry-out-requests": {
        "task": "cdp.carry_out_requests",
        "schedule": 5.0,
        "options": {"queue": RIGHTS_QUEUE, "expires": 5.0},
    },
    "work-on-opendsr": {
        "task": "cdp.work_on_opendsr",
        "schedule": 5.0,
        "options": {"queue": RIGHTS_QUEUE, "expires": 5.0},
    },
    "tell-webhooks": {
        "task": "cdp.tell_webhooks",
        "schedule": 1.0,
        "options": {"queue": WEBHOOKS_QUEUE, "expires": 1.0},
    },
    "forget-packages": {
        "task": "cdp.forget_packages",
        "schedule": 3600.0,
        "options": {"queue": RIGHTS_QUEUE, "expires": 3600.0},
    },
    "publish-heads": {
        "task": "cdp.publish_heads",
        "schedule": crontab(hour="0", minute="20"),
        "options": {"queue": RIGHTS_QUEUE, "expires": 43_200.0},
    },
    "tell-due-requests": {
        "task": "cdp.tell_due_requests",
        "schedule": 3600.0,
        "options": {"queue": RIGHTS_QUEUE, "expires": 3600.0},
    },
}

"""The Celery application: one queue per stage, each worked under the database login of its stage."""

import os

from celery import Celery

from cdp.kernel.logins import WORKER_BY_QUEUE

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cdp.settings")

app = Celery("tessera")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["cdp"])
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
    "measure-quality": {
        "task": "cdp.measure_quality",
        "schedule": 60.0,
        "options": {"queue": "ingestion", "expires": 60.0},
    },
}

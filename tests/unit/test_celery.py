"""Workers: what of a task outlives it."""

from celery.fixups.django import DjangoWorkerFixup

import cdp.celery
from cdp import tasks


def test_worker__between_two_tasks__keeps_its_connection():
    assert DjangoWorkerFixup(cdp.celery.app).db_reuse_max == cdp.celery.REUSES_CONNECTIONS


def test_task__before_it_starts__lets_go_of_a_connection_that_died(monkeypatch):
    checks = []
    monkeypatch.setattr(cdp.celery, "close_old_connections", lambda: checks.append("checked"))

    tasks.advance.before_start("id", (), {})

    assert checks == ["checked"]

"""Tracking plans when several work at once: no count is lost, no number is given twice."""

import threading

import pytest
from django.db import connection
from django.utils import timezone

from cdp.ingestion import plan_queries, plans, sources
from cdp.models import Source, SourceKind, Workspace
from cdp.models.tenancy import workspace_scope

THREADS, BATCHES = 4, 15
DOCUMENT = {"rules": [{"kind": "page", "schema": {"required": ["a", "b", "c"]}}]}


@pytest.fixture
def source(committed: Workspace) -> Source:
    return sources.create_source(workspace_id=committed.pk, name="shop", kind=SourceKind.HTTP)[0]


def at_once(work) -> None:
    """Run it in several threads, and raise what any of them raised."""
    failures: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as failure:  # noqa: BLE001  # of a thread, to be raised by the test
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []


@pytest.mark.parametrize("slots", [1, plans.SLOTS], ids=["one slot", "all slots"])
def test_counts__of_many_at_once__lose_nothing_and_never_deadlock(slots, source, monkeypatch):
    monkeypatch.setattr(plans, "SLOTS", slots)
    plans.add_version(source=source, document=DOCUMENT, author=None, now=timezone.now())
    known = sources.known_source(Source.objects.get(pk=source.pk))

    def count() -> None:
        for _ in range(BATCHES):
            check = plans.open_check(known)
            check.applied({"type": "page", "properties": {}})
            with workspace_scope(known.workspace_id):
                check.count(now=timezone.now())

    at_once(count)

    with workspace_scope(source.workspace_id):
        counted = plan_queries.violations_since(source, timezone.now().date())
    assert {one.path: one.events for one in counted} == dict.fromkeys(("/a", "/b", "/c"), THREADS * BATCHES)


def test_versions__of_many_at_once__get_different_numbers(source):
    at_once(lambda: plans.add_version(source=source, document=DOCUMENT, author=None, now=timezone.now()))

    with workspace_scope(source.workspace_id):
        numbers = sorted(plans.versions_of(source).values_list("number", flat=True))
        live = Source.objects.get(pk=source.pk).live_plan
    assert numbers == [1, 2, 3, 4]
    assert live is not None
    assert live.number == 4

"""Undoing by HTTP, what it would change, and what a person was on a day."""

from datetime import timedelta

import pytest

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, Run, Stage
from consent import gate
from identity import services
from identity.models import Judgement, JudgementKind, LinkageModel, Verdict
from identity.undoing import KIND_OF_RUN
from tests.factories import IdentifierFactory
from tests.outbox import subjects_waiting


@pytest.fixture
def run(workspace, now):
    return Run.objects.create(workspace=workspace, kind=KIND_OF_RUN, started_at=now, heartbeat_at=now)


@pytest.fixture
def merged(workspace, run, now):
    """Two identifiers that a run has judged to be one person, ten days ago."""
    left, right = (IdentifierFactory(workspace=workspace, value=f"{name}@example.com") for name in ("bob", "rob"))
    Identifier.objects.update(created_at=now - timedelta(days=30))
    Judgement.objects.create(
        workspace=workspace, left=left, right=right, verdict=Verdict.SAME, kind=JudgementKind.PROBABILISTIC, weight=12,
        model=LinkageModel.objects.create(workspace=workspace, version=1, settings={}, frequencies={}, metadata={}),
        run=run, created_at=now - timedelta(days=10),
    )  # fmt: skip
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk) as permit:
        services.link(permit, {left.pk: Cause.LEARNT}, now=now)
    return left, right


@pytest.fixture
def web(owner, merged, as_login):
    as_login("web")
    return owner


def test_preview__of_a_run__tells_and_changes_nothing(web, run, merged):
    left, right = merged

    body = web.post("identity/undo/preview", {"scope": "run", "number": run.pk}).json()

    assert body["undone"] == {"retracted": 1, "restored": 0, "identifiers": 2}
    assert (body["merged"], body["split"], body["changed"]) == (0, 1, 2)
    assert body["sample"] == [
        {"profile": left.pk, "before": [left.pk, right.pk], "after": [left.pk]},
        {"profile": right.pk, "before": [], "after": [right.pk]},
    ]
    assert body["permitted"]["segmentation"] == 1
    assert Judgement.objects.count() == 1
    assert not subjects_waiting(stage=Stage.IDENTITY)


def test_undo__of_a_run__retracts_and_hands_over(web, run, merged):
    order = {"scope": "run", "number": run.pk}

    first, second = (web.post("identity/undo", order).json() for _ in range(2))

    assert first == {"retracted": 1, "restored": 0, "identifiers": 2}
    assert second == {"retracted": 0, "restored": 0, "identifiers": 0}
    assert sorted(subjects_waiting(stage=Stage.IDENTITY)) == [one.pk for one in merged]


def test_undo__of_a_judgement_and_of_a_model__by_the_same_call(web):
    judgement = Judgement.objects.get()

    assert web.post("identity/undo", {"scope": "model", "number": 1}).json()["retracted"] == 1
    assert web.post("identity/undo", {"scope": "judgement", "number": judgement.pk}).json()["retracted"] == 0


@pytest.mark.parametrize(
    ("order", "status", "code"),
    [
        ({"scope": "run", "number": 10**9}, 404, "unknown_run"),
        ({"scope": "model", "number": 7}, 404, "unknown_model"),
        ({"scope": "judgement", "number": 10**9}, 404, "unknown_judgement"),
        ({"scope": "everything", "number": 1}, 400, "validation_failed"),
        ({"scope": "run"}, 400, "validation_failed"),
    ],
)
def test_undo__of_what_is_not_there__is_refused_and_nothing_is_written(web, order, status, code):
    for path in ("identity/undo", "identity/undo/preview"):
        answer = web.post(path, order)
        assert (answer.status_code, answer.json()["code"]) == (status, code)

    assert Judgement.objects.count() == 1


def test_undo__by_others__is_refused(caller, stranger, anonymous, run, merged):
    order = {"scope": "run", "number": run.pk}

    answers = [who.post("identity/undo", order).status_code for who in (caller("profiles:read"), stranger, anonymous)]

    assert answers == [403, 404, 401]
    assert Judgement.objects.count() == 1


def test_past__before_and_after_the_merge__names_its_identifiers(web, merged, now):
    left, right = merged

    def at(days):
        moment = (now - timedelta(days=days)).isoformat()
        return web.get("profiles/email:rob%40example.com/identity", at=moment).json()

    assert (at(40)["profile"], at(40)["identifiers"]) == (None, [])
    assert (at(20)["profile"], at(20)["identifiers"]) == (right.pk, ["email:rob@example.com"])
    assert (at(1)["profile"], at(1)["identifiers"]) == (
        left.pk,
        ["email:bob@example.com", "email:rob@example.com"],
    )
    assert len(at(1)["cannot_be_known"]) == 3


def test_past__without_a_moment__is_refused(web):
    answer = web.get("profiles/email:rob%40example.com/identity")

    assert answer.status_code == 400

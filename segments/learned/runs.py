"""Learn groups, keep the model with its version, and give everybody a group.

The database is read in one transaction and written in another; in between the learning takes its seconds and holds no
lock. Who withdrew, or was merged, in the meantime gets no score: the second transaction asks again.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import connection

from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Run, RunState, Stage
from consent import gate
from consent.gate import Learning, Permit
from segments.learned import features, input_files, training
from segments.learned import specification as specifications
from segments.learned.assignment import assign
from segments.learned.features import Customers
from segments.learned.specification import Specification
from segments.models import LearnedModel


class UnknownModelError(TesseraError):
    """No model of this name was learnt in this workspace."""

    code = "unknown_learned_model"


def learn(
    *, workspace_id: int, specification: Mapping[str, Any], input_file: Path | None, now: datetime
) -> dict[str, Any]:
    """Train on the profiles of the workspace, or on a plain file, and store the model.

    From profiles every one of them gets its group as a score, and those whose group is another one are evaluated anew.
    The same input and specification give the same groups, and no second version.
    """
    asked = specifications.read(specification)
    with _recorded(workspace_id, asked, now) as run:
        with gate.permit(Purpose.LEARNING, workspace_id=workspace_id) as permit:
            customers = _customers(permit, asked, input_file, now)
        result, picture = training.train(customers, asked)
        with gate.permit(Purpose.LEARNING, workspace_id=workspace_id) as permit:
            model = _store_model(permit, asked, result, picture)
            if input_file is None:
                _store_scores(permit, model, customers, now)
        report = _report(model)
        run.counts = {"customers": report["metrics"]["customers"], "groups": report["chosen"]["k"]}
    return {**report, "seconds": round((run.heartbeat_at - now).total_seconds(), 3)}


def rescore(*, workspace_id: int, name: str, now: datetime) -> int:
    """Give everybody the group where they belong by now, in the newest model of this name. Returns how many have one.

    Time passes and people buy: who was new is not for ever.
    """
    with gate.permit(Purpose.LEARNING, workspace_id=workspace_id) as permit:
        model = LearnedModel.objects.filter(workspace_id=workspace_id, slug=name).order_by("version").last()
        if model is None:
            raise UnknownModelError(name=name)
        asked = replace(specifications.read(model.specification), at=None)
        customers = _customers(permit, asked, None, now)
        _store_scores(permit, model, customers, now)
    return len(customers.ids)


@contextmanager
def _recorded(workspace_id: int, asked: Specification, now: datetime) -> Iterator[Run]:
    """The row that tells that this learning runs, and how it ended."""
    started = time.monotonic()
    with gate.permit(Purpose.LEARNING, workspace_id=workspace_id):
        run = Run.objects.create(
            workspace_id=workspace_id, kind="segments.learn", subject=asked.name, started_at=now, heartbeat_at=now
        )
    try:
        yield run
    except Exception as error:
        run.state = RunState.FAILED
        run.error = error.code if isinstance(error, TesseraError) else type(error).__name__
        raise
    else:
        run.state = RunState.DONE
    finally:
        run.heartbeat_at = run.finished_at = now + timedelta(seconds=time.monotonic() - started)
        with gate.permit(Purpose.LEARNING, workspace_id=workspace_id):
            run.save()


def _customers(permit: Permit[Learning], asked: Specification, input_file: Path | None, now: datetime) -> Customers:
    if input_file is not None:
        return input_files.customers_of(input_file, columns=asked.columns, at=asked.at)
    return features.customers_in(permit, event=asked.event, money=asked.money, at=asked.at or now)


def _report(model: LearnedModel) -> dict[str, Any]:
    result = model.result
    chosen = next(each for each in result["criteria"] if each["k"] == result["k"])
    return {
        "model": f"{model.slug} v{model.version}",
        "metrics": {
            "silhouette": chosen["silhouette"],
            "smallest_share": chosen["smallest_share"],
            "customers": result["data"]["customers"],
            "set_aside": result["data"]["set_aside"],
            "criteria": result["criteria"],
        },
        "chosen": {"k": result["k"], "why": result["why"], "groups": result["groups"]},
        "stability": {
            "adjusted_rand": chosen["stability"],
            "minimum": result["demands"]["stability"],
            "jaccard": {group["group"]: group["jaccard"] for group in result["groups"]},
            "resamples": result["resamples"],
        },
    }


# -- the model and the scores ---------------------------------------------------------------------------------------

# Two trainings at once would both take the next version. The first key is out of the reach of the pipeline's stages.
_TAKE_TURN = "SELECT pg_advisory_xact_lock(100, %s)"


def _store_model(permit: Permit[Learning], asked: Specification, result: dict[str, Any], picture: str) -> LearnedModel:
    """The newest version, if it says the same already; else a new one."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_TURN, [permit.workspace_id])
    document = asked.as_document()
    newest = LearnedModel.objects.filter(workspace_id=permit.workspace_id, slug=asked.name).order_by("version").last()
    if newest and newest.specification == document and newest.result == result:
        return newest
    return LearnedModel.objects.create(
        workspace_id=permit.workspace_id,
        slug=asked.name,
        version=newest.version + 1 if newest else 1,
        specification=document,
        result=result,
        plot=picture,
    )


# One statement, so that all parts see the scores as they were before.
_KEEP_SCORES = """
WITH new AS (
    SELECT p.id AS profile_id, given."group"
    FROM unnest(%(profiles)s::bigint[], %(groups)s::text[]) AS given (profile_id, "group")
    JOIN profile p ON p.id = given.profile_id
),
changed AS (
    SELECT new.profile_id FROM new
    LEFT JOIN score s ON s.workspace_id = %(workspace)s AND s.model_slug = %(name)s AND s.profile_id = new.profile_id
    WHERE s."group" IS DISTINCT FROM new."group"
),
gone AS (
    DELETE FROM score s
    WHERE s.workspace_id = %(workspace)s AND s.model_slug = %(name)s
      AND NOT EXISTS (SELECT FROM new WHERE new.profile_id = s.profile_id)
    RETURNING s.profile_id
),
kept AS (
    INSERT INTO score (workspace_id, model_slug, profile_id, "group", model_id, computed_at)
    SELECT %(workspace)s, %(name)s, profile_id, "group", %(model)s, %(now)s FROM new
    ON CONFLICT (workspace_id, model_slug, profile_id)
    DO UPDATE SET "group" = EXCLUDED."group", model_id = EXCLUDED.model_id, computed_at = EXCLUDED.computed_at
)
INSERT INTO outbox (workspace_id, stage, subject_id, cause)
SELECT %(workspace)s, %(stage)s, profile_id, %(cause)s
FROM (SELECT profile_id FROM changed UNION SELECT profile_id FROM gone) AS concerned ORDER BY profile_id
"""


def _store_scores(permit: Permit[Learning], model: LearnedModel, customers: Customers, now: datetime) -> None:
    """Whose group is another one, or none any more, is evaluated anew by the segments."""
    given: dict[str, Any] = {
        "workspace": permit.workspace_id,
        "name": model.slug,
        "model": model.pk,
        "now": now,
        "stage": Stage.SEGMENTS,
        "cause": Cause.DEFINITION,
        "profiles": list(customers.ids),
        "groups": assign(model.result, customers.values),
    }
    with connection.cursor() as cursor:
        cursor.execute(_KEEP_SCORES, given)

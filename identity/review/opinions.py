"""A second opinion on the pairs that wait, for the steward to see. Where it differs from the model, a pair comes sooner.

Only ever the grey band: the main run neither waits for it nor hears it.
"""

import json
from datetime import datetime
from importlib import import_module
from types import ModuleType
from typing import Any, Final

import structlog
from django.db import connection

from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from consent import gate
from consent.gate import Identity, Permit
from identity.models import ReviewPair, Verdict
from identity.review import priority

log = structlog.get_logger()

MOST_JUDGED: Final = 50_000


class SecondOpinionMissingError(TesseraError):
    """The second opinion needs recordlinkage, the extra `second-opinion`: `make extras` installs it."""

    code = "second_opinion_missing"


def give_opinions(*, workspace_id: int, now: datetime) -> dict[str, Any]:
    """Form an opinion on every waiting pair, and order the queue anew. Without the extra it raises and changes nothing."""
    classifiers = _classifiers()
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
        opinions, basis = classifiers.form_opinions(classifiers.Vectors(*_vectors(permit)))
        _store(permit, opinions, {**basis, "formed_at": now.isoformat()})
        priority.weigh(permit)
    log.info("review.opinions_formed", workspace=workspace_id, pairs=len(opinions), by=basis["by"])
    return {"pairs": len(opinions), **basis}


def _classifiers() -> ModuleType:
    try:
        return import_module("identity.review.classifiers")
    except ImportError as error:
        raise SecondOpinionMissingError from error


def _vectors(permit: Permit[Identity]) -> tuple[list[int], list[dict[str, Any]], list[bool | None]]:
    """The waiting pairs, and the newest judged ones: ids, evidence, and whether they are the same person."""
    pairs = ReviewPair.objects.filter(workspace=permit.workspace_id).order_by("pk")
    columns = ("pk", "evidence", "judgement__verdict")
    rows = list(pairs.filter(judgement=None).values_list(*columns))
    rows += pairs.exclude(judgement=None).order_by("-pk").values_list(*columns)[:MOST_JUDGED]
    is_same = [None if verdict is None else verdict == Verdict.SAME for _, _, verdict in rows]
    return [pk for pk, _, _ in rows], [evidence for _, evidence, _ in rows], is_same


_STORE = """
UPDATE review_pair p SET opinion = o.probability, opinion_basis = %(basis)s::jsonb
FROM unnest(%(ids)s::bigint[], %(probabilities)s::float8[]) AS o (id, probability)
WHERE p.id = o.id AND p.workspace_id = %(workspace)s AND p.judgement_id IS NULL
"""


def _store(permit: Permit[Identity], opinions: dict[int, float], basis: dict[str, Any]) -> None:
    given: dict[str, Any] = {
        "workspace": permit.workspace_id,
        "ids": list(opinions),
        "probabilities": list(opinions.values()),
        "basis": json.dumps(basis),
    }
    with connection.cursor() as cursor:
        cursor.execute(_STORE, given)

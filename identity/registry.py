"""The models of a workspace: which one links, what each is made of, and how two of them differ.

Training makes a candidate and nothing else. A model links from the moment it is activated; to roll back is to
activate an earlier one. So nobody's identity changes because a model was trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from django.db import connection
from django.db.models import QuerySet

from cdp.kernel.errors import TesseraError
from cdp.models import User
from cdp.models.tenancy import workspace_scope
from identity.matching.drift import Shift, drift, weights_of
from identity.matching.relatives import relatives_of
from identity.models import BlockingIndex, LinkageModel, ModelActivation

log = structlog.get_logger()

QUALITY: Final = ("thresholds", "untrained", "precision", "recall", "converged")  # of the metadata, where it says so


class UnknownModelError(TesseraError):
    """There is no such version of the linkage model. `manage.py identity models list` shows those that there are."""

    code = "unknown_model"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two versions say differently. `alerts` are the shifts beyond the bound."""

    older: int
    newer: int
    shifts: Sequence[Shift]

    @property
    def alerts(self) -> list[Shift]:
        return [shift for shift in self.shifts if shift.is_alarming]

    def as_json(self) -> dict[str, Any]:
        return {
            "older": self.older,
            "newer": self.newer,
            "alerts": len(self.alerts),
            "shifts": [{**asdict(shift), "is_alarming": shift.is_alarming} for shift in self.shifts],
        }


def active_model(workspace_id: int) -> LinkageModel | None:
    """The one that was activated last. Before any was, the newest: it has changed nobody yet."""
    activations = ModelActivation.objects.filter(workspace_id=workspace_id)
    latest = activations.order_by("-pk").select_related("model").first()
    return latest.model if latest else models_of(workspace_id).first()


CURRENT_INDEX: Final = """
SELECT model_id, is_day_first, built_at FROM core.blocking_index
WHERE workspace_id = %(workspace)s AND model_id = COALESCE(
    (SELECT model_id FROM core.model_activation WHERE workspace_id = %(workspace)s ORDER BY id DESC LIMIT 1),
    (SELECT id FROM core.linkage_model WHERE workspace_id = %(workspace)s ORDER BY version DESC LIMIT 1)
)
"""


def current_index(workspace_id: int) -> BlockingIndex | None:
    """None where no model links, or none of the keys is of the active one."""
    with connection.cursor() as cursor:
        cursor.execute(CURRENT_INDEX, {"workspace": workspace_id})
        found = cursor.fetchone()
    return BlockingIndex(workspace_id, *found) if found else None


def models_of(workspace_id: int) -> QuerySet[LinkageModel]:
    """The newest first."""
    return LinkageModel.objects.filter(workspace_id=workspace_id).order_by("-version")


def model_of(workspace_id: int, version: int) -> LinkageModel:
    found = models_of(workspace_id).filter(version=version).first()
    if found is None:
        raise UnknownModelError(version=version)
    return found


def model_or_active(workspace_id: int, version: int | None) -> LinkageModel:
    model = active_model(workspace_id) if version is None else model_of(workspace_id, version)
    if model is None:
        raise UnknownModelError
    return model


def activate(*, workspace_id: int, version: int, author: User | None, now: datetime) -> ModelActivation:
    """From now on this version links. The one that does already is left as it is."""
    with workspace_scope(workspace_id):
        model = model_of(workspace_id, version)
        return keep_active(model, author=author, now=now)


def keep_active(model: LinkageModel, *, author: User | None, now: datetime) -> ModelActivation:
    """Write down that this model links, unless it is written already."""
    activations = ModelActivation.objects.filter(workspace_id=model.workspace_id)
    latest = activations.order_by("-pk").first()
    if latest and latest.model_id == model.pk:
        return latest
    return ModelActivation.objects.create(workspace_id=model.workspace_id, model=model, author=author, created_at=now)


# -- what people look at --------------------------------------------------------------------------------------------


def versions(workspace_id: int) -> list[dict[str, Any]]:
    """All of them, the newest first, in a line each."""
    active = active_model(workspace_id)
    return [
        {
            "version": model.version,
            "is_active": model == active,
            "created_at": model.created_at,
            "rows": model.metadata.get("rows"),
            "digest": model.metadata.get("digest"),
        }
        for model in models_of(workspace_id).defer("frequencies", "settings")
    ]


def described(workspace_id: int, version: int) -> dict[str, Any]:
    """One version: where it came from, how good it holds itself to be, the weights as a chart draws them, and what it knows
    of relatives.
    """
    model, active = model_of(workspace_id, version), active_model(workspace_id)
    relatives = relatives_of(model.settings)
    return {
        "version": model.version,
        "is_active": model == active,
        "created_at": model.created_at,
        "metadata": model.metadata,
        "quality": {name: model.metadata[name] for name in QUALITY if name in model.metadata},
        "chart": chart(model.settings),
        "relatives": asdict(relatives) if relatives else None,
    }


def compared(workspace_id: int, older: int, newer: int) -> Comparison:
    one, other = model_of(workspace_id, older), model_of(workspace_id, newer)
    return Comparison(older, newer, drift(one.settings, other.settings))


def moved(model: LinkageModel) -> Comparison | None:
    """How far the weights are from those of the version before it; None for the first one."""
    before = models_of(model.workspace_id).filter(version__lt=model.version).defer("frequencies").first()
    return Comparison(before.version, model.version, drift(before.settings, model.settings)) if before else None


def watch_drift(model: LinkageModel) -> None:
    """A trained model links nobody yet: whoever operates learns in time that it would link otherwise."""
    compared = moved(model)
    if compared and compared.alerts:
        log.warning(
            "linkage_model.drifted",
            workspace=model.workspace_id,
            version=compared.newer,
            since=compared.older,
            weights=len(compared.alerts),
        )


def chart(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One bar a level: its weight in bits, and its length as a share of the longest, to the right or the left of nought."""
    weights = weights_of(settings)
    longest = max((abs(weight) for weight in weights.values()), default=0.0) or 1.0
    return [
        {"comparison": comparison, "level": level, "weight": round(weight, 3), "length": round(weight / longest, 4)}
        for (comparison, level), weight in weights.items()
    ]

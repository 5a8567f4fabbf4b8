"""What an operator asks of the models: by itself that login reads nothing, so it asks under the purpose that judges."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cdp.kernel.purposes import Purpose
from consent import gate
from identity import registry, training


def activate(*, workspace_id: int, version: int, now: datetime) -> Mapping[str, Any]:
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id):
        kept = registry.activate(workspace_id=workspace_id, version=version, author=None, now=now)
    return {"active": version, "since": kept.created_at}


def calibrate(*, workspace_id: int, now: datetime) -> Mapping[str, Any]:
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
        model = training.calibrate(permit, now=now)
    return {"model": model.version, **{name: model.metadata[name] for name in ("calibrated", "thresholds")}}


def shown(deed: str, versions: Sequence[int], *, workspace_id: int) -> Mapping[str, Any]:
    """`list`, `show N` or `compare OLDER NEWER`."""
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id):
        if deed == "compare":
            return registry.compared(workspace_id, versions[0], versions[1]).as_json()
        if deed == "show":
            return registry.described(workspace_id, versions[0])
        return {"models": registry.versions(workspace_id)}

"""The pipeline's stage: what became known of some identifiers is compared at once, then their people are resolved."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from cdp.models import Cause
from consent.gate import Identity, Permit
from identity import golden, plans, registry, services
from identity.live import decisions

# After these a record may say something else than before, or may be seen for the first time.
TELLING: Final = frozenset({Cause.LEARNT, Cause.CONSENT, Cause.DEFINITION})


def link(permit: Permit[Identity], subjects: Mapping[int, Cause], *, now: datetime) -> Mapping[int, Cause]:
    """As `services.link`, and before it the records among `subjects` are compared with all others, if the workspace has
    an index for its latest model.
    """
    golden.take_turn(permit)
    changed = [one for one, cause in subjects.items() if cause in TELLING]
    current = registry.current_index(permit.workspace_id) if changed else None
    if current is None:
        return services.link(permit, subjects, now=now)
    origin = decisions.origin_of(workspace_id=permit.workspace_id, model_id=current.model_id, now=now)
    from identity.live import comparing, index  # noqa: PLC0415  # DuckDB and Splink, which no web server needs, nor most workers

    with plans.by_key(), plans.prepared():
        scored = comparing.compare(permit, current, changed)
        upper = index.upper_threshold(current)
        ends = decisions.judge(changed, [pair for pair in scored if pair[2] >= upper], origin)
        touched = services.link(permit, {**dict.fromkeys(ends, Cause.LEARNT), **subjects}, now=now)
        decisions.ask(changed, scored, origin)
    return touched

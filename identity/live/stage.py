"""The pipeline's stage: what became known of some identifiers is compared at once, then their people are resolved."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from cdp.models import Cause
from consent.gate import Identity, Permit
from identity import golden, plans, queries, registry, services
from identity.live import decisions
from identity.models import BlockingIndex

# After these a record may say something else than before, or may be seen for the first time.
TELLING: Final = frozenset({Cause.LEARNT, Cause.CONSENT, Cause.DEFINITION})
FEW: Final = 100  # subjects whose statements are planned for any: for more, each is planned for itself


def link(permit: Permit[Identity], subjects: Mapping[int, Cause], *, now: datetime) -> Mapping[int, Cause]:
    """As `services.link`, and before it the records among `subjects` are compared with all others, if the workspace has
    an index for its latest model.
    """
    golden.take_turn(permit)
    changed = [one for one, cause in subjects.items() if cause in TELLING]
    current = registry.current_index(permit.workspace_id) if changed else None
    if current is None:
        return services.link(permit, subjects, now=now)
    with plans.for_few(len(subjects) <= FEW), plans.by_key():
        return _compare_and_link(permit, current, changed, subjects, now)


def _compare_and_link(
    permit: Permit[Identity],
    current: BlockingIndex,
    changed: Collection[int],
    subjects: Mapping[int, Cause],
    now: datetime,
) -> Mapping[int, Cause]:
    from identity.live import comparing, index  # noqa: PLC0415  # DuckDB and Splink, which no web server needs, nor most workers

    origin = decisions.origin_of(workspace_id=permit.workspace_id, model_id=current.model_id, now=now)
    rules = queries.rules_of(permit.workspace_id)
    compared = comparing.compare(permit, current, changed, rules)
    scored, upper = compared.scored, index.upper_threshold(current)
    alike = [pair for pair in scored if pair[2] >= upper]
    ends = decisions.retract_outdated(changed, alike, origin) if compared.is_known else set()
    ends |= decisions.judge(changed, alike, origin)
    touched = services.link(permit, {**dict.fromkeys(ends, Cause.LEARNT), **subjects}, now=now, rules=rules)
    if compared.is_known:
        decisions.forget_asked(changed, scored, origin)
    decisions.ask(changed, scored, origin)
    return touched

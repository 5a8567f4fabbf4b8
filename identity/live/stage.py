"""The pipeline's stage: what became known of some identifiers is compared at once, then their people are resolved."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from cdp.models import Cause, planning
from consent.gate import Identity, Permit
from identity import golden, services
from identity.live import decisions
from identity.live.terms import terms_of
from identity.models import BlockingIndex
from identity.queries import Rules

# After these a record may say something else than before, or may be seen for the first time.
TELLING: Final = frozenset({Cause.LEARNT, Cause.CONSENT, Cause.DEFINITION})
FEW: Final = 100  # subjects whose statements are planned for any: for more, each is planned for itself


def link(permit: Permit[Identity], subjects: Mapping[int, Cause], *, now: datetime) -> Mapping[int, Cause]:
    """As `services.link`, and before it the records among `subjects` are compared with all others, if the workspace has
    an index for its latest model.
    """
    with planning.for_few() if len(subjects) <= FEW else planning.by_key():
        golden.take_turn(permit)
        known = terms_of(permit.workspace_id)
        changed = [one for one, cause in subjects.items() if cause in TELLING]
        if known.index is None or not changed:
            return services.link(permit, subjects, now=now, rules=known.rules)
        return _compare_and_link(permit, known.index, known.rules, changed, subjects, now)


def _compare_and_link(
    permit: Permit[Identity],
    current: BlockingIndex,
    rules: Rules,
    changed: Collection[int],
    subjects: Mapping[int, Cause],
    now: datetime,
) -> Mapping[int, Cause]:
    from identity.live import comparing, index  # noqa: PLC0415  # DuckDB and Splink, which no web server needs, nor most workers

    origin = decisions.origin_of(workspace_id=permit.workspace_id, model_id=current.model_id, now=now)
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

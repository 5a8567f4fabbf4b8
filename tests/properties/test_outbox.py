"""Whatever is handed over, in whatever packs, is claimed: each once, never more than a batch, consents first."""

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp import pipeline
from cdp.models import Cause, OutboxRow, Stage, outbox
from tests.outbox import waiting

STAGE = Stage.SEGMENTS
LIGHTEST_FIRST = [
    "EVENT", "LEARNT", "DEADLINE", "REFERENCE", "RANK", "LIST", "DEFINITION", "CONSENT", "MERGE", "SPLIT",
]  # fmt: skip
SUBJECTS = st.integers(1, 12)
CAUSES = st.sampled_from(Cause)
HANDED_OVER = st.lists(
    st.dictionaries(SUBJECTS, CAUSES, max_size=9) | st.tuples(SUBJECTS, CAUSES),  # at once, or as a row of its own
    max_size=6,
)


@pytest.fixture(autouse=True)
def small_packs(monkeypatch):
    monkeypatch.setattr(outbox, "PACK", 4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(handed_over=HANDED_OVER, most=st.integers(1, 15), is_killed=st.booleans())
def test_claims__of_whatever_was_handed_over__are_exactly_that(handed_over, most, is_killed, workspace):
    with transaction.atomic():
        for each in handed_over:
            hand_over(workspace, each)
        expected = batches_of([(subject, cause) for _, subject, cause in waiting()], most)
        given_all = sorted((subject, cause) for each in handed_over for subject, cause in pairs(each))

        claims = all_claims(workspace, most, is_killed=is_killed)

        assert sorted(pair for batch in expected for pair in batch) == given_all
        assert claims == [weightiest(batch) for batch in expected]
        assert not OutboxRow.objects.exists()
        transaction.set_rollback(True)


def pairs(each):
    return list(each.items()) if isinstance(each, dict) else [each]


def hand_over(workspace, each):
    if isinstance(each, dict):
        outbox.hand_over(each, stage=STAGE, workspace_id=workspace.pk)
    else:
        OutboxRow.objects.create(workspace=workspace, stage=STAGE, subject_id=each[0], cause=each[1])


def all_claims(workspace, most, *, is_killed):
    """Batch by batch until nothing waits; before each, perhaps, a worker that claims and is killed."""
    claims = []
    while OutboxRow.objects.exists():
        if is_killed:
            with transaction.atomic():
                pipeline._claim(STAGE, most, workspace.pk)
                transaction.set_rollback(True)
        claims.append(pipeline._claim(STAGE, most, workspace.pk))
    return claims


def batches_of(lying, most):
    """The slow way: single subjects as they lie there, those with a consent before the others."""
    lying = sorted(lying, key=lambda pair: pair[1] != "CONSENT")
    return [lying[start : start + most] for start in range(0, len(lying), most)]


def weightiest(batch):
    return dict(sorted(batch, key=lambda pair: LIGHTEST_FIRST.index(pair[1])))

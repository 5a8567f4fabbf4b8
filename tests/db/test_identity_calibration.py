"""Thresholds that agree with what stewards judged: a candidate, made of the active model."""

import pytest

from identity import operating, training
from identity.models import Judgement, JudgementKind, LinkageModel, ReviewPair, Verdict
from tests.factories.review import waiting_pair

UPPER = 1.0


@pytest.fixture
def judge(workspace):
    LinkageModel.objects.create(
        workspace=workspace,
        version=1,
        settings={},
        frequencies={},
        metadata={"thresholds": {"lower": -3.17, "upper": UPPER}},
    )

    def judge(weight, verdict, times):
        for _ in range(times):
            pair = waiting_pair(workspace, weight=weight)
            judgement = Judgement.objects.create(
                workspace=workspace,
                left=pair.left,
                right=pair.right,
                verdict=verdict,
                kind=JudgementKind.STEWARD,
                weight=0,
            )
            ReviewPair.objects.filter(pk=pair.pk).update(judgement=judgement)

    return judge


def test_calibrate__stewards_who_see_a_model_that_is_too_sure__asks_for_more_evidence(workspace, judge, now, as_login):
    judge(0.0, Verdict.NOT_SAME, 40)
    judge(4.0, Verdict.NOT_SAME, 20)
    judge(4.0, Verdict.SAME, 20)
    as_login("operator")

    result = operating.calibrate(workspace_id=workspace.pk, now=now)

    assert result["model"] == 2
    assert result["calibrated"]["judged"] == 80
    assert result["thresholds"]["upper"] > UPPER + 2
    assert result["thresholds"]["lower"] < result["thresholds"]["upper"]


def test_calibrate__too_few_judgements__is_refused_and_makes_no_model(workspace, judge, now, as_login):
    judge(4.0, Verdict.SAME, 25)
    judge(0.0, Verdict.NOT_SAME, 24)
    as_login("operator")

    with pytest.raises(training.TooFewJudgementsError):
        operating.calibrate(workspace_id=workspace.pk, now=now)

    as_login("none")
    assert LinkageModel.objects.count() == 1


def test_calibrate__stewards_of_one_voice__are_refused(workspace, judge, now, as_login):
    judge(4.0, Verdict.SAME, 60)
    as_login("operator")

    with pytest.raises(training.TooFewJudgementsError):
        operating.calibrate(workspace_id=workspace.pk, now=now)

"""A queue of pairs that wait for stewards, and what it takes to have one."""

from identity.models import LinkageModel, ReviewPair
from tests.factories import IdentifierFactory


def model_of(workspace) -> LinkageModel:
    made, _ = LinkageModel.objects.get_or_create(
        workspace=workspace, version=1, defaults={"settings": {}, "frequencies": {}, "metadata": {"seed": 7}}
    )
    return made


def waiting_pair(workspace, *, weight: float = 1.0, priority: float = 0.0, **more) -> ReviewPair:
    """Two new people, and the question whether they are one."""
    left, right = IdentifierFactory(workspace=workspace), IdentifierFactory(workspace=workspace)
    evidence = more.pop("evidence", {"surname": weight})
    return ReviewPair.objects.create(
        workspace=workspace, left=left, right=right, weight=weight, priority=priority, evidence=evidence,
        model=model_of(workspace), **more,
    )  # fmt: skip

"""The console shows what a model weighs, activates it, and undoes after saying what that would change."""

import pytest
from django.test import Client
from django.urls import reverse

from cdp.models import Run, Stage
from identity import registry
from identity.matching.relatives import RELATIVES, kept
from identity.models import Judgement, LinkageModel, ModelActivation
from identity.undoing import KIND_OF_RUN
from tests.factories import IdentifierFactory
from tests.factories.filled import console_user
from tests.outbox import subjects_waiting

SETTINGS = {
    "comparisons": [
        {
            "output_column_name": "surname",
            "comparison_levels": [{"label_for_charts": "exact", "m_probability": 0.9, "u_probability": 0.01}],
        }
    ]
}
MOVED = {
    "comparisons": [
        {
            "output_column_name": "surname",
            "comparison_levels": [{"label_for_charts": "exact", "m_probability": 0.1, "u_probability": 0.01}],
        }
    ],
    "probability_two_random_records_match": 0.001,
    RELATIVES: kept(share_of_matches=0.001, related=0.0025, alike={"given_name": 0.021}),
}


def client_of(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def steward(workspace):
    return console_user(workspace)


@pytest.fixture
def models(workspace):
    return [
        LinkageModel.objects.create(
            workspace=workspace, version=version, settings=settings, frequencies={}, metadata={"rows": 10}
        )
        for version, settings in ((1, SETTINGS), (2, MOVED))
    ]


@pytest.fixture
def client(steward, models, as_login):
    as_login("web")
    return client_of(steward)


def test_run__of_record_linkage__is_cancelled_on_its_page(client, workspace, now):
    run = Run.objects.create(workspace=workspace, kind=KIND_OF_RUN, started_at=now, heartbeat_at=now)
    page = reverse("admin:cdp_run_change", args=[run.pk])
    assert 'id="cancel"' in client.get(page).text

    client.post(reverse("admin:cdp_run_cancel", args=[run.pk]))

    run.refresh_from_db()
    assert (run.state, run.finished_at is None) == ("CANCELLED", False)
    assert 'id="cancel"' not in client.get(page).text


def test_model__its_page__shows_weights_and_what_moved_since_the_version_before(client, models):
    text = client.get(reverse("admin:identity_linkagemodel_change", args=[models[1].pk])).content.decode()

    assert "surname: exact" in text
    assert "3.322" in text
    assert "6.5 → 3.3" in text
    assert client.get(reverse("admin:identity_linkagemodel_changelist")).status_code == 200


def test_model__that_knows_relatives__says_how_many_and_what_they_share(client, models):
    text = client.get(reverse("admin:identity_linkagemodel_change", args=[models[1].pk])).content.decode()

    assert "there are 2.5 of two people of one household" in text
    assert "<dt>given_name</dt><dd>2.1 %</dd>" in text


def test_model__activate__makes_it_the_one_that_links(client, models, steward, workspace):
    answer = client.post(reverse("admin:identity_model_activate", args=[models[0].pk]))

    assert answer.status_code == 302
    assert registry.active_model(workspace.pk) == models[0]
    assert ModelActivation.objects.get().author == steward


def test_undo__of_a_run__is_shown_before_it_is_done(workspace, steward, models, now, as_login):
    run = Run.objects.create(workspace=workspace, kind=KIND_OF_RUN, started_at=now, heartbeat_at=now)
    left, right = IdentifierFactory(workspace=workspace), IdentifierFactory(workspace=workspace)
    Judgement.objects.create(
        workspace=workspace, left=left, right=right, verdict="SAME", kind="PROBABILISTIC", weight=9, model=models[0],
        run=run,
    )  # fmt: skip
    as_login("web")
    client, path = client_of(steward), reverse("admin:identity_undo", args=["run", run.pk])

    linked = client.get(reverse("admin:cdp_run_change", args=[run.pk])).content.decode()
    shown = client.get(path)
    written = Judgement.objects.count()
    answer = client.post(path)

    assert path in linked
    assert (shown.status_code, written) == (200, 1)
    assert answer.status_code == 302
    assert Judgement.objects.exclude(retracts=None).get().author == steward
    assert sorted(subjects_waiting(stage=Stage.IDENTITY)) == [left.pk, right.pk]


def test_undo__of_what_is_not_there__is_not_found(client):
    for scope, number in (("run", 10**9), ("model", 9), ("nothing", 1)):
        assert client.get(reverse("admin:identity_undo", args=[scope, number])).status_code == 404

    assert not Judgement.objects.exists()


def test_undo_and_activate__by_a_reader__are_refused(workspace, models, as_login):
    reader = client_of(console_user(workspace, "reader", is_superuser=False))
    as_login("web")

    answers = [
        reader.post(reverse("admin:identity_undo", args=["model", 1])).status_code,
        reader.post(reverse("admin:identity_model_activate", args=[models[0].pk])).status_code,
    ]

    assert answers == [403, 403]
    assert not ModelActivation.objects.exists()

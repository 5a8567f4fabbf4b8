"""The order of the stages, and what goes past one of them."""

import dataclasses
import json
from datetime import timedelta

import pytest

from cdp import pipeline
from cdp.ingestion import services as ingestion
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, OutboxRow, Stage
from consent.models import ConsentState
from segments import queries
from segments import services as segments
from tests.factories import IdentifierFactory, SourceFactory, say

SECOND = timedelta(seconds=1)


@pytest.fixture
def shop(workspace, now):
    return Shop(workspace, SourceFactory(workspace=workspace), now)


class Shop:
    """People who do things, and a pipeline that works when it is told to."""

    def __init__(self, workspace, source, now):
        self.workspace, self.source, self.now, self.number = workspace, source, now, 0

    def hear(self, event, **ids):
        self.number += 1
        said = {"type": "track", "event": event, "messageId": f"m{self.number}", **ids}
        body = json.dumps({"batch": [said]}).encode()
        ingestion.accept(source=self.source, body=body, path_kind="batch", received_at=self.now)

    def advance(self, *stages):
        for stage in stages:
            while pipeline.advance(stage, workspace_id=self.workspace.pk, now=self.now):
                pass

    def settle(self):
        self.advance(*pipeline.ORDER)

    def waiting(self):
        rows = OutboxRow.objects.filter(workspace=self.workspace).order_by("id")
        return [(row.stage, row.subject_id, row.cause) for row in rows]


def identifier(value):
    return Identifier.objects.get(value=value)


def test_event__of_somebody_new__goes_to_identity(shop):
    shop.hear("View", userId="ada")

    shop.advance(Stage.INGESTION)

    assert shop.waiting() == [(Stage.IDENTITY, identifier("ada").pk, Cause.LEARNT)]


def test_event__of_somebody_known__goes_past_identity_and_enrichment(shop):
    shop.hear("View", userId="ada")
    shop.settle()

    shop.hear("View", userId="ada")
    shop.advance(Stage.INGESTION)

    assert shop.waiting() == [(Stage.SEGMENTS, identifier("ada").pk, Cause.EVENT)]


def test_event__of_somebody_who_waits_at_identity__waits_behind_himself(shop):
    shop.hear("View", userId="ada")
    shop.advance(Stage.INGESTION)

    shop.hear("View", userId="ada")
    shop.advance(Stage.INGESTION)

    ada = identifier("ada").pk
    assert shop.waiting() == [(Stage.IDENTITY, ada, Cause.LEARNT), (Stage.IDENTITY, ada, Cause.EVENT)]


def test_event__of_somebody_set_aside_at_identity__is_not_held_up(shop, now):
    shop.hear("View", userId="ada")
    shop.advance(Stage.INGESTION)
    OutboxRow.objects.update(failed_at=now)

    shop.hear("View", userId="ada")
    shop.advance(Stage.INGESTION)

    assert shop.waiting()[1:] == [(Stage.SEGMENTS, identifier("ada").pk, Cause.EVENT)]


def test_news__of_some_beside_events_of_others__part_ways(shop):
    shop.hear("View", userId="ada")
    shop.settle()

    shop.hear("View", userId="ada")
    shop.hear("View", userId="grace")
    shop.advance(Stage.INGESTION)

    ada, grace = identifier("ada").pk, identifier("grace").pk
    assert shop.waiting() == [(Stage.IDENTITY, grace, Cause.LEARNT), (Stage.SEGMENTS, ada, Cause.EVENT)]


def test_event__of_an_identifier_that_merged_meanwhile__is_evaluated_where_it_went(shop):
    segment = segments.create_segment(
        workspace_id=shop.workspace.pk, slug="buyers", name="", definition='count of "Order" >= 2', author=None,
        now=shop.now,
    )  # fmt: skip
    shop.hear("Order", userId="ada")
    shop.settle()
    shop.hear("View", anonymousId="cookie")  # the younger of the two: its profile goes into the other one
    shop.settle()

    shop.hear("Order", anonymousId="cookie")
    shop.advance(Stage.INGESTION)
    assert shop.waiting() == [(Stage.SEGMENTS, identifier("cookie").pk, Cause.EVENT)]
    shop.hear("View", userId="ada", anonymousId="cookie")
    shop.advance(Stage.INGESTION, Stage.IDENTITY)
    OutboxRow.objects.filter(cause=Cause.MERGE).delete()  # so that the event alone brings the segment about
    shop.settle()

    survivor = identifier("ada").pk
    assert identifier("cookie").profile_id == survivor
    assert queries.members_of(segment) == [survivor]


@pytest.mark.parametrize(
    ("stage", "heirs"),
    [
        (Stage.INGESTION, [Stage.IDENTITY, Stage.SEGMENTS]),
        (Stage.IDENTITY, [Stage.ENRICHMENT, Stage.SEGMENTS]),
        (Stage.ENRICHMENT, [Stage.SEGMENTS]),
        (Stage.SEGMENTS, [Stage.ACTIVATION]),
        (Stage.ACTIVATION, []),
    ],
)
def test_heirs__of_a_stage__are_those_that_it_hands_something_to(stage, heirs):
    assert list(pipeline.heirs(stage)) == heirs


# -- what people said comes first -----------------------------------------------------------------------------------


def wait_at(shop, *causes, stage=Stage.SEGMENTS):
    for number, cause in enumerate(causes, start=1):
        OutboxRow.objects.create(workspace=shop.workspace, stage=stage, subject_id=number, cause=cause)


def subjects_of_batches(shop, monkeypatch, step, *, batch):
    """What a stage is given, batch by batch."""
    seen = []
    monkeypatch.setitem(
        pipeline.STEPS,
        Stage.ACTIVATION,
        dataclasses.replace(pipeline.STEPS[Stage.ACTIVATION], process=step(seen), batch=batch),
    )
    shop.advance(Stage.ACTIVATION)
    return seen


def test_consent__goes_before_all_that_waits_longer(shop, monkeypatch):
    wait_at(shop, Cause.DEFINITION, Cause.EVENT, Cause.CONSENT, Cause.DEFINITION, Cause.CONSENT, stage=Stage.ACTIVATION)

    def noting(seen):
        return lambda _, subjects, **__: seen.append(sorted(subjects)) or {}

    assert subjects_of_batches(shop, monkeypatch, noting, batch=3) == [[1, 3, 5], [2, 4]]


def test_consent__that_fails_alone__is_the_one_that_is_set_aside(shop, monkeypatch):
    wait_at(shop, Cause.DEFINITION, Cause.CONSENT, stage=Stage.ACTIVATION)

    def failing(seen):
        def process(permit, subjects, *, now):
            if 2 in subjects:
                raise ValueError
            seen.append(sorted(subjects))
            return {}

        return process

    assert subjects_of_batches(shop, monkeypatch, failing, batch=2) == [[1]]
    assert list(OutboxRow.objects.values_list("subject_id", "error")) == [(2, "ValueError")]


def test_withdrawal__goes_to_the_audiences_without_waiting_for_the_segments(shop):
    ada, bob = (IdentifierFactory(workspace=shop.workspace) for _ in range(2))
    for one in (ada, bob):
        say(one, Purpose.ADVERTISING, ConsentState.GIVEN)
    OutboxRow.objects.all().delete()

    say(ada, Purpose.ADVERTISING, ConsentState.WITHDRAWN, at=shop.now)
    say(bob, Purpose.ANALYTICS, ConsentState.WITHDRAWN, at=shop.now)

    assert sorted(shop.waiting()) == [
        (Stage.ACTIVATION, ada.pk, Cause.CONSENT),
        (Stage.SEGMENTS, ada.pk, Cause.CONSENT),
        (Stage.SEGMENTS, bob.pk, Cause.CONSENT),
    ]

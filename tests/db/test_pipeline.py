"""The order of the stages, and what goes past one of them."""

import json
from datetime import timedelta

import pytest

from cdp import pipeline
from cdp.ingestion import services as ingestion
from cdp.models import Cause, Identifier, OutboxRow, Stage
from segments import queries
from segments import services as segments
from tests.factories import SourceFactory

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

"""The order of the stages, and what goes past one of them."""

import dataclasses
import json
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from cdp import pipeline
from cdp.ingestion import services as ingestion
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, OutboxRow, Stage
from cdp.models.outbox import PACK, hand_over
from consent.models import ConsentState
from segments import membership, queries
from segments import services as segments
from segments.models import Membership, Segment
from tests.factories import IdentifierFactory, SourceFactory, say
from tests.outbox import waiting

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
        return waiting(workspace=self.workspace)


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


def test_event__of_somebody_who_waits_in_the_midst_of_a_pack__waits_behind_himself(shop):
    for name in ("ada", "bob", "eve"):
        shop.hear("View", userId=name)
    shop.settle()
    ada, bob, eve = (identifier(name).pk for name in ("ada", "bob", "eve"))
    hand_over(dict.fromkeys([ada, bob, eve + 1], Cause.LEARNT), stage=Stage.IDENTITY, workspace_id=shop.workspace.pk)

    shop.hear("View", userId="bob")
    shop.hear("View", userId="eve")
    shop.advance(Stage.INGESTION)

    assert shop.waiting()[3:] == [(Stage.IDENTITY, bob, Cause.EVENT), (Stage.SEGMENTS, eve, Cause.EVENT)]


def test_event__of_somebody_set_aside_at_identity__is_not_held_up(shop, now):
    shop.hear("View", userId="ada")
    shop.advance(Stage.INGESTION)
    OutboxRow.objects.all().delete()
    OutboxRow.objects.create(
        workspace=shop.workspace,
        stage=Stage.IDENTITY,
        subject_id=identifier("ada").pk,
        cause=Cause.LEARNT,
        failed_at=now,
    )

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
    ("heard", "woken"),
    [
        (["ada"], [Stage.SEGMENTS]),
        (["bea"], [Stage.IDENTITY]),
        (["ada", "bea"], [Stage.IDENTITY, Stage.SEGMENTS]),
    ],
)
def test_batch__wakes_those_stages_that_it_handed_something_to(shop, heard, woken):
    shop.hear("Buy", userId="ada")
    shop.settle()
    for person in heard:
        shop.hear("View", userId=person)
    named = []

    pipeline.advance(Stage.INGESTION, workspace_id=shop.workspace.pk, now=shop.now, wake=named.append)

    assert named == woken


# -- what people said comes first -----------------------------------------------------------------------------------


def wait_at(shop, *causes, stage=Stage.SEGMENTS):
    for number, cause in enumerate(causes, start=1):
        OutboxRow.objects.create(workspace=shop.workspace, stage=stage, subject_id=number, cause=cause)


def wait_in_packs(shop, subjects, *, cause=Cause.LEARNT):
    hand_over(dict.fromkeys(subjects, cause), stage=Stage.ENRICHMENT, workspace_id=shop.workspace.pk)


def noting(seen):
    return lambda _, subjects, **__: seen.append(sorted(subjects)) or {}


def refusing(*bad):
    """Notes what it was given, and fails when one of these is among it."""

    def step(seen):
        def process(permit, subjects, *, now):
            seen.append(sorted(subjects))
            if not subjects.keys().isdisjoint(bad):
                raise ValueError
            return {}

        return process

    return step


def subjects_of_batches(shop, monkeypatch, step, *, batch):
    """What a stage is given, batch by batch."""
    seen = []
    monkeypatch.setitem(
        pipeline.STEPS,
        Stage.ENRICHMENT,
        dataclasses.replace(pipeline.STEPS[Stage.ENRICHMENT], process=step(seen), batch=batch),
    )
    shop.advance(Stage.ENRICHMENT)
    return seen


def test_consent__goes_before_all_that_waits_longer(shop, monkeypatch):
    wait_at(shop, Cause.DEFINITION, Cause.EVENT, Cause.CONSENT, Cause.DEFINITION, Cause.CONSENT, stage=Stage.ENRICHMENT)

    assert subjects_of_batches(shop, monkeypatch, noting, batch=3) == [[1, 3, 5], [2, 4]]


def test_consent__that_fails_alone__is_the_one_that_is_set_aside(shop, monkeypatch):
    wait_at(shop, Cause.DEFINITION, Cause.CONSENT, stage=Stage.ENRICHMENT)

    def failing(seen):
        def process(permit, subjects, *, now):
            if 2 in subjects:
                raise ValueError
            seen.append(sorted(subjects))
            return {}

        return process

    assert subjects_of_batches(shop, monkeypatch, failing, batch=2) == [[1]]
    assert list(OutboxRow.objects.values_list("subject_id", "error")) == [(2, "ValueError")]


def test_consents__in_a_pack_behind_others__go_before_them(shop, monkeypatch):
    wait_in_packs(shop, [1, 2, 3], cause=Cause.EVENT)
    wait_in_packs(shop, [11, 12, 13], cause=Cause.CONSENT)

    assert subjects_of_batches(shop, monkeypatch, noting, batch=4) == [[1, 11, 12, 13], [2, 3]]


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


# -- a row that names many ------------------------------------------------------------------------------------------


def rows(workspace):
    return list(OutboxRow.objects.filter(workspace=workspace).order_by("pk").values_list("subjects", flat=True))


def test_hand_over__of_more_than_a_pack__makes_packs_in_the_order_given(shop):
    subjects = list(range(2 * PACK + 1, 0, -1))

    wait_in_packs(shop, subjects)

    assert rows(shop.workspace) == [subjects[:PACK], subjects[PACK : 2 * PACK], [1]]


def test_pack__of_the_largest_ids__lies_in_its_row_as_it_is(shop):
    wait_in_packs(shop, range(2**63 - PACK, 2**63))

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_column_compression(subjects), pg_column_toast_chunk_id(subjects), pg_column_size(subjects) FROM outbox"
        )
        ((compressed, elsewhere, size),) = cursor.fetchall()
    assert (compressed, elsewhere) == (None, None)
    assert size == 24 + 8 * PACK


def test_pack__that_exceeds_the_batch__is_worked_on_in_turns(shop, monkeypatch):
    wait_in_packs(shop, range(1, 8))

    assert subjects_of_batches(shop, monkeypatch, noting, batch=3) == [[1, 2, 3], [4, 5, 6], [7]]
    assert not OutboxRow.objects.exists()


def test_pack__of_which_a_part_was_claimed__waits_on_in_its_place(shop):
    wait_in_packs(shop, range(1, 8))
    wait_at(shop, Cause.EVENT, stage=Stage.ENRICHMENT)
    before = OutboxRow.objects.order_by("pk").first()

    claimed = pipeline._claim(Stage.ENRICHMENT, 3, shop.workspace.pk)

    assert claimed == dict.fromkeys([1, 2, 3], Cause.LEARNT)
    left = OutboxRow.objects.order_by("pk").first()
    assert (left.pk, left.created_at, left.subjects) == (before.pk, before.created_at, [4, 5, 6, 7])
    assert pipeline.waiting(shop.workspace.pk) == {"ENRICHMENT": 5}


def test_pack__that_a_killed_worker_claimed__is_as_it_was(shop):
    wait_in_packs(shop, range(1, 8))
    before = list(OutboxRow.objects.values())

    with transaction.atomic():
        pipeline._claim(Stage.ENRICHMENT, 3, shop.workspace.pk)
        transaction.set_rollback(True)

    assert list(OutboxRow.objects.values()) == before


def test_subject__that_fails_in_the_midst_of_a_pack__alone_is_set_aside(shop, monkeypatch, now):
    wait_in_packs(shop, range(1, 9))

    seen = subjects_of_batches(shop, monkeypatch, refusing(4), batch=8)

    assert seen == [
        [1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4], [1, 2],
        [3, 4, 5, 6, 7, 8], [3, 4, 5, 6], [3, 4], [3],
        [4, 5, 6, 7, 8], [4, 5, 6, 7], [4, 5], [4],
        [5, 6, 7, 8],
    ]  # fmt: skip
    (row,) = OutboxRow.objects.all()
    assert (row.subject_id, row.subjects, row.cause, row.failed_at, row.error) == (4, None, "LEARNT", now, "ValueError")


def test_subjects__that_all_fail__are_all_set_aside_and_none_is_lost(shop, monkeypatch):
    wait_in_packs(shop, range(1, 6))

    subjects_of_batches(shop, monkeypatch, refusing(*range(1, 6)), batch=4)

    assert sorted(OutboxRow.objects.exclude(failed_at=None).values_list("subject_id", flat=True)) == [1, 2, 3, 4, 5]
    assert pipeline.waiting(shop.workspace.pk) == {}


def test_subject__that_was_put_back__is_worked_on_again(shop, monkeypatch):
    wait_in_packs(shop, [1, 2])
    subjects_of_batches(shop, monkeypatch, refusing(2), batch=2)
    OutboxRow.objects.update(failed_at=None, error="")

    assert subjects_of_batches(shop, monkeypatch, noting, batch=2) == [[2]]


def test_pack__cannot_be_set_aside_by_code_that_does_not_know_it(shop, now):
    wait_in_packs(shop, [1, 2])

    with pytest.raises(IntegrityError, match="outbox_set_aside_alone"), transaction.atomic():
        OutboxRow.objects.update(failed_at=now)

    assert rows(shop.workspace) == [[1, 2]]


@pytest.mark.parametrize("named", [{}, {"subject_id": 1, "subjects": [2]}])
def test_row__that_names_nobody_or_twice__is_refused(shop, named):
    with pytest.raises(IntegrityError, match="outbox_names_one_or_a_pack"), transaction.atomic():
        OutboxRow.objects.create(workspace=shop.workspace, stage=Stage.IDENTITY, cause=Cause.EVENT, **named)
    assert not OutboxRow.objects.exists()


def test_next_due__of_segments__is_the_first_deadline_and_then_that_of_those_that_serve(shop):
    shop.hear("Buy", userId="ada")
    shop.settle()
    for slug, days in (("soon", 1), ("later", 2)):
        segments.create_segment(
            workspace_id=shop.workspace.pk, slug=slug, name="", author=None, now=shop.now,
            definition=f'done "Buy" in last {days} days',
        )  # fmt: skip

    first = pipeline.next_due(Stage.SEGMENTS, workspace_id=shop.workspace.pk)
    segments.archive(segment=Segment.objects.get(slug="soon"), now=shop.now)
    pipeline.advance(Stage.SEGMENTS, workspace_id=shop.workspace.pk, now=first)

    assert first == shop.now + timedelta(days=1)
    assert pipeline.next_due(Stage.SEGMENTS, workspace_id=shop.workspace.pk) == shop.now + timedelta(days=2)
    assert pipeline.next_due(Stage.IDENTITY, workspace_id=shop.workspace.pk) is None


def test_deadlines__of_more_than_a_slice__are_worked_in_turns(shop, monkeypatch):
    monkeypatch.setattr(membership, "DUE_AT_ONCE", 2)
    for person in ("ada", "bea", "cai"):
        shop.hear("Buy", userId=person)
    shop.settle()
    segments.create_segment(
        workspace_id=shop.workspace.pk,
        slug="s",
        name="",
        definition='done "Buy" in last 1 day',
        author=None,
        now=shop.now,
    )
    midnight = shop.now + timedelta(days=1)

    turns = [pipeline.advance(Stage.SEGMENTS, workspace_id=shop.workspace.pk, now=midnight) for _ in range(3)]

    assert turns == [2, 1, 0]
    assert set(Membership.objects.values_list("left_at", flat=True)) == {midnight}


def test_batches__of_a_stage_that_does_not_come_to_rest__wake_its_heirs_each_and_rest(shop, monkeypatch):
    monkeypatch.setitem(pipeline.STEPS, Stage.IDENTITY, dataclasses.replace(pipeline.STEPS[Stage.IDENTITY], batch=1))
    for person in ("ada", "bea", "cai"):
        shop.hear("Buy", userId=person)
    shop.advance(Stage.INGESTION)
    woken, seen, took = [], [], []

    def rest(seconds):
        seen.append(shop.waiting())
        took.append(seconds)

    pipeline.run_until_idle(
        Stage.IDENTITY,
        workspace_id=shop.workspace.pk,
        now=lambda: shop.now,
        wake=woken.append,
        rest=rest,
    )

    assert woken == [Stage.ENRICHMENT] * 3
    assert seen[0] != seen[1] != seen[2]
    assert all(seconds > 0 for seconds in took)

"""Laws of identity for any history whatever: events, stewards, runs of several models, undoing and erasing, in any order."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from cdp.kernel import identifiers as named
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, IdentifierTrait, OutboxRow, Profile, Run, Sighting, Stage, Trait
from consent import erasure, gate
from identity import disputes, queries, registry, resolver, services, undoing
from identity.models import Judgement, JudgementKind, LinkageModel, Verdict
from identity.undoing import Scope
from segments import services as segments
from segments.models import Membership
from tests.factories import IdentifierFactory, SourceFactory
from tests.outbox import subjects_waiting

TYPES = ("user_id", "user_id", "email", "anonymous_id", "shop:id", "shop:id", "shop:id")
CITIES = ("Lyon", "Lille")
MODELS = (1, 2)

places = st.integers(0, len(TYPES) - 1)
pairs = st.tuples(places, places).filter(lambda ends: ends[0] < ends[1])
some_pairs = st.sets(pairs, max_size=4)


class Lives(RuleBasedStateMachine):
    """Seven identifiers. Whatever is done is worked off at once, as the stages would; `workspace` and `now` are given."""

    workspace = None
    now = None

    def __init__(self):
        super().__init__()
        self.start = transaction.savepoint()
        self.source = SourceFactory(workspace=self.workspace, name="shop")
        self.ids = [
            IdentifierFactory(workspace=self.workspace, type=kind, value=f"{place}@x.fr").pk
            for place, kind in enumerate(TYPES)
        ]
        for place, one in enumerate(self.ids):
            IdentifierTrait.objects.create(
                workspace=self.workspace, identifier_id=one, source=self.source, name="city",
                value=CITIES[place % 2], observed_at=self.now + timedelta(hours=place * 7 % 5),
            )  # fmt: skip
        for version in MODELS:
            LinkageModel.objects.create(
                workspace=self.workspace, version=version, settings={}, frequencies={}, metadata={}
            )
        segments.create_segment(
            workspace_id=self.workspace.pk, slug="lyon", name="lyon", definition='trait "city" = "Lyon"', author=None,
            now=self.now,
        )  # fmt: skip
        self.written = set()
        self.live = set(self.ids)
        self.work_off(*self.ids)

    def teardown(self):
        transaction.savepoint_rollback(self.start)

    # -- what happens --

    @rule(pair=pairs)
    def two_come_together(self, pair):
        left, right = self.both(pair)
        if {left, right} <= self.live:
            Sighting.objects.get_or_create(
                workspace=self.workspace, left_id=left, right_id=right,
                defaults={"source": self.source, "seen_at": self.now},
            )  # fmt: skip
            self.work_off(left, right)

    @rule(pair=pairs, verdict=st.sampled_from(Verdict))
    def a_steward_says(self, pair, verdict):
        left, right = self.both(pair)
        if {left, right} <= self.live:
            self.judge(left, right, verdict)

    @rule(found=some_pairs, version=st.sampled_from(MODELS))
    def a_model_is_run(self, found, version):
        self.run(found, version)

    @rule(version=st.sampled_from(MODELS))
    def a_model_is_undone(self, version):
        self.undo(Scope.MODEL, version)

    @rule(pair=pairs)
    def a_merge_is_undone(self, pair):
        left, right = self.both(pair)
        if {left, right} <= self.live and self.people()[left] == self.people()[right]:
            services.undo_merge(workspace_id=self.workspace.pk, left_id=left, right_id=right, author=None, now=self.now)
            self.work_off()
            assert self.people()[left] != self.people()[right]

    @rule(version=st.sampled_from(MODELS))
    def a_model_is_trained_and_another_activated(self, version):
        """It changes nobody until it is run."""
        before = self.picture()
        registry.activate(workspace_id=self.workspace.pk, version=version, author=None, now=self.now)
        self.work_off(*self.live)
        assert self.picture() == before

    @precondition(lambda self: len(self.live) > 3)
    @rule(place=places)
    def somebody_is_erased(self, place):
        one = Identifier.objects.filter(pk=self.ids[place]).first()
        if one:
            erasure.erase_person(
                workspace_id=self.workspace.pk, identifier=named.Identifier(one.type, one.value), now=self.now
            )
            self.live = set(Identifier.objects.values_list("pk", flat=True))
            self.written &= set(Judgement.objects.values_list("pk", flat=True))
            self.work_off()

    # -- what is done and undone --

    @rule(found=some_pairs, version=st.sampled_from(MODELS))
    def a_run_that_is_undone_never_was(self, found, version):
        before = self.picture()
        self.undo(Scope.RUN, self.run(found, version))
        assert self.picture() == before

    @rule(pair=pairs, verdict=st.sampled_from(Verdict))
    def a_word_that_is_taken_back_was_never_said(self, pair, verdict):
        left, right = self.both(pair)
        said = queries.current_judgements().filter(left=left, right=right, kind=JudgementKind.STEWARD)
        if said.exists() or not {left, right} <= self.live:
            return
        before = self.picture()
        self.undo(Scope.JUDGEMENT, self.judge(left, right, verdict).pk)
        assert self.picture() == before

    # -- what always holds --

    @invariant()
    def the_id_of_a_profile_is_its_oldest_identifier(self):
        people = self.people()
        assert all(profile == min(one for one in people if people[one] == profile) for profile in people.values())

    @invariant()
    def redirects_lead_to_who_lives_in_one_step(self):
        redirects = dict(Profile.objects.values_list("pk", "merged_into_id"))
        people = self.people()
        assert redirects == {one: None if profile == one else profile for one, profile in people.items()}

    @invariant()
    def not_the_same_is_never_crossed(self):
        people = self.people()
        apart = [one for one in resolver.prevailing(self.ledger()) if not one.is_same]
        assert all(people[one.left] != people[one.right] for one in apart)

    @invariant()
    def the_ledger_only_grows(self):
        now_written = set(Judgement.objects.values_list("pk", flat=True))
        assert now_written >= self.written
        self.written = now_written

    @invariant()
    def the_same_ledger_in_any_order_gives_the_same_people(self):
        rules = queries.rules_of(self.workspace.pk)
        everybody = list(Identifier.objects.values_list("pk", flat=True))
        with gate.permit(Purpose.IDENTITY, workspace_id=self.workspace.pk):
            known = queries.neighbourhood_of(everybody, rules)
            ledger = sorted(known.judgements)
            random.Random(len(ledger)).shuffle(ledger)  # the order is arbitrary, not secret
            found = disputes.resolve(replace(known, judgements=ledger), rules)
        assert found.clusters == self.people()

    # -- how --

    def both(self, pair):
        return self.ids[pair[0]], self.ids[pair[1]]

    def judge(self, left, right, verdict):
        said = services.judge(
            workspace_id=self.workspace.pk, left_id=left, right_id=right, verdict=verdict, author=None, evidence={},
            now=self.now,
        )  # fmt: skip
        self.work_off()
        return said

    def run(self, found, version):
        """What the machine said before and does not say again is outdated; what it says anew is judged."""
        model = LinkageModel.objects.get(version=version)
        run = Run.objects.create(
            workspace=self.workspace, kind=undoing.KIND_OF_RUN, started_at=self.now, heartbeat_at=self.now
        )
        alike = {pair for pair in map(self.both, found) if set(pair) <= self.live}
        standing = queries.current_judgements().filter(kind=JudgementKind.PROBABILISTIC)
        for one in list(standing):
            if one.model_id != model.pk or (one.left_id, one.right_id) not in alike:
                self.write(one.left_id, one.right_id, model, run, weight=0, retracts=one)
        kept = set(standing.values_list("left_id", "right_id"))
        for left, right in sorted(alike - kept):
            self.write(left, right, model, run, weight=5 + left % 3)
        self.work_off(*self.live)
        return run.pk

    def write(self, left, right, model, run, **more):
        Judgement.objects.create(
            workspace=self.workspace, left_id=left, right_id=right, verdict=Verdict.SAME,
            kind=JudgementKind.PROBABILISTIC, model=model, run=run, created_at=self.now, **more,
        )  # fmt: skip

    def undo(self, scope, number):
        undoing.undo(workspace_id=self.workspace.pk, scope=scope, number=number, author=None, now=self.now)
        self.work_off()

    def work_off(self, *more):
        waiting = [*subjects_waiting(stage=Stage.IDENTITY), *more]
        OutboxRow.objects.filter(stage=Stage.IDENTITY).delete()
        with gate.permit(Purpose.IDENTITY, workspace_id=self.workspace.pk) as permit:
            touched = services.link(permit, dict.fromkeys(waiting, Cause.LEARNT), now=self.now)
        with gate.permit(Purpose.SEGMENTATION, workspace_id=self.workspace.pk) as permit:
            segments.evaluate(permit, touched, now=self.now)

    def people(self):
        return dict(Identifier.objects.values_list("pk", "profile_id"))

    def ledger(self):
        rows = queries.current_judgements().values_list("left_id", "right_id", "verdict", "kind", "weight")
        return [
            resolver.Judgement(left, right, verdict == Verdict.SAME, resolver.Kind(kind), weight)
            for left, right, verdict, kind, weight in rows
        ]

    def picture(self):
        """Who everybody is, what is known of them, and which segments they are in."""
        return (
            self.people(),
            sorted(Trait.objects.values_list("profile_id", "name", "value", "identifier_id")),
            sorted(Membership.objects.filter(left_at=None).values_list("profile_id", "segment_id")),
        )


@pytest.mark.slow
def test_identity__whatever_happens__keeps_its_laws(workspace, now):
    machine = type("Machine", (Lives,), {"workspace": workspace, "now": now})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=10, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

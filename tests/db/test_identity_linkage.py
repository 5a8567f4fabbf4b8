"""Batch record linkage of a workspace: from records in Postgres to judgements, people and open questions."""

import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from cdp import rehearsal
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, IdentifierTrait, OutboxRow, Profile, Run, RunState, Stage, Trait, outbox
from cdp.models.digests import identifier_digest
from cdp.models.tenancy import workspace_scope
from consent import gate
from consent.models import ConsentState
from identity import golden, linkage, queries, records, registry, undoing, wholesale
from identity import services as identity
from identity.live import index
from identity.matching import engine, features, training
from identity.matching.accuracy import pairwise
from identity.models import Judgement, JudgementKind, LinkageModel, Refusal, Relation, ReviewPair, Verdict
from tests.factories import SourceFactory, febrl, say
from tests.outbox import subjects_waiting, waiting

pytestmark = pytest.mark.slow

PEOPLE = 250


def load(workspace, name, people, now, *, is_unique=True):
    """Identifier → entity."""
    source = SourceFactory(workspace=workspace, name=name, has_unique_people=is_unique)
    kind = f"{name}:id"
    made = Identifier.objects.bulk_create(
        Identifier(workspace=workspace, type=kind, value=f"{place}", digest=identifier_digest(kind, f"{place}"))
        for place, _ in enumerate(people)
    )
    IdentifierTrait.objects.bulk_create(
        IdentifierTrait(
            workspace=workspace, identifier=identifier, source=source, name=trait, value=value, observed_at=now
        )
        for identifier, (_, traits) in zip(made, people, strict=True)
        for trait, value in traits.items()
    )
    return {identifier.pk: entity for identifier, (entity, _) in zip(made, people, strict=True)}


@pytest.fixture
def entities(workspace, now):
    chosen = {entity for entity, _ in itertools.islice(febrl.people("4a"), PEOPLE)}
    crm = [row for row in febrl.people("4a") if row[0] in chosen]
    shop = [row for row in febrl.people("4b") if row[0] in chosen]
    return {**load(workspace, "crm", crm, now), **load(workspace, "webshop", shop, now)}


@pytest.fixture(scope="module")
def frozen():
    """Learned once from the same people: most tests are not about training."""
    chosen = {entity for entity, _ in itertools.islice(febrl.people("4a"), PEOPLE)}
    people = [traits for name in ("4a", "4b") for entity, traits in febrl.people(name) if entity in chosen]
    rows = [(place, None, *(traits.get(trait) for trait in features.TRAITS)) for place, traits in enumerate(people)]
    with engine.connect(memory_limit="1GB", threads=2) as duck:
        engine.load(duck, rows)
        return training.train(duck)


def keep(workspace, learnt, *, version, **thresholds):
    """In the registry, as it was learnt or with other thresholds."""
    metadata = {**learnt.metadata, "thresholds": {**learnt.metadata["thresholds"], **thresholds}}
    return LinkageModel.objects.create(
        workspace=workspace, version=version, settings=learnt.settings, frequencies=learnt.frequencies,
        metadata=metadata,
    )  # fmt: skip


@pytest.fixture
def model(workspace, frozen):
    return keep(workspace, frozen, version=1)


@pytest.fixture(autouse=True)
def many_at_once(monkeypatch):
    """However few they are: some hundred would go the way of the pipeline, which has tests of its own."""
    monkeypatch.setattr(wholesale, "FEW", 0)


@pytest.fixture(params=[wholesale.BY_KEY, 0], ids=["by-key", "everybody"])
def looked_at(request, monkeypatch):
    """Whom a run looks at: those whom it concerns, or the whole workspace."""
    monkeypatch.setattr(wholesale, "BY_KEY", request.param)


@pytest.fixture
def resolve(workspace, now):
    def resolve():
        return linkage.resolve(workspace_id=workspace.pk, clock=lambda: now)

    return resolve


def people():
    return dict(Identifier.objects.values_list("pk", "profile_id"))


def test_resolve__two_sources_of_the_same_people__finds_them(workspace, entities, resolve, now):
    result = resolve()

    assert pairwise(people(), entities).f1 >= 0.99
    assert result["judgements"] == Judgement.objects.count() >= PEOPLE - 5
    assert result["clusters"] == len(set(people().values()))
    assert result["review"] == ReviewPair.objects.count()
    assert Profile.objects.exclude(merged_into=None).count() == 2 * PEOPLE - result["clusters"]
    run = Run.objects.get()
    assert (run.state, run.counts["pairs"], run.finished_at) == (RunState.DONE, result["pairs"], now)
    judgement = Judgement.objects.first()
    assert (judgement.kind, judgement.model, judgement.run_id) == (
        JudgementKind.PROBABILISTIC, LinkageModel.objects.get(), run.pk
    )  # fmt: skip
    assert {"given_name", "surname", "date_of_birth"} <= judgement.evidence.keys()
    handed_on = OutboxRow.objects.filter(stage=Stage.ENRICHMENT)
    assert set(handed_on.values_list("cause", flat=True)) == {Cause.MERGE}
    assert not Trait.objects.filter(profile__merged_into__isnull=False).exists()
    assert Trait.objects.filter(name="surname").count() >= result["clusters"] * 0.9


def test_resolve__again__writes_nothing(model, entities, resolve):
    resolve()
    before = people(), Judgement.objects.count(), ReviewPair.objects.count(), OutboxRow.objects.count()

    again = resolve()

    assert (people(), Judgement.objects.count(), ReviewPair.objects.count(), OutboxRow.objects.count()) == before
    assert again["judgements"] == 0
    assert LinkageModel.objects.count() == 1


def test_resolve__no_two_records_of_one_source_with_unique_people__are_judged(model, entities, resolve):
    resolve()

    types = Judgement.objects.values_list("left__type", "right__type").distinct()
    assert {frozenset(pair) for pair in types} == {frozenset({"crm:id", "webshop:id"})}


def test_resolve__after_an_undo__does_not_merge_again(workspace, model, entities, resolve, now):
    resolve()
    judgement = Judgement.objects.order_by("pk").first()
    identity.undo_merge(
        workspace_id=workspace.pk, left_id=judgement.left_id, right_id=judgement.right_id, author=None, now=now
    )

    again = resolve()

    assert again["judgements"] == 0
    assert Judgement.objects.filter(retracts=judgement).count() == 1
    pair = ReviewPair.objects.filter(left=judgement.left_id, right=judgement.right_id)
    assert not pair.exists()


def test_resolve__person_who_objects__is_not_compared(model, entities, resolve):
    objector = Identifier.objects.get(type="crm:id", value="0")
    say(objector, Purpose.IDENTITY, ConsentState.REFUSED)

    resolve()

    assert people()[objector.pk] == objector.pk
    assert not Judgement.objects.filter(left=objector).exists()
    assert not ReviewPair.objects.filter(left=objector).exists()


@pytest.mark.parametrize("few", [0, 10_000], ids=["wholesale", "as-the-pipeline"])
def test_resolve__person_who_objects_while_it_scores__is_not_judged(model, entities, resolve, monkeypatch, few):
    objector, score_batch = Identifier.objects.get(type="crm:id", value="0"), linkage.scoring.score_batch

    def object_meanwhile(*given: object):
        score_batch(*given)
        say(objector, Purpose.IDENTITY, ConsentState.REFUSED)

    monkeypatch.setattr(wholesale, "FEW", few)
    monkeypatch.setattr(linkage.scoring, "score_batch", object_meanwhile)

    result = resolve()

    assert people()[objector.pk] == objector.pk
    assert not Judgement.objects.filter(Q(left=objector) | Q(right=objector)).exists()
    assert not ReviewPair.objects.filter(Q(left=objector) | Q(right=objector)).exists()
    assert result["judgements"] == Judgement.objects.count() >= PEOPLE - 20


def test_resolve__with_a_newer_model__replaces_the_judgements_of_the_older(workspace, model, entities, resolve, now):
    resolve()
    before = people()

    trained = linkage.train(workspace_id=workspace.pk, seed=7, now=now)
    registry.activate(workspace_id=workspace.pk, version=2, author=None, now=now)
    resolve()

    assert trained["model"] == 2
    current = Judgement.objects.filter(retracts=None, retraction=None, verdict=Verdict.SAME)
    assert set(current.values_list("model__version", flat=True)) == {2}
    assert people() == before


def test_resolve__question_that_a_steward_answered__is_not_asked_again(workspace, model, entities, resolve, now):
    resolve()
    upper = model.metadata["thresholds"]["upper"]
    keep(workspace, model, version=2, lower=upper, upper=1000.0)
    registry.activate(workspace_id=workspace.pk, version=2, author=None, now=now)
    asked = resolve()["review"]
    pair = ReviewPair.objects.order_by("-weight").first()
    identity.judge(
        workspace_id=workspace.pk, left_id=pair.left_id, right_id=pair.right_id, verdict=Verdict.NOT_SAME, author=None,
        evidence={}, now=now,
    )  # fmt: skip

    again = resolve()

    assert asked >= PEOPLE - 5
    assert again["review"] == asked - 1
    assert people() == {one: one for one in people()}


def test_resolve__that_fails__leaves_a_failed_run_and_nothing_else(model, entities, resolve, monkeypatch):
    def fail(*_: object, **__: object):
        raise OSError("disk")

    monkeypatch.setattr(linkage.scoring, "score_batch", fail)

    with pytest.raises(OSError, match="disk"):
        resolve()

    assert list(Run.objects.values_list("state", "error")) == [(RunState.FAILED, "OSError")]
    assert not Judgement.objects.exists()
    assert not ReviewPair.objects.exists()


def ledger():
    """Everything that a run may write, with the transaction that wrote it."""
    tables = ("identifier", "judgement", "outbox", "profile", "review_pair", "trait")
    with connection.cursor() as cursor:
        found = {}
        for table in tables:
            cursor.execute(f"SELECT ctid::text, xmin::text, * FROM core.{table} ORDER BY 1")
            found[table] = cursor.fetchall()
        return found


def test_resolve__again_with_the_frozen_model__touches_no_row(model, entities, resolve):
    resolve()
    before = ledger()

    resolve()

    assert before["judgement"]
    assert before["trait"]
    assert ledger() == before


def test_resolve__only_new__finds_what_a_run_over_all_finds(workspace, model, resolve, now):
    chosen = {entity for entity, _ in itertools.islice(febrl.people("4a"), PEOPLE)}
    load(workspace, "crm", [row for row in febrl.people("4a") if row[0] in chosen], now)
    resolve()
    load(workspace, "webshop", [row for row in febrl.people("4b") if row[0] in chosen], now)

    new = linkage.resolve(workspace_id=workspace.pk, clock=lambda: now, only_new=True)

    before = ledger()
    whole = resolve()
    assert new["judgements"] >= PEOPLE - 5
    assert (whole["pairs"], whole["judgements"], whole["review"]) == (new["pairs"], 0, new["review"])
    assert ledger() == before


def test_resolve__only_new_where_keys_are_at_hand__loads_some_and_finds_what_a_run_over_all_finds(
    workspace, model, resolve, now
):
    crm = list(itertools.islice(febrl.people("4a"), PEOPLE))
    load(workspace, "crm", crm, now)
    resolve()
    index.build_index(workspace_id=workspace.pk, now=now)
    newcomers = {entity for entity, _ in crm[: PEOPLE // 10]}
    load(workspace, "webshop", [row for row in febrl.people("4b") if row[0] in newcomers], now)

    new = linkage.resolve(workspace_id=workspace.pk, clock=lambda: now, only_new=True)

    before = ledger()
    whole = resolve()
    assert new["judgements"] >= PEOPLE // 10 - 2
    assert Run.objects.order_by("pk")[1].counts["records"] < PEOPLE // 2
    assert (whole["pairs"], whole["judgements"], whole["review"]) == (new["pairs"], 0, new["review"])
    assert ledger() == before


def written():
    """What a run leaves behind, without what differs from run to run."""
    return {
        "people": people(),
        "redirects": set(Profile.objects.exclude(merged_into=None).values_list("pk", "merged_into")),
        "traits": set(Trait.objects.values_list("profile", "name", "value", "identifier", "rule")),
        "refusals": set(Refusal.objects.values_list("left_id", "right_id", "reason")),
        "relations": {(*row[:2], bytes(row[2])) for row in Relation.objects.values_list("profile_id", "rule", "key")},
        "questions": set(ReviewPair.objects.values_list("left", "right", "weight")),
        "work": sorted(waiting(stage=Stage.ENRICHMENT)),
    }


def test_resolve__of_many_at_once__writes_what_the_pipeline_would(
    workspace, model, entities, resolve, now, monkeypatch, looked_at
):
    others = sorted(entities)[:: PEOPLE // 8]
    for left, right in itertools.pairwise(others):
        identity.judge(
            workspace_id=workspace.pk, left_id=left, right_id=right, verdict=Verdict.NOT_SAME, author=None,
            evidence={}, now=now,
        )  # fmt: skip
    crowded = Identifier.objects.create(workspace=workspace, type="email", value="a@b.c", digest=b"1" * 32)
    for one in others:
        identity.judge(
            workspace_id=workspace.pk, left_id=one, right_id=crowded.pk, verdict=Verdict.SAME, author=None, evidence={},
            now=now,
        )  # fmt: skip
    start = transaction.savepoint()
    resolve()
    at_once = written()
    transaction.savepoint_rollback(start)
    monkeypatch.setattr(wholesale, "FEW", 10_000)

    resolve()

    assert written() == at_once
    assert len(at_once["redirects"]) >= PEOPLE - 20
    assert at_once["traits"]


@pytest.fixture
def shared_out(committed, frozen, now, monkeypatch):
    """Records that other connections see, and so few that are many: two transactions write them, half and half."""
    monkeypatch.setattr(wholesale, "MANY", 0)
    chosen = {entity for entity, _ in itertools.islice(febrl.people("4a"), PEOPLE)}
    with workspace_scope(committed.pk):
        for name, file in (("crm", "4a"), ("webshop", "4b")):
            load(committed, name, [row for row in febrl.people(file) if row[0] in chosen], now)
        keep(committed, frozen, version=1)
        one, other, third = Identifier.objects.filter(type="crm:id").order_by("pk")[:3]
        for left, right in ((one, other), (other, third)):
            identity.judge(
                workspace_id=committed.pk, left_id=left.pk, right_id=right.pk, verdict=Verdict.NOT_SAME, author=None,
                evidence={}, now=now,
            )  # fmt: skip
    return committed


def written_in(workspace):
    with workspace_scope(workspace.pk):
        return written()


def written_at_once(workspace, now):
    """What one transaction writes, which ends as if it had never been."""
    with transaction.atomic():
        linkage.resolve(workspace_id=workspace.pk, clock=lambda: now)
        found = written_in(workspace)
        transaction.set_rollback(True)
    return found


def transactions_of(version):
    """How many wrote the judgements of this model."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT j.xmin::text) FROM core.judgement j JOIN core.linkage_model m ON m.id = j.model_id"
            " WHERE m.version = %s",
            [version],
        )
        return cursor.fetchone()[0]


def test_resolve__by_several_transactions__writes_what_one_would(shared_out, now, looked_at):
    untouched = written_in(shared_out)
    at_once = written_at_once(shared_out, now)
    assert written_in(shared_out) == untouched

    result = linkage.resolve(workspace_id=shared_out.pk, clock=lambda: now)

    assert written_in(shared_out) == at_once != untouched
    with workspace_scope(shared_out.pk):
        assert result["judgements"] == Judgement.objects.exclude(model=None).count() >= PEOPLE - 20
        assert transactions_of(version=1) == 2


@pytest.fixture(params=["no judgement", "the half of them"])
def newer(request, shared_out, frozen, now):
    """After a run there is another model: it judges the same, or asks for so much that half of the people are parted."""
    linkage.resolve(workspace_id=shared_out.pk, clock=lambda: now)
    with workspace_scope(shared_out.pk):
        weights = sorted(Judgement.objects.exclude(model=None).values_list("weight", flat=True))
        stricter = {"upper": weights[len(weights) // 2]} if request.param == "the half of them" else {}
        keep(shared_out, frozen, version=2, **stricter)
        registry.activate(workspace_id=shared_out.pk, version=2, author=None, now=now)
    return bool(stricter)


def test_resolve__with_a_newer_model__retracts_and_judges_by_several_transactions_what_one_would(
    shared_out, newer, now, looked_at
):
    before = written_in(shared_out)
    at_once = written_at_once(shared_out, now)
    assert written_in(shared_out) == before

    linkage.resolve(workspace_id=shared_out.pk, clock=lambda: now)

    after = written_in(shared_out)
    assert after == at_once
    assert (after["people"] != before["people"]) is newer
    with workspace_scope(shared_out.pk):
        assert transactions_of(version=2) == 2
        assert {one.model.version for one in queries.current_judgements().exclude(model=None)} == {2}


def keys():
    with connection.cursor() as cursor:
        cursor.execute("SELECT key, identifier_id FROM core.blocking_key")
        return set(cursor.fetchall())


def test_resolve__only_new_by_several_transactions__keeps_their_keys_and_finds_whom_a_run_over_all_finds(
    shared_out, now
):
    linkage.resolve(workspace_id=shared_out.pk, clock=lambda: now)
    index.build_index(workspace_id=shared_out.pk, now=now)
    known = list(itertools.islice(febrl.people("4b"), PEOPLE))
    with workspace_scope(shared_out.pk):
        before = keys()
        load(shared_out, "till", known, now)

    new = linkage.resolve(workspace_id=shared_out.pk, clock=lambda: now, only_new=True)

    with workspace_scope(shared_out.pk):
        kept = keys()
    whole = linkage.resolve(workspace_id=shared_out.pk, clock=lambda: now)
    index.build_index(workspace_id=shared_out.pk, now=now)
    with workspace_scope(shared_out.pk):
        assert before < kept == keys()
    assert new["judgements"] >= 10
    assert whole["judgements"] == 0


@pytest.fixture
def at_once(shared_out, now):
    return written_at_once(shared_out, now)


@pytest.fixture
def failed(shared_out, now, monkeypatch):
    """A run of which one share is written, and the other fails."""
    refreshed, calls = golden.refreshed_traits, itertools.count()

    def fail_once(*given, **more):
        if next(calls) == 0:
            raise OSError("disk")
        return refreshed(*given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(golden, "refreshed_traits", fail_once)
        with pytest.raises(OSError, match="disk"):
            linkage.resolve(workspace_id=shared_out.pk, clock=lambda: now)
    with workspace_scope(shared_out.pk):
        return Run.objects.get()


def test_undo__of_a_run_that_failed__parts_whom_it_had_put_together(shared_out, failed, now):
    with gate.permit(Purpose.IDENTITY, workspace_id=shared_out.pk):
        together = people()

    undone = undoing.undo(workspace_id=shared_out.pk, scope=undoing.Scope.RUN, number=failed.pk, author=None, now=now)

    with gate.permit(Purpose.IDENTITY, workspace_id=shared_out.pk) as permit:
        identity.link(permit, dict.fromkeys(subjects_waiting(stage=Stage.IDENTITY), Cause.SPLIT), now=now)
        assert people() == {one: one for one in together} != together
    assert undone.retracted > 0


def test_resolve__of_which_a_share_fails__leaves_whole_people_and_the_next_run_writes_the_rest(
    shared_out, at_once, failed, now
):
    with workspace_scope(shared_out.pk):
        assert failed.state == RunState.FAILED
        profiles, judged = people(), Judgement.objects.exclude(model=None)
        assert 0 < judged.count() < PEOPLE * 0.8
        assert all(profiles[one.left_id] == profiles[one.right_id] for one in judged)
        assert {one: profiles[one] for one in profiles if profiles[one] != one}.items() <= at_once["people"].items()
        assert not ReviewPair.objects.exists()

    linkage.resolve(workspace_id=shared_out.pk, clock=lambda: now)

    once_more = written_in(shared_out)
    assert {name: once_more[name] for name in once_more if name != "work"} == {
        name: at_once[name] for name in at_once if name != "work"
    }
    assert set(once_more["work"]) == set(at_once["work"])


def test_resolve__only_new_without_anything_new__writes_nothing(workspace, model, entities, resolve, now):
    resolve()
    before = ledger()

    again = linkage.resolve(workspace_id=workspace.pk, clock=lambda: now, only_new=True)

    first, second = Run.objects.order_by("pk").values_list("position", flat=True)
    assert (again["pairs"], again["judgements"]) == (0, 0)
    assert first == second > 0
    assert ledger() == before


def test_resolve__cancelled_while_it_scores__writes_nothing_and_can_be_started_again(
    model, entities, resolve, monkeypatch
):
    score_batch = linkage.scoring.score_batch

    def cancel(*given: object):
        Run.objects.update(state=RunState.CANCELLED)
        score_batch(*given)

    with monkeypatch.context() as patched:
        patched.setattr(linkage.scoring, "score_batch", cancel)
        before = ledger()
        with pytest.raises(linkage.RunCancelledError):
            resolve()

    assert ledger() == before
    cancelled = Run.objects.get()
    again = resolve()
    assert cancelled.state == RunState.CANCELLED
    assert cancelled.counts == {"records": 2 * PEOPLE, "pairs": again["pairs"]}
    assert again["judgements"] >= PEOPLE - 5


def cancel_now(workspace):
    """As somebody else does, in a transaction of their own."""

    def cancel():
        with workspace_scope(workspace.pk):
            Run.objects.filter(workspace=workspace).cancel(now=timezone.now())
        connection.close()

    with ThreadPoolExecutor(1) as somebody_else:
        somebody_else.submit(cancel).result()


def test_resolve__cancelled_while_duckdb_is_at_work__stops_it(shared_out, now, monkeypatch):
    untouched, came_to_an_end = written_in(shared_out), []

    def score(duck, *given):
        cancel_now(shared_out)
        duck.execute("SELECT sum(hash(range)) FROM range(100_000_000_000)")
        came_to_an_end.append(True)

    monkeypatch.setattr(linkage, "SECONDS_BETWEEN_SIGNS", 0.05)
    monkeypatch.setattr(linkage.scoring, "score_batch", score)

    with pytest.raises(linkage.RunCancelledError):
        linkage.resolve(workspace_id=shared_out.pk, clock=lambda: now)

    with workspace_scope(shared_out.pk):
        assert Run.objects.get().state == RunState.CANCELLED
    assert written_in(shared_out) == untouched
    assert not came_to_an_end


@pytest.fixture
def cancelled(shared_out, now, monkeypatch):
    """Runs that are cancelled when the first shares of five are nearly written."""
    hand_over, calls = outbox.hand_over, itertools.count()

    def cancel_and_hand_over(*given, **more):
        if next(calls) == 0:
            cancel_now(shared_out)
        time.sleep(0.2)
        hand_over(*given, **more)

    def run():
        with monkeypatch.context() as patched:
            patched.setattr(linkage, "SECONDS_BETWEEN_SIGNS", 0.01)
            patched.setattr(wholesale, "SHARE", PEOPLE // 5)
            patched.setattr(outbox, "hand_over", cancel_and_hand_over)
            with pytest.raises(linkage.RunCancelledError):
                linkage.resolve(workspace_id=shared_out.pk, clock=lambda: now)
        with workspace_scope(shared_out.pk):
            return Run.objects.latest("pk").state

    return run


def test_resolve__cancelled_while_it_writes__leaves_whole_people_and_can_be_started_again(
    shared_out, at_once, cancelled, now
):
    assert cancelled() == RunState.CANCELLED

    with workspace_scope(shared_out.pk):
        profiles, judged = people(), Judgement.objects.exclude(model=None)
        assert 0 < judged.count() < PEOPLE * 0.8
        assert all(profiles[one.left_id] == profiles[one.right_id] for one in judged)

    linkage.resolve(workspace_id=shared_out.pk, clock=lambda: now)

    assert written_in(shared_out)["people"] == at_once["people"]


def test_resolve__with_a_newer_model_cancelled_while_it_writes__goes_on_where_it_was(shared_out, newer, cancelled, now):
    at_once = written_at_once(shared_out, now)

    assert cancelled() == RunState.CANCELLED

    with workspace_scope(shared_out.pk):
        standing = list(queries.current_judgements().exclude(model=None))
        assert {one.model.version for one in standing} == {1, 2}
        assert len({(one.left_id, one.right_id) for one in standing}) == len(standing)
    linkage.resolve(workspace_id=shared_out.pk, clock=lambda: now)
    assert written_in(shared_out)["people"] == at_once["people"]


def test_resolve__interrupted_at_the_keyboard__is_cancelled(model, entities, resolve, monkeypatch):
    def interrupt(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(linkage.scoring, "score_batch", interrupt)

    with pytest.raises(linkage.RunCancelledError):
        resolve()

    assert Run.objects.get().state == RunState.CANCELLED


def test_command__cancel__stops_a_run_that_is_at_work_and_no_other(workspace, now, capsys):
    at_work, done, of_a_file = (
        Run.objects.create(workspace=workspace, kind=kind, state=state, started_at=now, heartbeat_at=now)
        for kind, state in (
            (undoing.KIND_OF_RUN, RunState.RUNNING), (undoing.KIND_OF_RUN, RunState.DONE), ("load records", RunState.RUNNING)
        )
    )  # fmt: skip

    call_command("identity", "cancel", str(at_work.pk), "--json", workspace=workspace.slug)

    assert json.loads(capsys.readouterr().out) == {"cancelled": at_work.pk}
    for other in (at_work, done, of_a_file):
        with pytest.raises(linkage.NotAtWorkError):
            call_command("identity", "cancel", str(other.pk), workspace=workspace.slug)
    states = Run.objects.order_by("pk").values_list("state", flat=True)
    assert list(states) == [RunState.CANCELLED, RunState.DONE, RunState.RUNNING]


def test_load__values_with_commas_quotes_and_lines__are_what_the_sources_said_last(workspace, now):
    entities = load(
        workspace, "crm", [("a", {"given_name": 'Zo"é', "surname": "O,Hara", "city": "Aix\nles Bains"})], now
    )
    load(workspace, "shop", [("b", {"given_name": "alone"})], now)
    [identifier] = entities
    newer = SourceFactory(workspace=workspace, name="newer")
    IdentifierTrait.objects.create(
        workspace=workspace, identifier_id=identifier, source=newer, name="surname", value="",
        observed_at=now + timedelta(seconds=1),
    )  # fmt: skip
    rules = queries.Rules(limits={"crm:id": 1}, blocked_values=frozenset())

    with (
        gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk),
        engine.connect(memory_limit="1GB", threads=1) as duck,
    ):
        loaded = records.load(duck, rules, workspace_id=workspace.pk)
        found = duck.execute("SELECT unique_id, unique_in, given_name, surname, city FROM record").fetchall()

    assert loaded == 1
    assert found == [(identifier, "crm:id", "zo e", None, "aix les bains")]


def test_command__train_and_resolve__print_one_object(workspace, entities, capsys):
    call_command("identity", "train", "--json", workspace=workspace.slug)
    trained = json.loads(capsys.readouterr().out)
    call_command("identity", "resolve", "--json", workspace=workspace.slug)
    resolved = json.loads(capsys.readouterr().out)

    assert trained["model"] == 1
    assert trained["seconds"] > 0
    assert resolved.keys() == {"pairs", "judgements", "review", "clusters", "steps", "seconds"}
    assert list(resolved["steps"]) == ["load", "train", "score", "write"]
    assert resolved["clusters"] == len(set(people().values()))


def test_resolve__a_model_that_was_trained_since__changes_nothing_until_it_is_activated(
    workspace, model, entities, resolve
):
    resolve()
    before = people(), Judgement.objects.count()
    keep(workspace, model, version=2, lower=900.0, upper=1000.0)

    resolve()

    assert (people(), Judgement.objects.count()) == before


def test_rehearsal__of_another_model__tells_who_would_part_and_changes_nothing(
    workspace, model, entities, resolve, now
):
    resolve()
    merged = Profile.objects.exclude(merged_into=None).count()
    before = people(), Judgement.objects.count(), Run.objects.count(), registry.active_model(workspace.pk)
    keep(workspace, model, version=2, lower=900.0, upper=1000.0)

    changes = rehearsal.resolve(workspace_id=workspace.pk, version=2, now=now)

    assert (people(), Judgement.objects.count(), Run.objects.count(), registry.active_model(workspace.pk)) == before
    assert (changes.counts["split"], changes.counts["merged"]) == (merged, 0)
    assert changes.deed == {"pairs": 0, "judgements": 0, "review": 0}


def test_resolve__after_all_of_a_model_was_undone__only_another_model_judges_the_same(
    workspace, model, entities, resolve, now
):
    linked = resolve()["judgements"]
    undoing.undo(workspace_id=workspace.pk, scope=undoing.Scope.MODEL, number=1, author=None, now=now)
    keep(workspace, model, version=2)

    by_the_same = resolve()["judgements"]
    registry.activate(workspace_id=workspace.pk, version=2, author=None, now=now)
    by_another = resolve()["judgements"]

    assert (by_the_same, by_another) == (0, linked)

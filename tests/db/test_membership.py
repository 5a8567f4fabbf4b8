"""Memberships: entered by arrivals, left at deadlines, ended by consent and merges, given back by an undo."""

from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta

import pytest
from django.db import connection

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, OutboxRow, Stage, planning
from consent import gate
from consent.models import ConsentState
from segments import membership, queries, services
from segments.arrays.plan import plan_of
from segments.language import compile as compiler
from segments.language import parse_text
from segments.models import Deadline, Membership, Segment
from tests import outbox
from tests.factories import SourceFactory, say
from tests.factories.segments import forget, happen, history, know, merge, people, split

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


def create(workspace, rule: str, now: datetime, slug: str = "segment") -> Segment:
    return services.create_segment(workspace_id=workspace.pk, slug=slug, name="", definition=rule, author=None, now=now)


def evaluate(workspace, subjects, now):
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        return dict(membership.evaluate(permit, subjects, now=now))


def work(workspace, now):
    """What the pipeline does when deadlines may have come."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        return dict(membership.evaluate(permit, membership.due(permit, now=now, most=100), now=now))


def waiting(workspace, stage: Stage = Stage.ACTIVATION) -> list[tuple[int, str]]:
    return [(subject, cause) for _, subject, cause in outbox.waiting(stage=stage, workspace=workspace)]


def test_arrival__that_completes_the_rule__enters_once(workspace, source, now):
    [ada] = people(1, workspace)
    segment = create(workspace, 'count of "Order" in last 2 days >= 2', now)
    happen(ada, source, "Order", now - DAY)
    assert evaluate(workspace, {ada.pk: Cause.EVENT}, now) == {}

    happen(ada, source, "Order", now)
    first = evaluate(workspace, {ada.pk: Cause.EVENT}, now)
    again = evaluate(workspace, {ada.pk: Cause.EVENT}, now)

    assert first == {ada.pk: Cause.EVENT}
    assert again == {}
    assert history(Membership.objects.all()) == [(ada.pk, now, Cause.EVENT, None, "")]
    assert Membership.objects.get().version_id == segment.live_version_id
    assert Deadline.objects.get().due_at == now + DAY  # when the older of the two leaves the window


def test_deadline__reached_by_a_punctual_and_a_late_worker__ends_at_the_deadline(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    create(workspace, 'done "Order" in last 1 day', now)

    assert work(workspace, now + DAY - timedelta(microseconds=1)) == {}
    assert Membership.objects.get().left_at is None
    assert work(workspace, now + 3 * DAY) == {ada.pk: Cause.DEADLINE}

    assert history(Membership.objects.all()) == [(ada.pk, now, Cause.DEFINITION, now + DAY, Cause.DEADLINE)]
    assert not Deadline.objects.exists()


def test_deadlines__missed_by_a_worker_that_was_away__are_caught_up_in_order(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    happen(ada, source, "Order", now + 3 * DAY)
    create(workspace, 'done "Order" in last 1 day', now)

    work(workspace, now + 10 * DAY)

    assert history(Membership.objects.all()) == [
        (ada.pk, now, Cause.DEFINITION, now + DAY, Cause.DEADLINE),
        (ada.pk, now + 3 * DAY, Cause.DEADLINE, now + 4 * DAY, Cause.DEADLINE),
    ]


def test_arrival__after_a_missed_deadline__does_not_hide_the_exit(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    create(workspace, 'done "Order" in last 1 day', now)
    happen(ada, source, "Order", now + 2 * DAY)

    evaluate(workspace, {ada.pk: Cause.EVENT}, now + 2 * DAY + SECOND)

    periods = history(Membership.objects.all())
    assert periods[0] == (ada.pk, now, Cause.DEFINITION, now + DAY, Cause.DEADLINE)
    assert periods[1] == (ada.pk, now + 2 * DAY, Cause.DEADLINE, None, "")


def test_deadline__missed_in_one_segment__does_not_take_another_back_in_time(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    create(workspace, 'done "Order" in last 1 day', now, "recent")
    happen(ada, source, "View", now + 2 * DAY)
    viewers = create(workspace, 'done "View"', now + 2 * DAY, "viewers")

    work(workspace, now + 2 * DAY)

    assert history(Membership.objects.filter(segment=viewers)) == [(ada.pk, now + 2 * DAY, Cause.DEFINITION, None, "")]


def test_absence__comes_true_by_time_alone(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    segment = create(workspace, 'not done "Order" in last 30 days', now)
    assert queries.members_of(segment) == []

    work(workspace, now + 30 * DAY)

    assert history(Membership.objects.all()) == [(ada.pk, now + 30 * DAY, Cause.DEADLINE, None, "")]


def test_late_event__that_lies_in_the_past__moves_the_exit(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now - 20 * SECOND)
    create(workspace, 'done "Order" in last 1 minute', now)

    happen(ada, source, "Order", now - 10 * SECOND)
    evaluate(workspace, {ada.pk: Cause.EVENT}, now)
    work(workspace, now + 90 * SECOND)

    assert history(Membership.objects.all()) == [(ada.pk, now, Cause.DEFINITION, now + 50 * SECOND, Cause.DEADLINE)]


def test_deadline__that_moves_into_the_future__is_written_when_the_former_one_comes(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    create(workspace, 'done "Order" in last 1 day', now)

    happen(ada, source, "Order", now + SECOND)
    evaluate(workspace, {ada.pk: Cause.EVENT}, now + SECOND)
    assert Deadline.objects.get().due_at == now + DAY

    assert work(workspace, now + DAY) == {}
    assert Deadline.objects.get().due_at == now + DAY + SECOND
    assert Membership.objects.get().left_at is None


def test_deadline__that_comes_nearer__is_written_at_once(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    create(workspace, 'count of "Order" in last 1 day = 1', now)

    happen(ada, source, "Order", now + 2 * SECOND)
    evaluate(workspace, {ada.pk: Cause.EVENT}, now + SECOND)

    assert Deadline.objects.get().due_at == now + 2 * SECOND


def test_deadlines_of_several_segments__come_one_after_the_other_though_only_the_first_is_kept(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    lasting = {days: create(workspace, f'done "Order" in last {days} days', now, slug=f"s{days}") for days in (3, 1, 2)}

    ends = []
    while deadline := Deadline.objects.first():
        ends.append((deadline.due_at, deadline.segments))
        work(workspace, deadline.due_at)

    assert ends == [(now + days * DAY, [lasting[days].pk]) for days in (1, 2, 3)]
    assert [(row.segment_id, row.left_at) for row in Membership.objects.order_by("left_at")] == [
        (lasting[days].pk, now + days * DAY) for days in (1, 2, 3)
    ]


def test_deadline__that_segments_share__ends_all_of_them_and_tells_no_other(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    for slug in ("a", "b"):
        create(workspace, 'done "Order" in last 1 day', now, slug=slug)
    create(workspace, 'trait "city" = "Paris"', now, slug="parisians")
    know(ada, source, city="Paris")  # and nobody has evaluated it yet

    work(workspace, now + DAY)

    left = Membership.objects.order_by("segment_id").values_list("segment__slug", "left_at", "left_cause")
    assert list(left) == [("a", now + DAY, Cause.DEADLINE), ("b", now + DAY, Cause.DEADLINE)]


def test_trait__that_is_forgotten__ends_the_membership(workspace, source, now):
    [ada] = people(1, workspace)
    know(ada, source, country="FR")
    create(workspace, 'trait "country" = "FR"', now)

    forget(ada, "country")
    evaluate(workspace, {ada.pk: Cause.EVENT}, now + DAY)

    assert history(Membership.objects.all()) == [(ada.pk, now, Cause.DEFINITION, now + DAY, Cause.EVENT)]


def test_withdrawal__ends_every_membership_with_consent_as_the_cause(workspace, source, now):
    ada, grace = people(2, workspace)
    for person in (ada, grace):
        happen(person, source, "Order", now)
    segment = create(workspace, 'done "Order" in last 9 days', now)

    say(ada, Purpose.SEGMENTATION, ConsentState.WITHDRAWN)
    told = evaluate(workspace, {ada.pk: Cause.CONSENT}, now + SECOND)

    assert told == {ada.pk: Cause.CONSENT}
    assert queries.members_of(segment) == [grace.pk]
    assert history(Membership.objects.filter(profile=ada.pk)) == [
        (ada.pk, now, Cause.DEFINITION, now + SECOND, Cause.CONSENT)
    ]
    assert [row.profile_id for row in Deadline.objects.all()] == [grace.pk]


def test_consent__that_changes_no_membership__is_still_told_to_activation(workspace, now):
    [ada] = people(1, workspace)

    assert evaluate(workspace, {ada.pk: Cause.CONSENT}, now) == {ada.pk: Cause.CONSENT}


def test_expired_permission__is_decided_anew_before_deadlines_are_read(workspace, source, now):
    [ada] = people(1, workspace)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE profile SET permitted_until = now() - interval '1 second' WHERE id = %s", [ada.pk])

    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        assert membership.due(permit, now=now, most=10) == {}

    ada.refresh_from_db()
    assert waiting(workspace, Stage.SEGMENTS)[-1] == (ada.pk, Cause.CONSENT)


def test_merge__then_undo__gives_the_former_rows_back(workspace, source, now):
    ada, other = people(2, workspace)
    happen(other, source, "Order", now - 3 * DAY)
    happen(ada, source, "Order", now)
    once = create(workspace, 'count of "Order" = 1', now, "once")
    twice = create(workspace, 'count of "Order" = 2', now, "twice")
    before = history(Membership.objects.all())

    merge(ada, other)
    told = evaluate(workspace, {ada.pk: Cause.MERGE, other.pk: Cause.MERGE}, now + DAY)

    assert told == {ada.pk: Cause.MERGE, other.pk: Cause.MERGE}
    assert queries.members_of(once) == []
    assert queries.members_of(twice) == [ada.pk]

    split(other)
    evaluate(workspace, {ada.pk: Cause.SPLIT, other.pk: Cause.SPLIT}, now + 2 * DAY)

    assert history(Membership.objects.filter(segment=once)) == before
    assert history(Membership.objects.filter(segment=twice)) == [
        (ada.pk, now + DAY, Cause.MERGE, now + 2 * DAY, Cause.SPLIT)
    ]


def test_undo__does_not_reopen_what_ended_before_the_merge(workspace, source, now):
    ada, other = people(2, workspace)
    happen(other, source, "Order", now)
    create(workspace, 'done "Order" in last 1 day', now)
    work(workspace, now + DAY)
    merge(ada, other)
    evaluate(workspace, {ada.pk: Cause.MERGE, other.pk: Cause.MERGE}, now + 2 * DAY)

    split(other)
    happen(other, source, "Order", now + 3 * DAY)
    evaluate(workspace, {ada.pk: Cause.SPLIT, other.pk: Cause.SPLIT}, now + 3 * DAY)

    assert history(Membership.objects.all()) == [
        (other.pk, now, Cause.DEFINITION, now + DAY, Cause.DEADLINE),
        (other.pk, now + 3 * DAY, Cause.SPLIT, None, ""),
    ]


def test_new_version__swaps_members_and_tells_only_the_difference(workspace, source, now):
    stays, goes, comes = people(3, workspace)
    know(stays, source, country="FR", city="Lille")
    know(goes, source, country="FR")
    know(comes, source, city="Lille")
    segment = create(workspace, 'trait "country" = "FR"', now)
    OutboxRow.objects.all().delete()

    published = services.publish(segment=segment, definition='trait "city" = "Lille"', author=None, now=now + DAY)

    assert (published.entered, published.left, published.members) == (1, 1, 2)
    assert queries.members_of(segment) == [stays.pk, comes.pk]
    assert waiting(workspace) == [(goes.pk, Cause.DEFINITION), (comes.pk, Cause.DEFINITION)]
    assert history(Membership.objects.filter(profile=goes.pk)) == [
        (goes.pk, now, Cause.DEFINITION, now + DAY, Cause.DEFINITION)
    ]
    segment.refresh_from_db()
    assert (segment.live_version, segment.live_version.number) == (published.version, 2)


def test_new_version__after_a_missed_deadline__leaves_the_exit_where_it_was(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    segment = create(workspace, 'done "Order" in last 1 day', now)

    services.publish(segment=segment, definition='done "Order" in last 2 hours', author=None, now=now + 2 * DAY)

    assert history(Membership.objects.all()) == [(ada.pk, now, Cause.DEFINITION, now + DAY, Cause.DEADLINE)]
    assert (ada.pk, Cause.DEADLINE) in waiting(workspace)


def test_archived_segment__loses_its_members_and_waits_for_nothing(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    segment = create(workspace, 'done "Order" in last 1 day', now)

    assert services.archive(segment=segment, now=now + SECOND) == 1

    assert work(workspace, now + 9 * DAY) == {}
    assert evaluate(workspace, {ada.pk: Cause.EVENT}, now + 9 * DAY) == {}
    assert history(Membership.objects.all()) == [(ada.pk, now, Cause.DEFINITION, now + SECOND, Cause.DEFINITION)]


def test_due__gives_the_oldest_deadlines_first_and_no_more_than_asked(workspace, source, now):
    ada, grace, joan = people(3, workspace)
    for person, days in ((ada, 3), (grace, 1), (joan, 2)):
        happen(person, source, "Order", now - 4 * DAY + days * DAY)
    create(workspace, 'done "Order" in last 10 days', now)

    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        found = membership.due(permit, now=now + 20 * DAY, most=2)

    assert list(found.items()) == [(grace.pk, Cause.DEADLINE), (joan.pk, Cause.DEADLINE)]


def test_evaluation__of_more_rules_than_fit_one_query__splits_them(workspace, source, now, monkeypatch):
    monkeypatch.setattr(compiler, "MAX_COLUMNS", 8)
    [ada] = people(1, workspace)
    know(ada, source, number=7)
    for place in range(3):
        rule = " or ".join(f'count of "E{place}x{n}" in last {n + 1} days > {n + 1}' for n in range(2))
        create(workspace, f'{rule} or trait "number" = 7', now, f"s{place}")

    assert evaluate(workspace, {ada.pk: Cause.EVENT}, now) == {}
    forget(ada, "number")
    assert evaluate(workspace, {ada.pk: Cause.EVENT}, now) == {ada.pk: Cause.EVENT}
    assert Membership.objects.filter(left_at=now, left_cause=Cause.EVENT).count() == 3


@pytest.fixture
def many(workspace, source, now):
    """More people than statistics know of."""
    for person in people(3, workspace):
        happen(person, source, "Visit", now)
        know(person, source, number=7)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE core.event, core.identifier, core.profile, core.trait")
    found = people(120, workspace)
    for person in found:
        happen(person, source, "Order", now)
        know(person, source, city="Lyon")
    return found


def test_evaluation__of_many__goes_over_nothing_again_for_each_of_them(workspace, many, now):
    create(workspace, 'count of "Order" in last 2 days >= 2 or trait "city" = "Lyon"', now)

    with explaining() as found:
        evaluate(workspace, {person.pk: Cause.EVENT for person in many}, now)

    assert {"identifier", "profile", "trait"} < {node.get("Relation Name") for node in found}
    assert gone_over_again(found) == []


@pytest.mark.parametrize("asked", [compiler.Asked.SOME, compiler.Asked.EACH_AT_ITS_INSTANT])
def test_question__of_many_in_bulk__goes_over_nothing_again_for_each_of_them(workspace, many, now, asked):
    rules = {1: parse_text('count of "Order" in last 2 days >= 2'), 2: parse_text('trait "city" = "Lyon"')}
    query = compiler.compile_rules(rules, asked)

    with planning.in_bulk():
        found = explained(query, workspace, many, now=now, instants=[now] * len(many))

    assert gone_over_again(found) == ["answer"], "the answers to each rule are told for each of them, and nothing else"


@pytest.mark.parametrize("plans", [nullcontext, planning.in_bulk])
def test_evaluation__of_few_in_a_new_month__reads_no_events_of_others(workspace, source, now, plans):
    many = people(500, workspace)
    a_month_of_no_other_test = now + 400 * DAY
    everybody_does("Order", 20, source, a_month_of_no_other_test)

    with plans():
        assert left_out_for(many[:50], workspace) < 50 * 20


@pytest.mark.parametrize("plans", [nullcontext, planning.in_bulk])
def test_evaluation__of_few_by_a_new_name__reads_no_events_of_others(workspace, source, now, plans):
    many, in_a_month_of_its_own = people(100, workspace), now + 440 * DAY
    everybody_does("Visit", 5, source, in_a_month_of_its_own)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE core.event, core.identifier, core.profile")
    everybody_does("Order", 20, source, in_a_month_of_its_own)

    with plans():
        assert left_out_for(many[:50], workspace) < 50 * 20


def everybody_does(name, times, source, when):
    with connection.cursor() as cursor:
        cursor.execute("SELECT core.ensure_event_partition(%s)", [when.date()])
        cursor.execute(
            "INSERT INTO event (workspace_id, source_id, identifier_id, message_id, kind, name, occurred_at, received_at,"
            " seen_with, properties, context) SELECT workspace_id, %(source)s, id, concat_ws('-', id, %(name)s, place),"
            " 'track', %(name)s, %(at)s, %(at)s, '{}', '{}', '{}' FROM identifier, generate_series(1, %(times)s) AS place"
            " WHERE workspace_id = %(workspace)s",
            {"source": source.pk, "name": name, "at": when, "times": times, "workspace": source.workspace_id},
        )


def left_out_for(some, workspace):
    query = plan_of({1: parse_text('count of "Order" in last 2 days >= 2')}, {}).events
    found = explained(query, workspace, some, since="-infinity")
    return sum(node.get("Rows Removed by Filter", 0) * node["Actual Loops"] for node in found)


@contextmanager
def explaining():
    """The steps of every question that Postgres is asked meanwhile, as it took them."""
    found = []

    def explain(execute, sql, parameters, many, context):
        if "AS answer" in sql or "string_agg" in sql:
            execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters, many, context)
            [[[plan]]] = context["cursor"].fetchall()
            found.extend(nodes(plan["Plan"]))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(explain):
        yield found


def explained(query, workspace, of_whom, **moments):
    """The steps of Postgres, as it took them."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk), connection.cursor() as cursor:
        of_them = queries.of_profiles(person.pk for person in of_whom)
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query.sql}", {**query.parameters, **of_them, **moments})
        [[[plan]]] = cursor.fetchall()
    return list(nodes(plan["Plan"]))


def gone_over_again(found):
    return [node.get("Alias", node["Node Type"]) for node in found if node["Actual Loops"] > 1]


def nodes(plan):
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)

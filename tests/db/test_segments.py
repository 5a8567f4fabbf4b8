"""Rules against the database: what values mean, injection, preview, why, and the command."""

import hashlib
import json
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from itertools import product

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from cdp.kernel.purposes import Purpose
from cdp.models import Event as StoredEvent
from consent import gate
from consent.models import ConsentState
from segments import queries, services
from segments.language import (
    Comparison,
    Count,
    Event,
    LanguageError,
    Measured,
    Unit,
    Window,
    parse_json,
    parse_text,
    reference,
)
from segments.language.compile import Asked, compile_rules
from segments.language.reference import Fact, Facts, is_in
from segments.language.tree import NUMERIC
from segments.models import Membership, Segment, SegmentVersion
from segments.publishing import SegmentExistsError
from tests.factories import SourceFactory, say
from tests.factories.segments import happen, know, merge, people, put_in_group

HOSTILE = [
    "'); DROP TABLE core.event; --",
    "' OR '1'='1",
    "%(now)s %s %%",
    "\\' OR 1=1",
    '"quoted"',
    "$$",
    "{answers}",
    "é\u2028",
]


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


def matching(workspace, rule, now):
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        return list(queries.matching(permit, rule, now=now).members)


@pytest.mark.parametrize("text", HOSTILE)
def test_rule__with_hostile_text_everywhere__finds_exactly_that_text(workspace, source, now, text):
    target, other = people(2, workspace)
    happen(target, source, text, now, {text: text})
    happen(other, source, "x", now, {"x": "x"})
    know(target, source, **{text: [text]})
    put_in_group(target, "model", text)
    condition = {"property": text, "is": "in", "value": [text]}
    rules = [
        {"event": text, "where": [condition, {"property": text, "is": "starts_with", "value": text}]},
        {"trait": text, "is": "contains", "value": text},
        {"event": text, "measure": {"sum": text}, "is": "=", "value": 0, "where": [condition]},
        {"learned": "model", "group": text},
    ]

    assert [matching(workspace, parse_json(rule), now) for rule in rules[:2]] == [[target.pk], [target.pk]]
    assert matching(workspace, parse_json(rules[2]), now) == [target.pk, other.pk]
    assert matching(workspace, parse_json(rules[3]), now) == [target.pk]
    assert StoredEvent.objects.count() == 2


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('trait "v" = 1', ["one"]),
        ('trait "v" = "1"', ["text"]),
        ('trait "v" = true', ["true"]),
        ('trait "v" != "2"', ["text", "empty"]),
        ('trait "v" != 2', ["one"]),
        ('trait "v" exists', ["one", "text", "true", "empty", "list"]),
        ('trait "v" in (1, "", true)', ["one", "true", "empty"]),
        ('trait "v" contains "1"', ["text", "list"]),
        ('trait "v" contains 2', ["list"]),
        ('trait "v" starts with ""', ["text", "empty"]),
        ('trait "v" >= ""', ["text", "empty"]),
        ('trait "v" < 1.5', ["one"]),
        ('not trait "v" exists', ["null", "missing"]),
    ],
)
def test_comparison__with_missing_null_or_another_type__is_false(workspace, source, now, rule, expected):
    values = {"one": 1, "text": "1", "true": True, "empty": "", "null": None, "list": ["1", 2]}
    persons = dict(zip([*values, "missing"], people(7, workspace), strict=True))
    for name, value in values.items():
        know(persons[name], source, v=value)

    assert matching(workspace, parse_text(rule), now) == [persons[name].pk for name in expected]


def test_window__counts_from_its_own_instant_and_not_at_its_end(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    rule = parse_text('done "Order" in last 24 hours')
    moment = timedelta(microseconds=1)

    ends = now + timedelta(hours=24)
    answers = [bool(matching(workspace, rule, at)) for at in (now - moment, now, ends - moment, ends)]
    assert answers == [False, True, True, False]


def test_count__at_any_instant__tells_exactly_when_its_answer_changes(workspace, source, now):
    [ada] = people(1, workspace)
    hours = (-30, -20, -10, -8, 5)  # of two at once the first exit may change nothing: early, which is allowed
    for hour in hours:
        happen(ada, source, "Order", now + timedelta(hours=hour))
    facts = Facts(events=[Fact("Order", now + timedelta(hours=hour), {}, 1, str(n)) for n, hour in enumerate(hours)])
    numbers = [Decimal(number) for number in ("0", "1", "1.5", "2", "3", "4")]
    window = Window(24, Unit.HOURS)
    kinds = product(sorted(NUMERIC - {Comparison.BETWEEN}), numbers)
    rules = {place: Event(Measured("Order", Count(), (), window), *kind) for place, kind in enumerate(kinds)}
    query = compile_rules(rules, Asked.EVERYBODY)

    for hour in (-31, -30, -20, -10, -6, 0, 4, 5, 14, 29):
        at = now + timedelta(hours=hour)
        with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk), connection.cursor() as cursor:
            cursor.execute(query.sql, {**query.parameters, "now": at})
            answers = {rule: (found, change) for rule, _, found, change, _ in cursor.fetchall()}
        # An event that is still to come is looked at when it comes, whatever it then changes.
        coming = [fact.occurred_at for fact in facts.events if fact.occurred_at > at]
        for place, rule in rules.items():
            is_member, change = reference.evaluate(rule, facts, at)
            assert answers[place] == (is_member, min([*coming, *([change] if change else [])], default=None))


def test_sum__adds_decimals_exactly_and_ignores_what_is_no_number(workspace, source, now):
    [ada] = people(1, workspace)
    for amount in (0.1, 0.2, "7", None, True, [9]):
        happen(ada, source, "Order", now, {"amount": amount})
    happen(ada, source, "Order", now)

    assert matching(workspace, parse_text('sum of amount of "Order" = 0.3'), now) == [ada.pk]


def test_rule__as_deep_and_as_large_as_allowed__is_computed(workspace, source, now):
    [ada] = people(1, workspace)
    deep: dict[str, object] = {"trait": "a"}
    for level in range(49):
        deep = {"not": deep} if level % 2 else {("and", "or")[level % 4 // 2]: [deep, {"event": f"E{level}"}]}
    large = " or ".join(f'count of "E{n}" in last {n + 1} days = {n + 1}' for n in range(300))

    expected = [ada.pk] if is_in(parse_json(deep), Facts(), now) else []
    assert matching(workspace, parse_json(deep), now) == expected
    assert matching(workspace, parse_text(large), now) == []


def test_matching__sees_only_who_permits_segmentation(workspace, source, now):
    ada, grace = people(2, workspace)
    say(ada, Purpose.SEGMENTATION, ConsentState.WITHDRAWN)

    assert matching(workspace, parse_text('not done "Order"'), now) == [grace.pk]


def test_matching__by_events__finds_the_one_whom_others_were_merged_into_and_nobody_who_withdrew(
    workspace, source, now
):
    ada, augusta, grace = people(3, workspace)
    for one in (ada, augusta, grace):
        happen(one, source, "Order", now)
    merge(ada, augusta)
    say(grace, Purpose.SEGMENTATION, ConsentState.WITHDRAWN)

    assert matching(workspace, parse_text('done "Order"'), now) == [ada.pk]


def test_preview__counts_everybody_and_writes_nothing(workspace, source, now):
    persons = people(25, workspace)
    for person in persons[:22]:
        happen(person, source, "Order", now)

    found = services.preview(workspace_id=workspace.pk, definition='done "Order"', now=now)

    assert (found.count, found.sample) == (22, [person.pk for person in persons[:20]])
    assert not Segment.objects.exists()


def test_why__names_each_condition_and_when_it_could_change(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now - timedelta(hours=1))
    services.create_segment(
        workspace_id=workspace.pk, slug="s", name="", definition='done "Order" in last 1 day and not trait "a" exists',
        author=None, now=now,
    )  # fmt: skip

    found = services.why(workspace_id=workspace.pk, slug="s", profile_id=ada.pk, now=now)

    assert found.is_in is True
    assert [(reason.condition, reason.is_true, reason.next_change_at) for reason in found.reasons] == [
        ('count of "Order" in last 1 day >= 1', True, now + timedelta(hours=23)),
        ('trait "a" exists', False, None),
    ]
    assert found.reasons[0].sentence == "“Order” happened in the last day."
    with pytest.raises(services.UnknownProfileError):
        services.why(workspace_id=workspace.pk, slug="s", profile_id=ada.pk + 1, now=now)
    with pytest.raises(services.UnknownSegmentError):
        services.why(workspace_id=workspace.pk, slug="other", profile_id=ada.pk, now=now)


def test_create__with_a_slug_that_is_taken__changes_nothing(workspace, now):
    given = {"workspace_id": workspace.pk, "slug": "s", "name": "S", "author": None, "now": now}
    services.create_segment(**given, definition='done "Order"')

    with pytest.raises(SegmentExistsError):
        services.create_segment(**given, definition='done "View"')
    with pytest.raises(LanguageError):
        services.create_segment(**{**given, "slug": "t"}, definition="nonsense")

    assert [version.definition["event"] for version in SegmentVersion.objects.all()] == ["Order"]
    assert Segment.objects.count() == 1


def test_services__as_the_logins_that_use_them__are_permitted(workspace, source, now, as_login):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    for login in ("web", "operator", "worker_segments"):
        as_login(login)
        segment = services.create_segment(
            workspace_id=workspace.pk,
            slug=login,
            name="",
            definition='done "Order" in last 1 day',
            author=None,
            now=now,
        )
        assert services.size_of(segment) == 1
        as_login("none")
    assert Membership.objects.count() == 3


def run(*arguments: str) -> dict[str, object]:
    output = StringIO()
    call_command("segments", *arguments, "--json", stdout=output)
    found: dict[str, object] = json.loads(output.getvalue())
    return found


def test_command__with_both_engines__prints_the_same_digest(workspace, source, now, tmp_path):
    persons = people(3, workspace)
    for person in persons[1:]:
        happen(person, source, "Order", now)
    rule = tmp_path / "rule.json"
    rule.write_text('{"event": "Order", "within": {"last": 1, "unit": "days"}}')
    asked = ["evaluate", str(rule), "--workspace", workspace.slug, "--members", "--at", now.isoformat()]

    found = run(*asked)
    reference = run(*asked, "--engine", "reference")

    members = [person.pk for person in persons[1:]]
    digest = hashlib.sha256("".join(f"{member}\n" for member in members).encode()).hexdigest()
    assert {**found, "seconds": 0} == {"count": 2, "digest": digest, "seconds": 0, "members": members}
    assert {**reference, "seconds": 0} == {**found, "seconds": 0}


def test_command__create__makes_a_segment_that_serves(workspace, now, tmp_path):
    people(2, workspace)
    rule = tmp_path / "rule.txt"
    rule.write_text('not done "Order"')

    found = run("create", "quiet", str(rule), "--name", "Quiet ones", "--workspace", workspace.slug)

    assert found == {"segment": "quiet", "version": 1, "members": 2}
    assert Segment.objects.get().name == "Quiet ones"


@pytest.mark.parametrize("arguments", [["--engine", "oracle"], ["--at", "yesterday"], ["--at", "2026-13-01T00:00:00Z"]])
def test_command__with_wrong_arguments__is_refused_with_status_2(workspace, tmp_path, arguments):
    rule = tmp_path / "rule.txt"
    rule.write_text("done x")

    with pytest.raises(CommandError) as caught:
        call_command("segments", "evaluate", str(rule), "--workspace", workspace.slug, *arguments)
    assert caught.value.returncode in {1, 2}
    with pytest.raises(CommandError):
        call_command("segments", "evaluate", str(tmp_path / "none"), "--workspace", workspace.slug)

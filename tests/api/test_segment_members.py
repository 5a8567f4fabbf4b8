"""Members as of an instant and as files; versions, names, and going back."""

import csv
import io
import json
import tracemalloc
from datetime import timedelta

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from cdp.api import segment_members
from cdp.kernel.purposes import Purpose
from cdp.models import Cause
from consent import gate
from consent.models import ConsentState
from segments import membership, services
from segments.models import Segment, SegmentVersion
from tests.factories import SourceFactory, say
from tests.factories.segments import happen, know, people

DAY = timedelta(days=1)


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


@pytest.fixture
def writer(caller, workspace):
    return caller("segments:read", "segments:write", "profiles:read", purpose=Purpose.SEGMENTATION)


def create(workspace, rule, now, slug="recent"):
    return services.create_segment(workspace_id=workspace.pk, slug=slug, name="", definition=rule, author=None, now=now)


def text_of(answer):
    return b"".join(answer.streaming_content).decode()


@pytest.fixture
def recent(workspace, source, now):
    """Ada ordered now, Grace a day later: each was in for a day."""
    ada, grace = people(2, workspace)
    happen(ada, source, "Order", now)
    happen(grace, source, "Order", now + DAY)
    create(workspace, 'done "Order" in last 1 day', now)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        membership.evaluate(permit, {ada.pk: Cause.DEADLINE, grace.pk: Cause.DEADLINE}, now=now + 5 * DAY)
    return ada, grace


def at(moment):
    return moment.isoformat().replace("+00:00", "Z")


def test_members__at_an_instant__are_those_who_were_in_then(writer, recent, now):
    def members(moment):
        body = writer.get("segments/recent/members", at=at(moment)).json()
        return [(each["profile"], each["entered_at"]) for each in body["members"]]

    ada, grace = recent
    assert members(now - timedelta(microseconds=1)) == []
    assert members(now) == [(ada.pk, at(now))]
    assert members(now + DAY) == [(grace.pk, at(now + DAY))]
    assert members(now + 2 * DAY) == []
    assert writer.get("segments/recent/members").json()["members"] == []


def test_members__give_the_place_from_which_changes_are_followed(workspace, source, writer, now):
    [ada] = people(1, workspace)
    create(workspace, 'trait "city" = "Paris"', now)
    listed = writer.get("segments/recent/members").json()
    know(ada, source, city="Paris")
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        membership.evaluate(permit, {ada.pk: Cause.LEARNT}, now=now)

    body = writer.get("segments/recent/changes", after=listed["changes_after"]).json()

    assert [each["profile"] for each in body["changes"]] == [ada.pk]


def test_export__as_lines_of_json__has_everybody_page_by_page(workspace, source, writer, now, monkeypatch):
    monkeypatch.setattr(segment_members, "MOST_ROWS", 2)
    everybody = people(5, workspace)
    for place, person in enumerate(everybody):
        know(person, source, city="Paris", orders=place)
    create(workspace, 'trait "city" = "Paris"', now)

    answer = writer.get("segments/recent/export", traits="orders,none")
    lines = [json.loads(line) for line in text_of(answer).splitlines()]

    assert answer["Content-Type"] == "application/x-ndjson"
    assert [line["profile"] for line in lines] == [person.pk for person in everybody]
    assert lines[3] == {
        "profile": everybody[3].pk, "entered_at": at(now), "entered_cause": "DEFINITION", "traits": {"orders": 3},
    }  # fmt: skip


def test_export__as_csv__is_read_back_and_holds_no_formula(workspace, source, writer, now):
    [ada] = people(1, workspace)
    know(ada, source, city="=HYPERLINK(1)", plan='a,"b"\n', age=-3)
    create(workspace, 'trait "city" exists', now)
    headers = {**writer._headers, "Accept": "text/csv"}

    answer = writer.client.get(
        "/api/v1/segments/recent/export", {"kind": "csv", "traits": "city,plan,age,x", "at": at(now)}, headers=headers
    )

    assert list(csv.reader(io.StringIO(text_of(answer), newline=""))) == [
        ["profile", "entered_at", "entered_cause", "city", "plan", "age", "x"],
        [str(ada.pk), at(now), "DEFINITION", "'=HYPERLINK(1)", 'a,"b"\n', "-3", ""],
    ]


@given(st.text())
def test_cell__always__begins_no_formula(text):
    assert segment_members._cell(text)[:1] not in segment_members.FORMULAS


def test_export__holds_only_whom_the_key_may_see(caller, workspace, source, now):
    advertiser = caller("segments:read", purpose=Purpose.ADVERTISING)
    ada, grace = people(2, workspace)
    for person in (ada, grace):
        know(person, source, city="Paris")
    say(grace, Purpose.ADVERTISING, ConsentState.GIVEN)
    create(workspace, 'trait "city" = "Paris"', now)

    lines = text_of(advertiser.get("segments/recent/export", at=at(now))).splitlines()

    assert [json.loads(line)["profile"] for line in lines] == [grace.pk]


def test_export__of_traits_without_their_scope__is_refused(caller, workspace, now):
    create(workspace, 'trait "city" = "Paris"', now)

    answer = caller("segments:read").get("segments/recent/export", traits="city")

    assert (answer.status_code, answer.json()["code"]) == (403, "traits_forbidden")


@pytest.mark.slow
def test_export__of_many__needs_no_more_memory_than_of_few(workspace, writer, now):
    segment = create(workspace, 'trait "city" = "Paris"', now)
    people(1, workspace)
    with connection.cursor() as cursor:
        cursor.execute(_MANY, [workspace.pk, workspace.pk, segment.pk, segment.live_version_id, now])

    answer = writer.get("segments/recent/export")
    tracemalloc.start()
    lines = sum(piece.count(b"\n") for piece in answer.streaming_content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert lines == 20_000
    assert peak < 10 * 2**20


_MANY = """
WITH profiles AS (
    INSERT INTO profile (id, workspace_id, permitted, created_at)
    SELECT 900000000 + n, %s, 127, now() FROM generate_series(1, 20000) AS n RETURNING id
)
INSERT INTO membership (workspace_id, segment_id, profile_id, version_id, entered_at, entered_cause, left_cause)
SELECT %s, %s, id, %s, %s, 'EVENT', '' FROM profiles
"""


# -- versions ----------------------------------------------------------------------------------------------------------


def test_versions__are_listed_shown_and_gone_back_to(workspace, source, writer, now):
    [ada] = people(1, workspace)
    know(ada, source, city="Paris")
    writer.post("segments", {"slug": "s", "definition": 'trait "city" = "Paris"'})
    writer.post("segments/s/versions", {"definition": 'trait "city" = "Lyon"'})

    listed = writer.get("segments/s/versions").json()["versions"]
    first = writer.get("segments/s/versions/1").json()
    back = writer.post("segments/s/versions/1/live", {}).json()

    assert [(each["number"], each["is_live"], each["text"]) for each in listed] == [
        (2, True, 'trait "city" = "Lyon"'),
        (1, False, 'trait "city" = "Paris"'),
    ]
    assert first == listed[1]
    assert (back["version"], back["entered"], back["members"]) == (3, 1, 1)
    assert SegmentVersion.objects.filter(segment__slug="s").count() == 3


def test_archived_segment__is_brought_back_by_publishing_again(workspace, source, writer, now):
    [ada] = people(1, workspace)
    know(ada, source, city="Paris")
    writer.post("segments", {"slug": "s", "definition": 'trait "city" = "Paris"'})
    writer.delete("segments/s")
    archived = writer.get("segments/s/versions/1").json()["is_live"]

    writer.post("segments/s/versions/1/live", {})

    assert archived is False
    assert writer.get("segments/s").json()["archived_at"] is None
    assert [each["profile"] for each in writer.get("segments/s/members").json()["members"]] == [ada.pk]


def test_name_and_description__change_without_a_version(workspace, writer):
    writer.post("segments", {"slug": "s", "name": "S", "definition": 'trait "city" exists'})

    answer = writer.client.patch(
        "/api/v1/segments/s", {"name": "Cities", "description": "who lives somewhere"},
        content_type="application/json", headers=writer._headers,
    ).json()  # fmt: skip

    assert (answer["name"], answer["description"], answer["version"]) == ("Cities", "who lives somewhere", 1)
    assert Segment.objects.get().name == "Cities"


def test_list__comes_page_by_page_with_sizes(workspace, source, writer):
    [ada] = people(1, workspace)
    know(ada, source, city="Paris")
    for slug in ("b", "a", "c"):
        rule = 'trait "city" = "Paris"' if slug == "a" else 'trait "city" = "Lyon"'
        writer.post("segments", {"slug": slug, "definition": rule})

    first = writer.get("segments", limit=2).json()
    second = writer.get("segments", limit=2, cursor=first["next"]).json()

    assert [(each["slug"], each["size"]) for each in first["segments"]] == [("a", 1), ("b", 0)]
    assert ([each["slug"] for each in second["segments"]], second["next"]) == (["c"], None)


def test_versions__of_another_workspace_or_that_are_none__do_not_exist(workspace, writer, stranger):
    writer.post("segments", {"slug": "s", "definition": 'trait "city" exists'})

    assert writer.get("segments/s/versions/2").status_code == 404
    assert writer.post("segments/s/versions/2/live", {}).status_code == 404
    for path in ("segments/s/versions", "segments/s/versions/1", "segments/s/export", "segments/s/members"):
        assert stranger.get(path).status_code == 404
    assert stranger.post("segments/s/versions/1/live", {}).status_code == 404
    assert SegmentVersion.objects.count() == 1


def test_change__without_the_scope__is_refused(caller, workspace, writer):
    writer.post("segments", {"slug": "s", "definition": 'trait "city" exists'})
    reader = caller("segments:read")

    patched = reader.client.patch(
        "/api/v1/segments/s", {"name": "x"}, content_type="application/json", headers=reader._headers
    )

    assert patched.status_code == 403
    assert reader.post("segments/s/versions/1/live", {}).status_code == 403
    assert SegmentVersion.objects.count() == 1

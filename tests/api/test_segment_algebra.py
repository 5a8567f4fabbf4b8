"""Sets of segments: who is in which, unions and differences, and overlaps, as far as the key may see."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.kernel.purposes import Purpose
from consent import gate
from consent.models import ConsentState
from segments import algebra, services
from segments.models import Segment
from tests.factories import SourceFactory, say
from tests.factories.segments import know, merge, people

SLUGS = ("a", "b", "c")


@pytest.fixture
def reader(caller, workspace):
    return caller("segments:read", purpose=Purpose.SEGMENTATION)


@pytest.fixture
def crowd(workspace, now):
    """Eight people: the bits of the place of each say in which of `a`, `b` and `c` they are."""
    source = SourceFactory(workspace=workspace)
    everybody = people(8, workspace)
    for place, person in enumerate(everybody):
        for bit, slug in enumerate(SLUGS):
            if place >> bit & 1:
                know(person, source, **{slug: True})
    for slug in SLUGS:
        services.create_segment(
            workspace_id=workspace.pk, slug=slug, name="", definition=f'trait "{slug}" exists', author=None, now=now
        )
    return everybody


def ask(reader, expression, **more):
    return reader.post("segments/algebra", {"expression": expression, **more}).json()


def test_algebra__of_nested_sets__counts_and_lists(reader, crowd):
    expression = {"difference": [{"union": ["a", "b"]}, {"intersection": ["b", "c"]}, "c"]}

    body = ask(reader, expression)

    assert body == {"count": 3, "members": [crowd[place].pk for place in (1, 2, 3)], "next": None}


def test_algebra__page_by_page__has_everybody_once(reader, crowd):
    first = ask(reader, {"union": ["a", "b"]}, limit=4)
    second = ask(reader, {"union": ["a", "b"]}, limit=4, cursor=first["next"])

    assert first["members"] + second["members"] == [crowd[place].pk for place in (1, 2, 3, 5, 6, 7)]
    assert (first["count"], second["count"], second["next"]) == (6, None, None)


EXPRESSIONS = st.recursive(
    st.sampled_from(SLUGS),
    lambda part: st.builds(
        lambda word, parts: {word: parts},
        st.sampled_from(("union", "intersection", "difference")),
        st.lists(part, min_size=2, max_size=3),
    ),
    max_leaves=6,
)


def meaning(expression, sets):
    """As Python's own sets have it."""
    if isinstance(expression, str):
        return sets[expression]
    [(word, parts)] = expression.items()
    first, *others = (meaning(part, sets) for part in parts)
    return {"union": first.union, "intersection": first.intersection, "difference": first.difference}[word](*others)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=EXPRESSIONS)
def test_algebra__always__is_that_of_sets(workspace, crowd, said):
    sets = {slug: {crowd[place].pk for place in range(8) if place >> bit & 1} for bit, slug in enumerate(SLUGS)}
    ids = dict(Segment.objects.filter(workspace=workspace).values_list("slug", "pk"))
    expression = algebra.read_expression(said)

    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        members = algebra.members_of(permit, expression, ids, after=0, limit=100)
        count = algebra.count_of(permit, expression, ids)

    assert members == sorted(meaning(said, sets))
    assert count == len(members)


@pytest.mark.parametrize(
    ("expression", "pointer"),
    [
        (7, ""),
        ({"union": ["a"]}, ""),
        ({"union": ["a", "b"], "difference": ["a", "b"]}, ""),
        ({"union": ["a", {"xor": ["a", "b"]}]}, "/union/1"),
        ({"intersection": ["a", {"union": "ab"}]}, "/intersection/1"),
    ],
)
def test_algebra__of_what_is_no_expression__says_where(reader, crowd, expression, pointer):
    body = ask(reader, expression)

    assert (body["code"], body["details"]["pointer"]) == ("segment_algebra", pointer)


def test_algebra__too_deep_or_too_wide__is_refused(reader, crowd):
    deep = "a"
    for _ in range(11):
        deep = {"union": [deep, "a"]}

    assert ask(reader, deep)["code"] == "segment_algebra"
    assert ask(reader, {"union": [f"s{number}" for number in range(51)]})["code"] == "segment_algebra"


def test_algebra_and_overlap__of_an_unknown_segment__are_refused(reader, crowd):
    assert reader.post("segments/algebra", {"expression": {"union": ["a", "z"]}}).status_code == 404
    assert reader.get("segments/overlap", of="a,z").status_code == 404


def test_overlap__is_a_matrix_of_counts_and_jaccard(reader, crowd):
    body = reader.get("segments/overlap", of="a,b").json()

    assert body == {
        "segments": ["a", "b"],
        "matrix": [
            [{"count": 4, "jaccard": 1.0}, {"count": 2, "jaccard": 2 / 6}],
            [{"count": 2, "jaccard": 2 / 6}, {"count": 4, "jaccard": 1.0}],
        ],
    }


def test_overlap__of_nobody__has_no_ratio(reader, crowd, workspace, now):
    services.create_segment(
        workspace_id=workspace.pk, slug="empty", name="", definition='trait "z" exists', author=None, now=now
    )

    assert reader.get("segments/overlap", of="empty").json()["matrix"] == [[{"count": 0, "jaccard": None}]]


def test_test__of_ids_and_identifiers__tells_the_segments_of_each(reader, crowd):
    merge(crowd[3], crowd[4])
    asked = [
        str(crowd[3].pk),
        f"email:{crowd[6].value}",
        f"profile:{crowd[0].pk}",
        str(crowd[4].pk),
        "999999999",
        "x:y",
    ]

    body = reader.post("segments/test", {"profiles": asked, "segments": ["c", "a", "b"]}).json()

    assert [(each["profile"], each["segments"]) for each in body["results"]] == [
        (crowd[3].pk, ["a", "b"]),
        (crowd[6].pk, ["c", "b"]),
        (crowd[0].pk, []),
        (crowd[3].pk, ["a", "b"]),
        (None, []),
        (None, []),
    ]
    assert [each["asked"] for each in body["results"]] == asked


@pytest.mark.parametrize(
    "body", [{}, {"profiles": [], "segments": ["a"]}, {"profiles": ["1"] * 1001, "segments": ["a"]}]
)
def test_test__of_nothing_or_too_many__is_refused(reader, crowd, body):
    assert reader.post("segments/test", body).json()["code"] == "validation_failed"


def test_sets__of_a_key_for_advertising__hold_only_those_who_permit_it(caller, workspace, crowd):
    advertiser = caller("segments:read", purpose=Purpose.ADVERTISING)
    say(crowd[7], Purpose.ADVERTISING, ConsentState.GIVEN)

    assert ask(advertiser, {"union": ["a", "b"]})["members"] == [crowd[7].pk]
    assert advertiser.get("segments/overlap", of="a,b").json()["matrix"][0][1]["count"] == 1
    tested = advertiser.post(
        "segments/test", {"profiles": [str(one.pk) for one in crowd[6:]], "segments": ["a"]}
    ).json()
    assert [each["profile"] for each in tested["results"]] == [None, crowd[7].pk]


def test_call__without_the_scope_or_of_another_workspace__is_refused(caller, stranger, crowd):
    member = caller("segments:write", "profiles:read")

    for other, status in ((member, 403), (stranger, 404)):
        assert other.post("segments/algebra", {"expression": "a"}).status_code == status
        assert other.get("segments/overlap", of="a").status_code == status
        assert other.post("segments/test", {"profiles": ["1"], "segments": ["a"]}).status_code == status


def test_sets__of_more_people_than_one_look__are_whole(reader, crowd, monkeypatch):
    monkeypatch.setattr(algebra, "_FIRST_PEOPLE", 1)
    monkeypatch.setattr(algebra, "_PEOPLE_AT_ONCE", 3)

    body = ask(reader, {"union": ["a", "b"]}, limit=5)
    overlap = reader.get("segments/overlap", of="a,b,c").json()["matrix"]

    assert body["members"] == [crowd[place].pk for place in (1, 2, 3, 5, 6)]
    assert [[pair["count"] for pair in row] for row in overlap] == [[4, 2, 2], [2, 4, 2], [2, 2, 4]]

"""Computed traits over the API: defined in either form, changed while segments use them, archived."""

import pytest

from cdp.kernel.purposes import Purpose
from segments import computed, services
from segments.models import ComputedTrait, ComputedTraitVersion, Segment

SPENT = 'sum of "amount" of "Order" in last 365 days'


@pytest.fixture
def writer(caller):
    return caller("segments:read", "segments:write", purpose=Purpose.SEGMENTATION)


@pytest.fixture
def spent(workspace):
    return computed.create_computed_trait(
        workspace_id=workspace.pk, slug="spent", name="Spent", definition=SPENT, author=None
    )


@pytest.fixture
def buyers(workspace, spent, now):
    return services.create_segment(
        workspace_id=workspace.pk, slug="buyers", name="", definition='computed "spent" > 100', author=None, now=now
    )


def put(writer, slug, definition):
    headers = {"Authorization": f"Bearer {writer.secret}"}
    path, body = f"/api/v1/computed-traits/{slug}", {"definition": definition}
    return writer.client.put(path, body, content_type="application/json", headers=headers)


def test_computed_trait__defined_as_text_and_as_json__is_the_same(workspace, writer):
    of_text = writer.post("computed-traits", {"slug": "spent", "name": "Spent", "definition": SPENT})
    of_json = writer.post("computed-traits", {"slug": "paid", "definition": of_text.json()["definition"]})

    assert (of_text.status_code, of_json.status_code) == (201, 201)
    body = of_json.json()
    assert (body["text"], body["version"], body["name"], body["segments"]) == (SPENT, 1, "paid", [])
    assert (body["sentence"], body["archived_at"]) == (of_text.json()["sentence"], None)
    assert body["sentence"].endswith("in the last 365 days.")
    assert [each["slug"] for each in writer.get("computed-traits").json()["computed_traits"]] == ["paid", "spent"]


def test_measure__with_a_mistake__is_refused_with_its_place(workspace, writer):
    of_text = writer.post("computed-traits", {"slug": "spent", "definition": 'sum of "amount" off "Order"'})
    of_json = writer.post("computed-traits", {"slug": "spent", "definition": {"event": 7}})

    assert (of_text.status_code, of_text.json()["details"]["column"]) == (400, 17)
    assert (of_json.status_code, of_json.json()["details"]) == (400, {"pointer": "/event"})
    assert not ComputedTrait.objects.exists()


def test_computed_trait__that_there_is_already__is_not_defined_again(workspace, writer, spent):
    refused = writer.post("computed-traits", {"slug": "spent", "definition": SPENT})

    assert (refused.status_code, refused.json()["code"]) == (409, "computed_trait_exists")
    assert ComputedTraitVersion.objects.count() == 1


def test_measure__changed__publishes_the_segments_that_use_it(workspace, writer, buyers):
    changed = put(writer, "spent", 'sum of "amount" of "Order" in last 90 days').json()

    assert (changed["version"], changed["segments"], changed["published"]) == (2, ["buyers"], ["buyers"])
    assert changed["text"] == 'sum of "amount" of "Order" in last 90 days'
    assert Segment.objects.select_related("live_version").get().live_version.number == 2


def test_measure__changed_with_a_mistake__stays_as_it_was(workspace, writer, buyers):
    refused = put(writer, "spent", "sum of")

    assert refused.status_code == 400
    assert writer.get("computed-traits/spent").json()["text"] == SPENT
    assert Segment.objects.select_related("live_version").get().live_version.number == 1


def test_computed_trait__that_a_segment_uses__is_archived_only_after_it(workspace, writer, buyers, now):
    refused = writer.delete("computed-traits/spent")
    services.archive(segment=buyers, now=now)
    archived = writer.delete("computed-traits/spent")

    assert (refused.status_code, refused.json()["code"]) == (409, "computed_trait_used")
    assert refused.json()["details"]["segments"] == ["buyers"]
    assert archived.status_code == 204
    assert writer.get("computed-traits/spent").json()["archived_at"] is not None
    assert writer.delete("computed-traits/spent").status_code == 404


def test_computed_trait__archived_and_defined_again__is_back(workspace, writer, spent):
    writer.delete("computed-traits/spent")

    back = writer.post("computed-traits", {"slug": "spent", "definition": 'count of "Order"'}).json()

    assert (back["version"], back["archived_at"], back["text"]) == (2, None, 'count of "Order"')


def test_computed_trait__of_another_workspace_or_without_the_scope__is_out_of_reach(workspace, caller, stranger, spent):
    reader = caller("segments:read", purpose=Purpose.SEGMENTATION)

    assert stranger.get("computed-traits").json() == {"computed_traits": []}
    assert [put(stranger, "spent", SPENT).status_code, stranger.delete("computed-traits/spent").status_code] == [
        404,
        404,
    ]
    assert [put(reader, "spent", SPENT).status_code, reader.delete("computed-traits/spent").status_code] == [403, 403]
    assert ComputedTraitVersion.objects.count() == 1

"""The pages of lists and computed traits, and of people by hand in one segment."""

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from cdp.console import segment_lists
from cdp.console.apps import load_pages
from cdp.models import Workspace
from segments import computed, services
from segments.models import ComputedTrait, ListEntry, Segment, SegmentList
from tests.factories import WorkspaceFactory
from tests.factories.filled import console_user
from tests.factories.segments import people

load_pages()
SPENT = 'sum of "amount" of "Order" in last 365 days'
BY_HAND = "admin:segments_segmentlist_by_hand"


@pytest.fixture
def steward(workspace):
    return console_user(workspace)


@pytest.fixture
def client(steward, as_login) -> Client:
    as_login("web")
    client = Client()
    client.force_login(steward)
    return client


@pytest.fixture
def vip(workspace: Workspace) -> SegmentList:
    return SegmentList.objects.create(workspace=workspace, slug="vip", name="Very important")


@pytest.fixture
def them(workspace):
    return people(2, workspace)


@pytest.fixture
def spent(workspace):
    return computed.create_computed_trait(
        workspace_id=workspace.pk, slug="spent", name="Spent", definition=SPENT, author=None
    )


@pytest.fixture
def buyers(workspace, spent, now) -> Segment:
    return services.create_segment(
        workspace_id=workspace.pk, slug="buyers", name="", definition='computed "spent" > 100', author=None, now=now
    )


def page_of(row, page="change", *more):
    return reverse(f"admin:segments_{row._meta.model_name}_{page}", args=[row.pk, *more])  # Django's documented name


def told(answer) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


# -- lists ------------------------------------------------------------------------------------------------------------


def test_list__made_in_the_console__opens_the_page_that_fills_it(client, workspace):
    answer = client.post(reverse("admin:segments_segmentlist_add"), {"name": "Very important", "slug": "vip"})

    made = SegmentList.objects.get()
    assert (made.workspace, made.slug, answer.url) == (workspace, "vip", page_of(made))


def test_list__with_a_slug_of_a_segment__is_not_made(client):
    answer = client.post(reverse("admin:segments_segmentlist_add"), {"name": "x", "slug": "+buyers"})

    assert "slug" in answer.context["adminform"].form.errors
    assert not SegmentList.objects.exists()


def test_people__typed_and_in_a_file__are_put_on_with_who_and_why(them, vip, client, steward):
    ada, grace = them
    file = SimpleUploadedFile("people.txt", f"\ufeff{grace.pk}\nnonsense\n".encode())
    form = {"people": f"email:{ada.value}\r\n", "file": file, "reason": "asked for"}

    answer = client.post(page_of(vip, "put_on"), form, follow=True)

    entries = list(ListEntry.objects.order_by("identifier_id"))
    assert [(row.identifier_id, row.author, row.reason) for row in entries] == [
        (ada.pk, steward, "asked for"),
        (grace.pk, steward, "asked for"),
    ]
    assert told(answer) == ["2 people were put on.", "1 line names nobody: 3: identifier_syntax"]
    assert {(row.profile_id, row.entry.reason) for row in answer.context["entries"]} == {
        (ada.pk, "asked for"),
        (grace.pk, "asked for"),
    }
    assert answer.context["size"] == 2


def test_person__taken_off__stays_in_the_history_with_who_did_it(them, vip, client, steward):
    client.post(page_of(vip, "put_on"), {"people": str(them[0].pk)}, follow=True)

    answer = client.post(page_of(vip, "take_off"), {"people": str(them[0].pk)}, follow=True)

    [row] = answer.context["entries"]
    assert (row.entry.remover, row.entry.removed_at is not None, answer.context["size"]) == (steward, True, 0)
    assert told(answer) == ["1 person was taken off."]


def test_file__that_is_too_large__is_refused_whole(them, vip, client, monkeypatch):
    monkeypatch.setattr(segment_lists, "LARGEST_FILE", 3)
    file = SimpleUploadedFile("people.txt", f"{them[0].pk:09d}\n".encode())

    answer = client.post(page_of(vip, "put_on"), {"people": str(them[1].pk), "file": file}, follow=True)

    assert told(answer) == ["The file is too large for the console: use `manage.py lists`."]
    assert not ListEntry.objects.exists()


def test_lists__of_segments_and_of_other_workspaces__are_not_among_them(them, vip, buyers, client):
    SegmentList.objects.create(workspace=vip.workspace, slug="-buyers", name="no")
    client.post(page_of(vip, "put_on"), {"people": str(them[0].pk)})

    shown = client.get(reverse("admin:segments_segmentlist_changelist"))

    assert [(row.slug, row.size) for row in shown.context["cl"].result_list] == [("vip", 1)]


@pytest.mark.parametrize(("permission", "status"), [("view_segmentlist", 403), ("change_segmentlist", 302)])
def test_people__put_on_by_a_member__need_the_right_to_change_lists(workspace, them, vip, as_login, permission, status):
    member = console_user(workspace, "member", is_superuser=False)
    member.user_permissions.add(Permission.objects.get(codename=permission))
    as_login("web")
    client = Client()
    client.force_login(member)

    answer = client.post(page_of(vip, "put_on"), {"people": str(them[0].pk)})

    assert (answer.status_code, ListEntry.objects.count()) == (status, status == 302)


def test_list__of_another_workspace__is_not_found(them, vip, as_login):
    stranger = console_user(WorkspaceFactory(), "stranger")
    as_login("web")
    client = Client()
    client.force_login(stranger)

    answer = client.post(page_of(vip, "put_on"), {"people": str(them[0].pk)})

    assert answer.status_code == 404
    assert not ListEntry.objects.exists()


# -- in one segment ---------------------------------------------------------------------------------------------------


def test_somebody__put_in_then_kept_out_then_left_to_the_rule__is_shown_so(them, buyers, client, steward):
    ada, _ = them
    shown = []
    for way in ("in", "out", "neither"):
        form = {"person": f"email:{ada.value}", "reason": "by telephone"}
        answer = client.post(reverse(BY_HAND, args=[buyers.pk, way]), form, follow=True)
        shown.append([(row.profile_id, row.is_out, row.entry.author) for row in answer.context["by_hand"]])

    assert shown == [[(ada.pk, False, steward)], [(ada.pk, True, steward)], []]
    assert told(answer) == ["Done."]


def test_somebody__who_is_nobody__is_put_nowhere(buyers, client):
    answers = [
        client.post(reverse(BY_HAND, args=[buyers.pk, "in"]), {"person": person}, follow=True)
        for person in ("4711", "", "nonsense")
    ]

    assert [len(told(answer)) for answer in answers] == [1, 1, 1]
    assert not ListEntry.objects.exists()


# -- computed traits --------------------------------------------------------------------------------------------------


def test_computed_trait__made_in_the_console__is_listed_in_words(client, workspace):
    form = {"name": "Spent", "slug": "spent", "definition": SPENT}
    client.post(reverse("admin:segments_computedtrait_add"), form)

    [row] = client.get(reverse("admin:segments_computedtrait_changelist")).context["cl"].result_list
    assert (row.slug, row.workspace, row.defined.version.number, row.defined.users) == ("spent", workspace, 1, [])


def test_measure__with_a_mistake__is_told_at_its_field(client):
    form = {"name": "Spent", "slug": "spent", "definition": "sum off"}
    answer = client.post(reverse("admin:segments_computedtrait_add"), form)

    assert "definition" in answer.context["adminform"].form.errors
    assert not ComputedTrait.objects.exists()


def test_measure__changed__publishes_who_uses_it_and_shows_both_versions(buyers, spent, client, steward):
    form = {"name": "Paid", "definition": 'count of "Order"'}
    answer = client.post(page_of(spent), form, follow=True)
    shown = client.get(page_of(spent)).context

    assert "Published anew: buyers." in told(answer)
    assert [(row.number, row.author, text) for row, text in shown["versions"]] == [
        (2, steward, 'count of "Order"'),
        (1, None, SPENT),
    ]
    assert (shown["defined"].users, shown["defined"].trait.name) == (["buyers"], "Paid")
    assert Segment.objects.select_related("live_version").get().live_version.number == 2


def test_computed_trait__renamed__publishes_nothing(buyers, spent, client):
    client.post(page_of(spent), {"name": "Paid", "definition": SPENT})

    assert ComputedTrait.objects.get().name == "Paid"
    assert Segment.objects.select_related("live_version").get().live_version.number == 1


def test_measure__that_a_rule_cannot_take__changes_nothing_and_says_why(buyers, spent, client):
    form = {"name": "Paid", "definition": 'values of "product" of "Order"'}
    answer = client.post(page_of(spent), form, follow=True)

    assert told(answer)
    assert ComputedTrait.objects.get().name == "Spent"
    assert spent.versions.count() == 1


def test_computed_trait__archived__comes_back_when_it_is_saved(spent, buyers, client, now):
    refused = client.post(page_of(spent, "archive"), follow=True)
    services.archive(segment=buyers, now=now)
    client.post(page_of(spent, "archive"))
    gone = ComputedTrait.objects.get().archived_at
    client.post(page_of(spent), {"name": "Spent", "definition": SPENT})

    assert told(refused) == ["Segments use spent: buyers"]
    assert gone is not None
    assert ComputedTrait.objects.get().archived_at is None

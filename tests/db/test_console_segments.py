"""The page of a segment: what each version changed, going back, how far a computation is, and the preview."""

import pytest
from django.test import Client
from django.urls import reverse

from cdp.console.apps import load_pages
from cdp.models import Run, RunState, Workspace
from segments.models import Backfill, Membership, Segment
from tests.factories import WorkspaceFactory
from tests.factories.filled import Filled, console_user, fill

load_pages()
IN_PARIS = {"name": "Buyers", "description": "", "definition": 'trait "city" = "Paris"'}


@pytest.fixture
def filled(workspace: Workspace, now, as_login) -> Filled:
    made = fill(workspace, console_user(workspace), now)
    as_login("web")
    return made


@pytest.fixture
def client(filled: Filled) -> Client:
    client = Client()
    client.force_login(filled.user)
    return client


def page_of(filled: Filled) -> str:
    return reverse("admin:segments_segment_change", args=[filled.segment.pk])


def test_segment_page__shows_what_each_version_changed_and_compares_two(client, filled):
    client.post(page_of(filled), IN_PARIS)

    shown = client.get(page_of(filled), {"from": 2, "to": 1}).context

    newest, first = shown["versions"]
    assert (newest.version.number, newest.run.counts["left"]) == (2, 2)
    assert ("new", 'trait "city" = "Paris"') in newest.difference
    assert (first.version.number, first.run) == (1, None)
    assert shown["compared"]["difference"][0] == ("gone", 'trait "city" = "Paris"')
    assert shown["took"] is not None


def test_rule__that_would_need_itself__is_refused_beside_its_field(client, filled):
    page = client.post(page_of(filled), {**IN_PARIS, "definition": f'segment "{filled.segment.slug}"'})

    assert page.status_code == 200
    [error] = page.context["adminform"].form.errors.as_data()["definition"]
    assert error.code == "circular_reference"
    assert Segment.objects.get(pk=filled.segment.pk).live_version.number == 1


def test_segment__gone_back_to_a_former_version__serves_it_as_a_new_one(client, filled):
    client.post(page_of(filled), IN_PARIS)

    client.post(reverse("admin:segments_segment_go_back", args=[filled.segment.pk, 1]))

    live = Segment.objects.get(pk=filled.segment.pk).live_version
    assert (live.number, live.definition, live.author) == (3, filled.segment.live_version.definition, filled.user)


def test_segment__being_computed__shows_how_far_it_is_and_can_be_given_up(client, filled, monkeypatch):
    monkeypatch.setattr("segments.backfill.AT_ONCE", 1)
    client.post(page_of(filled), IN_PARIS)

    shown = client.get(page_of(filled))
    part = client.get(reverse("admin:segments_segment_publication", args=[filled.segment.pk]))
    client.post(reverse("admin:segments_segment_cancel", args=[filled.segment.pk]))

    assert (shown.context["under_way"].version.number, shown.context["share"]) == (2, 0)
    assert part.context["under_way"].version.number == 2
    after = client.get(page_of(filled)).context
    assert (after["under_way"], after["versions"][0].run.state) == (None, RunState.CANCELLED)
    assert Segment.objects.get(pk=filled.segment.pk).live_version.number == 1


def test_segment__whose_version_failed__says_so(client, filled, monkeypatch, as_login):
    monkeypatch.setattr("segments.backfill.AT_ONCE", 1)
    client.post(page_of(filled), IN_PARIS)
    as_login("none")
    Backfill.objects.all().delete()
    Run.objects.filter(kind="segments.publish").update(state=RunState.FAILED, error="QueryCanceled")
    as_login("web")

    page = client.get(page_of(filled))

    assert page.context["failed"].error == "QueryCanceled"
    assert "QueryCanceled" in page.text


def test_segment__archived__loses_everybody(client, filled):
    client.post(reverse("admin:segments_segment_archive", args=[filled.segment.pk]))

    assert Segment.objects.get(pk=filled.segment.pk).archived_at is not None
    assert not Membership.objects.filter(segment=filled.segment, left_at=None).exists()


@pytest.mark.parametrize("action", ["cancel", "archive"])
def test_segment__of_another_workspace__is_out_of_reach(client, filled, action, as_login):
    as_login("none")
    elsewhere = WorkspaceFactory(slug="elsewhere")
    other = Segment.objects.create(workspace=elsewhere, slug="theirs")
    as_login("web")

    assert client.post(reverse(f"admin:segments_segment_{action}", args=[other.pk])).status_code == 404


def test_preview__of_a_time_that_is_none__is_not_counted(client, filled):
    rule = {"definition": 'trait "city" = "London"'}
    address = reverse("admin:segments_segment_preview")

    past = client.post(address, {**rule, "at": "2020-01-01T00:00"})
    none = client.post(address, {**rule, "at": "yesterday"})

    assert (past.context["count"], past.context["is_past"]) == (1, True)
    assert "found" not in none.context


def test_segment__with_a_name_that_is_not_there__is_saved_only_if_it_will_come(client, filled):
    misspelt = {**IN_PARIS, "definition": 'trait "citty" = "Paris"'}

    refused = client.post(page_of(filled), misspelt)
    assert "definition" in refused.context["adminform"].form.errors
    assert Segment.objects.get(pk=filled.segment.pk).live_version.number == 1

    client.post(page_of(filled), {**misspelt, "allow_unknown": "on"})
    assert Segment.objects.get(pk=filled.segment.pk).live_version.number == 2

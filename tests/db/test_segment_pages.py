"""The console's pages about segments that are looked at: why, why not, and overlaps."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from cdp.models import Member, User
from segments import services
from segments.models import Segment
from tests.factories import SourceFactory, WorkspaceFactory
from tests.factories.filled import console_user
from tests.factories.segments import know, people

NAMED = "admin:segments_segment_why_of"
OVERLAP = "admin:segments_segment_overlap"


@pytest.fixture
def client(workspace):
    found = Client()
    found.force_login(console_user(workspace))
    return found


@pytest.fixture
def ada(workspace):
    """Lives in Paris, and is in the first segment of two."""
    [ada] = people(1, workspace)
    know(ada, SourceFactory(workspace=workspace), city="Paris")
    for slug, rule in (("parisians", 'trait "city" = "Paris" and not done "Order"'), ("buyers", 'done "Order"')):
        services.create_segment(
            workspace_id=workspace.pk, slug=slug, name=slug.title(), definition=rule, author=None, now=timezone.now()
        )
    return ada


def ask(client, slug, person):
    return client.get(reverse(NAMED, args=[slug]), {"person": person}).content.decode()


def test_why__of_somebody_typed__shows_the_rule_with_its_answers(client, ada):
    part = ask(client, "parisians", ada.value)

    assert "is in" in part
    assert "“city” is “Paris”." in part
    assert "known: Paris" in " ".join(part.split())
    assert (part.count("console-badge is-yes"), part.count("console-badge is-no")) == (4, 0)
    assert "as long as nothing happens" in part


def test_why_not__of_somebody_typed__says_so_in_the_language_of_the_reader(client, ada):
    client.cookies["django_language"] = "fr"

    part = client.get(reverse(NAMED, args=["buyers"]), {"person": str(ada.pk)}, headers={"accept-language": "fr"})

    assert "« Order » a eu lieu." in part.content.decode()


@pytest.mark.parametrize("person", ["", "nobody@example.com", "999999999", "x:"])
def test_why__of_nobody__says_so(client, ada, person):
    assert "Nobody is known by that." in ask(client, "parisians", person)


def test_overlap__is_a_table_of_pairs(client, ada):
    page = client.get(reverse(OVERLAP), {"of": ["parisians", "buyers"]})

    rows = page.context["rows"]
    assert [[(pair.count, shade) for pair, shade in cells] for _, cells in rows] == [[(0, 0), (0, 0)], [(0, 0), (1, 9)]]
    assert [segment.slug for segment, _ in rows] == ["buyers", "parisians"]
    assert 'id="overlap"' in page.content.decode()


def test_overlap__of_nothing_yet__offers_the_segments(client, ada):
    page = client.get(reverse(OVERLAP)).content.decode()

    assert 'value="parisians"' in page
    assert 'id="overlap"' not in page


def test_pages__of_another_workspace_or_without_the_right__show_nothing(client, ada):
    other = WorkspaceFactory()
    stranger = Client()
    stranger.force_login(console_user(other, "stranger"))
    without = User.objects.create_user("nobody", password="x", is_staff=True)
    Member.objects.create(user=without, workspace=Segment.objects.first().workspace)
    powerless = Client()
    powerless.force_login(without)

    assert "Paris" not in ask(stranger, "parisians", ada.value)
    assert stranger.get(reverse(OVERLAP), {"of": "parisians"}).context["rows"] == []
    assert powerless.get(reverse(OVERLAP)).status_code == 403
    assert powerless.get(reverse(NAMED, args=["parisians"])).status_code == 403

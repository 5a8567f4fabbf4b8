"""Whoever's data came from a provider is told within a month."""

import json
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import call_command

from cdp.models import SourceKind
from consent.models import SourceNotice
from enrichment import notices
from enrichment.models import Lookup
from tests.factories import IdentifierFactory, SourceFactory


@pytest.fixture
def provider(workspace):
    return SourceFactory(workspace=workspace, name="postcodes", kind=SourceKind.ENRICHMENT)


def found(provider, at, is_found=True):
    person = IdentifierFactory(workspace=provider.workspace)
    Lookup.objects.create(
        workspace=provider.workspace, source=provider, identifier=person, provider_version="1", is_found=is_found, looked_up_at=at
    )  # fmt: skip
    return person


@pytest.mark.parametrize(
    ("at", "due_at"), [((2026, 1, 31), (2026, 2, 28)), ((2028, 1, 31), (2028, 2, 29)), ((2026, 11, 5), (2026, 12, 5))]
)
def test_due__is_a_month_of_the_calendar_and_names_the_source(at, due_at, provider, as_login):
    person = found(provider, datetime(*at, tzinfo=UTC))
    found(provider, datetime(*at, tzinfo=UTC), is_found=False)
    as_login("operator")

    (due,) = notices.due_notices(workspace_id=provider.workspace_id, most=10)

    assert (due.identifier_id, due.profile_id, due.source) == (person.pk, person.profile_id, "postcodes")
    assert due.due_at == datetime(*due_at, tzinfo=UTC)


def test_commands__told_people_are_due_no_more(provider, as_login):
    early, late = found(provider, datetime(2026, 1, 1, tzinfo=UTC)), found(provider, datetime(2026, 3, 1, tzinfo=UTC))
    as_login("operator")

    def run(*arguments):
        out = StringIO()
        call_command("notices", *arguments, "--workspace", provider.workspace.slug, "--json", stdout=out)
        return json.loads(out.getvalue())

    assert [each["identifier_id"] for each in run("due")["due"]] == [early.pk, late.pk]
    assert run("told", "postcodes", "--until", "2026-02-01") == {"told": 1}
    assert run("told", "postcodes", "--until", "2026-02-01") == {"told": 0}
    assert [each["identifier_id"] for each in run("due")["due"]] == [late.pk]
    assert [each.identifier_id for each in SourceNotice.objects.all()] == [early.pk]

"""The record of processing activities says what is declared and enforced, and nothing else."""

import csv
import io
import json
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse

from activation.register import register_of
from cdp.kernel.purposes import Purpose
from cdp.models import SourceKind
from consent import catalogue, data_map, processor_register, register
from consent.models import ControllerDetails, PurposePolicy, RetentionPeriod
from tests.db.test_console import client_of
from tests.factories import SourceFactory, WorkspaceFactory
from tests.factories.filled import console_user, fill

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def sheets(built):
    return {activity.purpose: activity for activity in built.activities}


def test_register__has_a_sheet_for_each_purpose_with_its_basis(workspace, as_login):
    as_login("web")

    built = register_of(workspace_id=workspace.pk, now=NOW)

    assert list(sheets(built)) == [purpose.value for purpose in Purpose]
    assert sheets(built)["advertising"].legal_basis == "CONSENT"
    assert built.missing == ("controller", "contact", "data_subjects", "security_measures")


def test_register__names_the_columns_that_the_view_shows(workspace):
    (events,) = [
        use for use in sheets(register_of(workspace_id=workspace.pk, now=NOW))["learning"].data if use.table == "event"
    ]

    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM learning.event")
        assert events.columns == tuple(column.name for column in cursor.description)
    assert events.is_gated
    assert "context" not in events.columns


def test_register__when_a_view_is_dropped__says_so_at_once(workspace):
    with connection.cursor() as cursor:
        cursor.execute("DROP VIEW learning.event")

    assert "event" not in {
        use.table for use in sheets(register_of(workspace_id=workspace.pk, now=NOW))["learning"].data
    }


def test_register__names_destinations_and_providers_with_what_they_get(workspace, now):
    fill(workspace, console_user(workspace), now)
    SourceFactory(workspace=workspace, name="addresses", kind=SourceKind.ENRICHMENT, is_enabled=False)

    built = sheets(register_of(workspace_id=workspace.pk, now=NOW))

    assert built["advertising"].recipients == (
        register.Recipient("advertising", "newsletter", "webhook", ("email",), is_enabled=True),
    )
    assert [(each.name, each.is_enabled) for each in built["enrichment"].recipients] == [
        ("addresses", False),
        ("postcodes", True),
    ]
    assert built["analytics"].recipients == ()


def test_register__has_the_periods_of_the_workspace(workspace):
    RetentionPeriod.objects.create(workspace=workspace, schedule="events", days=30, reason="as we promised")

    told = sheets(register_of(workspace_id=workspace.pk, now=NOW))["analytics"].retention

    assert "event: 30 days (as we promised)" in told


def test_csv__makes_a_formula_a_text(workspace):
    ControllerDetails.objects.create(workspace=workspace, controller='=HYPERLINK("http://x")')
    PurposePolicy.objects.filter(workspace=workspace, purpose="learning").update(description="@SUM(1)")

    lines = list(csv.DictReader(io.StringIO(register.as_csv(register_of(workspace_id=workspace.pk, now=NOW)))))

    assert len(lines) == len(Purpose)
    assert {line["controller"] for line in lines} == {'\'=HYPERLINK("http://x")'}
    assert [line["description"] for line in lines if line["purpose"] == "learning"] == ["'@SUM(1)"]


def test_html__escapes_what_people_wrote(workspace):
    ControllerDetails.objects.create(workspace=workspace, controller="<script>alert(1)</script>")

    written = register.as_html(register_of(workspace_id=workspace.pk, now=NOW))

    assert "<script>" not in written
    assert "&lt;script&gt;alert(1)" in written


def test_every_table_of_people__has_its_category():
    assert data_map.CATEGORIES.keys() == catalogue.PERSONAL_TABLES


@pytest.mark.parametrize(("kind", "begins"), [("json", "{"), ("csv", "controller,"), ("html", "<!doctype html>")])
def test_command__writes_each_format(kind, begins, workspace, as_login):
    as_login("operator")
    out = StringIO()

    call_command("register", "--format", kind, "--workspace", workspace.slug, "--json", stdout=out)

    assert out.getvalue().startswith(begins)
    if kind == "json":
        assert len(json.loads(out.getvalue())["activities"]) == len(Purpose)


def test_page__is_for_members_who_may_see_it(workspace, as_login):
    member, stranger = console_user(workspace), console_user(workspace, "visitor", is_superuser=False)
    as_login("web")

    shown = client_of(member).get(reverse("admin:register"))
    downloads = {kind: client_of(member).get(reverse("admin:register"), {"file": kind}) for kind in ("csv", "json")}

    assert "Record of processing activities" in shown.text
    assert {kind: got["Content-Disposition"] for kind, got in downloads.items()} == {
        kind: f'attachment; filename="register.{kind}"' for kind in ("csv", "json")
    }
    assert client_of(stranger).get(reverse("admin:register")).status_code == 403


def test_processor__has_what_is_done_for_each_controller(workspace, now):
    other = WorkspaceFactory(slug="zoo", name="Zoo")
    ControllerDetails.objects.create(
        workspace=workspace, controller="=Maison SA", contact="dpo@maison.example", security_measures="ISO 27001"
    )

    built = processor_register.build(name="Agence", contact="dpo@agence.example", now=now)

    first, second = (each for each in built.controllers if each.workspace in {workspace.slug, "zoo"})
    assert (first.controller["controller"], first.missing) == ("=Maison SA", ())
    assert first.processing == tuple(purpose.value for purpose in Purpose)
    assert (second.workspace, second.missing) == (other.slug, ("controller", "contact", "security_measures"))
    lines = list(csv.DictReader(io.StringIO(processor_register.as_csv(built))))
    line = next(line for line in lines if line["workspace"] == workspace.slug)
    assert (line["processor"], line["controller"]) == ("Agence", "'=Maison SA")


@pytest.mark.parametrize(("kind", "begins"), [("json", "{"), ("csv", "processor,processor_contact,workspace")])
def test_command__writes_the_record_of_a_processor(kind, begins, workspace, as_login):
    as_login("operator")
    written = StringIO()

    call_command("register", "--processor", "Agence", "--format", kind, "--json", stdout=written)

    assert written.getvalue().startswith(begins)
    assert workspace.slug in written.getvalue()


def test_command__of_a_processor_as_a_page__is_a_wrong_argument(workspace):
    with pytest.raises(CommandError) as refused:
        call_command("register", "--processor", "Agence", "--format", "html")

    assert refused.value.returncode == 2

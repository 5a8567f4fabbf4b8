"""The record of processing activities says what is declared and enforced, and nothing else."""

import csv
import io
import json
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.urls import reverse

from activation.register import register_of
from cdp.kernel.purposes import Purpose
from cdp.models import SourceKind
from consent import catalogue, data_map, register
from consent.models import ControllerDetails, PurposePolicy, RetentionPeriod
from tests.db.test_console import client_of
from tests.factories import SourceFactory
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

"""The record of processing activities says what is declared and enforced, and nothing else."""

import csv
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from io import StringIO
from xml.etree import ElementTree as ET

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse

from activation.register import register_of
from cdp.kernel.purposes import Purpose
from cdp.models import SourceKind
from consent import catalogue, data_map, processor_register, register, register_sheets, spreadsheet
from consent.models import ControllerDetails, PurposePolicy, PurposeRule, RetentionPeriod
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


PARTS = [
    "The sheet", "Objectives", "Categories of people", "Categories of data", "Sensitive data", "Erased after", "Recipients",
    "Transfers to third countries", "Security measures",
]  # fmt: skip


def answers(sheet, title):
    """Of one part: each question with its answers."""
    found, asked = {}, ""
    for question, answer in next(part for part in sheet.parts if part.title == title).lines:
        asked = question or asked
        found.setdefault(asked, []).append(answer)
    return found


def test_sheets__are_a_list_and_one_for_each_activity_with_the_parts_of_the_model(workspace):
    ControllerDetails.objects.create(
        workspace=workspace, controller="Maison SA", dpo="Ada", dpo_contact="dpo@maison.example"
    )

    front, *others = register_sheets.sheets(register_of(workspace_id=workspace.pk, now=NOW))

    assert answers(front, "Data protection officer") == {"Name": ["Ada"], "Contact": ["dpo@maison.example"]}
    listed = answers(front, "Activities that involve personal data")
    assert [answer.split(":")[0] for (answer,) in listed.values()] == [purpose.value for purpose in Purpose]
    assert [sheet.name for sheet in others] == [f"{number} {purpose}" for number, purpose in enumerate(Purpose, 1)]
    assert [[part.title for part in sheet.parts] for sheet in others] == [PARTS] * len(Purpose)


def test_sheet__ticks_what_its_tables_hold_and_what_the_officer_names(workspace):
    PurposePolicy.objects.filter(workspace=workspace, purpose="analytics").update(
        data_categories=["location", "health"], is_special=True
    )

    of = {sheet.name: sheet for sheet in register_sheets.sheets(register_of(workspace_id=workspace.pk, now=NOW))}

    analytics, advertising = of["7 analytics"], of["6 advertising"]
    boxes = {name: answer for name, (answer, *_) in answers(analytics, "Categories of data").items()}
    ticked = {kind for kind, name in register_sheets.KINDS.items() if boxes[str(name)] == register_sheets.TICKED}
    assert ticked >= {"internet", "location"}
    assert not ticked & {"economic", "professional_life"}
    assert boxes["Other categories"] == "health"
    assert answers(analytics, "Sensitive data") == {"Are sensitive data processed?": ["Yes"], "Which ones": ["health"]}
    assert answers(advertising, "Sensitive data") == {"Are sensitive data processed?": ["No"], "Which ones": ["–"]}


def test_sheet__names_recipients_inside_and_outside_and_transfers(workspace, now):
    fill(workspace, console_user(workspace), now)
    ControllerDetails.objects.update_or_create(
        workspace=workspace, defaults={"internal_recipients": "marketing", "subcontractors": "OVH", "transfers": ""}
    )

    of = {sheet.name: sheet for sheet in register_sheets.sheets(register_of(workspace_id=workspace.pk, now=NOW))}

    assert answers(of["6 advertising"], "Recipients") == {
        "Internal": ["marketing"], "External organisations": ["newsletter (webhook): email"], "Subcontractors": ["OVH"],
    }  # fmt: skip
    assert answers(of["6 advertising"], "Transfers to third countries") == {
        "Are data sent out of the Union?": ["No"], "Country, recipient and safeguards": ["–"],
    }  # fmt: skip


def test_sheet__of_a_purpose_that_changes__says_since_when(workspace):
    first = PurposeRule.objects.get(workspace=workspace, purpose="learning").recorded_at
    later = first + timedelta(days=3)
    PurposeRule.objects.create(workspace=workspace, purpose="learning", version=2, rule={}, recorded_at=later)

    built = sheets(register_of(workspace_id=workspace.pk, now=NOW))

    assert (built["learning"].created_at, built["learning"].updated_at) == (first, later)
    assert built["analytics"].created_at == built["analytics"].updated_at


ODS = {
    "table": "urn:oasis:names:tc:opendocument:xmlns:table:1.0",
    "office": "urn:oasis:names:tc:opendocument:xmlns:office:1.0",
}


def test_ods__has_a_tab_for_each_sheet_and_computes_nothing(workspace):
    ControllerDetails.objects.create(workspace=workspace, controller="=1+1\x0b", address="1 <rue>\n75000 Paris")

    written = register.as_ods(register_of(workspace_id=workspace.pk, now=NOW))

    archive = zipfile.ZipFile(io.BytesIO(written))
    assert written[30:84] == b"mimetype" + spreadsheet.KIND.encode()
    content = ET.fromstring(archive.read("content.xml"))  # noqa: S314  # our own file
    tabs = content.findall(".//table:table", ODS)
    assert [tab.get(f"{{{ODS['table']}}}name") for tab in tabs] == [
        "List", *(f"{number} {purpose}" for number, purpose in enumerate(Purpose, 1)),
    ]  # fmt: skip
    cells = content.findall(".//table:table-cell", ODS)
    assert {cell.get(f"{{{ODS['office']}}}value-type") for cell in cells} == {"string"}
    texts = ["|".join(line.text or "" for line in cell) for cell in cells]
    assert {"=1+1", "1 <rue>|75000 Paris"} <= set(texts)
    assert register.as_ods(register_of(workspace_id=workspace.pk, now=NOW)) == written


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


def test_command__writes_a_spreadsheet_to_a_file_alone(workspace, tmp_path):
    file, out = tmp_path / "register.ods", StringIO()

    with pytest.raises(CommandError) as refused:
        call_command("register", "--format", "ods", "--workspace", workspace.slug)
    call_command(
        "register", "--format", "ods", "--output", str(file), "--workspace", workspace.slug, "--json", stdout=out
    )

    assert refused.value.returncode == 2
    assert json.loads(out.getvalue())["activities"] == len(Purpose)
    assert zipfile.ZipFile(file).testzip() is None


def test_command__in_french__writes_french(workspace):
    out = StringIO()

    call_command("register", "--format", "html", "--language", "fr", "--workspace", workspace.slug, stdout=out)

    assert '<html lang="fr">' in out.getvalue()
    assert "Base légale" in out.getvalue()
    assert "Legal basis" not in out.getvalue()


def test_page__is_for_members_who_may_see_it(workspace, as_login):
    member, stranger = console_user(workspace), console_user(workspace, "visitor", is_superuser=False)
    as_login("web")

    shown = client_of(member).get(reverse("admin:register"))
    downloads = {
        kind: client_of(member).get(reverse("admin:register"), {"file": kind}) for kind in ("ods", "csv", "json")
    }

    assert "Record of processing activities" in shown.text
    assert {kind: got["Content-Disposition"] for kind, got in downloads.items()} == {
        kind: f'attachment; filename="register.{kind}"' for kind in ("ods", "csv", "json")
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

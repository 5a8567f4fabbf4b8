"""A workspace's own error dictionary: what it takes, whom it reaches, and the page where people keep it."""

import csv
import html
import json
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from cdp.ingestion import corrections, storing
from cdp.ingestion import services as ingestion
from cdp.ingestion.corrections import (
    BadCorrectionError,
    TooManyCorrectionsError,
    add_corrections,
    checked_entry,
    entries_in,
)
from cdp.ingestion.normalise import BUILT_IN, identifier_value
from cdp.ingestion.normalise.corrections import CorrectionKind as PureKind
from cdp.kernel.purposes import Purpose
from cdp.models import Correction, CorrectionKind, Event, Identifier
from consent import gate
from tests.factories import SourceFactory, WorkspaceFactory
from tests.factories.filled import console_user


@pytest.fixture(autouse=True)
def _fresh_cache():
    corrections.forget_corrections()
    yield
    corrections.forget_corrections()


def add(workspace, now, *rows):
    return add_corrections(workspace_id=workspace.pk, entries=[checked_entry(*row) for row in rows], now=now)


def test_kinds__of_table_and_pure_dictionary__are_the_same():
    assert set(PureKind) == set(CorrectionKind.values)


# -- what it takes --------------------------------------------------------------------------------------------------


def test_entry__as_people_write_it__is_kept_as_it_is_looked_up():
    domain, town = (
        checked_entry("domain", " Gmaol.FR ", "Gmail.com"),
        checked_entry("TOWN", "Monpelier  Sud", "Montpellier"),
    )

    assert (domain.key, domain.right) == ("gmaol.fr", "gmail.com")
    assert (town.wrong, town.key, town.right) == ("Monpelier Sud", "monpeliersud", "Montpellier")


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        ("STREET", "a.com", "b.com"),
        ("DOMAIN", "", "gmail.com"),
        ("DOMAIN", "gmial", "gmail.com"),
        ("DOMAIN", "gmial.fr", "not a domain"),
        ("DOMAIN", "gmail.com", "evil.example"),
        ("TOWN", "Pari", "-"),
        ("TOWN", "x" * 201, "Paris"),
    ],
)
def test_entry__that_corrects_nothing_or_too_much__is_refused(kind, wrong, right):
    with pytest.raises(BadCorrectionError):
        checked_entry(kind, wrong, right)


def test_file__of_corrections__is_read_with_either_delimiter():
    comma = entries_in(b"kind,wrong,right\nDOMAIN,acme.con,acme.com\n")
    semicolon = entries_in("\ufeffkind;wrong;right\ntown;Grenobl;Grenoble\n".encode())

    assert [(one.kind, one.key, one.right) for one in comma] == [("DOMAIN", "acme.con", "acme.com")]
    assert [(one.kind, one.key, one.right) for one in semicolon] == [("TOWN", "grenobl", "Grenoble")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"wrong,right\na.con,a.com\n", "no column `kind`"),
        (b"kind,wrong,right\nDOMAIN,a.con,a.com\nDOMAIN,x,y\n", "Line 3"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"", "no column `kind`"),
    ],
)
def test_file__that_cannot_be_used__says_where_and_why(content, words):
    with pytest.raises(BadCorrectionError) as refused:
        entries_in(content)

    assert words in refused.value.message


def test_file__with_a_field_that_csv_refuses__is_refused():
    usual = csv.field_size_limit(50)
    try:
        with pytest.raises(BadCorrectionError):
            entries_in(b"kind,wrong,right\nTOWN," + b"x" * 51)
    finally:
        csv.field_size_limit(usual)


def test_file__that_is_too_large__is_refused():
    with pytest.raises(TooManyCorrectionsError):
        entries_in(b"x" * (corrections.LARGEST_FILE + 1))


def test_correction__added_twice__is_there_once_with_the_last_word(workspace, now):
    add(workspace, now, ("DOMAIN", "acme.con", "acme.org"))
    add(workspace, now, ("DOMAIN", "ACME.con", "acme.com"))

    assert list(Correction.objects.values_list("key", "right")) == [("acme.con", "acme.com")]


def test_dictionary__that_would_grow_past_its_limit__stays_as_it_is(workspace, now, monkeypatch):
    monkeypatch.setattr(corrections, "MOST_ENTRIES", 1)

    with pytest.raises(TooManyCorrectionsError):
        add(workspace, now, ("DOMAIN", "a.con", "a.com"), ("DOMAIN", "b.con", "b.com"))

    assert Correction.objects.count() == 0


# -- whom it reaches ------------------------------------------------------------------------------------------------


def test_dictionary__of_one_workspace__reaches_no_other(workspace, now):
    other = WorkspaceFactory()
    add(workspace, now, ("DOMAIN", "acme.con", "acme.com"))

    assert corrections.corrections_of(workspace.pk).domains["acme.con"] == "acme.com"
    assert corrections.corrections_of(other.pk) is BUILT_IN


def test_dictionary__that_did_not_change__is_the_same_object_after_its_time(workspace, now, monkeypatch):
    add(workspace, now, ("DOMAIN", "acme.con", "acme.com"))
    first = corrections.corrections_of(workspace.pk)
    monkeypatch.setattr(corrections, "CACHED_SECONDS", 0)

    assert corrections.corrections_of(workspace.pk) is first


def test_cache__when_it_is_full__is_emptied_and_answers_the_same(workspace, now, monkeypatch):
    other = WorkspaceFactory()
    add(workspace, now, ("DOMAIN", "acme.con", "acme.com"))
    monkeypatch.setattr(corrections, "_MOST_CACHED", 1)

    for _ in range(2):
        assert corrections.corrections_of(workspace.pk).domains["acme.con"] == "acme.com"
        assert corrections.corrections_of(other.pk) is BUILT_IN
    assert len(corrections._cache) == 1


def test_file__without_a_row__adds_nothing(workspace, now):
    assert add_corrections(workspace_id=workspace.pk, entries=entries_in(b"kind,wrong,right\n"), now=now) == 0


@pytest.mark.parametrize("purpose", list(Purpose))
def test_dictionary__under_any_purpose__can_be_read(workspace, now, purpose):
    add(workspace, now, ("DOMAIN", "acme.con", "acme.com"))

    with gate.permit(purpose, workspace_id=workspace.pk):
        assert corrections.corrections_of(workspace.pk).domains["acme.con"] == "acme.com"


def test_event__with_a_misspelt_domain__identifies_by_the_right_one_and_keeps_what_came(workspace, now):
    source = SourceFactory(workspace=workspace)
    add(workspace, now, ("DOMAIN", "acme.con", "acme.com"))
    body = json.dumps({"type": "identify", "userId": "ada", "messageId": "1", "traits": {"email": "Ada@acme.con"}})
    ingestion.accept(source=source, body=body.encode(), path_kind="identify", received_at=now)
    from cdp import pipeline
    from cdp.models import Stage

    pipeline.advance(Stage.INGESTION, workspace_id=workspace.pk, now=now + timedelta(seconds=1))

    assert Identifier.objects.get(type="email").value == "ada@acme.com"
    assert Event.objects.get().properties["email"] == "Ada@acme.con"


def test_resolve__of_a_corrected_address__finds_the_person_of_the_right_one(workspace, now):
    dictionary = corrections.corrections_of(workspace.pk)
    right = identifier_value("email", "ada@gmail.com", region="", corrections=dictionary)
    wrong = identifier_value("email", "Ada@gmial.com", region="", corrections=dictionary)

    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
        first = storing.resolve(permit, {("email", right)}).known
        second = storing.resolve(permit, {("email", wrong)}).known

    assert first == second == {("email", "ada@gmail.com"): Identifier.objects.get().pk}


def test_normalise_command__of_a_value__shows_its_normal_form(workspace, now, capsys):
    add(workspace, now, ("DOMAIN", "acme.con", "acme.com"))
    common = ["--workspace", workspace.slug, "--json"]

    call_command("normalise", "value", "Ada@ACME.con", "--kind", "email", *common)
    call_command("normalise", "value", "31/02/2000", "--kind", "date", "--region", "FR", *common)

    shown, nothing = map(json.loads, capsys.readouterr().out.splitlines())
    assert (shown["value"], shown["quality"], shown["notes"]) == ("ada@acme.com", "CORRECTED", ["mail_domain"])
    assert nothing == {"kind": "date", "region": "FR", "value": None}


# -- the page -------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(workspace, as_login):
    client = Client()
    client.force_login(console_user(workspace))
    as_login("web")
    return client


def test_page__when_a_correction_is_saved__uses_it_at_once(client, workspace):
    sent = client.post(
        reverse("admin:cdp_correction_add"), {"kind": "DOMAIN", "wrong": "Acme.CON", "right": "acme.com"}
    )

    assert sent.status_code == 302
    assert list(Correction.objects.values_list("wrong", "key", "right")) == [("acme.con", "acme.con", "acme.com")]
    assert corrections.corrections_of(workspace.pk).domains["acme.con"] == "acme.com"


@pytest.mark.parametrize(
    ("wrong", "right", "words"),
    [("gmail.com", "evil.example", "is a mail provider"), ("ACME.con", "acme.org", "already exists")],
)
def test_page__when_a_correction_cannot_be__says_so_and_keeps_nothing(client, workspace, now, wrong, right, words):
    add(workspace, now, ("DOMAIN", "acme.con", "acme.com"))

    sent = client.post(reverse("admin:cdp_correction_add"), {"kind": "DOMAIN", "wrong": wrong, "right": right})

    assert sent.status_code == 200
    assert words in sent.text
    assert list(Correction.objects.values_list("key", "right")) == [("acme.con", "acme.com")]


def test_page__when_a_file_is_imported__adds_what_it_says_or_nothing(client):
    good = SimpleUploadedFile("good.csv", b"kind,wrong,right\nDOMAIN,acme.con,acme.com\nTOWN,Grenobl,Grenoble\n")
    nothing = client.post(reverse("admin:cdp_correction_import"), follow=True)
    bad = SimpleUploadedFile("bad.csv", b"kind,wrong,right\nTOWN,Lion,Lyon\nDOMAIN,x,y\n")

    told = client.post(reverse("admin:cdp_correction_import"), {"file": good}, follow=True)
    refused = client.post(reverse("admin:cdp_correction_import"), {"file": bad}, follow=True)

    assert "no column `kind`" in html.unescape(nothing.text)
    assert "2 corrections were imported." in told.text
    assert "Line 3" in refused.text
    assert sorted(Correction.objects.values_list("key", flat=True)) == ["acme.con", "grenobl"]


def test_page__when_a_correction_is_deleted__forgets_it_at_once(client, workspace, now):
    add(workspace, now, ("DOMAIN", "acme.con", "acme.com"))
    corrections.corrections_of(workspace.pk)

    client.post(reverse("admin:cdp_correction_delete", args=[Correction.objects.get().pk]), {"post": "yes"})

    assert corrections.corrections_of(workspace.pk) is BUILT_IN


def test_page__when_several_are_deleted__forgets_them_at_once(client, workspace, now):
    add(workspace, now, ("DOMAIN", "acme.con", "acme.com"), ("TOWN", "Grenobl", "Grenoble"))
    corrections.corrections_of(workspace.pk)
    chosen = list(Correction.objects.values_list("pk", flat=True))

    client.post(
        reverse("admin:cdp_correction_changelist"),
        {"action": "delete_selected", "_selected_action": chosen, "post": "yes"},
    )

    assert Correction.objects.count() == 0
    assert corrections.corrections_of(workspace.pk) is BUILT_IN


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("email", "Ada@gmial.com", "ada@gmail.com"),
        ("phone", "06 12 34 56 78", "+33612345678"),
        ("date", "03/04/2020", "2020-04-03"),
        ("phone", "call me", "No normal form"),
        ("colour", "red", "There is no such kind."),
    ],
)
def test_box__of_a_value__shows_what_becomes_of_it(client, kind, value, words):
    tried = client.post(reverse("admin:cdp_correction_try"), {"kind": kind, "value": value, "region": "fr"})

    assert tried.status_code == 200
    assert words in tried.text


@pytest.mark.parametrize("page", ["import", "try"])
def test_box__for_a_user_without_permission_or_by_get__is_refused(page, client, workspace):
    reader = Client()
    reader.force_login(console_user(workspace, "reader", is_superuser=False))

    assert reader.post(reverse(f"admin:cdp_correction_{page}"), {"kind": "email", "value": "x"}).status_code == 403
    assert client.get(reverse(f"admin:cdp_correction_{page}")).status_code == 405

"""The officer's page for what others said: words are seen where they stand, ticked, seen as they would be, blotted out."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from cdp.kernel.identifiers import Identifier as Named
from cdp.models import Event, IdentifierTrait, QuarantinedItem, Record
from consent import requests
from consent.excerpts import AROUND, MOST_ROWS, Piece, pieces_of
from consent.rights import Right
from tests.factories import IdentifierFactory, SourceFactory
from tests.factories.filled import console_user

NOTE = "Called with Ada  LOVELACE <b>, her husband."
NAMESAKE = "Ada Lovelace, the mathematician, is on the poster."


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace, name="crm")


@pytest.fixture
def bob(workspace):
    return IdentifierFactory(workspace=workspace, value="bob@example.com")


@pytest.fixture
def records(workspace, source, bob):
    """One about her, one about a namesake."""
    return [
        Record.objects.create(
            workspace=workspace, source=source, identifier=bob, key=f"row {number}", fields={"note": [note], "n": 7},
            digest=bytes([number]) * 32, loaded_at=timezone.now(),
        )
        for number, note in enumerate((NOTE, NAMESAKE))
    ]  # fmt: skip


@pytest.fixture
def client(workspace, source, bob, as_login):
    made = Client()
    made.force_login(console_user(workspace))
    as_login("web")
    return made


@pytest.fixture
def asked(workspace, client):
    def make(kind=Right.ERASURE, *, is_begun=True):
        now = timezone.now()
        named = {"workspace_id": workspace.pk, "by": "key:1", "now": now}
        made = requests.receive_request(
            kind=kind, identifiers=[Named("email", "ada@example.com")], received_at=now, is_logged_in=True, **named
        )
        if is_begun:
            requests.start_request(request_id=made.pk, **named)
        return made

    return make


def page_of(made):
    return reverse("admin:consent_datarequest_mentions", args=[made.pk])


def say(client, made, do, *, text="ada lovelace", places=("record",), **more):
    return client.post(page_of(made), {"text": text, "places": list(places), "do": do, **more})


def looked_at(answer):
    return re.search(r'name="looked" value="(\w+)"', answer.text).group(1)


def steps_of(made):
    return list(made.steps.order_by("pk").values_list("step", "stepped_by", "note"))


def test_page_of_request__leads_here__once_it_was_begun(client, asked):
    begun, early = asked(), asked(is_begun=False)

    pages = [client.get(reverse("admin:consent_datarequest_change", args=[made.pk])).text for made in (begun, early)]

    assert [f'href="{page_of(made)}"' in text for made, text in zip((begun, early), pages, strict=True)] == [
        True,
        False,
    ]


def test_words__are_shown_where_they_stand_and_in_no_address(records, client, asked):
    made = asked()

    answer = say(client, made, "find")

    assert '<mark class="console-mark">Ada  LOVELACE</mark> &lt;b&gt;, her husband.' in answer.text
    assert [each.number for each in answer.context["tables"]] == [2]
    assert 'method="get"' not in answer.text.split('id="words"')[1]
    assert steps_of(made)[-1][0] == "request.mentions_shown"
    assert "ovelace" not in str(steps_of(made))


def test_words__in_every_table__are_shown_with_their_rows(records, client, asked, workspace, source, bob, as_login):
    made, about = asked(), {"workspace": workspace, "source": source}
    as_login("none")
    with connection.cursor() as cursor:
        cursor.execute("SELECT core.ensure_event_partition(%s)", [timezone.now().date()])
    Event.objects.create(
        **about, identifier=bob, message_id="m", kind="track", name="Note", occurred_at=timezone.now(),
        received_at=timezone.now(), seen_with=[], context={}, properties={"a": {"b": [NOTE, "x", NAMESAKE]}},
    )  # fmt: skip
    IdentifierTrait.objects.create(**about, identifier=bob, name="remark", value=NOTE, observed_at=timezone.now())
    item = QuarantinedItem.objects.create(
        **about, received_at=timezone.now(), place="f.csv:7", code="x", message="x", raw=NOTE, digest=bytes(32)
    )
    as_login("web")

    answer = say(client, made, "find", places=["event", "record", "identifier_trait", "quarantine"])

    mentions = [mention for table in answer.context["tables"] for mention in table.mentions]
    assert [(one.place, one.what, one.source, len(one.texts)) for one in mentions] == [
        ("event", "Note", "crm", 2),
        ("record", "row 0", "crm", 1),
        ("record", "row 1", "crm", 1),
        ("identifier_trait", "remark", "crm", 1),
        ("quarantine", "f.csv:7", "crm", 1),
    ]
    assert [one.profile for one in mentions] == [bob.profile_id] * 4 + [None]
    assert reverse("admin:cdp_quarantineditem_change", args=[item.pk]) in answer.text


def test_ticked_row__is_previewed_then_blotted_out_and_the_namesake_is_left(records, client, asked):
    made, (hers, namesake) = asked(), records

    preview = say(client, made, "preview", record=hers.pk)
    done = say(client, made, "redact", record=hers.pk, looked=looked_at(preview))

    assert "<del>Ada  LOVELACE</del><ins>[…]</ins>" in preview.text
    assert "mathematician" not in preview.text
    assert done.url == reverse("admin:consent_datarequest_change", args=[made.pk])
    hers.refresh_from_db()
    namesake.refresh_from_db()
    assert hers.fields == {"note": ["Called with […] <b>, her husband."], "n": 7}
    assert namesake.fields["note"] == [NAMESAKE]
    assert [(step, note) for step, _by, note in steps_of(made)[-2:]] == [
        ("request.mentions_shown", "record: 1"),
        ("request.mentions_redacted", "record: 1"),
    ]
    assert steps_of(made)[-1][1].startswith("user:")


def test_table__ticked_as_a_whole__is_what_the_page_showed(records, client, asked):
    made = asked()

    found = say(client, made, "find").text
    shown = re.search(r'name="shown-record" value="([\d,]+)"', found).group(1)
    preview = say(client, made, "preview", all="record", **{"shown-record": shown})

    assert shown == ",".join(str(record.pk) for record in records)
    assert preview.text.count("<ins>[…]</ins>") == 2


@pytest.mark.parametrize("looked", ["", "x"])
def test_redaction__of_what_was_not_looked_at__is_a_preview(looked, records, client, asked):
    made = asked()

    answer = say(client, made, "redact", record=records[0].pk, looked=looked)

    assert answer.context["is_preview"]
    records[0].refresh_from_db()
    assert records[0].fields["note"] == [NOTE]


def test_redaction__of_more_than_was_looked_at__is_a_preview(records, client, asked):
    made = asked()
    looked = looked_at(say(client, made, "preview", record=records[0].pk))

    answer = say(client, made, "redact", record=[record.pk for record in records], looked=looked)

    assert answer.context["is_preview"]
    assert [record.fields["note"] for record in Record.objects.order_by("pk")] == [[NOTE], [NAMESAKE]]


def test_nothing_ticked__is_said_and_the_list_stays(records, client, asked):
    answer = say(client, asked(), "preview")

    assert "Tick the rows in which the words mean the person" in answer.text
    assert "is_preview" not in answer.context


def test_quarantined_item__is_previewed_as_deleted(client, asked, workspace, source, as_login):
    made = asked()
    as_login("none")
    item = QuarantinedItem.objects.create(
        workspace=workspace, source=source, received_at=timezone.now(), place="1", code="x", message="x", raw=NOTE,
        digest=bytes(32),
    )  # fmt: skip
    as_login("web")

    preview = say(client, made, "preview", places=["quarantine"], quarantine=item.pk)
    say(client, made, "redact", places=["quarantine"], quarantine=item.pk, looked=looked_at(preview))

    assert "deleted whole" in preview.text
    assert not QuarantinedItem.objects.exists()


def test_request_of_access__shows_and_offers_nothing_to_tick(records, client, asked):
    made = asked(Right.ACCESS)

    found = say(client, made, "find")
    refused = say(client, made, "preview", record=records[0].pk)
    say(client, made, "redact", record=records[0].pk, looked=looked_at_or_none(refused))

    assert "Ada  LOVELACE" in found.text
    assert 'type="checkbox" name="record"' not in found.text
    records[0].refresh_from_db()
    assert records[0].fields["note"] == [NOTE]


def looked_at_or_none(answer):
    found = re.search(r'name="looked" value="(\w+)"', answer.text)
    return found.group(1) if found else ""


@pytest.mark.parametrize(("text", "is_begun"), [("Ada", True), ("ada|bob", True), ("ada lovelace", False)])
def test_words__that_cannot_be_looked_for__are_refused_and_nothing_is_noted(text, is_begun, records, client, asked):
    made = asked(is_begun=is_begun)
    before = steps_of(made)

    answer = say(client, made, "find", text=text)

    assert "tables" not in answer.context
    assert 'id="find"' in answer.text
    assert steps_of(made) == before


def test_page__for_a_reader_or_of_another_workspace__is_refused(records, client, asked, workspace, as_login):
    made = asked()
    as_login("none")
    reader = Client()
    reader.force_login(console_user(workspace, "reader", is_superuser=False))
    as_login("web")

    assert reader.get(page_of(made)).status_code == 403
    assert say(reader, made, "find").status_code == 403
    assert client.get(reverse("admin:consent_datarequest_mentions", args=[made.pk + 1])).status_code == 404


# -- what stands around the words ---------------------------------------------------------------------------------------


def test_pieces__of_a_long_text__are_the_words_and_what_is_near_them():
    long = "x" * 3 * AROUND

    pieces = pieces_of(f"{long}\x02Ada\x03{long}\x02Ada\x03{long}")

    assert pieces == [
        Piece("…" + "x" * AROUND, is_found=False),
        Piece("Ada", is_found=True),
        Piece("x" * AROUND + " … " + "x" * AROUND, is_found=False),
        Piece("Ada", is_found=True),
        Piece("x" * AROUND + "…", is_found=False),
    ]


def test_pieces__of_a_short_text__are_all_of_it():
    assert pieces_of("\x02Ada\x03, and \x02Ada\x03") == [
        Piece("Ada", is_found=True),
        Piece(", and ", is_found=False),
        Piece("Ada", is_found=True),
    ]


def test_rows__more_than_somebody_reads__are_shown_in_turns(client, asked, workspace, source, bob, as_login):
    made = asked()
    as_login("none")
    Record.objects.bulk_create(
        Record(
            workspace=workspace, source=source, identifier=bob, key=str(number), fields={"note": NOTE},
            digest=number.to_bytes(32), loaded_at=timezone.now(),
        )
        for number in range(MOST_ROWS + 1)
    )  # fmt: skip
    as_login("web")

    answer = say(client, made, "find")

    (table,) = answer.context["tables"]
    assert (table.number, len(table.mentions), table.are_left_out) == (MOST_ROWS + 1, MOST_ROWS, True)
    assert "look again" in answer.text

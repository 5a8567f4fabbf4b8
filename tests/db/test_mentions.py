"""What others said of a person is found and blotted out by the words of an officer, and by nothing else."""

import json
from datetime import UTC, datetime

import pytest
from django.db import ProgrammingError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.kernel.identifiers import Identifier as Named
from cdp.models import Event, IdentifierTrait, QuarantinedItem, Record
from consent import mentions, requests
from consent.mentions import NothingToRedactError, UnsearchableTextError
from consent.requests import NotVerifiedError, WrongStateError
from consent.rights import Right
from tests.factories import IdentifierFactory, SourceFactory, WorkspaceFactory
from tests.outbox import subjects_waiting

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOTE = "Called with Ada  LOVELACE, her husband. Hannah Lovelace-Ada came too."
BLOTTED = "Called with […], her husband. Hannah Lovelace-Ada came too."


@pytest.fixture
def bob(workspace):
    """Somebody else, of whom four tables have a note that names Ada."""
    bob, source = IdentifierFactory(workspace=workspace, value="bob@example.com"), SourceFactory(workspace=workspace)
    about = {"workspace": workspace, "source": source}
    with connection.cursor() as cursor:
        cursor.execute("SELECT core.ensure_event_partition(%s)", [NOW.date()])
    for number, note in enumerate((NOTE, "Nothing of her")):
        Event.objects.create(
            **about, identifier=bob, message_id=f"m{number}", kind="track", name="Note", occurred_at=NOW, received_at=NOW,
            seen_with=[], context={}, properties={"note": [{"text": note}], "Ada Lovelace": 7},
        )  # fmt: skip
    IdentifierTrait.objects.create(**about, identifier=bob, name="note", value=NOTE, observed_at=NOW)
    Record.objects.create(
        **about, key="1", identifier=bob, fields={"note": NOTE, "age": 36}, digest=bytes(32), loaded_at=NOW
    )
    for number, raw in enumerate((f"7,{NOTE}", "7,Ada Byron")):
        QuarantinedItem.objects.create(
            **about, received_at=NOW, place=f"{number}", code="x", message="x", raw=raw, digest=bytes([number]) * 32
        )
    return bob


@pytest.fixture
def asked(workspace):
    def make(kind=Right.ERASURE, *, is_begun=True):
        named = {"workspace_id": workspace.pk, "by": "user:1", "now": NOW}
        made = requests.receive_request(
            kind=kind, identifiers=[Named("email", "ada@example.com")], received_at=NOW, is_logged_in=is_begun, **named
        )
        if is_begun:
            requests.start_request(request_id=made.pk, **named)
        return {"request_id": made.pk, **named}

    return make


def texts():
    return [
        Event.objects.order_by("message_id").first().properties["note"][0]["text"],
        IdentifierTrait.objects.get().value,
        Record.objects.get().fields["note"],
    ]


FOUND = {"event": 1, "record": 1, "identifier_trait": 1, "quarantine": 1}


@pytest.mark.parametrize("login", ["operator", "web", "rights"])
def test_mentions__are_found_in_every_table_and_nothing_is_changed(login, bob, asked, as_login):
    request = asked(Right.ACCESS)
    as_login(login)

    found = mentions.find_mentions(**request, text="ada lovelace")

    as_login("none")
    assert found.counts == FOUND
    assert found.rows["quarantine"] == [QuarantinedItem.objects.get(place="0").pk]
    assert texts() == [NOTE] * 3


@pytest.mark.parametrize("login", ["operator", "web"])
def test_redaction__blots_the_words_out_and_leaves_the_rest(login, bob, asked, as_login, workspace):
    request = asked()
    as_login(login)

    done = mentions.redact_mentions(**request, text=" Ada Lovelace ")
    again = mentions.redact_mentions(**request, text="Ada Lovelace")

    as_login("none")
    assert (done.counts, again.counts) == (FOUND, dict.fromkeys(FOUND, 0))
    assert texts() == [BLOTTED] * 3
    assert Event.objects.get(message_id="m0").properties["Ada Lovelace"] == 7
    assert Record.objects.get().fields["age"] == 36
    assert [item.raw for item in QuarantinedItem.objects.all()] == ["7,Ada Byron"]
    assert bob.pk in subjects_waiting(stage="IDENTITY", workspace=workspace)


def test_redaction__is_in_the_history_without_the_words(bob, asked):
    request = asked()

    mentions.redact_mentions(**request, text="Ada Lovelace", places=["record"])

    last = requests.DataRequest.objects.get(pk=request["request_id"]).steps.order_by("pk").last()
    assert (last.step, last.stepped_by, last.note) == ("request.mentions_redacted", "user:1", "record: 1")
    assert texts() == [NOTE, NOTE, BLOTTED]


def test_redaction__of_another_workspace__finds_nothing_here(bob, asked):
    stranger = WorkspaceFactory()
    named = {"workspace_id": stranger.pk, "by": "user:1", "now": NOW}
    made = requests.receive_request(
        kind=Right.ERASURE, identifiers=[Named("email", "ada@example.com")], received_at=NOW, is_logged_in=True, **named
    )
    requests.start_request(request_id=made.pk, **named)

    done = mentions.redact_mentions(request_id=made.pk, **named, text="Ada Lovelace")

    assert done.counts == dict.fromkeys(FOUND, 0)


@pytest.mark.parametrize(
    ("kind", "is_begun", "error"),
    [
        (Right.ACCESS, True, NothingToRedactError),
        (Right.ERASURE, False, NotVerifiedError),
    ],
)
def test_redaction__for_what_is_no_begun_erasure__changes_nothing(kind, is_begun, error, bob, asked):
    request = asked(kind, is_begun=is_begun)

    with pytest.raises(error):
        mentions.redact_mentions(**request, text="Ada Lovelace")

    assert texts() == [NOTE] * 3


def test_mentions__of_a_request_that_is_over__are_not_looked_for(bob, asked):
    request = asked()
    requests.take_back(**request)

    with pytest.raises(WrongStateError):
        mentions.find_mentions(**request, text="Ada Lovelace")


@pytest.mark.parametrize("text", ["", "Ada", "a" * 201, "0612345678", 'Ada "x"', "Ada{1}", "Ada|Bob", "Ada\\b", ".*.*"])
def test_text__that_would_find_too_much_or_no_words__is_refused(text, bob, asked):
    request = asked()

    with pytest.raises(UnsearchableTextError):
        mentions.redact_mentions(**request, text=text)

    assert texts() == [NOTE] * 3


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(st.from_regex(r"[^\W_]['’@.+\w-]{0,8}", fullmatch=True), min_size=1, max_size=3).filter(
        lambda words: len(" ".join(words)) > 3 and any(letter.isalpha() for letter in "".join(words))
    )
)
def test_pattern__of_any_words__always_finds_them_and_is_no_pattern_of_theirs(words, db):
    text = " ".join(words)
    pattern = mentions._pattern_of(text)

    with connection.cursor() as cursor:
        cursor.execute("SELECT core.redacted(%s::jsonb, %s)", [json.dumps({text: [f"x {text} y"], "n": 1}), pattern])
        redacted = cursor.fetchone()[0]

    assert (json.loads(redacted) if isinstance(redacted, str) else redacted) == {text: ["x […] y"], "n": 1}


def test_function__is_for_those_who_answer_people_alone(as_login, workspace):
    as_login("worker_ingestion")

    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT core.mentions_in('event', 'x', true)")

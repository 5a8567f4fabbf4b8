"""`manage.py requests`: an officer without a browser answers people, under the operator's login."""

import json
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command

from cdp.kernel.purposes import Purpose
from cdp.models import IdentifierTrait
from consent import execution, packaging, requests, verifying
from consent.models import ConsentRecord, ConsentState, DataRequest
from tests.factories import IdentifierFactory, SourceFactory, say

ADA = "email:ada@example.com"


@pytest.fixture(autouse=True)
def at_noon(now, settings, tmp_path):
    settings.PACKAGE_DIR = tmp_path / "packages"
    with time_machine.travel(now, tick=False):
        yield


@pytest.fixture
def run(workspace, as_login):
    def call(*arguments: str) -> dict:
        as_login("operator")
        out = StringIO()
        call_command("requests", *arguments, "--workspace", workspace.slug, "--json", stdout=out)
        return json.loads(out.getvalue())

    return call


def opened(run, kind: str, *more: str) -> str:
    return str(run("open", "--kind", kind, "--identifier", ADA, *more)["request"])


def test_withdrawal__from_the_letter_to_the_answer__without_a_browser(run, workspace, now, as_login):
    ada = IdentifierFactory(workspace=workspace, value="ada@example.com")
    say(ada, Purpose.ADVERTISING, ConsentState.GIVEN)
    letter = ("--received", "2026-01-31T09:00:00Z", "--key", "letter-1", "--locale", "fr", "--purpose", "advertising")

    number = opened(run, "withdrawal", *letter)
    again = opened(run, "withdrawal", *letter)
    run("verify", number, "--how", "Her passport, at the counter")
    run("carry-out", number)
    as_login("rights")
    execution.carry_out_next(workspace_id=workspace.pk, now=now)
    done = run("show", number)
    closed = run("complete", number)

    assert again == number
    assert (done["identifiers"], done["work"]["state"], done["locale"]) == ([ADA], "DONE", "fr")
    assert done["first_due_at"] == "2026-02-28 09:00:00+00:00"
    assert [step["step"] for step in done["steps"]] == [
        "request.received", "request.verified", "request.started", "request.carried_out",
    ]  # fmt: skip
    assert {step["stepped_by"] for step in done["steps"][:3]} == {"command"}
    assert (closed["state"], run("list")["requests"]) == ("COMPLETED", [])
    assert [each["request"] for each in run("list", "--all")["requests"]] == [int(number)]
    as_login("none")
    assert ConsentRecord.objects.filter(state="WITHDRAWN").count() == 1


def test_access__verified_by_a_code__is_answered_by_a_link_that_opens(run, workspace, now, as_login, client):
    IdentifierFactory(workspace=workspace, value="ada@example.com")
    number = opened(run, "access")

    code = run("code", number)["code"]
    with pytest.raises(verifying.WrongCodeError):
        run("verify", number, "--code", "00000000" if code != "00000000" else "1")
    verified = run("verify", number, "--code", code)
    run("carry-out", number)
    as_login("rights")
    packaging.build_next(workspace_id=workspace.pk, now=now)
    link = run("link", number)

    assert (verified["verification"], link["downloads"]) == ("CODE", 3)
    as_login("web")
    answer = client.get(link["path"])
    assert (answer.status_code, b"".join(answer.streaming_content)[:2]) == (200, b"PK")


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ([("doubt", "--reason", "An unknown address"), ("settle",), ("take-back",)], "TAKEN_BACK"),
        ([("extend", "--reason", "Many requests"), ("refuse", "--reason", "Manifestly unfounded")], "REFUSED"),
        (
            [("verify", "--logged-in"), ("carry-out",), ("try-again",), ("outcome", "--outcome", "Mended")],
            "IN_PROGRESS",
        ),
        ([("verify", "--logged-in"), ("carry-out", "--correct", "city= Paris ")], "IN_PROGRESS"),
    ],
)
def test_steps__one_after_the_other__lead_to_the_state_of_the_last(steps, state, run):
    number = opened(run, "rectification")

    for name, *more in steps:
        told = run(name, number, *more)

    assert told["state"] == state
    assert run("show", number)["state"] == state


def test_duplicate__names_the_earlier_request(run):
    first, second = opened(run, "access", "--logged-in"), opened(run, "access", "--logged-in")

    told = run("duplicate", second, "--of", first)

    assert (told["state"], told["duplicate_of"]) == ("DUPLICATE", int(first))


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (("carry-out",), requests.NotVerifiedError),
        (("refuse", "--reason", " "), requests.ReasonMissingError),
        (("outcome", "--outcome", "Mended"), requests.NothingByHandError),
        (("link",), packaging.PackageNotBuiltError),
    ],
)
def test_step__that_cannot_be_taken__is_refused_and_changes_nothing(step, error, run):
    number = opened(run, "access")
    before = run("show", number)

    with pytest.raises(error):
        run(step[0], number, *step[1:])

    assert run("show", number) == before


def test_request__of_another_workspace_or_none__is_unknown(run):
    with pytest.raises(requests.UnknownRequestError):
        run("show", "4711")


@pytest.mark.parametrize("given", [["city"], ["=Paris"], ["city= "]])
def test_correction__that_is_no_pair__is_a_wrong_argument(given, run, as_login):
    with pytest.raises(CommandError) as refused:
        run("open", "--kind", "RECTIFICATION", "--identifier", ADA, "--correct", *given)

    assert refused.value.returncode == 2
    as_login("none")
    assert not DataRequest.objects.exists()


def test_mentions__are_shown_by_their_ids_and_blotted_out(run, workspace, as_login, now):
    bob = IdentifierFactory(workspace=workspace)
    source = SourceFactory(workspace=workspace)
    note = IdentifierTrait.objects.create(
        workspace=workspace, identifier=bob, source=source, name="note", value="Knows Ada Lovelace", observed_at=now
    )
    number = opened(run, "erasure", "--logged-in")
    run("carry-out", number)

    found = run("mentions", number, "--text", "ada lovelace", "--in", "identifier_trait")
    done = run("redact", number, "--text", "ada lovelace")

    as_login("none")
    assert found == {"rows": {"identifier_trait": 1}, "ids": {"identifier_trait": [note.pk]}}
    assert done["rows"] == {"event": 0, "record": 0, "identifier_trait": 1, "quarantine": 0}
    note.refresh_from_db()
    assert note.value == "Knows […]"
    steps = [(step["step"], step["note"]) for step in run("show", number)["steps"][-2:]]
    assert steps == [
        ("request.mentions_found", "identifier_trait: 1"),
        ("request.mentions_redacted", "event: 0, record: 0, identifier_trait: 1, quarantine: 0"),
    ]


@pytest.mark.parametrize("row", ["profile:1", "record", "record:x"])
def test_redaction__of_a_row_that_is_written_wrongly__is_refused(row, run):
    with pytest.raises(CommandError, match="TABLE:ID"):
        run("redact", 1, "--text", "Ada Lovelace", "--row", row)


def test_redaction__of_one_row__leaves_the_others(run, workspace, as_login, now):
    about = {"workspace": workspace, "identifier": IdentifierFactory(workspace=workspace), "observed_at": now}
    notes = [
        IdentifierTrait.objects.create(
            **about, source=SourceFactory(workspace=workspace), name=name, value="Ada Lovelace"
        )
        for name in ("a", "b")
    ]
    number = opened(run, "erasure", "--logged-in")
    run("carry-out", number)

    done = run("redact", number, "--text", "ada lovelace", "--row", f"identifier_trait:{notes[0].pk}")

    as_login("none")
    assert done["ids"] == {"identifier_trait": [notes[0].pk]}
    assert list(IdentifierTrait.objects.order_by("name").values_list("value", flat=True)) == ["[…]", "Ada Lovelace"]

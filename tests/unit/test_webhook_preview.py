"""`activation preview`: what would be sent for the members of a file."""

import json
from io import StringIO

import pytest
from django.core.management import call_command

from activation.destination import Operation, sha256_hex
from activation.preview import preview
from cdp.ingestion.files import Row

DIGEST = sha256_hex("ada@example.com")


def rows(*members):
    return [Row(number, fields) for number, fields in enumerate(members, start=1)]


def preview_of(*members, operation=Operation.ADD, **config):
    return preview(kind="webhook", config=config, operation=operation, members=rows(*members), region="FR")


def members_of(seen):
    return [member for request in seen.requests for member in request["body"]["members"]]


def test_members__are_normalised_then_hashed():
    seen = preview_of({"email": " Ada@Example.COM ", "phone": "06 12 34 56 78", "given_name": "Ada"})

    assert members_of(seen) == [{"email_sha256": DIGEST}, {"phone_sha256": sha256_hex("+33612345678")}]
    assert seen.rejected == []


def test_request__is_shown_without_secrets():
    (request,) = preview_of(
        {"email": "ada@example.com"}, operation=Operation.REMOVE, url="https://a.example", audience="vip"
    ).requests

    assert (request["method"], request["url"]) == ("POST", "https://a.example")
    assert request["headers"] == {"Content-Type": "application/json"}
    assert (request["body"]["operation"], request["body"]["audience"]) == ("remove", "vip")


@pytest.mark.parametrize(
    ("member", "config", "code"),
    [
        ({}, {}, "no_identifier"),
        ({"email": ""}, {}, "no_identifier"),
        ({"email": "user name@example.org"}, {}, "no_identifier"),
        ({"phone": "12"}, {}, "no_identifier"),
        ({"email": DIGEST}, {}, "already_hashed"),
        ({"email": DIGEST.upper()}, {}, "already_hashed"),
        ({"email": "ada@example.com"}, {"hashed": ["email"]}, "not_hashed"),
        ({"email": DIGEST.upper()}, {"hashed": ["email"]}, "not_hashed"),
    ],
)
def test_member__that_cannot_be_sent__is_rejected_with_its_reason(member, config, code):
    seen = preview_of({"user_id": "u1"}, member, **config)

    assert seen.rejected == [{"row": 2, "code": code}]
    assert members_of(seen) == [{"user_id_sha256": sha256_hex("u1")}]


def test_digest__where_it_is_announced__is_sent_as_it_is():
    assert members_of(preview_of({"email": DIGEST}, hashed=["email"])) == [{"email_sha256": DIGEST}]


def test_one_person_twice__is_sent_once():
    assert len(members_of(preview_of({"email": "ada@example.com"}, {"email": "ADA@example.com"}))) == 1


def test_nobody__is_no_request():
    assert preview_of({}).requests == []


def test_command__prints_one_json_object(tmp_path, db):
    members, config = tmp_path / "members.jsonl", tmp_path / "config.json"
    members.write_text('{"email": "ada@example.com"}\n{"email": "nobody"}\n{broken\n')
    config.write_text('{"url": "https://a.example"}')
    printed = StringIO()

    call_command(
        "activation", "preview", "--kind", "webhook", "--members", str(members), "--operation", "add",
        "--config", str(config), "--json", stdout=printed,
    )  # fmt: skip

    said = json.loads(printed.getvalue())
    assert [request["body"]["members"] for request in said["requests"]] == [[{"email_sha256": DIGEST}]]
    assert [(one["row"], one["code"]) for one in said["rejected"]] == [(2, "no_identifier"), (3, "malformed_json")]

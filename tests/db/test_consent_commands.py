"""`manage.py consent` and `manage.py workspaces`, as scripts use them: one JSON object, under the operator's login."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from cdp.kernel.purposes import Purpose
from cdp.management.commands.consent import BrokenLedgerError
from cdp.models import Identifier, Workspace
from consent.models import ConsentRecord, ConsentState, PurposePolicy
from consent.services import BadCategoryError, InvalidStatementError
from consent.signals.bits import MalformedSignalError
from tests.factories import IdentifierFactory, say


@pytest.fixture
def run(workspace, as_login):
    """Call a command in the workspace and read the JSON that it prints."""

    def call(*arguments: str) -> dict:
        as_login("operator")
        out = StringIO()
        call_command(*arguments, "--workspace", workspace.slug, "--json", stdout=out)
        return json.loads(out.getvalue())

    return call


def test_explain__names_the_rule_and_the_ledger_rows(run, workspace):
    person = IdentifierFactory(workspace=workspace, value="ada@example.com")
    say(person, Purpose.ADVERTISING, ConsentState.REFUSED)

    told = run("consent", "explain", "--identifier", "email:ADA@example.com", "--purpose", "advertising")

    assert told["allowed"] is False
    assert (told["legal_basis"], told["profile"], told["changes_at"]) == ("CONSENT", person.pk, None)
    rule, row = told["why"]
    assert (rule["kind"], rule["rule"]) == ("rule", "denied")
    assert (row["kind"], row["state"], row["identifier_id"]) == ("ledger", "REFUSED", person.pk)
    assert "value" not in row


def test_explain__of_nobody_known__answers_by_the_legal_basis(run):
    told = run("consent", "explain", "--identifier", "crm:id:4711", "--purpose", "analytics")

    assert told["allowed"] is True
    assert [each["rule"] for each in told["why"]] == ["silence_permits", "nobody_yet"]


def test_explain__of_what_is_judged_by_device__says_on_which_it_holds(run, workspace):
    PurposePolicy.objects.filter(workspace=workspace, purpose="analytics").update(scope="DEVICE", legal_basis="CONSENT")
    laptop, phone = (IdentifierFactory(workspace=workspace, type="anonymous_id", value=name) for name in "ab")
    person = IdentifierFactory(workspace=workspace, value="ada@example.com")
    Identifier.objects.filter(pk__in=[laptop.pk, phone.pk, person.pk]).update(profile_id=laptop.pk)
    say(laptop, Purpose.ANALYTICS, ConsentState.GIVEN, is_verified=True)
    say(phone, Purpose.ANALYTICS, ConsentState.REFUSED)

    def told(name: str) -> tuple[bool, list[str], list[int]]:
        answer = run("consent", "explain", "--identifier", name, "--purpose", "analytics")
        rules = [each["rule"] for each in answer["why"] if each["kind"] == "rule"]
        return answer["allowed"], rules, sorted(each["id"] for each in answer["why"] if each["kind"] == "ledger")

    first, second = ConsentRecord.objects.order_by("pk").values_list("pk", flat=True)
    assert told("anonymous_id:a") == (True, ["granted", "on_this_device"], [first])
    assert told("anonymous_id:b") == (False, ["denied", "on_this_device"], [second])
    assert told("email:ada@example.com") == (False, ["denied", "on_every_device"], [first, second])
    assert told("anonymous_id:never-seen") == (False, ["silence_refuses", "on_this_device", "nobody_yet"], [])


def test_record__twice_with_a_key__records_once(run):
    said = ("--identifier", "phone:06 12 34 56 78", "--purpose", "advertising", "--state", "given", "--verified")
    given = ("consent", "record", *said, "--at", "2026-01-01T00:00:00Z", "--key", "1")

    assert run(*given) == {"recorded": 1, "duplicates": 0}
    assert run(*given) == {"recorded": 0, "duplicates": 1}
    told = run("consent", "explain", "--identifier", "phone:+33612345678", "--purpose", "advertising")
    assert told["allowed"] is True


def test_record__of_what_has_not_happened_yet__is_refused(run, as_login):
    with pytest.raises(InvalidStatementError):
        run(
            "consent", "record", "--identifier", "email:ada@example.com", "--purpose", "analytics",
            "--state", "withdrawn", "--at", "2999-01-01T00:00:00Z",
        )  # fmt: skip

    as_login("none")
    assert not ConsentRecord.objects.exists()


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00"])
def test_record__at_a_time_that_is_none__is_a_wrong_argument(run, time):
    with pytest.raises(CommandError) as refused:
        run("consent", "record", "--identifier", "crm:id:1", "--purpose", "analytics", "--state", "given", "--at", time)

    assert refused.value.returncode == 2


def test_explain__of_a_value_that_identifies_nobody__is_a_wrong_argument(run):
    with pytest.raises(CommandError) as refused:
        run("consent", "explain", "--identifier", "email:null", "--purpose", "analytics")

    assert refused.value.returncode == 2


def test_verify__of_a_whole_ledger__tells_its_head_which_verifies_later(run):
    said = ("--identifier", "crm:id:1", "--purpose", "analytics", "--state", "given", "--at", "2026-01-01T00:00:00Z")
    run("consent", "record", *said)

    told = run("consent", "verify")

    assert (told["is_whole"], told["records"], told["head"]["position"], told["findings"]) == (True, 1, 1, [])
    assert run("consent", "verify", "--head", f"1:{told['head']['hash']}")["is_whole"] is True


def test_publish_head__of_a_ledger_that_goes_on__verifies_later(run, settings, tmp_path):
    settings.LEDGER_HEADS = tmp_path / "heads.jsonl"
    said = ("--identifier", "crm:id:1", "--purpose", "analytics", "--state", "given")
    run("consent", "record", *said)

    head = run("consent", "publish-head")
    run("consent", "record", *said)
    told = run("consent", "verify", "--published", str(settings.LEDGER_HEADS))

    assert head["position"] == 1
    assert (told["is_whole"], told["noted"], told["head"]["position"]) == (True, 1, 2)


def test_verify__by_a_file_that_is_not_there__is_a_wrong_argument(run, tmp_path):
    with pytest.raises(CommandError, match="There is no file") as refused:
        run("consent", "verify", "--published", str(tmp_path / "none"))

    assert refused.value.returncode == 2


def test_verify__of_a_ledger_that_misses_a_record__fails_and_names_it(run, workspace, as_login, capsys):
    run("consent", "record", "--identifier", "crm:id:1", "--purpose", "analytics", "--state", "given")
    as_login("none")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("DELETE FROM consent_record")
    as_login("operator")

    with pytest.raises(BrokenLedgerError):
        call_command("consent", "verify", "--workspace", workspace.slug, "--json")

    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["fault"], finding["position"]) == ("missing", 1)


def test_settings__change_what_is_named_and_keep_the_rest(run):
    settings = {"keeps_addresses": False, "confirmation_hours": 72, "vendor": None, "jurisdiction_trait": ""}
    assert run("consent", "settings") == settings
    settings["keeps_addresses"] = True
    assert run("consent", "settings", "--keep-addresses", "yes") == settings
    settings |= {"confirmation_hours": 9, "vendor": 755}
    assert run("consent", "settings", "--confirmation-hours", "9", "--vendor", "755") == settings
    settings["jurisdiction_trait"] = "country"
    assert run("consent", "settings", "--jurisdiction-trait", "country") == settings


@pytest.mark.parametrize(
    "wrong",
    [
        ("settings", "--confirmation-hours", "0"),
        ("settings", "--vendor", "0"),
        ("settings", "--vendor", "65536"),
        ("signals", "--tcf-purpose", "12", "--purpose", "advertising"),
        ("signals", "--opt-out", "everything", "--purpose", "advertising"),
        ("verify", "--head", "x"),
    ],
)
def test_consent__with_a_wrong_option__is_a_wrong_argument(wrong, run):
    with pytest.raises(CommandError):
        run("consent", *wrong)


def test_workspaces__create_twice_and_list(run, workspace, as_login):
    made = run("workspaces", "create", "shop", "--name", "The shop")
    again = run("workspaces", "create", "shop")
    listed = run("workspaces", "list")["workspaces"]

    assert again == made
    assert (made["workspace"], made["name"], made["closed_at"]) == ("shop", "The shop", None)
    assert [each["workspace"] for each in listed] == sorted([workspace.slug, "shop"])
    as_login("none")
    assert Workspace.objects.get(slug="shop").purposepolicy_set.count() == len(Purpose)


@pytest.mark.parametrize("slug", ["two words", "UPPER/slash", ""])
def test_workspaces__with_a_slug_that_is_none__are_refused(run, slug, as_login):
    with pytest.raises(CommandError):
        run("workspaces", "create", slug)

    as_login("none")
    assert Workspace.objects.count() == 1


def test_decode__of_a_signal__says_what_it_says(run):
    told = run("consent", "decode", "DBACNY~CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgACPAAAAA~1YNN", "--vendor", "7")

    assert (told["kind"], [each["name"] for each in told["sections"]]) == ("gpp", ["tcfeuv2", "uspv1"])
    assert told["sections"][0]["vendor"] == {"id": 7, "consent": [], "interest": []}


def test_decode__of_what_is_no_signal__says_where_and_why(run):
    with pytest.raises(MalformedSignalError, match="at character 2: not a character of base64url"):
        run("consent", "decode", "CQ+")


def test_signals__are_mapped_listed_and_removed(run):
    run("consent", "signals", "--gpc", "--purpose", "advertising")
    run("consent", "signals", "--category", "Marketing", "--purpose", "advertising")
    run("consent", "signals", "--category", "Marketing", "--purpose", "analytics")

    assert run("consent", "signals", "--category", "Marketing", "--purpose", "analytics") == {
        "signals": [
            {"kind": "CATEGORY", "category": "Marketing", "purposes": ["advertising", "analytics"]},
            {"kind": "GPC", "category": "", "purposes": ["advertising"]},
        ]
    }
    run("consent", "signals", "--gpc", "--purpose", "advertising", "--remove")
    assert [each["kind"] for each in run("consent", "signals")["signals"]] == ["CATEGORY"]


def test_signals__of_consent_strings__are_mapped_and_removed(run):
    run("consent", "signals", "--tcf-purpose", "4", "--purpose", "advertising")

    assert run("consent", "signals", "--opt-out", "sale", "--purpose", "advertising") == {
        "signals": [
            {"kind": "OPT_OUT", "category": "sale", "purposes": ["advertising"]},
            {"kind": "TCF", "category": "4", "purposes": ["advertising"]},
        ]
    }
    run("consent", "signals", "--tcf-purpose", "4", "--purpose", "advertising", "--remove")
    assert [each["kind"] for each in run("consent", "signals")["signals"]] == ["OPT_OUT"]


@pytest.mark.parametrize("arguments", [("--gpc",), ("--purpose", "analytics"), ("--category", "Marketing")])
def test_signals__half_said__are_a_wrong_argument(run, arguments):
    with pytest.raises(CommandError) as refused:
        run("consent", "signals", *arguments)

    assert refused.value.returncode == 2


@pytest.mark.parametrize("category", ["", "x" * 101])
def test_signals__of_a_category_that_cannot_be__are_refused(run, category):
    with pytest.raises(BadCategoryError):
        run("consent", "signals", "--category", category, "--purpose", "analytics")

    assert run("consent", "signals") == {"signals": []}

"""A person's request by the API, from its reception to the package behind a link."""

import io
import json
import zipfile
from datetime import timedelta

import pytest
from django.utils import timezone

from activation.models import Audience, AudienceMember, Destination, SyncRun
from cdp.models import Identifier, IdentifierTrait
from consent import execution, packaging
from consent.models import DataRequest, LegalBasis, PurposePolicy
from segments.models import Segment
from tests.factories import IdentifierFactory, SourceFactory

YESTERDAY = (timezone.now() - timedelta(days=1)).isoformat()


def asked(**changes):
    return {"kind": "ACCESS", "identifiers": ["email:ADA@example.com"], "received_at": YESTERDAY, **changes}


@pytest.fixture(autouse=True)
def package_dir(settings, tmp_path):
    settings.PACKAGE_DIR = tmp_path / "packages"


@pytest.fixture
def as_web(as_login):
    as_login("web")


def test_request__from_reception_to_download(owner, ada, workspace, client, as_login, as_web):
    number = owner.post("data-requests", asked()).json()["id"]
    here = f"data-requests/{number}"
    code = owner.post(f"{here}/code", {}).json()
    verified = owner.post(f"{here}/verify", {"code": code["code"]}).json()
    started = owner.post(f"{here}/start", {}).json()
    building = owner.get(f"{here}/results").json()
    as_login("rights")
    packaging.build_next(workspace_id=workspace.pk, now=timezone.now())
    as_login("web")
    built = owner.get(f"{here}/results").json()
    link = owner.post(f"{here}/results", {}).json()
    done = owner.post(f"{here}/complete", {}).json()

    answer = client.get(link["path"])

    assert (verified["verification"], started["state"], done["state"]) == ("CODE", "IN_PROGRESS", "COMPLETED")
    assert (code["valid_seconds"], building["state"], built["state"]) == (900, "BUILDING", "BUILT")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/zip")
    archive = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))
    assert len(json.loads(archive.read("json/observed/events.json"))) == 3
    steps = [step["step"] for step in owner.get(here).json()["steps"]]
    assert steps == [
        "request.received", "request.code_sent", "request.verified", "request.started", "package.read", "package.built",
        "package.linked", "request.completed", "package.downloaded",
    ]  # fmt: skip
    assert client.get(link["path"][:-1] + "x").json()["code"] == "no_such_link"


def test_receive__of_an_unknown_person__answers_like_that_of_a_known_one(owner, ada, as_web):
    known = owner.post("data-requests", asked()).json()
    unknown = owner.post("data-requests", asked(identifiers=["email:nobody@example.com"])).json()

    assert {**known, "id": 0} == {**unknown, "id": 0}


def test_rights__on_the_bases_of_the_workspace__say_what_a_form_shows(owner, workspace, as_login):
    PurposePolicy.objects.filter(workspace=workspace).update(legal_basis=LegalBasis.CONTRACT)
    as_login("web")

    offered = {each["kind"]: each for each in owner.get("data-requests/rights").json()["rights"]}
    refused = owner.post("data-requests", asked(kind="OBJECTION"))

    assert offered["PORTABILITY"]["bases"] == ["CONTRACT"]
    assert offered["OBJECTION"] == {
        "kind": "OBJECTION", "is_offered": False, "is_limited": False, "bases": [], "reason": "withdraw_instead_or_bound",
    }  # fmt: skip
    assert (refused.status_code, refused.json()["code"]) == (400, "right_not_offered")
    assert DataRequest.objects.count() == 0


@pytest.mark.parametrize(
    ("step", "body", "status", "code"),
    [
        ("start", {}, 409, "not_verified"),
        ("complete", {}, 409, "wrong_request_state"),
        ("duplicate", {"of": 1}, 404, "unknown_data_request"),
        ("settle", {}, 409, "wrong_request_state"),
        ("extend", {}, 400, "validation_failed"),
        ("refuse", {"reason": " "}, 400, "validation_failed"),
        ("verify", {}, 400, "validation_failed"),
        ("verify", {"code": "12345678"}, 400, "wrong_code"),
        ("results", {}, 409, "package_not_built"),
    ],
)
def test_step__that_cannot_be_taken__says_why_and_moves_nothing(step, body, status, code, owner, as_web):
    number = owner.post("data-requests", asked()).json()["id"]

    answer = owner.post(f"data-requests/{number}/{step}", body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert DataRequest.objects.get().state == "RECEIVED"


def test_steps__of_the_officer__are_all_there(owner, as_web):
    number = owner.post("data-requests", asked(kind="ERASURE", is_logged_in=True)).json()["id"]
    doubted = owner.post("data-requests", asked(kind="ERASURE")).json()["id"]

    extended = owner.post(f"data-requests/{number}/extend", {"reason": "many requests"}).json()
    owner.post(f"data-requests/{doubted}/doubt", {"reason": "shared address"})
    verified = owner.post(f"data-requests/{doubted}/verify", {"is_logged_in": True}).json()
    same = owner.post(f"data-requests/{doubted}/duplicate", {"of": number}).json()
    refused = owner.post(f"data-requests/{number}/refuse", {"reason": "bound by law"}).json()

    assert extended["due_at"] > extended["first_due_at"]
    assert (verified["verification"], same["state"], same["duplicate_of"]) == ("LOGGED_IN", "DUPLICATE", number)
    assert (refused["state"], refused["refusal_reason"]) == ("REFUSED", "bound by law")
    assert [each["id"] for each in owner.get("data-requests").json()["requests"]] == [doubted, number]


def test_list__by_pages__ends(owner, as_web):
    numbers = [owner.post("data-requests", asked()).json()["id"] for _ in range(3)]

    first = owner.get("data-requests", limit=2).json()
    second = owner.get("data-requests", limit=2, cursor=first["next"]).json()

    assert [[each["id"] for each in page["requests"]] for page in (first, second)] == [numbers[:0:-1], numbers[:1]]
    assert second["next"] is None


def test_request__for_others__is_refused(owner, stranger, anonymous, caller, as_login, as_web):
    number = owner.post("data-requests", asked()).json()["id"]
    as_login("none")
    reader = caller("rights:read")
    as_login("web")

    assert stranger.get(f"data-requests/{number}").status_code == 404
    assert anonymous.get(f"data-requests/{number}").status_code == 401
    assert reader.get(f"data-requests/{number}").status_code == 200
    assert reader.post(f"data-requests/{number}/code", {}).status_code == 403
    assert DataRequest.objects.get().step == "request.received"


# -- carried out ----------------------------------------------------------------------------------------------------


def work(workspace, as_login):
    as_login("rights")
    execution.carry_out_next(workspace_id=workspace.pk, now=timezone.now())
    as_login("web")


def begun(caller, kind, body=None, **more):
    number = caller.post("data-requests", asked(kind=kind, is_logged_in=True, **more)).json()["id"]
    started = caller.post(f"data-requests/{number}/start", body or {})
    assert started.status_code == 200, started.json()
    return f"data-requests/{number}"


def test_erasure__from_reception_to_the_certificate(owner, ada, workspace, as_login, as_web):
    here = begun(owner, "ERASURE", locale="fr")
    waiting = owner.get(f"{here}/work").json()
    too_early = owner.post(f"{here}/complete", {})
    work(workspace, as_login)
    done = owner.get(f"{here}/work").json()
    told = owner.get(f"{here}/answer").json()
    too_late = owner.post(f"{here}/refuse", {"reason": "no"})
    closed = owner.post(f"{here}/complete", {}).json()

    assert (waiting["state"], waiting["certificate"]) == ("WAITING", None)
    assert (too_early.status_code, too_early.json()["code"]) == (409, "work_not_done")
    assert (done["state"], done["certificate"]["rows"]["identifier"]) == ("DONE", 2)
    assert done["certificate"]["completed_at"] is not None
    assert (told["locale"], told["recipients"]) == ("fr", [])
    assert (too_late.status_code, too_late.json()["code"]) == (409, "work_is_done")
    assert closed["state"] == "COMPLETED"
    as_login("none")
    assert not Identifier.objects.exists()


def test_rectification__with_values_of_the_officer__is_normalised_as_events_are(
    owner, ada, workspace, as_login, as_web
):
    here = begun(owner, "RECTIFICATION", {"corrections": {"email": "Ada@GMAIL.com ", "orders": 4}})

    work(workspace, as_login)

    as_login("none")
    found = dict(IdentifierTrait.objects.filter(source__kind="STEWARD").values_list("name", "value"))
    as_login("web")
    assert found == {"email": "ada@gmail.com", "orders": 4}
    assert owner.get(f"{here}/work").json()["done"] == {"values": 2, "written": 2}


def test_review__is_done_with_its_outcome(owner, ada, as_web):
    here = begun(owner, "HUMAN_REVIEW")

    state = owner.get(f"{here}/work").json()["state"]
    owner.post(f"{here}/outcome", {"outcome": "A clerk granted it."})
    told = owner.get(f"{here}/answer").json()["text"]
    closed = owner.post(f"{here}/complete", {}).json()

    assert (state, closed["state"]) == ("BY_HAND", "COMPLETED")
    assert "A clerk granted it." in told


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"kind": "OBJECTION", "purposes": ["nothing"]}, "validation_failed"),
        ({"kind": "WITHDRAWAL", "purposes": ["analytics"]}, "invalid_request_details"),
        ({"kind": "RECTIFICATION", "corrections": {"city": {"name": "Paris"}}}, "validation_failed"),
        ({"kind": "RECTIFICATION", "corrections": {"city": " "}}, "invalid_request_details"),
        ({"kind": "ERASURE", "corrections": {"city": "Paris"}}, "invalid_request_details"),
        ({"locale": "xx"}, "validation_failed"),
    ],
)
def test_receive__with_details_that_do_not_fit__is_refused(more, code, owner, as_web):
    answer = owner.post("data-requests", asked(**more))

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert not DataRequest.objects.exists()


def test_work__of_another_workspace_or_without_the_scope__is_not_shown(owner, stranger, caller, ada, as_login):
    reader = caller("profiles:read")
    as_login("web")
    here = begun(owner, "RESTRICTION")

    answers = [(who.get(f"{here}/{page}")) for who in (stranger, reader) for page in ("work", "answer")]
    tried = stranger.post(f"{here}/try-again", {})

    assert [each.status_code for each in answers] == [404, 404, 403, 403]
    assert tried.status_code == 404
    assert owner.get(f"{here}/work").json()["state"] == "WAITING"


def test_work__of_a_request_that_a_package_answers__does_not_exist(owner, ada, as_web):
    here = begun(owner, "ACCESS")

    assert owner.get(f"{here}/work").json()["code"] == "no_work"
    assert "CNIL" in owner.get(f"{here}/answer").json()["text"]


def test_recipients__are_named_to_whom_was_verified(owner, ada, workspace, as_login, now):
    fair_of(workspace, ada, now)
    as_login("web")
    unseen = owner.post("data-requests", asked(kind="RESTRICTION")).json()["id"]
    here = begun(owner, "RESTRICTION")

    work(workspace, as_login)

    assert owner.get(f"data-requests/{unseen}/answer").json()["recipients"] == []
    told = owner.get(f"{here}/answer").json()
    assert told["recipients"] == [{"destination": "newsletter", "answer": ""}]
    assert "newsletter" not in told["text"]


def fair_of(workspace, ada, now):
    """She was sent to a newsletter once."""
    segment = Segment.objects.create(workspace=workspace, slug="buyers", name="Buyers")
    destination = Destination.objects.create(workspace=workspace, slug="newsletter", kind="webhook", secrets=b"")
    audience = Audience.objects.create(
        workspace=workspace, destination=destination, segment=segment, external_id="b", identifier_types=["email"]
    )
    run = SyncRun.objects.create(
        workspace=workspace, audience=audience, operation="ADD", key="k", members=1, started_at=now, finished_at=now
    )
    AudienceMember.objects.create(
        workspace=workspace, audience=audience, profile_id=ada.id, identifier_type="email", key="0" * 64,
        state="PRESENT", due_at=now, run=run, changed_at=now,
    )  # fmt: skip


def test_mentions__by_a_key_that_answers_people__are_found_and_blotted_out(owner, caller, ada, workspace, as_login):
    note = IdentifierTrait.objects.create(
        workspace=workspace, identifier=IdentifierFactory(workspace=workspace), source=SourceFactory(workspace=workspace),
        name="note", value="Knows Ada Lovelace", observed_at=timezone.now(),
    )  # fmt: skip
    reader = caller("rights:read")
    as_login("web")
    number = owner.post("data-requests", asked(kind="ERASURE", is_logged_in=True)).json()["id"]
    here, words = f"data-requests/{number}", {"text": "ada lovelace", "places": ["identifier_trait"]}
    early = owner.post(f"{here}/redactions", words)
    owner.post(f"{here}/start", {})

    found = owner.post(f"{here}/mentions", words).json()
    refused = [owner.post(f"{here}/redactions", {"text": text}).json()["code"] for text in ("Ada", "a(b)c d")]
    done = owner.post(f"{here}/redactions", words).json()

    note.refresh_from_db()
    assert (early.status_code, refused) == (409, ["unsearchable_text"] * 2)
    assert reader.post(f"{here}/mentions", words).status_code == 403
    assert found == done == {"rows": {"identifier_trait": 1}, "ids": {"identifier_trait": [note.pk]}}
    assert note.value == "Knows […]"
    assert [step["note"] for step in owner.get(here).json()["steps"][-2:]] == ["identifier_trait: 1"] * 2


def test_redaction__of_the_rows_that_are_named__leaves_the_others(owner, workspace, as_login):
    notes = [
        IdentifierTrait.objects.create(
            workspace=workspace, identifier=IdentifierFactory(workspace=workspace), name="note", value="Ada Lovelace",
            source=SourceFactory(workspace=workspace), observed_at=timezone.now(),
        )
        for _ in range(2)
    ]  # fmt: skip
    as_login("web")
    number = owner.post("data-requests", asked(kind="ERASURE", is_logged_in=True)).json()["id"]
    here, words = f"data-requests/{number}", {"text": "ada lovelace"}
    owner.post(f"{here}/start", {})

    unknown = owner.post(f"{here}/redactions", {**words, "ids": {"profile": [1]}})
    none = owner.post(f"{here}/redactions", {**words, "ids": {}})
    done = owner.post(f"{here}/redactions", {**words, "ids": {"identifier_trait": [notes[1].pk, notes[1].pk + 1]}})

    assert (unknown.status_code, none.status_code) == (400, 400)
    assert done.json()["ids"] == {"identifier_trait": [notes[1].pk]}
    assert list(IdentifierTrait.objects.order_by("pk").values_list("value", flat=True)) == ["Ada Lovelace", "[…]"]

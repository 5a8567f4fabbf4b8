"""OpenDSR as a controller sees it: every row of the specification, and of what we made of its contradictions."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st

from cdp.kernel.identifiers import Identifier
from cdp.models.tenancy import workspace_scope
from consent import packaging, requests
from consent.models import DataRequest, DsrCallback, DsrRequest, LegalBasis, PurposePolicy, RequestStep
from consent.opendsr import controllers, signing
from tests.api.opendsr.controller import CALLED, DOMAIN, DUE, ID, SUBMITTED, Controller, asked, identity, named, reasons
from tests.factories import IdentifierFactory, WorkspaceFactory

# -- discovery ------------------------------------------------------------------------------------------------------


def test_discovery__says_what_can_be_asked_and_where_the_certificate_is(acme, certificate):
    said = acme.get("/v2/discovery").json()

    assert said["api_version"] == "2.0"
    assert said["supported_subject_request_types"] == ["access", "portability", "erasure"]
    assert said["processor_certificate"] == f"https://{DOMAIN}/opendsr/certificate.pem"
    formats = {one["identity_format"] for one in said["supported_identities"]}
    assert (len(said["supported_identities"]), formats) == (33, {"raw", "md5", "sha256"})
    assert acme.client.get("/opendsr/certificate.pem").content == certificate.pem


def test_discovery__offers_what_the_legal_bases_do(acme, workspace, as_login):
    as_login("none")
    PurposePolicy.objects.filter(workspace=workspace).update(legal_basis=LegalBasis.PUBLIC_INTEREST)
    as_login("web")

    said = acme.get("/v2/discovery").json()
    refused = acme.post(asked(subject_request_type="erasure"))

    assert said["supported_subject_request_types"] == ["access"]
    assert (refused.status_code, reasons(refused)) == (400, ["no_basis_for_erasure"])
    assert not DataRequest.objects.exists()


# -- receive --------------------------------------------------------------------------------------------------------


def test_request__is_answered_with_what_was_sent_and_becomes_one_of_ours(acme, workspace):
    body = json.dumps(asked()).encode()

    answer = acme.post(body)

    said = answer.json()
    assert answer.status_code == 201
    assert said.keys() == {
        "controller_id", "expected_completion_time", "received_time", "encoded_request", "subject_request_id",
    }  # fmt: skip
    assert (said["controller_id"], said["subject_request_id"]) == ("acme", ID)
    assert (said["expected_completion_time"], base64.b64decode(said["encoded_request"])) == (DUE, body)
    request = DataRequest.objects.get()
    assert (request.kind, request.state, request.verification) == ("ACCESS", "RECEIVED", "MANUAL")
    assert request.received_at == datetime.fromisoformat(SUBMITTED)
    assert named() == [Identifier("email", "ada@example.com")]
    steps = RequestStep.objects.order_by("pk").values_list("step", "stepped_by", "note")
    vouched = "The controller acme answers for who asks (OpenDSR)."
    by = f"controller:{acme.row.pk}"
    assert list(steps) == [("request.received", by, ""), ("request.verified", by, vouched)]


@pytest.mark.parametrize("path", ["/v2/requests", "/opendsr/v2/requests"])
def test_request__under_both_beginnings__is_taken(acme, path):
    assert acme.post(asked(), path).status_code == 201
    assert acme.get(f"{path}/{ID}").json()["request_status"] == "pending"


def test_request__again_with_the_same_body__is_the_same_answer(acme):
    body = json.dumps(asked()).encode()
    first = acme.post(body)

    again = acme.post(body)

    assert (again.status_code, again.content) == (201, first.content)
    assert (DataRequest.objects.count(), DsrRequest.objects.count()) == (1, 1)


@pytest.mark.parametrize("other", [asked(subject_request_type="erasure"), asked(extensions={})])
def test_request__again_with_another_body__is_refused(acme, other):
    acme.post(asked())

    answer = acme.post(other)

    assert (answer.status_code, reasons(answer)) == (400, ["other_body"])
    assert DataRequest.objects.values_list("kind", flat=True).get() == "ACCESS"


def test_request__of_two_controllers_with_one_id__are_two(acme, register, as_login):
    as_login("none")
    other = register("other")
    as_login("web")

    answers = [acme.post(asked()), other.post(asked())]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert DsrRequest.objects.count() == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"regulation": None}, "invalid_regulation"),
        ({"regulation": "lgpd"}, "invalid_regulation"),
        ({"subject_request_id": None}, "invalid_field"),
        ({"subject_request_id": ID.upper()}, "invalid_id"),
        ({"subject_request_id": "a7551968-d5d6-14b2-9831-815ac9017798"}, "invalid_id"),
        ({"subject_request_id": 5}, "invalid_field"),
        ({"subject_request_type": "rectification"}, "unsupported_type"),
        ({"submitted_time": None}, "invalid_field"),
        ({"submitted_time": "2026-10-31T09:00:00"}, "invalid_field"),
        ({"submitted_time": "yesterday"}, "invalid_field"),
        ({"submitted_time": "2099-01-01T00:00:00Z"}, "in_the_future"),
        ({"subject_identities": None}, "no_identity"),
        ({"subject_identities": []}, "no_identity"),
        ({"subject_identities": [identity(f"{n}@example.com") for n in range(21)]}, "too_many"),
        ({"subject_identities": [identity("+33612345678", kind="phone")]}, "unsupported_identity"),
        ({"subject_identities": [identity("a" * 40, "sha1")]}, "unsupported_format"),
        ({"subject_identities": [identity("ada@example.com", "sha256")]}, "invalid_identity"),
        ({"subject_identities": [identity("a" * 32, "sha256")]}, "invalid_identity"),
        ({"subject_identities": [identity("no address")]}, "invalid_identity"),
        ({"subject_identities": [identity("null", kind="controller_customer_id")]}, "invalid_identity"),
        ({"subject_identities": [{"identity_type": "email", "identity_value": "ada@example.com"}]}, "unsupported_format"),
        ({"api_version": "1.0"}, "api_version"),
        ({"api_version": "3.0"}, "api_version"),
        ({"only_events_of": "2020"}, "invalid_field"),
        ({"extensions": {DOMAIN: {"token": "hidden"}}}, "invalid_field"),
        ({"extensions": {DOMAIN: {"identifiers": []}}}, "invalid_field"),
        ({"extensions": {DOMAIN: {"identifiers": ["ada"]}}}, "invalid_identity"),
        ({"status_callback_urls": ["https://controller.example.com/"] * 11}, "too_many"),
    ],
)  # fmt: skip
def test_request__that_is_not_as_it_must_be__is_refused_and_nothing_is_kept(acme, changes, reason):
    answer = acme.post(asked(**changes))

    assert (answer.status_code, reasons(answer)) == (400, [reason])
    assert (answer["Cache-Control"], answer.json()["error"]["code"]) == ("no-store", 400)
    assert not DataRequest.objects.exists()
    assert not DsrRequest.objects.exists()
    for personal in ("ada", "hidden", "no address", "12345678", acme.token):
        assert personal not in answer.content.decode().lower()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"regulation": "gdpr",}',
        json.dumps(asked()).encode() + b",",
        b"\xff\xfe",
        b"[" * 40_000,
    ],
)
def test_body__that_is_no_object__is_refused(acme, body):
    answer = acme.post(body)

    assert (answer.status_code, DataRequest.objects.count()) == (400, 0)
    assert reasons(answer)[0] in {"invalid_json", "invalid_field"}


def test_body__that_is_too_large__is_refused(acme):
    assert acme.post(asked(extensions={"other.example.com": "x" * 70_000})).status_code == 413


def test_lenient_controller__may_leave_out_the_regulation_and_say_more(register, as_login):
    easy = register("easy", is_lenient=True)
    as_login("web")

    answer = easy.post(asked(regulation=None, only_events_of="2020"))

    assert answer.status_code == 201
    assert DsrRequest.objects.get().regulation == ""


def test_ccpa__is_a_regulation_too(acme):
    assert acme.post(asked(regulation="ccpa")).status_code == 201
    assert DsrRequest.objects.get().regulation == "ccpa"


def test_clock__of_a_controller_that_goes_before_ours__is_received_now(acme):
    ahead = (timezone.now() + timedelta(minutes=3)).astimezone(UTC).isoformat()

    assert acme.post(asked(submitted_time=ahead)).status_code == 201
    assert DataRequest.objects.get().received_at <= timezone.now()


# -- whom it names --------------------------------------------------------------------------------------------------


def test_identities__of_all_kinds__are_our_identifiers(acme):
    told = [
        identity("C-7", kind="controller_customer_id"),
        identity("38400000-8cf0-11bd-b23e-10b96e40000d", kind="android_advertising_id"),
        identity("Ada@Example.com"),
        identity("ada@example.com"),
    ]
    extensions = {DOMAIN: {"identifiers": ["phone:06 12 34 56 78"]}, "other.example.com": {"password": "x"}}

    answer = acme.post(asked(subject_identities=told, extensions=extensions))

    assert answer.status_code == 201
    assert named() == [
        Identifier("phone", "+33612345678"),
        Identifier("user_id", "C-7"),
        Identifier("android_advertising_id", "38400000-8cf0-11bd-b23e-10b96e40000d"),
        Identifier("email", "ada@example.com"),
    ]


def test_identities__in_our_extension_alone__suffice(acme):
    extensions = {DOMAIN: {"identifiers": ["crm:id:4711"]}}

    assert acme.post(asked(subject_identities=None, extensions=extensions)).status_code == 201
    assert named() == [Identifier("crm:id", "4711")]


@pytest.mark.parametrize("form", ["md5", "sha256"])
def test_digest__of_somebody_known__is_looked_up_in_this_workspace_alone(acme, workspace, form, as_login):
    as_login("none")
    for value in ("ada@example.com", "grace@example.com"):
        IdentifierFactory(workspace=workspace, value=value)
    IdentifierFactory(workspace=workspace, type="user_id", value="ada@example.com")
    as_login("web")
    digest = hashlib.new(form, b"ada@example.com").hexdigest().upper()

    answer = acme.post(asked(subject_identities=[identity(digest, form)]))

    assert answer.status_code == 201
    assert named() == [Identifier("email", "ada@example.com")]


def test_digest__of_somebody_unknown__is_kept_and_answered_alike(acme, as_login):
    as_login("none")
    elsewhere = WorkspaceFactory()
    with workspace_scope(elsewhere.pk):
        IdentifierFactory(workspace=elsewhere, value="ada@example.com")
    as_login("web")
    digest = hashlib.sha256(b"ada@example.com").hexdigest()

    answer = acme.post(asked(subject_identities=[identity(digest, "sha256")]))

    assert (answer.status_code, answer.json()["expected_completion_time"]) == (201, DUE)
    assert named() == [Identifier("email_sha256", digest)]


def test_search__for_a_digest__leaves_the_time_limit_as_it_was(acme):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '61s'")
    acme.post(asked(subject_identities=[identity("a" * 64, "sha256")]))

    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("61s",)


# -- status and cancellation ----------------------------------------------------------------------------------------


def test_status__of_a_new_request__is_pending(acme):
    acme.post(asked())

    answers = [acme.get(path) for path in (f"/v2/requests/{ID}", f"/v2/status/{ID}", f"/opendsr/v2/status/{ID}")]

    assert {answer.content for answer in answers} == {answers[0].content}
    assert answers[0].json() == {
        "api_version": "2.0", "controller_id": "acme", "expected_completion_time": DUE, "subject_request_id": ID,
        "request_status": "pending",
    }  # fmt: skip


def test_access__ends_with_a_link_to_the_package(acme, turn, workspace, as_login):
    as_login("none")
    IdentifierFactory(workspace=workspace, value="ada@example.com")
    as_login("web")
    acme.post(asked())
    turn()

    said = acme.get(f"/v2/requests/{ID}").json()

    assert (said["request_status"], said["results_count"] > 0) == ("completed", True)
    link = said["results_url"].removeprefix(f"https://{DOMAIN}")
    assert link != said["results_url"]
    archive = b"".join(acme.client.get(link).streaming_content)
    assert archive.startswith(b"PK")
    assert acme.get(f"/v2/requests/{ID}").json()["results_url"] == said["results_url"]


def test_results__whose_link_was_used_up__have_a_new_one(acme, turn):
    acme.post(asked())
    turn()
    first = acme.get(f"/v2/requests/{ID}").json()["results_url"]
    for _ in range(packaging.DOWNLOADS):
        b"".join(acme.client.get(first.removeprefix(f"https://{DOMAIN}")).streaming_content)

    second = acme.get(f"/v2/requests/{ID}").json()["results_url"]

    assert second != first
    assert acme.client.get(first.removeprefix(f"https://{DOMAIN}")).status_code == 404
    assert acme.client.get(second.removeprefix(f"https://{DOMAIN}")).status_code == 200


def test_refusal__has_no_word_and_is_completed_with_nothing(acme, turn, workspace):
    acme.post(asked(submitted_time=timezone.now().isoformat()))
    turn_back = {"workspace_id": workspace.pk, "by": "user:1", "now": timezone.now()}
    requests.refuse_request(request_id=DataRequest.objects.get().pk, reason="manifestly unfounded", **turn_back)

    said = acme.get(f"/v2/requests/{ID}").json()

    assert (said["request_status"], said["results_count"]) == ("completed", 0)
    assert said["extensions"] == {DOMAIN: {"outcome": "refused"}}
    assert "unfounded" not in json.dumps(said)


def test_cancellation__while_pending__ends_it(acme, turn):
    acme.post(asked(status_callback_urls=[CALLED]))

    answer = acme.delete(f"/v2/requests/{ID}")
    turn()

    assert answer.status_code == 202
    assert answer.json().keys() == {"api_version", "controller_id", "subject_request_id", "received_time"}
    assert acme.get(f"/v2/requests/{ID}").json()["request_status"] == "cancelled"
    assert list(DsrCallback.objects.values_list("status", "url")) == [("cancelled", CALLED)]


def test_cancellation__of_what_has_begun__is_refused(acme, turn):
    acme.post(asked())
    turn()

    answers = [acme.delete(f"/v2/requests/{ID}") for _ in range(2)]

    assert [(each.status_code, reasons(each)) for each in answers] == [(400, ["not_pending"])] * 2
    assert DataRequest.objects.get().state == "COMPLETED"


@pytest.mark.parametrize(
    "number", ["0b7d6a0e-6f43-4b0c-9d3c-6a7b8c9d0e1f", "1", "x" * 500, "a7551968d5d644b29831815ac9017798"]
)
def test_request__that_does_not_exist__is_not_found(acme, number):
    assert [acme.get(f"/v2/requests/{number}").status_code, acme.delete(f"/v2/requests/{number}").status_code] == [
        404,
        404,
    ]


def test_request__of_another_controller__is_as_unknown_as_none(acme, register, as_login):
    as_login("none")
    other, stranger = register("other"), register("acme", of=WorkspaceFactory())
    as_login("web")
    acme.post(asked())
    unknown = acme.get(f"/v2/requests/{uuid4()}")

    answers = [caller.get(f"/v2/requests/{ID}") for caller in (other, stranger)]
    answers += [caller.delete(f"/v2/requests/{ID}") for caller in (other, stranger)]

    assert {(answer.status_code, answer.content) for answer in answers} == {(404, unknown.content)}
    assert DataRequest.objects.get().state == "RECEIVED"


# -- who asks -------------------------------------------------------------------------------------------------------


def test_caller__without_a_token_of_a_controller__is_refused(acme, owner, workspace, as_login):
    as_login("none")
    controllers.revoke_controller(workspace_id=workspace.pk, slug="acme", now=timezone.now())
    as_login("web")
    tokens = [
        "",
        "x",
        acme.token[:-1],
        f"dsr_{workspace.pk + 1}{acme.token[acme.token.index('.') :]}",
        owner.secret,
        acme.token,
    ]

    answers = [Controller(acme.client, None, token).post(asked()) for token in tokens]

    assert {answer.status_code for answer in answers} == {401}
    assert {answer["WWW-Authenticate"] for answer in answers} == {"Bearer"}
    assert not DataRequest.objects.exists()


def test_method__that_a_path_has_not__is_refused_with_those_that_it_has(acme):
    answer = acme.client.put("/v2/requests", headers={"Authorization": f"Bearer {acme.token}"})

    assert (answer.status_code, answer["Allow"]) == (405, "POST")


def test_adapter__without_settings__is_not_there(acme, settings):
    settings.OPENDSR_DOMAIN = settings.OPENDSR_CERTIFICATE = settings.OPENDSR_KEY = ""

    answers = [acme.post(asked()), acme.get("/v2/discovery"), acme.client.get("/opendsr/certificate.pem")]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "opendsr_off")] * 3
    assert not DataRequest.objects.exists()


def test_adapter__that_cannot_sign__takes_nothing(acme, settings, authority, tmp_path):
    settings.OPENDSR_KEY = str(authority.issue(DOMAIN).write(tmp_path, "another")[1])

    answer = acme.post(asked())

    assert (answer.status_code, answer.json()["code"]) == (503, "opendsr_config")
    assert not DataRequest.objects.exists()


# -- signatures -----------------------------------------------------------------------------------------------------


def test_answer__of_every_kind__is_signed_over_its_bytes(acme, certificate):
    answers = [
        acme.get("/v2/discovery"), acme.post(asked()), acme.post(b"{"), acme.get(f"/v2/requests/{ID}"),
        acme.get(f"/v2/requests/{uuid4()}"), acme.delete(f"/v2/requests/{ID}"),
        Controller(acme.client, None, "").get("/v2/discovery"),
    ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [200, 201, 400, 200, 404, 202, 401]
    for answer in answers:
        signing.verify(certificate.certificate, answer["X-OpenDSR-Signature"], answer.content)
        assert (answer["X-OpenDSR-Processor-Domain"], answer["Cache-Control"]) == (DOMAIN, "no-store")
        assert "processor_signature" not in answer.json()


def test_version_one__has_its_own_names(acme, certificate):
    path = "/opengdpr_requests"
    answers = [
        acme.get("/discovery"), acme.post(asked(regulation=None, api_version="1.0"), path), acme.get(f"{path}/{ID}"),
        acme.delete(f"/opendsr{path}/{ID}"),
    ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [200, 201, 200, 202]
    assert [answers[place].json()["api_version"] for place in (0, 2, 3)] == ["1.0"] * 3
    for answer in answers:
        signing.verify(certificate.certificate, answer["X-OpenGDPR-Signature"], answer.content)
        assert answer["X-OpenGDPR-Processor-Domain"] == DOMAIN


# -- whatever it sends ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://controller.example.com/", "https://evil.example.com/", "https://127.0.0.1/"])
def test_callback__to_an_address_that_was_not_agreed_upon__is_refused(acme, url):
    answer = acme.post(asked(status_callback_urls=[CALLED, url]))

    assert (answer.status_code, reasons(answer)) == (400, ["forbidden_callback"])
    assert not DataRequest.objects.exists()


@given(body=st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from([ID, SUBMITTED, "gdpr", "access"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(asked())) | st.text(max_size=10), inner, max_size=8),
    max_leaves=20,
))  # fmt: skip
@rules(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_body__whatever_it_is__is_taken_or_refused_and_never_an_accident(acme, body):
    answer = acme.post(json.dumps(body).encode())

    assert answer.status_code in {201, 400}


def test_request__again_after_the_pepper_changed__is_the_same(acme, settings):
    body = json.dumps(asked()).encode()
    first = acme.post(body)
    settings.IDENTIFIER_PEPPERS_BEFORE, settings.IDENTIFIER_PEPPER = [settings.IDENTIFIER_PEPPER], "another pepper"

    assert acme.post(body).content == first.content

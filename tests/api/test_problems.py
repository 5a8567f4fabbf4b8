"""Whatever goes wrong and wherever, the answer is one JSON object, and it gives nothing away."""

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import DataError
from django.http import Http404, HttpResponse
from django.test import RequestFactory
from rest_framework.test import APIRequestFactory

from cdp.api import problems, profiles
from cdp.api.problems import ProblemMiddleware
from cdp.kernel.errors import TesseraError
from cdp.models import ApiKey, Workspace


def fields(answer: HttpResponse) -> set[str]:
    return set(answer.json())


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/v1/", "/api/v1/nothing", "/api/v2/profiles/x", "/health"])
def test_path__that_does_not_exist__is_not_found_in_json(path, client):
    answer = client.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert fields(answer) == {"code", "message", "details"}
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Length"] == str(len(answer.content))


def test_console__keeps_its_pages(client, db):
    answer = client.get("/console/nothing/", headers={"Accept": "text/html"})

    assert not answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(("method", "path"), [("post", "/health/live"), ("put", "/api/v1/schema")])
def test_method__that_a_path_does_not_have__is_refused_with_those_it_has(method, path, client):
    answer = getattr(client, method)(path)

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


def test_method__that_a_resource_does_not_have__is_refused(owner):
    answer = owner.delete("consents")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        ("{", "application/json", 400, "invalid_json"),
        (b"\xff", "application/json", 400, "invalid_json"),
        ("{}", "text/xml", 415, "unsupported_media_type"),
    ],
)
def test_body__that_cannot_be_read__is_refused(owner, body, content_type, status, code):
    answer = owner.client.post(
        "/api/v1/consents", body, content_type=content_type, headers={"Authorization": f"Bearer {owner.secret}"}
    )

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert fields(answer) == {"code", "message", "details"}


def test_body__that_is_too_large__is_refused(owner, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10

    answer = owner.post("consents", {"consents": ["a long one"]})

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_representation__other_than_json__is_not_to_be_had(owner):
    answer = owner.client.get(
        "/api/v1/purposes", headers={"Authorization": f"Bearer {owner.secret}", "Accept": "text/csv"}
    )

    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


def test_host__that_is_not_ours__is_refused(client):
    answer = client.get("/health/live", headers={"Host": "evil.example"})

    assert (answer.status_code, answer.json()["code"]) in {(200, "ok"), (400, "bad_request")}


@pytest.mark.parametrize("header", ["Bearer nothing", "Bearer ", "Basic YTpi", "nothing", "Bearer é"])
def test_key__that_is_none__is_not_authenticated(client, workspace, header):
    answer = client.get("/api/v1/purposes", headers={"Authorization": header})

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


def test_key__that_was_revoked__is_not_authenticated(owner, now):
    ApiKey.objects.update(revoked_at=now)

    assert owner.get("purposes").status_code == 401


def test_key__of_a_closed_workspace__is_not_authenticated(owner, now):
    Workspace.objects.update(closed_at=now)

    assert owner.get("purposes").status_code == 401


# -- what nobody foresaw --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("ada@example.com"), TesseraError("ada@example.com")])
def test_error__that_nobody_foresaw__gives_nothing_away_and_is_logged_without_its_text(
    owner, ada, error, monkeypatch, log
):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(profiles.people, "profile_id_of", fail)

    answer = owner.get("profiles/email:ada%40example.com")

    assert answer.status_code == 500
    assert "ada" not in answer.content.decode()
    assert fields(answer) == {"code", "message", "details"}
    assert "ada" not in str(log.events)
    (entry,) = [event for event in log.events if event["event"] == "request.failed"]
    assert entry["error"] == type(error).__name__
    assert entry["route"] == "api/v1/profiles/<path:identifier>"
    assert entry["frames"][-1].endswith("fail")


def test_logs__of_refusals__never_name_the_path(owner, stranger, ada, caplog):
    """A path holds an identifier, and Django would log it."""
    stranger.get("profiles/email:ada%40example.com")
    owner.client.get("/profiles/ada@example.com")

    assert "ada" not in caplog.text


class Refusal(TesseraError):  # noqa: N818  # as short as the test needs
    """Do something else."""

    code = "refusal"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Refusal(place=1), 400, "refusal"),
        (Http404("secret"), 404, "not_found"),
        (DataError("secret"), 400, "invalid_value"),
        (PermissionDenied("secret"), 403, "forbidden"),
        (SuspiciousOperation("secret"), 400, "bad_request"),
    ],
)
def test_plain_view__that_raises__answers_in_json(error, status, code):
    middleware = ProblemMiddleware(lambda _: HttpResponse())
    request = RequestFactory().get("/somewhere")

    answer = middleware.process_exception(request, error)

    assert answer is not None
    assert answer.status_code == status
    assert f'"code": "{code}"' in answer.content.decode()
    assert "secret" not in answer.content.decode()


def test_console__that_raises__is_left_to_django():
    middleware = ProblemMiddleware(lambda _: HttpResponse())

    assert middleware.process_exception(RequestFactory().get("/console/"), Refusal()) is None


def test_exception_handler__keeps_the_details_of_a_domain_error():
    answer = problems.exception_handler(Refusal("Not so.", place=1), {"request": APIRequestFactory().get("/")})

    assert answer is not None
    assert answer.data == {"code": "refusal", "message": "Not so.", "details": {"place": 1}}

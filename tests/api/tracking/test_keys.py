"""Where the write key may be, in which order the places count, and what clients make of an empty password."""

import base64

import pytest

from cdp.api.tracking.requests import key_in
from cdp.ingestion import services as ingestion
from cdp.models import InboxBatch, SourceKind
from tests.api.tracking.conftest import GOOD, basic, post


@pytest.fixture
def other_key(workspace):
    return ingestion.create_source(workspace_id=workspace.pk, name="other", kind=SourceKind.HTTP)[1]


@pytest.mark.parametrize("password", [":", "", ":null", ":undefined", ":secret", ": "])
def test_header__with_any_password__names_the_source(password, client, write_key):
    assert post(client, "/v1/batch", {"batch": [GOOD]}, basic(write_key + password)).status_code == 200


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
@pytest.mark.parametrize("strip", ["", "="])
def test_key_in__however_it_is_written__is_the_user_name(scheme, strip):
    packed = base64.b64encode(b"wk_a:").decode().rstrip(strip or None)

    assert key_in(f"{scheme}  {packed} ") == "wk_a"


def test_key_in__of_the_alphabet_for_addresses__is_the_user_name():
    packed = base64.urlsafe_b64encode("wk_??>>ÿ:".encode()).decode()
    assert "_" in packed or "-" in packed

    assert key_in(f"Basic {packed}") == "wk_??>>ÿ"


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic ", "Basic %", "Basic Og==", "Basic /w==", "Digest eDo=", "Basic é"]
)
def test_key_in__of_what_names_nobody__is_none(header):
    assert key_in(header) is None


def test_key__in_header_and_body__counts_in_the_header(client, write_key, other_key):
    body = {"batch": [GOOD], "writeKey": other_key}

    assert post(client, "/v1/batch", body, basic(f"{write_key}:")).status_code == 200
    assert InboxBatch.objects.get().source.name == "shop"


def test_key__in_body_and_query__counts_in_the_body(client, write_key, other_key):
    body = {"batch": [GOOD], "writeKey": write_key}

    assert post(client, f"/beacon/v1/batch?writeKey={other_key}", body).status_code == 200
    assert InboxBatch.objects.get().source.name == "shop"


def test_key__of_the_body__counts_where_the_header_has_an_empty_one(client, write_key):
    assert post(client, "/v1/batch", {"batch": [GOOD], "writeKey": write_key}, basic(":")).status_code == 200


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/track", "/v1/t"])
def test_key__in_the_query__counts_on_no_other_path(path, client, write_key):
    answer = post(client, f"{path}?writeKey={write_key}", {"batch": [GOOD], **GOOD})

    assert (answer.status_code, set(answer.json())) == (401, {"code", "message"})
    assert not InboxBatch.objects.exists()

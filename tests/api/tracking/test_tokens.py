"""OAuth: a source that holds a public key takes calls with a token only, and a token is given for a signed assertion."""

import json
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import urlsplit

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.core.management import call_command
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from segment.analytics import oauth_manager, request
from segment.analytics.oauth_manager import OauthManager

from cdp.ingestion import services as ingestion
from cdp.ingestion import sources
from cdp.kernel.assertions import AssertionSyntaxError, PublicKeyError, claims_in, is_signed_by, public_keys_in
from cdp.models import InboxBatch, Source, SourceKind
from tests.api.tracking.conftest import GOOD, basic, kept_events, post

FORM = "application/x-www-form-urlencoded"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def key_pair(bits=2048):
    private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return private_pem(private), public_pem(private)


def private_pem(private):
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(private):
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()  # fmt: skip


OURS, OTHERS, NEXT = key_pair(), key_pair(), key_pair()


@pytest.fixture
def source(workspace, write_key):
    """A source that holds a public key."""
    return sources.protect_source(workspace_id=workspace.pk, name="shop", public_keys=OURS[1])


def assertion(source, private=OURS[0], algorithm="RS256", **changes):
    now = int(timezone.now().timestamp())
    claims = {
        "iss": f"source_{source.pk}",
        "aud": "https://testserver/oauth2",
        "iat": now - 5,
        "exp": now + 55,
        "jti": "1",
    }
    claims = {**claims, "sub": claims["iss"], **changes}
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None}, private, algorithm=algorithm
    )


def ask(client, signed, **changes):
    form = {
        "grant_type": "client_credentials", "client_assertion_type": JWT_BEARER, "client_assertion": signed,
        "scope": "tracking_api:write", **changes,
    }  # fmt: skip
    body = "&".join(f"{name}={value}" for name, value in form.items() if value is not None)
    return client.post("/oauth2/token", body, content_type=FORM)


def token_of(client, source, **changes):
    return ask(client, assertion(source, **changes)).json()["access_token"]


def call(client, write_key, token):
    return post(client, "/v1/batch", {"batch": [GOOD], "writeKey": write_key}, {"Authorization": f"Bearer {token}"})


def test_token__for_a_signed_assertion__lets_calls_in(client, source, write_key):
    answer = ask(client, assertion(source))

    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in ("token_type", "expires_in", "scope")} == {
        "token_type": "Bearer", "expires_in": 3600, "scope": "tracking_api:write",
    }  # fmt: skip
    assert answer.headers["Cache-Control"] == "no-store"
    assert call(client, write_key, answer.json()["access_token"]).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Digest x"}])
def test_call__without_a_token__is_401(headers, client, source, write_key):
    answer = post(client, "/v1/batch", {"batch": [GOOD], "writeKey": write_key}, headers)

    assert (answer.status_code, answer.json()["code"]) == (401, "token_required")
    assert not InboxBatch.objects.exists()


def test_call__with_the_key_alone_in_its_header__is_401(client, source, write_key):
    assert post(client, "/v1/batch", {"batch": [GOOD]}, basic(f"{write_key}:")).status_code == 401


@pytest.mark.parametrize("token", ["x", "WzEsIDJd:1:x", "é"])
def test_call__with_a_token_that_is_none__is_511_so_that_sdks_get_another(token, client, source, write_key):
    answer = call(client, write_key, token)

    assert (answer.status_code, answer.json()["code"]) == (511, "invalid_token")
    assert not InboxBatch.objects.exists()


def test_call__with_a_token_that_has_ended__is_511(client, source, write_key):
    token = token_of(client, source)

    with time_machine.travel(timezone.now() + timedelta(hours=1, minutes=1)):
        assert call(client, write_key, token).status_code == 511


def test_call__with_a_token_of_another_source__is_511(client, source, workspace):
    _, other_key = ingestion.create_source(workspace_id=workspace.pk, name="other", kind=SourceKind.HTTP)
    sources.protect_source(workspace_id=workspace.pk, name="other", public_keys=OTHERS[1])

    assert call(client, other_key, token_of(client, source)).status_code == 511
    assert not InboxBatch.objects.exists()


def test_token__ends_with_the_keys_of_its_source(client, source, workspace, write_key):
    token = token_of(client, source)
    sources.protect_source(workspace_id=workspace.pk, name="shop", public_keys=NEXT[1])
    sources._cache.clear()

    assert call(client, write_key, token).status_code == 511


def test_keys__may_be_several__while_senders_change_over(client, source, workspace):
    sources.protect_source(workspace_id=workspace.pk, name="shop", public_keys=f"{OURS[1]}\n{NEXT[1]}")

    assert [ask(client, assertion(source, pair[0])).status_code for pair in (OURS, NEXT, OTHERS)] == [200, 200, 401]


def test_source__without_a_public_key__asks_for_no_token(client, write_key):
    assert call(client, write_key, "whatever").status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"private": OTHERS[0]},
        {"iss": "source_0", "sub": "source_0"},
        {"iss": "shop", "sub": "shop"},
        {"sub": "source_1x"},
        {"iss": None},
        {"aud": "https://elsewhere.example/oauth2"},
        {"aud": None},
        {"aud": ["https://elsewhere.example"]},
        {"aud": "http://["},
    ],
)
def test_assertion__that_is_not_of_the_source__is_401(changes, client, source):
    answer = ask(client, assertion(source, **changes))

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("algorithm", "key"), [("none", None), ("HS256", "x" * 64), ("RS512", OURS[0]), ("PS256", OURS[0])]
)
def test_assertion__by_another_algorithm__is_401(algorithm, key, client, source):
    assert ask(client, assertion(source, key, algorithm)).status_code == 401


def test_assertion__for_a_source_without_a_key__is_401(client, workspace, write_key):
    assert ask(client, assertion(Source.objects.get(name="shop"))).status_code == 401


@pytest.mark.parametrize("changes", [{"is_enabled": False}])
def test_assertion__for_a_source_that_is_closed__is_401(changes, client, source):
    Source.objects.filter(pk=source.pk).update(**changes)

    assert ask(client, assertion(source)).status_code == 401


@pytest.mark.parametrize(
    ("issued", "ends", "text"),
    [
        (-120, -60, "Token is expired"),
        (60, 120, "Token used before issued"),
        (-5, 100_000, "Token is expired"),  # good for longer than an assertion may be
    ],
)
def test_assertion__by_a_wrong_clock__is_refused_in_the_words_that_sdks_know(issued, ends, text, client, source):
    now = timezone.now().timestamp()

    answer = ask(client, assertion(source, iat=now + issued, exp=now + ends))

    assert answer.status_code == 400
    assert (answer.json()["error"], answer.json()["error_description"]) == ("invalid_request", text)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": None}, "unsupported_grant_type"),
        ({"client_assertion_type": "x"}, "invalid_request"),
        ({"client_assertion": None}, "invalid_request"),
        ({"scope": "profiles:read"}, "invalid_scope"),
        ({"client_assertion": "x" * 20_000}, "invalid_request"),
    ],
)
def test_form__that_is_not_as_it_must_be__says_so(changes, code, client, source):
    answer = ask(client, assertion(source), **changes)

    assert (answer.status_code, answer.json()["code"], answer.json()["error"]) == (400, code, code)


def test_token__by_get__is_405(client):
    assert client.get("/oauth2/token").status_code == 405


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    signed=st.text(max_size=60)
    | st.lists(st.binary(max_size=20).map(lambda raw: raw.hex()), min_size=3, max_size=3).map(".".join)
)
def test_assertion__that_is_anything__is_refused_and_never_a_failure(signed, client, source):
    answer = ask(client, signed.replace("&", "").replace("%", "") or "x")

    assert answer.status_code in {400, 401}


# -- the pure part --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "x",
        OURS[0],
        OURS[1][:-30],
        OURS[1] + "x",
        key_pair(1024)[1],
        public_pem(ec.generate_private_key(ec.SECP256R1())),
    ],
)
def test_public_keys__that_are_none__are_refused(pem):
    with pytest.raises(PublicKeyError):
        public_keys_in(pem)


def test_assertion__that_was_changed__is_not_signed_by_the_key():
    keys = public_keys_in(OURS[1])
    signed = jwt.encode({"iss": "a"}, OURS[0], algorithm="RS256")
    header, _, signature = signed.split(".")
    other = jwt.encode({"iss": "b"}, OTHERS[0], algorithm="RS256").split(".")[1]

    assert is_signed_by(signed, keys)
    assert claims_in(signed) == {"iss": "a"}
    assert not is_signed_by(f"{header}.{other}.{signature}", keys)


@pytest.mark.parametrize("signed", ["", "a.b", "a.b.c.d", "é.é.é", "e30.W10.e30", "e30." + "e30" * 3000 + ".e30"])
def test_assertion__that_is_no_token__is_refused(signed):
    with pytest.raises(AssertionSyntaxError):
        claims_in(signed)


# -- the published SDK ----------------------------------------------------------------------------------------------


class Bridge:
    """Stands in for the network of the SDK: what it posts, the server gets."""

    def __init__(self, client):
        self.client = client

    def post(self, url, data, headers, **_):
        parts = urlsplit(url)
        answer = self.client.post(
            parts.path, data, content_type=headers["Content-Type"], headers={**headers, "Host": parts.netloc}
        )
        return SimpleNamespace(
            status_code=answer.status_code, headers=answer.headers, reason="", text=answer.text, json=answer.json
        )


def test_python_sdk__with_oauth__is_let_in(client, source, write_key, monkeypatch):
    monkeypatch.setattr(oauth_manager, "_session", Bridge(client))
    monkeypatch.setattr(request, "_session", Bridge(client))
    manager = OauthManager(f"source_{source.pk}", OURS[0], "any", auth_server="http://localhost:8000/oauth2/")

    manager.token = manager._request_token().json()["access_token"]
    answer = request.post(write_key, host="http://localhost:8000", oauth_manager=manager, batch=[GOOD])

    assert answer.json() == {"success": True, "accepted": 1, "rejected": []}
    assert [event["messageId"] for event in kept_events()] == ["m1"]


# -- by people ------------------------------------------------------------------------------------------------------


def test_command__protects_a_source_and_opens_it_again(workspace, write_key, tmp_path, capsys):
    file = tmp_path / "key.pem"
    file.write_text(OURS[1])
    words = ["sources", "protect", "shop", f"--workspace={workspace.slug}", "--json"]

    call_command(*words, f"--public-key={file}")
    shop = Source.objects.get(name="shop")
    assert json.loads(capsys.readouterr().out) == {
        "source": "shop",
        "client_id": f"source_{shop.pk}",
        "protected": True,
    }
    assert shop.public_keys == OURS[1].strip()

    call_command(*words)
    assert json.loads(capsys.readouterr().out)["protected"] is False


@pytest.mark.parametrize("content", [b"no key", b"\xff\xfe"])
def test_command__with_a_file_that_is_no_key__changes_nothing(content, workspace, write_key, tmp_path):
    file = tmp_path / "key.pem"
    file.write_bytes(content)

    with pytest.raises(PublicKeyError):
        call_command("sources", "protect", "shop", f"--workspace={workspace.slug}", f"--public-key={file}")

    assert Source.objects.get(name="shop").public_keys == ""

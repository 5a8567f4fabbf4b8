"""The receiver of the demo, which is also the example for whoever writes their own; and secrets at rest."""

import json

import pytest
from cryptography.fernet import Fernet

from activation.destination import sha256_hex
from activation.destinations.webhook.destination import signature
from cdp.demo.receiver import Receiver
from cdp.models import secrets

KEY = sha256_hex("ada@example.com")
BODY = json.dumps({"audience": "vip", "operation": "add", "members": [{"email_sha256": KEY}]}).encode()
NOW = 1_800_000_000


@pytest.fixture
def receiver(tmp_path):
    with Receiver("key", directory=tmp_path, clock=lambda: NOW) as made:
        yield made


def headers(body=BODY, *, at=NOW, key="once", signing_key="key"):
    return {
        "Tessera-Timestamp": str(at),
        "Tessera-Signature": signature(signing_key, str(at), body),
        "Idempotency-Key": key,
    }


def test_request__signed_and_fresh__changes_the_audience_once(receiver):
    assert [receiver.take(headers(), BODY).status for _ in range(2)] == [200, 200]

    assert receiver.members("vip") == {KEY}
    assert (receiver.counts["vip"].adds, receiver.violations) == (1, [])


@pytest.mark.parametrize(
    ("given", "body", "status", "violation"),
    [
        (headers(signing_key="other"), BODY, 401, "bad_signature"),
        ({}, BODY, 401, "bad_signature"),
        (headers(), BODY + b" ", 401, "bad_signature"),
        (headers(at=NOW - 301), BODY, 401, "too_old"),
        (headers(at=NOW + 301), BODY, 401, "too_old"),
        (headers(key=""), BODY, 401, "no_idempotency_key"),
        (headers(b"{}"), b"{}", 400, "bad_shape"),
        (headers(b"[]"), b"[]", 400, "bad_shape"),
        (headers(b"x"), b"x", 400, "bad_shape"),
    ],
)
def test_request__that_is_wrong__is_refused_and_changes_nothing(given, body, status, violation, receiver):
    assert receiver.take(given, body).status == status

    assert receiver.violations == [violation]
    assert receiver.members("vip") == set()


def test_idempotency_key__of_another_body__is_refused(receiver):
    receiver.take(headers(), BODY)
    other = BODY.replace(b"add", b"remove")

    assert receiver.take(headers(other), other).status == 409
    assert receiver.members("vip") == {KEY}


def test_member__that_is_no_digest__is_rejected_alone(receiver):
    body = json.dumps(
        {"audience": "vip", "operation": "add", "members": [{"email_sha256": "ada@example.com"}, {"email_sha256": KEY}]}
    ).encode()

    reply = receiver.take(headers(body), body)

    assert reply.body == {"results": [{"index": 0, "status": "rejected", "code": "invalid_hash"}]}
    assert receiver.members("vip") == {KEY}


def test_receiver__started_anew__has_what_it_took_before(receiver, tmp_path):
    receiver.take(headers(), BODY)

    with Receiver("key", directory=tmp_path) as another:
        assert another.members("vip") == {KEY}


# -- secrets at rest ------------------------------------------------------------------------------------------------


def test_secrets__come_back_and_cannot_be_read_at_rest():
    stored = secrets.encrypted({"signing_key": "hidden"})

    assert b"hidden" not in stored
    assert secrets.decrypted(memoryview(stored)) == {"signing_key": "hidden"}


def test_secrets__under_an_older_key__are_read_and_renewed(settings):
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    settings.FIELD_ENCRYPTION_KEYS = [old]
    stored = secrets.encrypted({"signing_key": "hidden"})

    settings.FIELD_ENCRYPTION_KEYS = [new, old]
    renewed = secrets.renewed(stored)
    settings.FIELD_ENCRYPTION_KEYS = [new]

    assert secrets.decrypted(renewed) == {"signing_key": "hidden"}
    for read in (secrets.decrypted, secrets.renewed):
        with pytest.raises(secrets.UnreadableSecretError):
            read(stored)


def test_secrets__without_any_key__are_not_stored(settings):
    settings.FIELD_ENCRYPTION_KEYS = []

    with pytest.raises(secrets.NoEncryptionKeyError):
        secrets.encrypted({})

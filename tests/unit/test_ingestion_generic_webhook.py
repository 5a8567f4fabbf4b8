"""A webhook of any sender: how it may sign, and what its settings may be."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest

from cdp.ingestion.webhook import Delivery, Settings, StaleSignatureError, WebhookSettingsError, WrongSignatureError
from cdp.ingestion.webhooks.generic.webhook import WEBHOOK

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECONDS = str(int(NOW.timestamp()))
BODY = b'{"id": "1", "who": "ada"}'
MAPPING = {"identifiers": {"user_id": "who"}, "event_name": "Seen"}
KEY = "hidden"
SIGNED = {"signature_header": "X-Signature", "mapping": MAPPING}


def digest(content, algorithm="sha256", key=KEY):
    return hmac.new(key.encode(), content, getattr(hashlib, algorithm))


def verify(config, headers, *, body=BODY, now=NOW, **secrets):
    settings = Settings({**SIGNED, **config}, secrets or {"secret": KEY})
    WEBHOOK.check(settings)
    WEBHOOK.verify(Delivery(body, headers), settings, now=now)


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_signature__of_each_algorithm_and_encoding__is_known(algorithm, encoding):
    made = digest(BODY, algorithm)
    signature = made.hexdigest() if encoding == "hex" else base64.b64encode(made.digest()).decode()

    verify({"algorithm": algorithm, "encoding": encoding, "prefix": "v0="}, {"x-signature": f"v0={signature}"})
    with pytest.raises(WrongSignatureError):
        verify({"algorithm": algorithm, "encoding": encoding, "prefix": "v0="}, {"x-signature": signature})


def test_signature__with_the_previous_key__is_known_while_the_key_is_changed():
    headers = {"x-signature": digest(BODY, key="old").hexdigest()}

    verify({}, headers, secret=KEY, previous_secret="old")
    with pytest.raises(WrongSignatureError):
        verify({}, headers, secret=KEY)


def test_signature__in_the_timestamped_style__may_be_one_of_several():
    right = digest(f"{SECONDS}.".encode() + BODY).hexdigest()

    verify({"style": "timestamped"}, {"x-signature": f"t={SECONDS}, v1=00ff, v1={right}"})


@pytest.mark.parametrize("minutes", [-6, 6])
def test_signature__that_is_too_old_or_from_the_future__is_stale(minutes):
    right = digest(f"{SECONDS}.".encode() + BODY).hexdigest()

    with pytest.raises(StaleSignatureError):
        verify(
            {"style": "timestamped"}, {"x-signature": f"t={SECONDS},v1={right}"}, now=NOW + timedelta(minutes=minutes)
        )


def test_signature__with_another_time_than_the_signed_one__is_wrong():
    right = digest(f"{SECONDS}.".encode() + BODY).hexdigest()

    with pytest.raises(WrongSignatureError):
        verify({"style": "timestamped"}, {"x-signature": f"t={int(SECONDS) + 1},v1={right}"})


def test_signature__with_a_time_in_a_header_of_its_own__covers_what_the_settings_say():
    config = {"timestamp_header": "X-Time", "signed": "v0:{timestamp}:{body}", "prefix": "v0="}
    right = digest(f"v0:{SECONDS}:".encode() + BODY).hexdigest()

    verify(config, {"x-signature": f"v0={right}", "x-time": SECONDS})
    with pytest.raises(WrongSignatureError):
        verify(config, {"x-signature": f"v0={right}"})
    with pytest.raises(StaleSignatureError):
        verify(config, {"x-signature": f"v0={right}", "x-time": SECONDS}, now=NOW + timedelta(hours=1))


def test_token__must_be_right_and_so_must_the_signature_if_there_is_a_key_too():
    right = {"x-signature": digest(BODY).hexdigest()}

    verify({}, {"authorization": "Bearer t"}, token="t")
    verify({}, {"authorization": "Bearer t", **right}, token="t", secret=KEY)
    for headers in ({}, {"authorization": "t"}, {"authorization": "Bearer t"}, right):
        with pytest.raises(WrongSignatureError):
            verify({}, headers, token="t", secret=KEY)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"algorithm": "md5"}, "`algorithm` must be one of sha256"),
        ({"encoding": "base32"}, "`encoding` must be one of hex"),
        ({"style": "odd"}, "`style` must be one of plain"),
        ({"signed": "{timestamp}"}, "must have {body} in it"),
        ({"signed": "{timestamp}.{body}"}, "name `timestamp_header`"),
        ({"tolerance_seconds": "long"}, "must be a whole number"),
        ({"mapping": {"event_name": "Seen"}}, "`mapping`: `identifiers` must say"),
        ({"mapping": {}}, "`mapping` is missing"),
        ({"signature_header": ""}, "Give `secret` and `signature_header`, or `token`"),
    ],
)
def test_setting__that_is_wrong__is_named(config, said):
    with pytest.raises(WebhookSettingsError, match=said):
        WEBHOOK.check(Settings({**SIGNED, **config}, {"secret": KEY}))


def test_event__without_an_id__has_one_of_its_delivery_or_else_of_its_content():
    headed = Settings({**SIGNED, "delivery_header": "X-Delivery"}, {})

    by_header = WEBHOOK.read(Delivery(BODY, {"x-delivery": "d1"}), headed)
    by_content = WEBHOOK.read(Delivery(BODY, {}), headed)
    again = WEBHOOK.read(Delivery(BODY.replace(b" ", b""), {}), headed)

    assert by_header.calls[0]["messageId"] == "d1:0"
    assert by_content.calls[0]["messageId"] == again.calls[0]["messageId"] != "d1:0"


def test_event__that_is_bad__costs_its_neighbours_nothing():
    settings = Settings({"mapping": {**MAPPING, "items": "all", "key": "id"}}, {})
    body = json.dumps({"all": [{"id": 1, "who": "ada"}, {"id": 2}, 3, {"id": 4, "who": "bob"}]}).encode()

    reading = WEBHOOK.read(Delivery(body, {}), settings)

    assert [call["messageId"] for call in reading.calls] == ["1", "4"]
    assert [(one.place, one.code, one.raw) for one in reading.unread] == [
        ("webhook[1]", "missing_identity", b'{"id":2}'),
        ("webhook[2]", "not_an_object", b"3"),
    ]

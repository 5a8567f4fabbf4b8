"""Signatures of OpenDSR: vectors, and every certificate that must not be believed."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from cdp import http
from consent.opendsr import revocation, signing
from consent.opendsr.revocation import RevokedCertificateError, UnreadableRevocationsError
from consent.opendsr.signing import BadSignatureError, UntrustedCertificateError, UnusableKeyError
from tests.fakes.authority import Authority

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DOMAIN = "dsr.example.com"
BODY = b'{"subject_request_id": "a7551968-d5d6-44b2-9831-815ac9017798"}'
AUTHORITY = Authority(NOW)
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEYS = {"rsa": RSA_KEY, "ec": ec.generate_private_key(ec.SECP256R1())}
ISSUED = {name: AUTHORITY.issue(DOMAIN, key=key) for name, key in KEYS.items()}

# Made with `openssl dgst -sha256 -sign key.pem` over the three bytes `abc`; of the keys only the certificates are here.
VECTORS = {
    "rsa": (
        b"""-----BEGIN CERTIFICATE-----
MIIDFTCCAf2gAwIBAgIUT2vESJuNjR0BaKvjwYnfzOAoIjswDQYJKoZIhvcNAQEL
BQAwGjEYMBYGA1UEAwwPZHNyLmV4YW1wbGUuY29tMB4XDTI2MTEyNTIzMDQ1NloX
DTM2MTEyMjIzMDQ1NlowGjEYMBYGA1UEAwwPZHNyLmV4YW1wbGUuY29tMIIBIjAN
BgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEApFbXdpqyO1VjOgBG/1WjXMkIsjAi
qT/MSdZfh/lTPE0kVSyerSSlp5TM34rprclwRI+vZMZX6WRSW4YPvMqXmrlkF5IN
MIe/VRuR2oY1LIBF59AOxEcnHkAzreG4WeafFU/Zo9m3xCBEdJ+0vpXYYR3YM00O
rKka42VCYSvC6LYwahTEFpCGwT451LwaqCutEkFTiqdbmr+0y7bk0AqjMltJQ5mK
JnOS8f1s41vgbiMEorZY5jWsXHqxLHuNJRPc5QTMCpmnCiM6txGuXR7TWUXLALGd
efsW/HONfLPdDi8xzPbwf9Sx0Hq9ozF0YjfS+9ENiqKBXOcenP1dPSo0cwIDAQAB
o1MwUTAdBgNVHQ4EFgQU6z+Vi64SzTTTuJFhaudhW+k93U0wHwYDVR0jBBgwFoAU
6z+Vi64SzTTTuJFhaudhW+k93U0wDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG9w0B
AQsFAAOCAQEAUTS5/Imlgz/tZEwqKiBnZTD07q34KjbCN4I2q/TXgUf4MNNV1qQW
WOExBKuHs7t3ehBK8IbA1c9fxbSrqy4rLnfsRaAJnA4jeP9LFdQHszOPsk16se3n
1b4BZ+CN/V2MQQhvUM9v/cfgJgVfjDU3ezgpXKBSleHHBCZvu3GIqazEZxWyiYt4
3/hS81sIcihSSzQqs2lUjkNj8kpog0bg8yUF2t4DeLUEPDkojPR5FOOXwZWj/M6d
3Qv1t8GVO3hTnzjGKhNd46b8yIt4/5L6auoZ8/7Sz9JPwn14zWmTJFmzJeO3vGsb
BclGvN5WpaSQSkoRDBkEuyU+/uvg8r26MQ==
-----END CERTIFICATE-----
""",
        (
            "A3Wqq2kT0qzh19lZ1Irb6Vvbz27ojrmA9h67yzt9Tr1KBpbYGkLJLiB838Z46qn6oIal+0Bqe3GE/th1NgnOJCia6LG7AolgWCvy"
            "tNlXj62+JEb2U4/GrSomPLVa042fYNKLP2A1/BhRDqV3RNebbh0579lm+loaqLxhaPiqK2kvdrexN3emz4Vj5hFD++lByWN/fTmX"
            "ZeECwzfAC4u7B8W11K+VRah1KcjafEs/tQoyBPdUo9KrA/5QhRqkFq1cXGwgUDNO9zb3nKmq8oqbIHHSIkHrI1pzwLw4gCocXlHD"
            "T/I33upMeXvPFerb8bIWFyI3Ygql6qItLKIkubFtOQ=="
        ),
    ),
    "ec": (
        b"""-----BEGIN CERTIFICATE-----
MIIBiDCCAS+gAwIBAgIUYsyAmDzenSEN2Ec2YaiG4ACi5RkwCgYIKoZIzj0EAwIw
GjEYMBYGA1UEAwwPZHNyLmV4YW1wbGUuY29tMB4XDTI2MTEyNTIzMDQ1NloXDTM2
MTEyMjIzMDQ1NlowGjEYMBYGA1UEAwwPZHNyLmV4YW1wbGUuY29tMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEnkJBmYzRjUFnA8m9+wg1lmzU7PLYWkQVDu5X0YB6
e08TebHqo63hC0LSTuCWrpct84T+6yfzbTNzwaC8dRLUK6NTMFEwHQYDVR0OBBYE
FIozMsbgJh1yKocQrqt0Molhwg62MB8GA1UdIwQYMBaAFIozMsbgJh1yKocQrqt0
Molhwg62MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgSp1rkkzJ
6mv3tr9OjFNT7/QzYaZb5/aqSILijARicTQCIHzzJ62IMN2SK/enBPyt3AZuy43d
3vwHII6NIabXUCQl
-----END CERTIFICATE-----
""",
        ("MEQCIAVp4MRPyCtfBUv0bGgzJzU9ojJ+x3oOlm0y28MCyJkwAiASALxUoUBVueTkdSEJVYCOToMXd2UNyPFT+0+Bc+0BIw=="),
    ),
}


@pytest.mark.parametrize("kind", VECTORS)
def test_verify__of_what_openssl_signed__believes_it_and_nothing_else(kind):
    pem, signature = VECTORS[kind]
    certificate = signing.certificates(pem)[0]

    signing.verify(certificate, signature, b"abc")

    for body in (b"abd", b"", b"abc "):
        with pytest.raises(BadSignatureError):
            signing.verify(certificate, signature, body)


@given(body=st.binary(max_size=300))
@pytest.mark.parametrize("kind", KEYS)
def test_sign__then_verify__always_holds_and_never_for_another_body(kind, body):
    signature = signing.sign(KEYS[kind], body)

    signing.verify(ISSUED[kind].certificate, signature, body)

    with pytest.raises(BadSignatureError):
        signing.verify(ISSUED[kind].certificate, signature, body + b"x")


def test_sign__with_rsa__is_the_same_every_time_and_as_long_as_the_key():
    signature = signing.sign(RSA_KEY, BODY)

    assert signature == signing.sign(RSA_KEY, BODY)
    assert len(base64.b64decode(signature)) == 256


def test_verify__by_the_key_of_somebody_else__is_refused():
    signature = signing.sign(KEYS["ec"], BODY)

    with pytest.raises(BadSignatureError):
        signing.verify(AUTHORITY.issue(DOMAIN).certificate, signature, BODY)


@pytest.mark.parametrize("signature", ["", "no base64!", "AAAA", "é", "=" * 8, "A" * 4_000])
@pytest.mark.parametrize("kind", KEYS)
def test_verify__of_nonsense__is_refused(kind, signature):
    with pytest.raises(BadSignatureError):
        signing.verify(ISSUED[kind].certificate, signature, BODY)


@pytest.mark.parametrize("pem", [b"", b"nonsense", AUTHORITY.root.pem])
def test_private_key__that_is_none__cannot_be_used(pem):
    with pytest.raises(UnusableKeyError):
        signing.private_key(pem)


def test_private_key__of_another_kind__cannot_be_used():
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    with pytest.raises(UnusableKeyError):
        signing.private_key(pem)


# -- certificates ---------------------------------------------------------------------------------------------------


def trusted(issued, domain=DOMAIN, authority=AUTHORITY, now=NOW):
    return signing.trusted([issued.certificate], domain, [authority.root.certificate], now)


def test_certificate__of_a_known_authority_for_the_domain_today__is_trusted():
    issued = AUTHORITY.issue(DOMAIN)

    assert trusted(issued) is issued.certificate


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"domain": "other.example.com"}, "it names another domain"),
        ({"domain": "evil.dsr.example.com"}, "a domain below it"),
        ({"now": NOW + timedelta(days=91)}, "it has ended"),
        ({"now": NOW - timedelta(days=31)}, "it has not begun"),
        ({"authority": Authority(NOW)}, "another authority of the same name"),
    ],
)
def test_certificate__that_does_not_hold__is_refused(changes, why):
    with pytest.raises(UntrustedCertificateError):
        trusted(AUTHORITY.issue(DOMAIN), **changes)


def test_certificate__that_signs_for_itself__is_refused():
    alone = Authority(NOW, name=DOMAIN).root

    with pytest.raises(UntrustedCertificateError):
        trusted(alone)


def test_certificate__of_nobody__is_refused():
    with pytest.raises(UntrustedCertificateError):
        signing.trusted([], DOMAIN, [AUTHORITY.root.certificate], NOW)


def fingerprint(issued):
    return issued.certificate.fingerprint(SHA256()).hex(":").upper().encode()


REVOKED = AUTHORITY.issue(DOMAIN)
NAMESAKE = Authority(NOW)


@pytest.mark.parametrize(
    "text",
    [
        AUTHORITY.revocations(REVOKED),
        AUTHORITY.revocations(AUTHORITY.issue(DOMAIN)) + AUTHORITY.revocations(REVOKED, until=NOW - timedelta(days=1)),
        b"# stolen\n\n" + fingerprint(REVOKED) + b"  # by whom we do not know\n",
        fingerprint(REVOKED).replace(b":", b"").lower() + b"\n" + NAMESAKE.revocations(),
        fingerprint(AUTHORITY.root),
    ],
    ids=["its list", "an old list", "its fingerprint", "without colons", "its authority"],
)
def test_certificate__that_was_revoked__is_refused(text):
    with pytest.raises(RevokedCertificateError):
        signing.trusted([REVOKED.certificate], DOMAIN, [AUTHORITY.root.certificate], NOW, revocation.revocations(text))


@pytest.mark.parametrize(
    "text",
    [
        AUTHORITY.revocations(AUTHORITY.issue(DOMAIN)),
        AUTHORITY.revocations(REVOKED, signer=NAMESAKE),
        NAMESAKE.revocations(REVOKED),
        fingerprint(AUTHORITY.issue(DOMAIN)),
        b"",
    ],
    ids=[
        "another one",
        "a list that its authority did not sign",
        "the list of a namesake",
        "other fingerprint",
        "empty",
    ],
)
def test_certificate__that_no_list_of_its_authority_names__is_trusted(text):
    revoked = revocation.revocations(text)

    assert signing.trusted([REVOKED.certificate], DOMAIN, [AUTHORITY.root.certificate], NOW, revoked)


@pytest.mark.parametrize("text", [b"stolen", b"AB:CD", fingerprint(REVOKED) * 2, REVOKED.pem,
                                  b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----"])  # fmt: skip
def test_revocations__that_cannot_be_read__are_no_empty_list(text, tmp_path):
    path = tmp_path / "revoked"
    path.write_bytes(text)

    with pytest.raises(UnreadableRevocationsError):
        revocation.read(str(path))
    assert revocation.state(str(path), NOW) == (False, UnreadableRevocationsError().message)


def test_revocations__that_are_not_there__are_no_empty_list(tmp_path):
    assert revocation.read("") == revocation.NONE_REVOKED
    assert revocation.state("", NOW) == (True, "nobody is looked up: OPENDSR_REVOKED is not set")
    with pytest.raises(UnreadableRevocationsError):
        revocation.read(str(tmp_path / "gone"))


def test_revocations__say_when_a_list_is_out_of_date(tmp_path):
    path = tmp_path / "revoked"
    path.write_bytes(AUTHORITY.revocations(REVOKED) + fingerprint(REVOKED))

    assert revocation.state(str(path), NOW) == (True, "1 lists of authorities, 1 fingerprints")
    assert revocation.state(str(path), NOW + timedelta(days=8)) == (
        False,
        "OPENDSR_REVOKED: the list of CN=Test authority is out of date, fetch its next one",
    )


@pytest.mark.parametrize(
    ("name", "domain", "covers"),
    [
        (DOMAIN, DOMAIN, True),
        (DOMAIN, "DSR.example.com", True),
        ("*.example.com", DOMAIN, True),
        ("*.example.com", "a.dsr.example.com", False),
        ("example.com", DOMAIN, False),
    ],
)
def test_certificate__covers_the_domains_that_it_names(name, domain, covers):
    assert signing.covers(AUTHORITY.issue(name).certificate, domain) is covers


def test_certificate__without_names__covers_nothing():
    assert signing.covers(AUTHORITY.root.certificate, DOMAIN) is False


def test_authorities__of_a_list__are_those_that_can_be_read():
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

    found = signing.authorities(b"# Test authority\n" + broken + AUTHORITY.root.pem + b"\n" + ISSUED["ec"].pem)

    assert found == [AUTHORITY.root.certificate, ISSUED["ec"].certificate]


def test_authorities__that_every_request_trusts__are_read_without_a_warning():
    assert len(signing.authorities(http.authorities().read_bytes())) > 100

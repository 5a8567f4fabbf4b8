"""What is read of a request before anything is believed, and which addresses may ever be called."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util import parse_url

from consent.opendsr import messages, words
from consent.opendsr.messages import MalformedError
from consent.opendsr.words import Version

HOST = "controller.example.com"
HOSTS = [HOST, f"{HOST}:8443"]
PIECES = [
    "https:", "http:", "//", "/", "\\", "@", "#", "?", ":", ".", HOST, "evil.example", "127.0.0.1", "[::1]", ":8443", ":443", ":22",
    "%2f", "%40", "%00", "\t", "\n", " ", "é", "user:pass", "..", ";",
]  # fmt: skip
urls = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


@given(url=urls | urls.map(f"https://{HOST}{{}}".format) | urls.map("https://{}".format))
def test_address__that_is_allowed__always_leads_to_a_host_of_the_list(url):
    """As the library reads it that connects: where two readings differ, the stricter one wins."""
    if not messages.is_allowed(url, HOSTS):
        return
    read = parse_url(url)

    assert (read.scheme, read.host, read.auth) == ("https", HOST, None)
    assert read.port in {None, 443, 8443}


@pytest.mark.parametrize("url", [f"https://{HOST}", f"https://{HOST}:443/a?b=c", f"https://{HOST}:8443/a"])
def test_address__to_a_host_of_the_list__is_allowed(url):
    assert messages.is_allowed(url, HOSTS) is True


@given(body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | st.just(b"null"))
def test_body__whatever_it_is__is_malformed_and_the_error_never_holds_what_was_sent(body):
    with pytest.raises(MalformedError) as raised:
        messages.read_request(body, version=Version.TWO, domain="dsr.example.com", hosts=HOSTS, is_lenient=False)

    assert raised.value.details["reason"] in {"invalid_json", "invalid_field"}


def test_field__that_nobody_knows__is_not_named_in_the_error():
    body = msgspec.json.encode({"ada@example.com": 1})

    with pytest.raises(MalformedError) as raised:
        messages.read_request(body, version=Version.TWO, domain="x", hosts=[], is_lenient=False)

    assert "ada" not in raised.value.message


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("controller_customer_id", "user_id"), ("email", "email"), ("ios_vendor_id", "ios_vendor_id")],
)
def test_words__for_identities__lead_there_and_back(theirs, ours):
    assert (words.identifier_type(theirs), words.identity_type(ours)) == (ours, theirs)


@pytest.mark.parametrize("ours", ["phone", "crm:id", "anonymous_id", "controller_customer"])
def test_words__for_what_opendsr_does_not_know__are_none(ours):
    assert words.identity_type(ours) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://controller.example.com/", "https://controller.example.com:8443/", "https://evil.example.com/",
        "https://controller.example.com.evil.com/", "https://controller.example.com@evil.com/",
        "https://user@controller.example.com/", "https://127.0.0.1/", "https://[::1]/", "https://2130706433/",
        "https://controller.example.com\\@evil.com/", "https://evil.com#controller.example.com", "file:///etc/passwd",
        "https://controller.example.com/ x", "https://controller.example.com/\n", "https:controller.example.com", "",
        "https://controller.example.com:99999/", f"https://controller.example.com/{'x' * 2_000}", "ftp://controller.example.com/",
        "https://ⓒontroller.example.com/",
    ],
)  # fmt: skip
def test_address__elsewhere_or_otherwise__is_not_allowed(url):
    assert messages.is_allowed(url, [HOST]) is False

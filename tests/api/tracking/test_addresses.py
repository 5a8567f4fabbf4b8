"""The address of a person is taken from a direct call alone, and believed from a proxy only where that is trusted."""

from ipaddress import ip_network

import pytest

from cdp.api.addresses import address_of
from tests.api.tracking.conftest import GOOD, basic, kept_events, post

DIRECT = {"direct": True}


def context_of(client, write_key, context, **more):
    post(
        client,
        "/v1/batch",
        {"batch": [{**GOOD, "context": context}]},
        basic(write_key),
        REMOTE_ADDR="203.0.113.9",
        **more,
    )
    return kept_events()[0]["context"]


def test_direct_call__gets_the_address_that_it_came_from(client, write_key):
    assert context_of(client, write_key, DIRECT) == {"direct": True, "ip": "203.0.113.9"}


@pytest.mark.parametrize("context", [{}, {"direct": False}, {"direct": "true"}, {"direct": 1}])
def test_call__that_is_not_direct__gets_no_address(context, client, write_key):
    """It may come from a server of the customer, whose address is nobody's."""
    assert context_of(client, write_key, context) == context


def test_address__that_the_sender_gave__stays(client, write_key):
    assert context_of(client, write_key, {"direct": True, "ip": "198.51.100.1"})["ip"] == "198.51.100.1"


def test_envelope__that_is_direct__speaks_for_its_events(client, write_key):
    post(client, "/v1/batch", {"batch": [GOOD], "context": DIRECT}, basic(write_key), REMOTE_ADDR="203.0.113.9")

    assert kept_events()[0]["context"] == {"direct": True, "ip": "203.0.113.9"}


def test_pixel__that_is_direct__gets_its_address(client, write_key):
    client.get(f"/pixel/v1/page?writeKey={write_key}&anonymousId=a&context.direct=true", REMOTE_ADDR="203.0.113.9")

    assert kept_events()[0]["context"] == {"direct": True, "ip": "203.0.113.9"}


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # anybody can write that
        ("10.0.0.2", "", "10.0.0.2"),
        ("10.0.0.2", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.2", "6.6.6.6, 198.51.100.1", "198.51.100.1"),  # only the last was written by our proxy
        ("10.0.0.2", "198.51.100.1, 10.0.0.3", "198.51.100.1"),
        ("10.0.0.2", "2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.2", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.2", "unknown", None),
        ("", "198.51.100.1", None),
    ],
)
def test_address_of__believes_proxies_that_are_trusted(peer, forwarded, address, settings):
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/8")]

    assert address_of({"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded}) == address

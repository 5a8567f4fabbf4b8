"""The one outbound client: what it refuses, when it gives up, and what it never says."""

import gzip
import socket
import time

import pytest

from cdp import http
from tests.fakes.host import Host

OK = (200, {}, b'{"fine": true}')


@pytest.fixture(autouse=True)
def _fresh():
    http.forget_hosts()
    yield
    http.forget_hosts()


@pytest.fixture
def naps(monkeypatch):
    """The seconds that were slept: nobody waits."""
    slept = []
    monkeypatch.setattr(http.time, "sleep", slept.append)
    return slept


@pytest.fixture
def names(monkeypatch):
    """A name server: name → addresses. What is not in it is resolved by the system."""
    known = {}
    resolve = http._resolve
    monkeypatch.setattr(http, "_resolve", lambda host, port: known.get(host) or resolve(host, port))
    return known


def get(url, **options):
    return http.request("GET", url, retry=options.pop("retry", http.ONCE), **options)


# -- what is sent and read ------------------------------------------------------------------------------------------


def test_request__sends_json_and_reads_json():
    with Host(OK) as host:
        response = http.request("POST", host.url, json={"é": 1}, headers={"X-Key": "k"})

    (method, path, headers, body) = host.seen[0]
    assert (method, path, body) == ("POST", "/path?token=hidden", '{"é":1}'.encode())
    assert (headers["Content-Type"], headers["X-Key"], headers["User-Agent"]) == ("application/json", "k", "Tessera")
    assert (response.status, response.json()) == (200, {"fine": True})
    assert response.headers["content-length"] == "14"


def test_error_page__in_place_of_json__is_a_passing_disorder():
    with Host((200, {}, b"<html>")) as host, pytest.raises(http.TransientHttpError):
        get(host.url).json()


def test_cookies__are_not_kept():
    with Host((200, {"Set-Cookie": "a=b"}, b"")) as host:
        get(host.url)
        get(host.url)

    assert "Cookie" not in host.seen[1][2]


def test_proxies_of_the_environment__are_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with Host(OK) as host:
        assert get(host.url).status == 200


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect__is_not_followed(status):
    with Host(OK) as other, Host((status, {"Location": other.url}, b"")) as host:
        with pytest.raises(http.PermanentHttpError) as refusal:
            get(host.url)

    assert refusal.value.response.status == status
    assert other.seen == []


def test_answer__that_is_too_large__is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(http, "LARGEST_ANSWER_BYTES", 1000)
    with Host((200, {}, b"x" * 1001)) as host, pytest.raises(http.PermanentHttpError) as refusal:
        get(host.url)

    assert refusal.value.details["reason"] == "too_large"


def test_compressed_answer__that_nobody_asked_for__is_unpacked_and_bounded(monkeypatch):
    monkeypatch.setattr(http, "LARGEST_ANSWER_BYTES", 1000)
    packed = {"Content-Encoding": "gzip"}
    with Host((200, packed, gzip.compress(b"x" * 1000)), (200, packed, gzip.compress(b"x" * 10**6))) as host:
        assert get(host.url).body == b"x" * 1000
        with pytest.raises(http.PermanentHttpError):
            get(host.url)


# -- which failure it was -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_refusal__is_permanent_and_not_repeated(status, naps):
    with Host((status, {}, b"why")) as host, pytest.raises(http.PermanentHttpError) as refusal:
        get(host.url, retry=http.Retry(attempts=3))

    assert (refusal.value.response.status, refusal.value.response.body) == (status, b"why")
    assert (len(host.seen), naps) == (1, [])


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_failure__is_tried_again_with_growing_pauses(status, naps):
    with Host((status, {}, b""), (status, {}, b""), OK) as host:
        assert get(host.url, retry=http.Retry(attempts=3, first_delay=1)).status == 200

    assert len(host.seen) == 3
    assert 0.5 <= naps[0] <= 1 <= naps[1] <= 2


def test_attempts__are_bounded(naps):
    with Host((500, {}, b"")) as host, pytest.raises(http.TransientHttpError) as failure:
        get(host.url, retry=http.Retry(attempts=3))

    assert (failure.value.response.status, len(host.seen), len(naps)) == (500, 3, 2)


def test_retry_after__in_seconds__is_obeyed(naps):
    with Host((429, {"Retry-After": "3"}, b""), OK) as host:
        get(host.url, retry=http.Retry(attempts=2))

    assert naps == [3.0]


def test_retry_after__that_is_too_long__goes_to_the_caller(naps):
    with Host((429, {"Retry-After": "600"}, b"")) as host, pytest.raises(http.TransientHttpError) as failure:
        get(host.url, retry=http.Retry(attempts=3))

    assert (failure.value.retry_after, naps) == (600.0, [])


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Sat, 21 Nov 2026 12:01:30 GMT", "Date": "Sat, 21 Nov 2026 12:00:00 GMT"}, 90.0),
        ({"Retry-After": "Sat, 21 Nov 2026 11:00:00 GMT", "Date": "Sat, 21 Nov 2026 12:00:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({}, None),
    ],
)
def test_retry_after__is_read_as_seconds_or_date(headers, expected):
    assert http._retry_after(http.Response(429, headers, b"")) == expected


def test_time_out__is_transient():
    with Host(OK) as host:
        host.before_answer = lambda: host.clock.wait(0.3)
        with pytest.raises(http.TransientHttpError) as failure:
            get(host.url, timeout=http.Timeout(read=0.05))

    assert failure.value.details["reason"] == "timeout"


@pytest.mark.parametrize("is_chunked", [False, True])
def test_answer__that_drips__ends_at_the_total_time(is_chunked):
    with Host((200, {}, b"x" * 40)) as host:
        host.drip_seconds, host.is_chunked = 0.05, is_chunked
        began = time.monotonic()
        with pytest.raises(http.TransientHttpError) as failure:
            get(host.url, timeout=http.Timeout(total=0.2))

    assert time.monotonic() - began < 1

    assert failure.value.details["reason"] == "timeout"


def test_closed_port__is_transient():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    with pytest.raises(http.TransientHttpError) as failure:
        get(f"http://127.0.0.1:{port}")

    assert failure.value.details["reason"] == "connection"


@pytest.mark.parametrize("is_chunked", [False, True])
def test_answer__in_pieces__is_read_whole(is_chunked):
    with Host((200, {}, b"pieces")) as host:
        host.drip_seconds, host.is_chunked = 0.001, is_chunked
        assert get(host.url).body == b"pieces"


@pytest.mark.parametrize(
    "url", ["ftp://example.com", "file:///etc/passwd", "//example.com", "http://", "http://a:b@example.com", "x", ""]
)
def test_address__that_is_none__is_refused(url):
    with pytest.raises(http.PermanentHttpError) as refusal:
        get(url)

    assert refusal.value.details["reason"] == "bad_url"


# -- private addresses ----------------------------------------------------------------------------------------------

FORBIDDEN = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a9fe:a9fe::",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_private_address__is_refused(address):
    assert http.is_private(address)
    with pytest.raises(http.ForbiddenAddressError):
        http.check_address(address, is_private_allowed=False, is_encrypted=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address__is_allowed_encrypted_and_refused_in_the_clear(address):
    http.check_address(address, is_private_allowed=False, is_encrypted=True)
    with pytest.raises(http.ForbiddenAddressError):
        http.check_address(address, is_private_allowed=True, is_encrypted=False)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "localhost", "2130706433", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "127.1", "0",
     "[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "127.0.0.1."],
)  # fmt: skip
def test_loopback__however_it_is_written__is_not_reached(host, settings):
    settings.PRIVATE_ADDRESSES_ALLOWED = False
    with Host(OK) as there, pytest.raises(http.HttpError):
        get(f"http://{host}:{there.port}/")

    assert there.seen == []


@pytest.mark.parametrize("host", ["2130706433", "0177.0.0.1", "0x7f000001", "127.1"])
def test_odd_forms_of_loopback__are_refused_for_what_they_are(host, settings):
    settings.PRIVATE_ADDRESSES_ALLOWED = False

    with pytest.raises(http.ForbiddenAddressError) as refusal:
        get(f"https://{host}/")

    assert refusal.value.details["reason"] == "private"


@pytest.mark.parametrize("addresses", [["169.254.169.254"], ["10.0.0.7"], ["1.1.1.1", "127.0.0.1"], ["fd00::1"]])
def test_name__of_a_private_address__is_refused(addresses, names, settings):
    settings.PRIVATE_ADDRESSES_ALLOWED = False
    names["metadata.example.com"] = addresses

    with pytest.raises(http.ForbiddenAddressError):
        get("https://metadata.example.com/latest/")


def test_name__is_looked_up_once_and_that_address_is_connected_to(monkeypatch):
    """A name server that gives another address to the second question is not asked a second one."""
    asked, connected = [], []
    monkeypatch.setattr(http, "_resolve", lambda host, _: asked.append(host) or ["1.1.1.1"])
    monkeypatch.setattr(
        http.urllib3.util.connection,
        "create_connection",
        lambda address, *_, **__: connected.append(address) or (_ for _ in ()).throw(OSError()),
    )

    with pytest.raises(http.TransientHttpError):
        get("https://rebinding.example.com/")

    assert (asked, connected) == (["rebinding.example.com"], [("1.1.1.1", 443)])


def test_private_address__where_the_call_allows_it__is_reached(settings):
    settings.PRIVATE_ADDRESSES_ALLOWED = False
    with Host(OK) as host:
        assert get(host.url, allow_private=True).status == 200
        with pytest.raises(http.ForbiddenAddressError):  # though a connection is kept open
            get(host.url)

    assert len(host.seen) == 1


def test_unencrypted_request__to_a_public_name__is_refused(names):
    names["shop.example.com"] = ["1.1.1.1"]

    with pytest.raises(http.ForbiddenAddressError) as refusal:
        get("http://shop.example.com/")

    assert refusal.value.details["reason"] == "not_encrypted"


# -- what is not said -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 500])
def test_errors_and_logs__hold_no_path_header_or_body(status, caplog):
    with Host((status, {}, b"ada@example.com")) as host, pytest.raises(http.HttpError) as failure:
        get(host.url, headers={"Authorization": "Bearer hidden"}, body=b"ada@example.com")

    said = f"{failure.value} {failure.value.details} {failure.value.__cause__} {caplog.text}"
    assert str(host.port) in said
    assert not any(secret in said for secret in ("hidden", "ada@", "/path"))


def test_failed_connection__is_reported_without_what_the_library_says(caplog):
    with pytest.raises(http.TransientHttpError) as failure:
        get("http://127.0.0.1:1/path?token=hidden")

    assert failure.value.__suppress_context__
    assert "hidden" not in f"{failure.value} {failure.value.details} {caplog.text}"


# -- how a host fares -----------------------------------------------------------------------------------------------


def test_breaker__after_five_failures__leaves_the_host_alone_then_tries_once(monkeypatch):
    moment = [1000.0]
    monkeypatch.setattr(http.time, "monotonic", lambda: moment[0])
    with Host((500, {}, b"")) as host, Host(OK) as other:
        for _ in range(5):
            with pytest.raises(http.TransientHttpError):
                get(host.url)
        with pytest.raises(http.TransientHttpError) as resting:
            get(host.url)
        assert (len(host.seen), resting.value.details["reason"], resting.value.retry_after) == (5, "resting", 30.0)
        assert get(other.url).status == 200

        moment[0] += 30
        host.answers = [OK]
        assert get(host.url).status == 200
        assert get(host.url).status == 200


def test_refusals__do_not_open_the_breaker():
    with Host((404, {}, b"")) as host:
        for _ in range(7):
            with pytest.raises(http.PermanentHttpError):
                get(host.url)

    assert len(host.seen) == 7


def test_rate__spaces_requests(monkeypatch, naps):
    monkeypatch.setattr(http.time, "monotonic", lambda: 1000.0)
    with Host(OK) as host:
        for _ in range(3):
            get(host.url, per_minute=60)

    assert naps == [1.0, 2.0]


def test_rate__that_would_take_too_long__is_a_passing_failure(monkeypatch, naps):
    monkeypatch.setattr(http.time, "monotonic", lambda: 1000.0)
    with Host(OK) as host:
        get(host.url, per_minute=1)
        with pytest.raises(http.TransientHttpError) as failure:
            get(host.url, per_minute=1)

    assert (failure.value.details["reason"], failure.value.retry_after) == ("rate", 60.0)


# -- for libraries that send by themselves --------------------------------------------------------------------------


def test_session_for_library__refuses_private_addresses(settings):
    settings.PRIVATE_ADDRESSES_ALLOWED = False

    with Host((200, {}, b"")) as host:
        with pytest.raises(http.ForbiddenAddressError):
            http.session_for_library().get(host.url)

        assert not host.seen


def test_session_for_library__by_way_of_the_operators_host__sends_everything_there(settings):
    settings.PRIVATE_ADDRESSES_ALLOWED = False

    with Host((200, {}, b"there")) as host:
        session = http.session_for_library(via=f"http://127.0.0.1:{host.port}/")
        answer = session.get("https://acme.my.salesforce.com/services/data?q=a+b")

    assert answer.text == "there"
    assert host.seen[0][1] == "/services/data?q=a+b"


def test_session_for_library__does_not_wait_for_ever():
    with Host((200, {}, b"slow")) as host:
        host.before_answer = lambda: host.clock.wait(2)

        with pytest.raises(http.TransientHttpError) as raised, http.failures_of_library():
            http.session_for_library(timeout=http.Timeout(connect=0.1, read=0.1)).get(host.url)

    assert raised.value.details == {"reason": "timeout"}


def test_session_for_library__follows_no_redirect():
    with Host((302, {"Location": "/elsewhere"}, b"")) as host:
        with pytest.raises(http.TransientHttpError), http.failures_of_library():
            http.session_for_library().get(host.url)

        assert len(host.seen) == 1


def test_pool_for_library__refuses_private_addresses(settings):
    settings.PRIVATE_ADDRESSES_ALLOWED = False

    with Host((200, {}, b"")) as host:
        with pytest.raises(http.ForbiddenAddressError):
            http.pool_for_library().request("GET", host.url)
        answer = http.pool_for_library(via=host.url).request("GET", host.url)

    assert answer.status == 200
    assert len(host.seen) == 1


def test_failures_of_library__that_is_no_json__are_passing():
    with Host((200, {}, b"<html>")) as host:
        with pytest.raises(http.TransientHttpError) as raised, http.failures_of_library():
            http.session_for_library().get(host.url).json()

    assert raised.value.details == {"reason": "unexpected_answer"}

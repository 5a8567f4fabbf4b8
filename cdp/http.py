"""The one outbound HTTP client. It gives up in time, says what kind of failure it was, and stays out of the house.

    answer = http.request("POST", url, json={"members": [...]}, headers={"Authorization": token})

The address of the host is checked when the connection is opened and that very address is connected to, so no second
answer of a name server can lead elsewhere. Private addresses are refused unless the operator allows them
(`PRIVATE_ADDRESSES_ALLOWED`) or the call does; plain http is spoken with private addresses alone.
Errors and logs name host and status, never the path, a header or a body: those may hold secrets and personal data.
"""

import ipaddress
import json as json_format
import random
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import structlog
import urllib3
from django.conf import settings
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from cdp.kernel.errors import TesseraError

log = structlog.get_logger()

LARGEST_ANSWER_BYTES: Final = 10 * 2**20
_CHUNK_BYTES: Final = 2**16

LibrarySession = requests.Session  # what `session_for_library` gives
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Timeout:
    """Seconds to connect, to wait for the next bytes, and for everything together."""

    connect: float = 5
    read: float = 15
    total: float = 30


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a request is tried, and how long is waited in between: doubling, with jitter.

    A `Retry-After` is obeyed where it is not longer than `longest_delay`; else the error carries it to the caller.
    """

    attempts: int = 3
    first_delay: float = 0.5
    longest_delay: float = 10

    def delay(self, attempt: int) -> float:
        """Before the attempt after this one."""
        longest: float = min(self.longest_delay, self.first_delay * 2 ** (attempt - 1))
        return longest * random.uniform(0.5, 1)  # noqa: S311  # jitter keeps clients apart, it hides nothing


ONCE: Final = Retry(attempts=1)


@dataclass(frozen=True, slots=True)
class Response:
    """`headers` are read without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401  # whatever the other system says
        """The body as JSON. An error page in its place is a passing disorder: `TransientHttpError`."""
        try:
            return json_format.loads(self.body)
        except ValueError:
            raise TransientHttpError("The answer is not JSON.", response=self) from None


class HttpError(TesseraError):
    """A request to another system failed."""

    code = "http_error"

    def __init__(self, message: str = "", *, response: Response | None = None, **details: Any) -> None:
        super().__init__(message, **({"status": response.status} if response else {}), **details)
        self.response = response


class TransientHttpError(HttpError):
    """The other system did not answer, or asked to come again later: try later."""

    code = "http_transient"

    def __init__(self, message: str = "", *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class PermanentHttpError(HttpError):
    """The other system refused the request; the same request will be refused again."""

    code = "http_permanent"


class ForbiddenAddressError(PermanentHttpError):
    """The address is private or not encrypted. An operator may set PRIVATE_ADDRESSES_ALLOWED."""

    code = "forbidden_address"


def request(
    method: str,
    url: str,
    *,
    json: object = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: Timeout = Timeout(),
    retry: Retry = Retry(),
    allow_private: bool = False,
    per_minute: int | None = None,
) -> Response:
    """Send, and return an answer of status 2xx.

    Everything else raises: `TransientHttpError` for 429, 5xx, time-outs and broken connections after the attempts of
    `retry`; `PermanentHttpError` for any other status, redirects included. Both carry the response if there was one.
    `per_minute` bounds the requests of this process to the host.
    """
    host = _host_of(url)
    content = body if json is None else json_format.dumps(json, separators=(",", ":"), ensure_ascii=False).encode()
    sent_headers = {"User-Agent": "Tessera", "Accept-Encoding": "identity", **(headers or {})}
    if json is not None:
        sent_headers.setdefault("Content-Type", "application/json")
    is_private_allowed = allow_private or settings.PRIVATE_ADDRESSES_ALLOWED
    attempt = 1
    while True:
        _traffic.enter(host, per_minute, timeout.total)
        try:
            response = _send(method, url, content, sent_headers, timeout, is_private_allowed)
        except TransientHttpError as error:
            _traffic.failed(host)
            error.details["host"] = host
            delay = error.retry_after if error.retry_after is not None else retry.delay(attempt)
            if attempt >= retry.attempts or delay > retry.longest_delay:
                log.warning("http.failed", attempt=attempt, **error.details)
                raise
        except PermanentHttpError as error:
            _traffic.succeeded(host)
            error.details["host"] = host
            log.warning("http.refused", code=error.code, **error.details)
            raise
        else:
            _traffic.succeeded(host)
            return response
        time.sleep(delay)
        attempt += 1


def authorities() -> Path:
    """The certificates of those whom every request trusts, as a PEM file."""
    return Path(DEFAULT_CA_BUNDLE_PATH)


def forget_hosts() -> None:
    """Close all breakers and empty all rate limits, as in a new process."""
    _traffic.forget()


def check_address(address: str, *, is_private_allowed: bool, is_encrypted: bool) -> None:
    """Raise `ForbiddenAddressError` unless this IP address may be connected to."""
    if is_private(address):
        if not is_private_allowed:
            raise ForbiddenAddressError(reason="private")
    elif not is_encrypted:
        raise ForbiddenAddressError("Requests that leave the house must be https.", reason="not_encrypted")


def is_private(address: str) -> bool:
    """Whether the address is anything but a public one; an IPv4 address inside an IPv6 one is looked at too."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        within = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if ip in _NAT64:
            within = ipaddress.IPv4Address(ip.packed[-4:])
        if within:
            return is_private(str(within))
    return not ip.is_global or ip.is_multicast or ip.is_reserved


# -- for libraries that send by themselves ---------------------------------------------------------------------------


def session_for_library(*, via: str = "", timeout: Timeout = Timeout()) -> requests.Session:
    """A session that keeps to the same addresses, for a library that takes one. It follows no redirect.

    `via` is an address of the operator's that stands for every host, and may be private.
    """
    is_private_allowed = bool(via) or settings.PRIVATE_ADDRESSES_ALLOWED
    session = _new_session(_ForeignAdapter(via=via, timeout=timeout, is_private_allowed=is_private_allowed))
    session.max_redirects = 0
    return session


def pool_for_library(*, via: str = "", timeout: Timeout = Timeout()) -> urllib3.PoolManager:
    """Likewise for a library that works with urllib3. It must be told of `via` itself."""
    limits = urllib3.Timeout(connect=timeout.connect, read=timeout.read)
    pool = urllib3.PoolManager(retries=False, timeout=limits)
    pool.pool_classes_by_scheme = _pools(is_private_allowed=bool(via) or settings.PRIVATE_ADDRESSES_ALLOWED)
    return pool


@contextmanager
def failures_of_library() -> Iterator[None]:
    """What goes wrong while such a library sends, in the words of this module. From None: its texts hold addresses."""
    try:
        yield
    except requests.exceptions.JSONDecodeError:
        raise TransientHttpError("The answer is not JSON.", reason="unexpected_answer") from None
    except requests.exceptions.SSLError:
        raise PermanentHttpError("The certificate of the host is not accepted.", reason="tls") from None
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise TransientHttpError("The host did not answer in time.", reason="timeout") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError):
        raise TransientHttpError("The connection failed.", reason="connection") from None


# -- one attempt ----------------------------------------------------------------------------------------------------


def _host_of(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in {"http", "https"} or "@" in parts.netloc:
        raise PermanentHttpError("The address must be http(s)://host/… without a password.", reason="bad_url")
    return f"{host}:{port}" if port else host


def _send(
    method: str,
    url: str,
    content: bytes | None,
    headers: Mapping[str, str],
    timeout: Timeout,
    is_private_allowed: bool,  # noqa: FBT001  # private
) -> Response:
    deadline = time.monotonic() + timeout.total
    try:
        with _session(is_private_allowed).request(
            method,
            url,
            data=content,
            headers=dict(headers),
            timeout=(timeout.connect, timeout.read),
            allow_redirects=False,
            stream=True,
        ) as answer:
            response = Response(answer.status_code, answer.headers, _read(answer, deadline))
    except requests.exceptions.SSLError:
        raise PermanentHttpError("The certificate of the host is not accepted.", reason="tls") from None
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise TransientHttpError("The host did not answer in time.", reason="timeout") from None
    except (requests.ConnectionError, urllib3.exceptions.HTTPError):
        raise TransientHttpError("The connection failed.", reason="connection") from None
    except requests.RequestException:  # from None: its text holds the address, with what may be secret in it
        raise PermanentHttpError("The request cannot be sent.", reason="bad_request") from None
    _raise_for_status(response)
    return response


def _read(answer: requests.Response, deadline: float) -> bytes:
    body = bytearray()
    while chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=True):  # what has come, and no waiting for the rest
        body += chunk
        if len(body) > LARGEST_ANSWER_BYTES:
            raise PermanentHttpError("The answer is too large.", reason="too_large")
        if time.monotonic() > deadline:
            raise TransientHttpError("The answer took too long.", reason="timeout")
    return bytes(body)


def _raise_for_status(response: Response) -> None:
    status = response.status
    if status == requests.codes.too_many_requests or status >= 500:
        raise TransientHttpError(f"The host answered {status}.", response=response, retry_after=_retry_after(response))
    if not 200 <= status < 300:
        raise PermanentHttpError(f"The host answered {status}.", response=response)


def _retry_after(response: Response) -> float | None:
    """In seconds. A date is read against the `Date` of the same answer, so that no two clocks must agree."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        later = parsedate_to_datetime(text) - parsedate_to_datetime(response.headers.get("Date", ""))
    except (ValueError, TypeError):
        return None
    return max(0.0, later.total_seconds())


# -- connections ----------------------------------------------------------------------------------------------------


def _resolve(host: str, port: int) -> Iterable[str]:
    """The IP addresses of a host. Decimal, octal and hexadecimal forms are read as the system reads them."""
    return dict.fromkeys(str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _open(connection: HTTPConnection, *, is_private_allowed: bool, is_encrypted: bool) -> socket.socket:
    try:
        addresses = list(_resolve(connection.host.strip("[]"), connection.port))
    except (socket.gaierror, UnicodeError) as error:
        raise urllib3.exceptions.NameResolutionError(connection.host, connection, socket.gaierror(str(error))) from None
    for address in addresses:
        check_address(address, is_private_allowed=is_private_allowed, is_encrypted=is_encrypted)
    failure: OSError = OSError("no address")
    for address in addresses:
        try:
            return urllib3.util.connection.create_connection(
                (address, connection.port), connection.timeout, socket_options=connection.socket_options
            )
        except OSError as error:
            failure = error
    if isinstance(failure, TimeoutError):
        raise urllib3.exceptions.ConnectTimeoutError(connection, "timed out") from None
    raise urllib3.exceptions.NewConnectionError(connection, "refused") from None


def _pools(*, is_private_allowed: bool) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools whose connections check where they lead."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _open(self, is_private_allowed=is_private_allowed, is_encrypted=False)

    class Encrypted(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _open(self, is_private_allowed=is_private_allowed, is_encrypted=True)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


class _CheckedAdapter(HTTPAdapter):
    def __init__(self, *, is_private_allowed: bool) -> None:
        self._pools = _pools(is_private_allowed=is_private_allowed)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools


class _ForeignAdapter(_CheckedAdapter):
    """For a library that sends by itself: every request has a time limit, and may have to go by way of another host."""

    def __init__(self, *, via: str, timeout: Timeout, is_private_allowed: bool) -> None:
        self._via, self._timeout = via.rstrip("/"), (timeout.connect, timeout.read)
        super().__init__(is_private_allowed=is_private_allowed)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if self._via and request.url:
            parts = urlsplit(request.url)
            request.url = self._via + parts.path + (f"?{parts.query}" if parts.query else "")
        kwargs["timeout"] = kwargs.get("timeout") or self._timeout
        return super().send(request, *args, **kwargs)


_sessions = threading.local()


def _session(is_private_allowed: bool) -> requests.Session:  # noqa: FBT001  # private
    """One for each thread: it keeps connections, and neither cookies nor what the environment says about proxies."""
    name = "open" if is_private_allowed else "closed"
    session: requests.Session | None = getattr(_sessions, name, None)
    if session is None:
        session = _new_session(_CheckedAdapter(is_private_allowed=is_private_allowed))
        setattr(_sessions, name, session)
    return session


def _new_session(adapter: HTTPAdapter) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


# -- how a host fares -----------------------------------------------------------------------------------------------


@dataclass
class _Host:
    failures: int = 0
    closed_until: float = 0
    next_slot: float = 0


@dataclass
class _Traffic:
    """Of this process: after some failures in a row a host is left alone for a while, then tried once."""

    failures_allowed: int = 5
    rest_seconds: float = 30
    _hosts: dict[str, _Host] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, host: str, per_minute: int | None, longest_wait: float) -> None:
        moment = time.monotonic()
        with self._lock:
            state = self._hosts.setdefault(host, _Host())
            if moment < state.closed_until:
                rest = state.closed_until - moment
                raise TransientHttpError("The host failed too often.", reason="resting", host=host, retry_after=rest)
            wait = max(0.0, state.next_slot - moment) if per_minute else 0.0
            if wait > longest_wait:
                raise TransientHttpError("The rate limit is used up.", reason="rate", host=host, retry_after=wait)
            if per_minute:
                state.next_slot = moment + wait + 60 / per_minute
            if state.failures >= self.failures_allowed:  # the one try after a rest; the others go on waiting
                state.closed_until = moment + longest_wait
        if wait:
            time.sleep(wait)

    def failed(self, host: str) -> None:
        with self._lock:
            state = self._hosts.setdefault(host, _Host())
            state.failures += 1
            if state.failures >= self.failures_allowed:
                state.closed_until = time.monotonic() + self.rest_seconds

    def succeeded(self, host: str) -> None:
        with self._lock:
            state = self._hosts.setdefault(host, _Host())
            state.failures, state.closed_until = 0, 0.0

    def forget(self) -> None:
        with self._lock:
            self._hosts.clear()


_traffic = _Traffic()

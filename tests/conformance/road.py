"""The way from an SDK to the server: it watches all that passes, and can be made to fail."""

import gzip
import http.client
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

BETWEEN_NEIGHBOURS = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
LET_THROUGH: None = None


@dataclass(frozen=True)
class Answer:
    """What the sender is told. With `after_delivery` the server had accepted it all the same."""

    status: int
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after_delivery: bool = False


@dataclass
class Seen:
    """A request as it came, and how it was answered."""

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes
    at: float
    status: int = 0
    said: bytes = b""

    def header(self, name: str) -> str:
        return {key.lower(): value for key, value in self.headers.items()}.get(name.lower(), "")

    @property
    def is_gzip(self) -> bool:
        return self.content.startswith(b"\x1f\x8b")

    @property
    def body(self) -> dict[str, Any]:
        plain = gzip.decompress(self.content) if self.is_gzip else self.content
        read: dict[str, Any] = json.loads(plain)
        return read

    @property
    def events(self) -> list[dict[str, Any]]:
        body = self.body
        return body.get("batch", [body])


class Road:
    """`turns`: what becomes of the first requests, in their order; the later ones go to the server.

    `always`: what becomes of every request instead. `drops` are headers that get lost on the way.
    """

    def __init__(
        self,
        server: str,
        *,
        turns: Sequence[Answer | None] = (),
        always: Answer | None = None,
        drops: Sequence[str] = (),
    ) -> None:
        self.requests: list[Seen] = []
        self._server = urlsplit(server)
        self._turns, self._always, self._drops = list(turns), always, {name.lower() for name in drops}
        self._lock = threading.Lock()
        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._listener.daemon_threads = True
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_port}"

    @property
    def posts(self) -> list[Seen]:
        return [seen for seen in self.requests if seen.method == "POST"]

    def pass_on(self, seen: Seen) -> tuple[int, Mapping[str, str], bytes]:
        """What the sender is told of this request."""
        turn = self._turn(seen)
        if turn is LET_THROUGH or turn.after_delivery:
            told = self._ask_server(seen)
        if turn is not LET_THROUGH:
            told = turn.status, _headers_of(turn, seen), b"" if turn.body is None else json.dumps(turn.body).encode()
        seen.status, seen.said = told[0], told[2]
        return told

    def deliver_again(self, seen: Seen) -> int:
        """As a network does that keeps what it has sent."""
        return self._ask_server(seen)[0]

    def _turn(self, seen: Seen) -> Answer | None:
        with self._lock:
            self.requests.append(seen)
            if seen.method != "POST":
                return LET_THROUGH  # what a browser asks before it sends
            return self._always or (self._turns.pop(0) if self._turns else LET_THROUGH)

    def _ask_server(self, seen: Seen) -> tuple[int, Mapping[str, str], bytes]:
        """As every proxy, it says 502 where no server answers."""
        try:
            return self._answer_of_server(seen)
        except (OSError, http.client.HTTPException):
            return 502, {"Content-Type": "application/json"}, b'{"code": "bad_gateway", "message": "No answer."}'

    def _answer_of_server(self, seen: Seen) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection(str(self._server.hostname), self._server.port, timeout=30)
        kept = {name: value for name, value in seen.headers.items() if name.lower() not in self._drops}
        connection.request(seen.method, seen.path, seen.content, kept)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), said

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()


def _headers_of(answer: Answer, seen: Seen) -> dict[str, str]:
    """A browser hears nothing of an answer that does not name its page's origin, so ours always does."""
    headers = {"Content-Type": "application/json", **answer.headers}
    if origin := seen.header("Origin"):
        headers |= {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "Retry-After"}
    return headers


def _handler(road: Road) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            content = self._content()
            seen = Seen(self.command, self.path, dict(self.headers.items()), content, time.monotonic())
            status, headers, body = road.pass_on(seen)
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in BETWEEN_NEIGHBOURS:
                    self.send_header(name, value)
            if status != http.client.NO_CONTENT:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_OPTIONS = do_POST  # noqa: N815  # the library's names

        def _content(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    return Handler

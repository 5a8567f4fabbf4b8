"""A system on 127.0.0.1 that checks what it is asked, and fails when a test wants it to."""

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit


class Asked(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), strict_parsing=True))


class Answered(Exception):  # noqa: N818  # no error: the way out of a check
    def __init__(self, status: int, body: object, **headers: str) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers


class Vendor:
    """`respond` gives status, body and headers, or raises `Answered`. `asked` are the paths, in order."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.planned: deque[Answered] = deque()
        self.before_answer: Callable[[], object] = lambda: None
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                parts = urlsplit(self.path)
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), self.headers, content)
                fake.asked.append(asked)
                fake.before_answer()
                answer = fake.answer(asked)
                body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST  # noqa: N815  # the library's name

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def respond(self, asked: Asked) -> Answered:
        raise NotImplementedError

    def answer(self, asked: Asked) -> Answered:
        if self.planned and not self.is_login(asked):
            return self.planned.popleft()
        try:
            return self.respond(asked)
        except Answered as answer:
            return answer

    def is_login(self, asked: Asked) -> bool:
        return asked.path.endswith("/token")

    @property
    def logins(self) -> int:
        return sum(self.is_login(asked) for asked in self.asked)

    def fail(self, status: int, body: Any = b"<html>busy</html>", *, times: int = 1, **headers: str) -> None:
        self.planned += [Answered(status, body, **headers)] * times

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

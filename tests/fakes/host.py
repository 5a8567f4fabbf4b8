"""A host on 127.0.0.1 that answers as told."""

import contextlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class Host:
    """`answers`: for each request its status, headers and body; the last one stays. `seen`: path and headers."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.answers = list(answers)
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.clock = threading.Event()  # never set: waiting for it is a sleep that no test replaces
        self.drip_seconds = 0.0
        self.is_chunked = False
        self.before_answer: Callable[[], object] = lambda: None
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                host.seen.append((self.command, self.path, dict(self.headers.items()), content))
                status, headers, body = host.answers.pop(0) if len(host.answers) > 1 else host.answers[0]
                host.before_answer()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if host.is_chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                else:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):  # of one who did not wait
                    self._write(body)

            do_GET = do_POST  # noqa: N815  # the library's name

            def _write(self, body: bytes) -> None:
                pieces = [bytes([byte]) for byte in body] if host.drip_seconds else [body]
                for piece in pieces:
                    host.clock.wait(host.drip_seconds)
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if host.is_chunked else piece)
                if host.is_chunked:
                    self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/path?token=hidden"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

"""A receiver of audiences, as somebody outside would write one from the documentation of the webhook.

It trusts nothing: the signature, the age of the request, the idempotency key and the shape are checked, and what is
wrong is refused and remembered in `violations`. What is right changes the audience, which is a set of keys. Of somebody
erased the keys go from every audience, and are in `erased`.
"""

import hashlib
import hmac
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self

OLDEST_SECONDS: Final = 300
LARGEST_BODY_BYTES: Final = 2_000_000
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_FIELD: Final = re.compile(r"[a-z0-9_.:-]+_sha256")
_REFERENCE: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Counts:
    adds: int = 0
    removes: int = 0


class Receiver:
    """`with Receiver(signing_key) as receiver: … receiver.url … receiver.members("loyal")`.

    In a `directory` it keeps a journal of what it took, so that another one there begins with the same audiences.
    """

    def __init__(
        self,
        signing_key: str,
        *,
        directory: Path | None = None,
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.requests = 0
        self.violations: list[str] = []
        self.counts: dict[str, _Counts] = defaultdict(_Counts)
        self.erased: list[tuple[str, frozenset[str]]] = []
        self._signing_key = signing_key.encode()
        self._audiences: dict[str, set[str]] = defaultdict(set)
        self._answered: dict[str, tuple[bytes, Reply]] = {}
        self._lock = threading.Lock()
        self._journal = directory / "receiver.jsonl" if directory else None
        self._read_journal()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/audiences"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def members(self, audience: str) -> set[str]:
        """The keys in an audience now."""
        with self._lock:
            return set(self._audiences[audience])

    def take(self, headers: Mapping[str, str], body: bytes) -> Reply:
        """What is answered to a request."""
        with self._lock:
            self.requests += 1
            key = headers.get("Idempotency-Key", "")
            if reason := self._suspicion(headers, body, key):
                return self._refuse(401, reason)
            if key in self._answered:
                before, reply = self._answered[key]
                return reply if before == body else self._refuse(409, "key_used_for_another_body")
            reply = self._apply(body)
            if reply.status == 200:
                self._answered[key] = (body, reply)
            return reply

    def _suspicion(self, headers: Mapping[str, str], body: bytes, key: str) -> str:
        timestamp = headers.get("Tessera-Timestamp", "")
        expected = "v1=" + hmac.new(self._signing_key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), headers.get("Tessera-Signature", "").encode()):
            return "bad_signature"
        if not timestamp.isdigit() or abs(self.clock() - int(timestamp)) > OLDEST_SECONDS:
            return "too_old"
        return "" if key else "no_idempotency_key"

    def _refuse(self, status: int, reason: str) -> Reply:
        self.violations.append(reason)
        return Reply(status, {"code": reason})

    def _apply(self, body: bytes) -> Reply:
        try:
            said = json.loads(body)
            if said["operation"] == "erase":
                return self._erase(said)
            audience, operation, members = said["audience"], said["operation"], said["members"]
            fields = [next(iter(member.items())) for member in members if len(member) == 1]
        except (ValueError, TypeError, KeyError, AttributeError):
            return self._refuse(400, "bad_shape")
        well_made = len(said) == 3 and operation in {"add", "remove"} and isinstance(audience, str) and audience
        if not well_made or not fields or len(fields) != len(members):
            return self._refuse(400, "bad_shape")
        codes = [self.rejection_of(name, str(key)) for name, key in fields]
        results = [{"index": index, "status": "rejected", "code": code} for index, code in enumerate(codes) if code]
        taken = {str(key) for (_, key), code in zip(fields, codes, strict=True) if not code}
        self._change(audience, operation, taken)
        self._write_journal(audience, operation, taken)
        return Reply(200, {"results": results})

    def _erase(self, said: Mapping[str, Any]) -> Reply:
        fields = [field for member in said["person"] for field in member.items()]
        is_well_made = set(said) == {"operation", "reference", "erased_at", "person"} and fields
        if not is_well_made or not _REFERENCE.fullmatch(said["reference"]) or not _TIME.fullmatch(said["erased_at"]):
            return self._refuse(400, "bad_shape")
        if any(self.rejection_of(name, str(key)) for name, key in fields):
            return self._refuse(400, "invalid_hash")
        keys = frozenset(str(key) for _, key in fields)
        self.erased.append((said["reference"], keys))
        for audience in list(self._audiences):
            self._audiences[audience] -= keys
        return Reply(200)

    def rejection_of(self, name: str, key: str) -> str:
        """Why a member is not taken; empty where it is."""
        if _FIELD.fullmatch(name) and _DIGEST.fullmatch(key):
            return ""
        self.violations.append("invalid_hash")
        return "invalid_hash"

    def _change(self, audience: str, operation: str, keys: set[str]) -> None:
        if operation == "add":
            self._audiences[audience] |= keys
            self.counts[audience].adds += len(keys)
        else:
            self._audiences[audience] -= keys
            self.counts[audience].removes += len(keys)

    def _write_journal(self, audience: str, operation: str, keys: set[str]) -> None:
        if self._journal:
            with self._journal.open("a") as file:
                file.write(json.dumps([audience, operation, sorted(keys)]) + "\n")

    def _read_journal(self) -> None:
        if not self._journal or not self._journal.exists():
            return
        for line in self._journal.read_text().splitlines():
            audience, operation, keys = json.loads(line)
            self._change(audience, operation, set(keys))
        self.counts.clear()


def _handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def do_POST(self) -> None:  # the library's name
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > LARGEST_BODY_BYTES:
                self.close_connection = True
                self._answer(Reply(413, {"code": "too_large"}))
                return
            self._answer(receiver.take(dict(self.headers.items()), self.rfile.read(int(length))))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
            """Silent: the console belongs to the demo."""

        def _answer(self, reply: Reply) -> None:
            content = json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler

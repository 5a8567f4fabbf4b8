"""Both sides of OpenDSR, as somebody outside would write them from the specification: strict, over TLS, on 127.0.0.1.

What is wrong is refused and remembered in `violations`.
"""

import base64
import json
import re
import ssl
import threading
import uuid
from collections.abc import Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from cryptography import x509

from consent.opendsr import signing
from tests.fakes.authority import Issued

GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
STATUSES = {"pending", "in_progress", "completed", "cancelled"}
TOLD = {"controller_id", "status_callback_url", "subject_request_id", "request_status", "expected_completion_time"}
Answer = tuple[int, bytes, str]


class TlsHost:
    """`answer(method, path, headers, body)` says what comes back."""

    def __init__(self, domain: str, issued: Issued, directory: Path) -> None:
        self.domain, self.issued = domain, issued
        self.violations: list[str] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, content, kind = host.answer(self.command, self.path, headers, body)
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "https://elsewhere.example.com/")
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST  # noqa: N815  # the library's name

            def log_message(self, *_: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*issued.write(directory, domain))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        raise NotImplementedError

    def url(self, path: str = "") -> str:
        return f"https://{self.host}{path}"

    @property
    def host(self) -> str:
        return f"{self.domain}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def refuse(self, why: str, status: int = 400) -> Answer:
        self.violations.append(why)
        return status, b"{}", "application/json"


class FakeController(TlsHost):
    """Takes callbacks. `planned`: statuses that are answered before anything is looked at."""

    def __init__(self, domain: str, issued: Issued, directory: Path, *, processor: x509.Certificate) -> None:
        super().__init__(domain, issued, directory)
        self.processor = processor
        self.planned: list[int] = []
        self.tries = 0
        self.told: list[dict[str, Any]] = []

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.tries += 1
        if self.planned:
            return self.planned.pop(0), b"", "text/plain"
        new, old = (headers.get(f"x-{name}-signature", "") for name in ("opendsr", "opengdpr"))
        domain = headers.get("x-opendsr-processor-domain") or headers.get("x-opengdpr-processor-domain", "")
        if not signing.covers(self.processor, domain):
            return self.refuse("domain", 403)
        try:
            signing.verify(self.processor, new or old, body)
        except signing.BadSignatureError:
            return self.refuse("signature", 403)
        said = json.loads(body)
        if (
            said.keys() < TOLD
            or said["request_status"] not in STATUSES
            or headers["content-type"] != "application/json"
        ):
            return self.refuse("shape")
        if said["status_callback_url"] != self.url(path) or method != "POST":
            return self.refuse("not_ours")
        datetime.fromisoformat(said["expected_completion_time"])
        self.told.append(said)
        return 202, b"", "text/plain"


class FakeProcessor(TlsHost):
    """Takes requests of erasure. `supports`: what its discovery says; `planned`: statuses that are answered first."""

    def __init__(
        self, domain: str, issued: Issued, directory: Path, *, token: str, signer: Issued | None = None
    ) -> None:
        super().__init__(domain, issued, directory)
        self.signer = signer or issued
        self.supports = [("email", "sha256"), ("controller_customer_id", "raw")]
        self.types = ["erasure"]
        self.planned: list[int] = []
        self.requests: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.certificate_url = ""
        self._token = token

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.asked.append(f"{method} {path}")
        if path == "/certificate.pem":
            return 200, self.signer.pem, "application/x-pem-file"
        if headers.get("authorization") != f"Bearer {self._token}":
            return self.refuse("token", 401)
        if self.planned:
            return self.planned.pop(0), b"", "text/plain"
        match method, path:
            case "GET", "/v2/discovery" | "/discovery":
                return 200, json.dumps(self._discovery()).encode(), "application/json"
            case "POST", "/v2/requests" | "/opengdpr_requests":
                return self._take(body, is_new=path == "/v2/requests")
        return self.refuse("path", 404)

    def callback(self, url: str, reference: str, status: str, **more: Any) -> tuple[bytes, dict[str, str]]:
        """A body and its headers, as it would send them."""
        said = {
            "controller_id": "tessera", "status_callback_url": url, "subject_request_id": reference,
            "request_status": status, "expected_completion_time": "2026-12-21T12:00:00Z", **more,
        }  # fmt: skip
        body = json.dumps(said).encode()
        signature = signing.sign(self.signer.key, body)
        return body, {"X-OpenDSR-Processor-Domain": self.domain, "X-OpenDSR-Signature": signature}

    def _discovery(self) -> dict[str, Any]:
        return {
            "api_version": "2.0",
            "supported_identities": [{"identity_type": kind, "identity_format": form} for kind, form in self.supports],
            "supported_subject_request_types": self.types,
            "processor_certificate": self.certificate_url or self.url("/certificate.pem"),
        }

    def _take(self, body: bytes, *, is_new: bool) -> Answer:
        said = json.loads(body)
        if not GUID.fullmatch(said["subject_request_id"]) or uuid.UUID(said["subject_request_id"]).version != 4:
            return self.refuse("id")
        if said["subject_request_type"] != "erasure" or (said.get("regulation") == "gdpr") is not is_new:
            return self.refuse("type")
        if datetime.fromisoformat(said["submitted_time"]).tzinfo is None:
            return self.refuse("submitted_time")
        for one in said["subject_identities"]:
            if (one["identity_type"], one["identity_format"]) not in self.supports:
                return self.refuse("identity")
        earlier = self.requests.setdefault(said["subject_request_id"], said)
        if earlier != said:
            return self.refuse("other body")
        answer = {
            "controller_id": "tessera",
            "expected_completion_time": "2026-12-21T12:00:00Z",
            "received_time": "2026-11-21T12:00:00Z",
            "encoded_request": base64.b64encode(body).decode(),
            "subject_request_id": said["subject_request_id"],
        }
        return 201, json.dumps(answer).encode(), "application/json"

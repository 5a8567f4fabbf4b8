"""The part of SurveyMonkey's API that answers are fetched from. Strict: what it does not know is a violation."""

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

TOKEN = "hidden-4714"
_PATH = re.compile(r"/v3/surveys/(?P<survey>\d+)(?:/responses/(?P<response>\d+))?/details")


class FakeSurveyMonkey:
    """`surveys` and `responses` by id. `failures`: what the next requests get instead, (status, headers) each."""

    def __init__(self) -> None:
        self.surveys: dict[str, dict] = {}
        self.responses: dict[str, dict] = {}
        self.failures: list[tuple[int, dict[str, str]]] = []
        self.paths: list[str] = []
        self.violations: list[str] = []
        self.before_answer: Callable[[], object] = lambda: None
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                fake.paths.append(self.path)
                fake.before_answer()
                self._answer(*fake.answer(self))

            def do_POST(self) -> None:
                fake.violations.append(f"{self.command} {self.path}")
                self._answer(405, {}, {})

            do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815  # the library's names

            def _answer(self, status: int, headers: dict[str, str], body: object) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], object]:
        if self.failures:
            status, headers = self.failures.pop(0)
            return status, headers, _error(status)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {}, _error(401)
        found = _PATH.fullmatch(request.path)
        if not found or request.headers.get("Content-Length"):
            self.violations.append(f"{request.command} {request.path}")
            return 400, {}, _error(400)
        held = self.responses.get(found["response"]) if found["response"] else self.surveys.get(found["survey"])
        return (200, {}, held) if held else (404, {}, _error(404))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _error(status: int) -> dict:
    return {"error": {"docs": "…", "message": "…", "id": "1000", "name": "…", "http_status_code": status}}


def response(number: int = 1, questions: list | None = None, **more: object) -> dict:
    return {
        "id": str(number),
        "survey_id": "68388858",
        "collector_id": "81234729",
        "recipient_id": "",
        "response_status": "completed",
        "custom_value": "",
        "custom_variables": {"user_id": f"user-{number}"},
        "date_created": "2026-11-21T10:50:00+00:00",
        "date_modified": "2026-11-21T11:00:00+00:00",
        "ip_address": "192.0.2.1",
        "metadata": {"contact": {}},
        "pages": [
            {
                "id": "1",
                "questions": [{"id": "10", "answers": [{"choice_id": "100"}]}] if questions is None else questions,
            }
        ],
        **more,
    }


def survey(questions: list | None = None) -> dict:
    colour = {
        "id": "10",
        "family": "single_choice",
        "subtype": "vertical",
        "headings": [{"heading": "Which colour?"}],
        "answers": {"choices": [{"id": "100", "text": "Blue"}, {"id": "101", "text": "Red"}]},
    }
    return {
        "id": "68388858",
        "title": "Colours",
        "pages": [{"id": "1", "questions": [colour] if questions is None else questions}],
    }

"""The WSGI application. The busiest calls take a short way: no session, no page and no language concerns them."""

import os
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler
from django.db import close_old_connections
from django.http import HttpResponse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cdp.settings")
django.setup(set_prefix=False)

from cdp.api import browsers, consent_calls, problems  # noqa: E402  # needs the settings
from cdp.api.tracking import answers, calls  # noqa: E402  # likewise
from cdp.api.tracking.paths import SHORT_WAY  # noqa: E402  # likewise
from cdp.kernel import garbage  # noqa: E402  # likewise
from consent import erasure_ledger  # noqa: E402  # likewise

Start = Callable[..., Any]


class Application(WSGIHandler):
    """Tracking calls and consents become neither a request nor a response of Django: most of what a call costs is saved."""

    def __call__(  # type: ignore[override]  # to WSGI an answer is any iterable of bytes
        self, environ: dict[str, Any], start_response: Start
    ) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST":
            return super().__call__(environ, start_response)
        path_kind = SHORT_WAY.get(environ["PATH_INFO"])
        if path_kind is None:
            return self._other(environ, start_response)
        try:
            body = answers.said_of(calls.accept_request(environ, path_kind))
        except Exception as error:  # noqa: BLE001  # as Django does around every view
            return _refuse(error, environ, start_response)
        return _send("200 OK", [("Content-Type", answers.JSON)], body, environ, start_response)

    def _other(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        body = consent_calls.recorded(environ) if environ["PATH_INFO"] == consent_calls.PATH else None
        if body is None:
            return super().__call__(environ, start_response)
        start_response("200 OK", [*consent_calls.HEADERS, ("Content-Length", str(len(body)))])
        return [body]


def _refuse(error: Exception, environ: Mapping[str, Any], start_response: Start) -> Iterable[bytes]:
    response = _refusal_of(error, environ)
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        close_old_connections()  # those that broke; elsewhere Django looks after each request
    status = f"{response.status_code} {response.reason_phrase}"
    return _send(status, list(response.items()), response.content, environ, start_response)


def _refusal_of(error: Exception, environ: Mapping[str, Any]) -> HttpResponse:
    try:
        return calls.refusal_of(error)
    except Exception as unforeseen:  # noqa: BLE001  # likewise
        return problems.unforeseen(unforeseen, method=environ["REQUEST_METHOD"], route=environ["PATH_INFO"])


def _send(
    status: str, headers: list[tuple[str, str]], body: bytes, environ: Mapping[str, Any], start_response: Start
) -> list[bytes]:
    start_response(status, [*headers, ("Content-Length", str(len(body))), *browsers.sharing(environ)])
    return [body]


erasure_ledger.refuse_if_behind()  # a restored database has people again who were erased
application = Application()
garbage.settle()

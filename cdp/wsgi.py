"""The WSGI application. The busiest paths take a short way: no session, no page and no language concerns them."""

import os
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cdp.settings")
django.setup(set_prefix=False)

from cdp.api import problems  # noqa: E402  # needs the settings
from cdp.api.tracking.paths import SHORT_WAY  # noqa: E402  # likewise


class Application(WSGIHandler):
    """Tracking calls go straight to their view, which answers everything itself: half of what a call costs is saved."""

    def __call__(  # type: ignore[override]  # to WSGI an answer is any iterable of bytes
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        view = SHORT_WAY.get(environ["PATH_INFO"])
        if view is None:
            return super().__call__(environ, start_response)
        response = problems.answer(self.request_class(environ), view)
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            close_old_connections()  # those that broke; elsewhere Django looks after each request
        headers = [*response.items(), ("Content-Length", str(len(response.content)))]
        start_response(f"{response.status_code} {response.reason_phrase}", headers)
        return [response.content]


application = Application()

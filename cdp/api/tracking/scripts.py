"""`GET /v1/consent.js`: what a site puts beside its consent banner (docs/consent-snippet.md). The same for everybody."""

import hashlib
from pathlib import Path
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import condition

from cdp.api.browsers import preflight, share
from cdp.api.tracking import answers

CACHED_SECONDS: Final = 3_600

_SCRIPT: Final = Path(__file__).with_name("consent.js").read_bytes()
_ETAG: Final = f'"{hashlib.sha256(_SCRIPT).hexdigest()[:32]}"'


@csrf_exempt
def consent_script(request: HttpRequest) -> HttpResponse:
    if request.method not in {"GET", "HEAD"}:
        return preflight(request) if request.method == "OPTIONS" else share(request, answers.wrong_method("GET"))
    return share(request, _script(request))


@condition(etag_func=lambda _: _ETAG)
def _script(_: HttpRequest) -> HttpResponse:
    answer = HttpResponse(_SCRIPT, content_type="text/javascript; charset=utf-8")
    answer["Cache-Control"] = f"public, max-age={CACHED_SECONDS}"
    answer["Cross-Origin-Resource-Policy"] = "cross-origin"  # pages may demand that whoever they embed permits it
    answer["Vary"] = "Origin"
    return answer

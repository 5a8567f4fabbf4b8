"""The settings that analytics.js asks for before it sends anything. Public: a write key of a page is no secret."""

from http import HTTPStatus
from typing import Any, Final

from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from cdp.api.browsers import preflight, share
from cdp.api.tracking import answers
from cdp.ingestion import sources
from cdp.ingestion.sources import UnknownWriteKeyError

ANALYTICS_JS: Final = "4.4.7"  # what the settings name; the page has brought its own
CACHED_SECONDS: Final = 300

_EVERYTHING: Final = {"__default": {"enabled": True}}


@csrf_exempt
def browser_settings(request: HttpRequest, write_key: str) -> HttpResponse:
    """`GET /v1/projects/{writeKey}/settings`."""
    if request.method not in {"GET", "HEAD"}:
        return preflight(request) if request.method == "OPTIONS" else share(request, answers.wrong_method("GET"))
    return share(request, _document(request, write_key))


def _document(request: HttpRequest, write_key: str) -> HttpResponse:
    try:
        sources.source_of([write_key])
    except UnknownWriteKeyError as error:
        return answers.problem(HTTPStatus.NOT_FOUND, error.code, error.message)
    except DatabaseError:
        return answers.not_stored()
    # `Vary` even without an Origin: a cache must not give this answer to a page of another site.
    headers = {"Cache-Control": f"public, max-age={CACHED_SECONDS}", "Vary": "Origin"}
    return answers.as_json(
        settings_of(write_key, host=request.get_host(), protocol=_protocol(request)), headers=headers
    )


def settings_of(write_key: str, *, host: str, protocol: str) -> dict[str, Any]:
    destination = {
        "apiKey": write_key,
        "apiHost": f"{host}/v1",
        "protocol": protocol,
        "versionSettings": {"version": ANALYTICS_JS, "componentTypes": ["browser"]},
        "type": "browser",
        "bundlingStatus": "bundled",
        "unbundledIntegrations": [],
        "addBundledMetadata": True,
    }
    return {
        "integrations": {"Segment.io": destination},
        "plan": {"track": _EVERYTHING, "identify": _EVERYTHING, "group": _EVERYTHING},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }


def _protocol(request: HttpRequest) -> str:
    """A proxy with TLS before us is seen by what it forwards, or known from the settings."""
    forwarded = request.META.get("HTTP_X_FORWARDED_PROTO", "").partition(",")[0].strip().lower()
    is_secure = request.is_secure() or forwarded == "https" or settings.SESSION_COOKIE_SECURE
    return "https" if is_secure else "http"

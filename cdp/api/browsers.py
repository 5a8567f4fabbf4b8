"""What browsers ask before a page of another site may send to the tracking paths (CORS).

The write key travels in the request itself, so no site is trusted more than another, and cookies never take part.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

PATHS: Final = ("/v1/", "/pixel/", "/beacon/")
ALLOWED_METHODS: Final = "GET, POST"
# X-Retry-Count tells of a retry; RudderStack's browser SDK sends AnonymousId.
ALLOWED_HEADERS: Final = "Authorization, Content-Type, Content-Encoding, X-Retry-Count, AnonymousId"
EXPOSED_HEADERS: Final = "Retry-After, X-RateLimit-Reset"
MAX_AGE_SECONDS: Final = 86_400

Answer = TypeVar("Answer", bound=HttpResponseBase)


def share(request: HttpRequest, answer: Answer) -> Answer:
    """Let the page that asked read the answer, errors too. Servers send no Origin, and pay nothing for this."""
    for name, value in sharing(request.META):
        if name == "Vary":
            patch_vary_headers(answer, [value])
        else:
            answer[name] = value
    return answer


def sharing(environ: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The headers of an answer that say so."""
    origin = environ.get("HTTP_ORIGIN")
    if not origin:
        return []
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", EXPOSED_HEADERS),
        ("Vary", "Origin"),
    ]


def preflight(request: HttpRequest) -> HttpResponse:
    """The question before the call, which carries no key."""
    answer = HttpResponse(content_type="text/plain")
    answer["Access-Control-Allow-Methods"] = ALLOWED_METHODS
    answer["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
    answer["Access-Control-Max-Age"] = str(MAX_AGE_SECONDS)
    answer["Allow"] = f"{ALLOWED_METHODS}, OPTIONS"
    return share(request, answer)

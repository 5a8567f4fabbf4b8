"""Events from where no script runs: the address of an image says what happened, and the image always comes."""

import base64
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from cdp.api.browsers import preflight, share
from cdp.api.tracking import answers
from cdp.api.tracking.calls import accept, refusal_of

GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
DEEPEST: Final = 8  # `context.page.url` is 3 deep

_READ = {"GET", "HEAD"}


@csrf_exempt
def pixel(request: HttpRequest, path_kind: str) -> HttpResponse:
    """The status tells a machine whether the event was kept, or must be sent again; a person sees nothing."""
    if request.method not in _READ:
        return preflight(request) if request.method == "OPTIONS" else share(request, answers.wrong_method("GET"))
    if request.method == "HEAD":  # whoever only looks whether there is an image has opened nothing
        return share(request, _image(HTTPStatus.OK))
    parameters = parameters_in(request.META.get("QUERY_STRING", ""))
    body = msgspec.json.encode(event_in(parameters, path_kind))
    try:
        accept(request.META, body=body, path_kind=path_kind, query_key=parameters.get("writeKey"))
    except answers.FORESEEN as error:
        return share(request, _image_instead_of(refusal_of(error)))
    return share(request, _image(HTTPStatus.OK))


def _image_instead_of(refusal: HttpResponse) -> HttpResponse:
    image = _image(refusal.status_code if refusal.status_code in answers.COME_AGAIN else HTTPStatus.OK)
    if refusal.has_header("Retry-After"):
        image["Retry-After"] = refusal["Retry-After"]
    return image


def _image(status: int) -> HttpResponse:
    image = HttpResponse(GIF, content_type="image/gif", status=status)
    image["Cache-Control"] = "no-store"
    image["Cross-Origin-Resource-Policy"] = "cross-origin"  # pages may demand that whoever they embed permits it
    return image


def parameters_in(query: str) -> dict[str, str]:
    """However many there are: Django refuses more than a form may have. WSGI gives the bytes as latin-1."""
    text = query.encode("latin-1", errors="replace").decode(errors="replace")
    return dict(reversed(parse_qsl(text, keep_blank_values=True, errors="replace")))


def event_in(parameters: Mapping[str, str], path_kind: str) -> dict[str, Any]:
    """`context.page.url=…` is a value within an object within an object. All values are texts."""
    event: dict[str, Any] = {"type": path_kind, "channel": "web", "integrations": {"All": True}}
    for name, value in parameters.items():
        if name not in {"type", "writeKey"}:
            _place(event, name.split(".", DEEPEST - 1), value)
    if isinstance(event.get("anonymousId"), str):
        event["anonymousId"] = event["anonymousId"].strip('"')
    if isinstance(event.get("context"), dict) and event["context"].get("direct") == "true":
        event["context"]["direct"] = True
    return event


def _place(event: dict[str, Any], path: list[str], value: str) -> None:
    """Where a name is both a value and an object, the object stays: it says more."""
    *outer, last = path
    place = event
    for name in outer:
        if not isinstance(place.get(name), dict):
            place[name] = {}
        place = place[name]
    if not isinstance(place.get(last), dict):
        place[last] = value

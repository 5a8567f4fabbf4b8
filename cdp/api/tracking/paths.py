"""All tracking paths, each with and without a slash at its end: a redirect between the two would lose data."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.http import HttpResponse
from django.urls import path

from cdp.api.tracking import calls, documents, pixels, scripts, tokens
from cdp.ingestion.accepting import BATCH, IMPORT
from cdp.ingestion.messages import KINDS

# Browser SDKs shorten the type to its first letter. The busiest path comes first.
KIND_BY_PATH: Final[Mapping[str, str]] = {
    BATCH: BATCH,
    **{kind: kind for kind in sorted(KINDS)},
    IMPORT: IMPORT,
    "b": BATCH,
    **{kind[0]: kind for kind in sorted(KINDS)},
}

View = Callable[..., HttpResponse]
_ROUTES: Final[list[tuple[str, View, dict[str, Any]]]] = [
    *((f"v1/{name}", calls.receive, {"path_kind": kind}) for name, kind in KIND_BY_PATH.items()),
    ("v1/m", calls.metrics, {}),
    ("v1/projects/<str:write_key>/settings", documents.browser_settings, {}),
    ("v1/consent.js", scripts.consent_script, {}),
    ("pixel/v1/track", pixels.pixel, {"path_kind": "track"}),
    ("pixel/v1/page", pixels.pixel, {"path_kind": "page"}),
    ("beacon/v1/batch", calls.beacon, {}),
    ("oauth2/token", tokens.token, {}),
]
urlpatterns = [path(f"{route}{slash}", view, given) for route, view, given in _ROUTES for slash in ("", "/")]

# What cdp.wsgi knows without looking through all paths first: the kind of each call.
SHORT_WAY: Final[Mapping[str, str]] = {
    f"/v1/{name}{slash}": kind for name, kind in KIND_BY_PATH.items() for slash in ("", "/")
}

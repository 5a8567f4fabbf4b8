"""What the OpenAPI file says of every path: the keys, and the errors."""

from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers

from cdp.api.authentication import ApiKeyAuthentication


class Problem(serializers.Serializer[Any]):
    """The body of every error."""

    code = serializers.CharField(help_text="for programs: snake_case, stable")
    message = serializers.CharField(help_text="for people: a sentence")
    details = serializers.JSONField(help_text="what exactly, where there is more to say")


REFUSALS = {
    400: OpenApiResponse(Problem, "The request is not as it must be."),
    401: OpenApiResponse(Problem, "No valid key was sent."),
    403: OpenApiResponse(Problem, "The key lacks the scope."),
    404: OpenApiResponse(Problem, "There is no such thing, or it is not for this key."),
}


DELETES_WITH_BODY: Final = ("/api/v1/lists/{slug}/entries",)
"""Their bodies are those of POST on the same path."""


def describe_bodies_of_deletes(result: dict[str, Any], **_: object) -> dict[str, Any]:
    """The library describes no body of a DELETE: clients that are made of the file could not send one."""
    for path in DELETES_WITH_BODY:
        operations = result["paths"][path]
        operations["delete"]["requestBody"] = operations["post"]["requestBody"]
    return result


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # the library has no types
    """How the OpenAPI file describes the keys."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, _: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A key of the workspace, with scopes."}

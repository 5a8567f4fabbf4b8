"""The description of the API: the OpenAPI file, and a page for people that is made from it and loads nothing else."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView

METHODS = ("get", "post", "put", "patch", "delete")


@extend_schema(exclude=True)
class SchemaView(SpectacularAPIView):
    """OpenAPI 3.1, as YAML or with `?format=json`. Open to everybody: it tells nothing about anybody."""


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    described: Mapping[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]  # the library has no types
    return render(request, "api/docs.html", {"info": described["info"], "operations": list(_operations(described))})


def _operations(described: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path, item in described["paths"].items():
        for method in METHODS:
            if method in item:
                yield _operation(path, method, item[method], described)


def _operation(path: str, method: str, operation: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    return {
        "path": path,
        "method": method.upper(),
        "summary": operation.get("summary", ""),
        "parameters": operation.get("parameters", []),
        "body": _fields(body, described),
        "answers": [
            {"status": status, "fields": _fields(_schema_of(answer), described), "description": answer["description"]}
            for status, answer in operation["responses"].items()
        ],
    }


def _schema_of(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    schema: Mapping[str, Any] | None = answer.get("content", {}).get("application/json", {}).get("schema")
    return schema


def _fields(schema: Mapping[str, Any] | None, described: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The fields of an object, and behind a dot those of the objects in it."""
    if schema is None:
        return []
    found = _resolved(schema, described)
    if "items" in found:
        return _fields(found["items"], described)
    fields = []
    for name, inner in found.get("properties", {}).items():
        deeper = _fields(inner, described)
        description = _resolved(inner, described).get("description", "")
        fields.append({"name": name, "type": _type_of(inner, described), "description": description})
        fields.extend({**each, "name": f"{name}.{each['name']}"} for each in deeper)
    return fields


def _type_of(schema: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    found = _resolved(schema, described)
    kinds = found.get("type", "any")
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)


def _resolved(schema: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Mapping[str, Any] = described["components"]["schemas"][reference.rpartition("/")[2]]
    return found

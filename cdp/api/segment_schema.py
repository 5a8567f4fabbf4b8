"""What a rule may be, as a JSON Schema: for editors and for whoever writes rules by program."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView
from cdp.api.openapi import REFUSALS
from cdp.models import Scope
from segments.language import RULE_SCHEMA


class RuleSchemaView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ}

    @extend_schema(
        operation_id="segment_rule_schema",
        summary="The JSON Schema of rules",
        responses={200: OpenApiTypes.OBJECT, **REFUSALS},
    )
    def get(self, _: Request) -> Response:
        return Response(RULE_SCHEMA)

"""What a view answers in, where that is not for the client to choose."""

from collections.abc import Iterable

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class WhateverIsAccepted(DefaultContentNegotiation):
    """Who comes for a stream or a file accepts no JSON, and errors are JSON all the same."""

    def select_renderer(
        self,
        request: Request,  # noqa: ARG002  # the library's signature
        renderers: Iterable[BaseRenderer],
        _format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        return first, str(first.media_type)

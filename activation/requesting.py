"""How a destination is asked, whatever it is asked for."""

from datetime import datetime
from typing import Final

from activation.destination import Destination, PreparedRequest
from cdp import http

TIMEOUT: Final = http.Timeout(connect=5, read=10, total=20)


def ask(destination: Destination, request: PreparedRequest, *, idempotency_key: str, now: datetime) -> http.Response:
    """Once: what comes again comes from a ledger. Raises as `authorise` and `http.request` do."""
    proof = destination.authorise(request, idempotency_key=idempotency_key, now=now)
    return http.request(
        request.method,
        request.url,
        body=request.body,
        headers={**request.headers, **proof},
        timeout=TIMEOUT,
        retry=http.ONCE,
        per_minute=destination.limits.requests_per_minute,
    )

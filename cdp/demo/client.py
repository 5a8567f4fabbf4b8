"""The demo talks to Tessera as its users do: over HTTP, with the real Segment client and an API key."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from urllib.parse import quote

from segment.analytics.client import Client

from cdp import http
from cdp.demo.people import Statement
from cdp.demo.purchases import EVENT_NAME, Purchase

CONSENTS_PER_REQUEST = 500
LOOK_AGAIN_SECONDS = 0.05


class NotInTimeError(AssertionError):
    """What the demo waited for did not happen."""


class TesseraClient:
    def __init__(self, *, url: str, api_key: str, write_key: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._write_key = write_key

    def track(self, purchases: Iterable[Purchase]) -> None:
        """Send with Segment's own client, which batches, retries, and raises here when a batch was refused."""
        failures: list[Exception] = []
        client = Client(
            self._write_key, host=self._url, gzip=True, max_queue_size=100_000, on_error=lambda e, _: failures.append(e)
        )
        for purchase in purchases:
            client.track(
                user_id=purchase.user_id, event=EVENT_NAME, timestamp=purchase.made_at, message_id=purchase.message_id,
                properties={"revenue": purchase.revenue, "quantity": purchase.quantity, "currency": "USD"},
            )  # fmt: skip
        client.shutdown()
        if failures:
            raise failures[0]

    def send_batch(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One raw request, for what the client itself would refuse to send."""
        body = {"writeKey": self._write_key, "batch": list(items)}
        answer: dict[str, Any] = http.request("POST", f"{self._url}/v1/batch", json=body, allow_private=True).json()
        return answer

    def record_consents(self, statements: Iterable[Statement], *, purpose: str, at: datetime, notice: str) -> int:
        rows = (
            {
                "identifier": said.identifier, "purpose": purpose, "state": said.state, "occurred_at": at.isoformat(),
                "key": f"{notice}:{said.identifier}:{said.state}",
            }
            for said in statements
        )  # fmt: skip
        sent = 0
        for batch in _batches(rows, CONSENTS_PER_REQUEST):
            self._call("POST", "consents", {"consents": batch})
            sent += len(batch)
        return sent

    def segments_of(self, identifier: str) -> set[str]:
        answer = self._call("GET", f"profiles/{quote(identifier, safe=':')}/segments")
        return {row["slug"] for row in answer["segments"]}

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = http.request(
            method, f"{self._url}/api/v1/{path}", json=body, headers=self._headers, allow_private=True
        ).json()
        return answer


def wait_until(happened: Callable[[], bool], what: str, seconds: float = 60) -> float:
    """Wait for it and return the seconds that it took."""
    began = time.monotonic()
    while not happened():
        if time.monotonic() - began > seconds:
            message = f"{what}: not within {seconds:g} s"
            raise NotInTimeError(message)
        time.sleep(LOOK_AGAIN_SECONDS)
    return time.monotonic() - began


def _batches(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(rows, size)):
        yield batch

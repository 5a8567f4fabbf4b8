"""A signed webhook: keys are posted as JSON to an address that the customer gives.

    POST {"audience": "loyal", "operation": "add", "members": [{"email_sha256": "<hex>"}]}

    Idempotency-Key:    the same for every try of the same request
    Tessera-Timestamp:  seconds since 1970; refuse what is older than five minutes
    Tessera-Signature:  v1=<hex of HMAC-SHA256, keyed with the signing key, over "timestamp.body">

Any 2xx means taken. `{"results": [{"index": 0, "status": "rejected", "code": "…"}]}` refuses single members; what it
does not name is taken. `unknown` says that the receiver cannot tell.

Who was erased is told to the same address under the same signature, the reference being the idempotency key:

    POST {"operation": "erase", "reference": "<uuid>", "erased_at": "2026-11-25T09:00:00Z", "person": [{"email_sha256": "<hex>"}]}

Any 2xx acknowledges it, any 4xx refuses it.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from activation.destination import (
    SENT,
    Answer,
    DestinationConfigError,
    Erases,
    ErasureNotice,
    ErasureOutcome,
    ErasureReply,
    Failure,
    Limits,
    MemberKey,
    Operation,
    Outcome,
    PreparedRequest,
    RowResult,
    RowStatus,
    Send,
    failure_of,
    sha256_hex,
)

FIELD_SUFFIX: Final = "_sha256"
_CODE = re.compile(r"[^a-z0-9_]+")
_STATUSES: Final[Mapping[str, RowStatus]] = {
    "ok": RowStatus.SENT,
    "sent": RowStatus.SENT,
    "rejected": RowStatus.REJECTED,
    "unknown": RowStatus.UNKNOWN,
}


class Webhook:
    kind: ClassVar[str] = "webhook"
    erases: ClassVar[Erases] = Erases.MEMBERS
    limits: ClassVar[Limits] = Limits(rows=1_000, bytes=1_000_000)
    example: ClassVar[Mapping[str, Any]] = {"url": "https://example.com/audiences"}

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        url = config.get("url")
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise DestinationConfigError("A webhook needs `url` in its configuration: https://…")
        self._url = url
        self._signing_key = secrets.get("signing_key", "")

    def format_key(self, identifier_type: str, value: str) -> str | None:  # noqa: ARG002  # all types alike
        return sha256_hex(value)

    def build_requests(self, operation: Operation, audience: str, keys: Sequence[MemberKey]) -> list[PreparedRequest]:
        rows = range(len(keys))
        return [
            self._request(operation, audience, keys, rows[start : start + self.limits.rows])
            for start in range(0, len(keys), self.limits.rows)
        ]

    def authorise(self, request: PreparedRequest, *, idempotency_key: str, now: datetime) -> Mapping[str, str]:
        if not self._signing_key:
            raise DestinationConfigError("A webhook needs `signing_key` among its secrets: it signs what is sent.")
        timestamp = str(int(now.timestamp()))
        return {
            "Idempotency-Key": idempotency_key,
            "Tessera-Timestamp": timestamp,
            "Tessera-Signature": signature(self._signing_key, timestamp, request.body),
        }

    def refresh(self) -> bool:
        return False

    def parse(self, request: PreparedRequest, answer: Answer) -> Outcome:
        if not 200 <= answer.status < 300:
            return Outcome(_failure_of(answer.status), f"http_{answer.status}")
        results = {place: result for place, result in _results_in(answer.body) if 0 <= place < len(request.rows)}
        return Outcome(rows=[results.get(place, SENT) for place in range(len(request.rows))])

    def erase(self, notice: ErasureNotice, send: Send) -> ErasureOutcome:
        person = [
            {one.type + FIELD_SUFFIX: key}
            for one in notice.identifiers
            if (key := self.format_key(one.type, one.value)) is not None
        ]
        erased_at = notice.erased_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        said = {"operation": "erase", "reference": str(notice.reference), "erased_at": erased_at, "person": person}
        answer = send(self._post(said, rows=()))
        if 200 <= answer.status < 300:
            return ErasureOutcome(ErasureReply.ACKNOWLEDGED)
        return ErasureOutcome(ErasureReply.REFUSED, f"http_{answer.status}")

    def _request(
        self, operation: Operation, audience: str, keys: Sequence[MemberKey], rows: Sequence[int]
    ) -> PreparedRequest:
        members = [{keys[row].identifier_type + FIELD_SUFFIX: keys[row].key} for row in rows]
        return self._post({"audience": audience, "operation": operation.lower(), "members": members}, rows)

    def _post(self, body: Mapping[str, Any], rows: Sequence[int]) -> PreparedRequest:
        return PreparedRequest(
            method="POST",
            url=self._url,
            headers={"Content-Type": "application/json"},
            body=json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(),
            rows=rows,
        )


def signature(signing_key: str, timestamp: str, body: bytes) -> str:
    return "v1=" + hmac.new(signing_key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _failure_of(status: int) -> Failure:
    """A receiver that does not accept the signature will not accept the next one: nobody can refresh a secret."""
    found = failure_of(status)
    return Failure.ABORT_DESTINATION if found is Failure.REFRESH else found


def _results_in(body: bytes) -> list[tuple[int, RowResult]]:
    """What the receiver says about single members; nothing where it says something else, or nothing at all."""
    try:
        said = json.loads(body)
        return [(int(one["index"]), _result_of(one)) for one in said["results"]]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def _result_of(said: Mapping[str, Any]) -> RowResult:
    status = _STATUSES.get(str(said["status"]).lower(), RowStatus.UNKNOWN)
    code = _CODE.sub("_", str(said.get("code") or "").lower())[:64]  # of a stranger: it goes into our tables
    return RowResult(status, code or ("" if status is RowStatus.SENT else status.lower()))

"""A receiver of entries and exits, as somebody outside would write one from the documentation: it trusts nothing."""

import base64
import hashlib
import hmac
import json
import time
from collections import deque

from tests.fakes.vendor import Answered, Asked, Vendor

OLDEST_SECONDS = 300


class Subscriber(Vendor):
    """`with Subscriber() as them: … them.secrets.append(secret) … them.taken`. Whatever is wrong is in `violations`."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: deque[str] = deque()
        self.violations: list[str] = []
        self.changes_by_id: dict[str, list[dict[str, object]]] = {}

    @property
    def taken(self) -> list[tuple[object, object, object]]:
        """Of each message once: what happened, where and to whom."""
        changes = [change for changes in self.changes_by_id.values() for change in changes]
        return [(change["change"], change["segment"], change["profile"]) for change in changes]

    def respond(self, asked: Asked) -> Answered:
        if reason := self._suspicion(asked):
            self.violations.append(reason)
            return Answered(401, {"code": reason})
        said = json.loads(asked.body)
        if set(said) != {"type", "data"} or said["type"] != "segments.changed" or not said["data"]["changes"]:
            self.violations.append("bad_shape")
            return Answered(400, {"code": "bad_shape"})
        self.changes_by_id.setdefault(asked.headers["webhook-id"], said["data"]["changes"])
        return Answered(204, b"")

    def _suspicion(self, asked: Asked) -> str:
        stamp = asked.headers.get("webhook-timestamp", "")
        if not stamp.isdigit() or abs(time.time() - int(stamp)) > OLDEST_SECONDS:
            return "too_old"
        signed = f"{asked.headers.get('webhook-id', '')}.{stamp}.".encode() + asked.body
        given = asked.headers.get("webhook-signature", "").split(" ")
        return "" if any(self._signature(secret, signed) in given for secret in self.secrets) else "bad_signature"

    def _signature(self, secret: str, signed: bytes) -> str:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()

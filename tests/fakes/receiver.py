"""The demo's receiver, made to fail on request."""

import json
import threading
from collections import deque
from collections.abc import Mapping

from cdp.demo.receiver import Receiver, Reply


class FailingReceiver(Receiver):
    """`fail(500)`: the next request is answered so, and changes nothing. `fail(500, after=True)`: it is taken first."""

    def __init__(self, signing_key: str, **options: object) -> None:
        super().__init__(signing_key, **options)
        self.refused_keys: set[str] = set()
        self.unsure_keys: set[str] = set()
        self.bodies: list[bytes] = []
        self.idempotency_keys: list[str] = []
        self._planned: deque[tuple[Reply, bool]] = deque()
        self.seconds = 0.0
        self._never = threading.Event()  # waiting for it is a sleep that no test replaces

    def fail(self, status: int, *, times: int = 1, after: bool = False, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._planned += [(Reply(status, {"code": "planned"}, named), after)] * times

    def heal(self) -> None:
        self._planned.clear()
        self.refused_keys.clear()
        self.unsure_keys.clear()
        self.seconds = 0.0

    def take(self, headers: Mapping[str, str], body: bytes) -> Reply:
        self.bodies.append(body)
        self.idempotency_keys.append(headers.get("Idempotency-Key", ""))
        self._never.wait(self.seconds)
        if not self._planned:
            return super().take(headers, body)
        reply, is_taken = self._planned.popleft()
        if is_taken:
            super().take(headers, body)
        return reply

    def _apply(self, body: bytes) -> Reply:
        """Of some keys it says that it cannot tell, though it took them."""
        reply = super()._apply(body)
        keys = [key for member in json.loads(body).get("members", ()) for key in member.values()]
        unsure = [{"index": place, "status": "unknown"} for place, key in enumerate(keys) if key in self.unsure_keys]
        if not unsure:
            return reply
        return Reply(reply.status, {"results": [*reply.body.get("results", []), *unsure]}, reply.headers)

    def rejection_of(self, name: str, key: str) -> str:
        return "planned" if key in self.refused_keys else super().rejection_of(name, key)

"""What would be sent for the members of a file, without sending it: for marketers, for audits, and for tests."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from activation import registry
from activation.destination import Destination, MemberKey, Operation
from cdp.ingestion.files import Row
from cdp.ingestion.normalise import identifier_value

SENDABLE: Final = frozenset({"email", "phone", "user_id", "anonymous_id"})
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{32,128}")
_SHA256_HEX: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Preview:
    requests: list[dict[str, Any]]
    rejected: list[dict[str, Any]]


def preview(
    *, kind: str, config: Mapping[str, Any], operation: Operation, members: Iterable[Row], region: str
) -> Preview:
    """Each member has its identifiers by type: `{"email": "ada@example.com", "phone": "+33612345678"}`.

    `config` is the destination's, and may say besides: `audience`, `region` (for phone numbers) and `hashed`, the types
    whose values are SHA-256 digests already. A digest where none is announced is rejected, and so is the opposite.
    """
    destination = registry.destination(kind, {**registry.example(kind), **config})
    reader = _Reader(destination, frozenset(config.get("hashed", ())), str(config.get("region", region)))
    keys: dict[MemberKey, None] = {}
    rejected = []
    for member in members:
        found, code = reader.keys_of(member)
        keys.update(dict.fromkeys(found))
        if code:
            rejected.append({"row": member.number, "code": code})
    requests = (
        destination.build_requests(operation, str(config.get("audience", "audience")), list(keys)) if keys else []
    )
    return Preview(
        [
            {"method": one.method, "url": one.url, "headers": dict(one.headers), "body": _readable(one.body)}
            for one in requests
        ],
        rejected,
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    destination: Destination
    hashed: frozenset[str]
    region: str

    def keys_of(self, member: Row) -> tuple[list[MemberKey], str]:
        """The keys of a member, and why the whole row is rejected. An identifier that is none is left out."""
        if member.code:
            return [], member.code
        keys = []
        for identifier_type, raw in member.fields.items():
            if identifier_type not in SENDABLE and not identifier_type.endswith(":id"):
                continue
            value = str(raw or "").strip()
            if code := self._misplaced(identifier_type, value):
                return [], code
            if key := self._key(identifier_type, value):
                keys.append(MemberKey(identifier_type, key))
        return keys, "" if keys else "no_identifier"

    def _misplaced(self, identifier_type: str, value: str) -> str:
        """Hashed twice, or not at all: the platform would match nobody, and nobody would notice."""
        if identifier_type in self.hashed:
            return "" if not value or _SHA256_HEX.fullmatch(value) else "not_hashed"
        return "already_hashed" if identifier_type in {"email", "phone"} and _DIGEST.fullmatch(value) else ""

    def _key(self, identifier_type: str, value: str) -> str | None:
        if identifier_type in self.hashed:
            return value or None
        canonical = identifier_value(identifier_type, value, region=self.region)
        return self.destination.format_key(identifier_type, canonical) if canonical else None


def _readable(body: bytes) -> Any:  # noqa: ANN401  # JSON
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")

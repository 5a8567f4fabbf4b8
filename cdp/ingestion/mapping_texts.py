"""Mappings under their digests, so that a record can be read again by the mapping that it came with."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from django.db import connection

from cdp.ingestion.mapping import FileMapping
from cdp.ingestion.normalise import VERSION, Corrections
from cdp.models import MappingText
from consent.gate import Collection, Permit


@dataclass(frozen=True, slots=True)
class Reading:
    """By what raw values were read."""

    mapping: FileMapping
    corrections: Corrections

    @property
    def marks(self) -> tuple[int, str, str]:
        """What a record remembers of it: version, digest of the dictionary, digest of the mapping."""
        return VERSION, self.corrections.digest, digest_of_mapping(self.mapping)


_KEEP = "INSERT INTO mapping_text (workspace_id, digest, text) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"


def keep_mapping(permit: Permit[Collection], reading: Reading) -> None:
    written = text_of_mapping(reading.mapping)
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, [permit.workspace_id, digest_of_mapping(reading.mapping), written])


def kept_mappings(permit: Permit[Collection], digests: Iterable[str]) -> Mapping[str, FileMapping]:
    kept = MappingText.objects.filter(workspace_id=permit.workspace_id, digest__in=set(digests))
    return {digest: FileMapping(**json.loads(text)) for digest, text in kept.values_list("digest", "text")}


def text_of_mapping(mapping: FileMapping) -> str:
    return json.dumps(asdict(mapping), sort_keys=True, ensure_ascii=False)


def digest_of_mapping(mapping: FileMapping) -> str:
    return hashlib.sha256(text_of_mapping(mapping).encode(errors="replace")).hexdigest()[:32]

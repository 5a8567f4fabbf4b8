"""Sources, their write keys, and the cache by which a request finds its source."""

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet

from cdp.ingestion.limits import Limit, limit_of
from cdp.kernel.arrays import bigints
from cdp.kernel.assertions import public_keys_in
from cdp.kernel.errors import TesseraError
from cdp.models import Source, SourceKind, Workspace, WriteKey
from cdp.models.keys import digest_of, new_secret

CACHED_SECONDS: Final = 5.0  # so long a revoked key may still be accepted
_MOST_CACHED: Final = 10_000

_cache: dict[str, tuple[float, "KnownSource"]] = {}


class UnknownWriteKeyError(TesseraError):
    """No source has this write key, or it was revoked: make one with `manage.py sources create`."""

    code = "unknown_write_key"


class UnknownSourceError(TesseraError):
    """There is no such source."""

    code = "unknown_source"


class UnknownKeyError(TesseraError):
    """The source has no such write key, or it was revoked already: `manage.py sources keys list NAME` lists them."""

    code = "unknown_key"


class SourceExistsError(TesseraError):
    """A source of this name exists already."""

    code = "source_exists"


@dataclass(frozen=True, slots=True)
class KnownSource:
    """What ingestion needs to know of a source."""

    id: int
    workspace_id: int
    name: str
    region: str
    limit: Limit | None = None
    seal: str = ""  # of its public keys: where it is empty, calls need no token
    plan_id: int | None = None  # the live version of its tracking plan


def create_source(
    *,
    workspace_id: int,
    name: str,
    kind: SourceKind,
    region: str = "",
    has_unique_people: bool = False,
    events_per_second: int | None = None,
    burst: int | None = None,
) -> tuple[Source, str]:
    """Returns the source and its write key: the secret is known to nobody afterwards."""
    try:
        with transaction.atomic():
            source = Source.objects.create(
                workspace_id=workspace_id,
                name=name,
                kind=kind,
                default_region=region,
                has_unique_people=has_unique_people,
                events_per_second=events_per_second,
                burst=burst,
            )
            _, secret = create_write_key(source=source)
    except IntegrityError:
        raise SourceExistsError(f"The workspace has a source {name!r} already.") from None
    return source, secret


def limit_source(*, workspace_id: int, name: str, events_per_second: int | None, burst: int | None) -> Source:
    """None is what the installation says, 0 is no limit. Every process goes by it within `CACHED_SECONDS`."""
    source = find_source(name, workspace_id=workspace_id)
    source.events_per_second, source.burst = events_per_second, burst
    source.save(update_fields=["events_per_second", "burst"])
    return source


def protect_source(*, workspace_id: int, name: str, public_keys: str) -> Source:
    """Only calls with a token are taken from now on, or all again where the keys are empty. Or `PublicKeyError`."""
    source = find_source(name, workspace_id=workspace_id)
    source.public_keys = public_keys.strip()
    if source.public_keys:
        public_keys_in(source.public_keys)
    source.save(update_fields=["public_keys"])
    return source


def create_write_key(*, source: Source) -> tuple[WriteKey, str]:
    """One more key for a source, so that senders can change over. Returns the secret too: nobody knows it afterwards."""
    secret = new_secret("wk")
    return WriteKey.objects.create(source=source, digest=digest_of(secret), hint=secret[:10]), secret


def create_write_key_of(*, workspace_id: int, name: str) -> tuple[WriteKey, str]:
    return create_write_key(source=find_source(name, workspace_id=workspace_id))


def revoke_write_key(*, workspace_id: int, name: str, key_id: int, now: datetime) -> WriteKey:
    """Raises `UnknownKeyError`. Every process refuses the key within `CACHED_SECONDS`."""
    key = WriteKey.objects.filter(
        source=find_source(name, workspace_id=workspace_id), pk=key_id, revoked_at=None
    ).first()
    if key is None:
        raise UnknownKeyError
    key.revoked_at = now
    key.save(update_fields=["revoked_at"])
    return key


def sources_in(workspace_id: int) -> QuerySet[Source]:
    return Source.objects.filter(workspace_id=workspace_id).order_by("name")


def write_keys_of(name: str, *, workspace_id: int) -> QuerySet[WriteKey]:
    return WriteKey.objects.filter(source=find_source(name, workspace_id=workspace_id)).order_by("pk")


def source_of(write_keys: Sequence[str]) -> KnownSource:
    """The source of the first of these keys that is known. Raises `UnknownWriteKeyError`."""
    for digest in map(digest_of, write_keys):
        read_at, known = _cache.get(digest, (0.0, None))
        if known and time.monotonic() - read_at < CACHED_SECONDS:
            return known
        if known := _look_up(digest):
            return known
    raise UnknownWriteKeyError


def source_named(name: str, *, workspace_id: int) -> KnownSource:
    """Raises `UnknownSourceError`."""
    return known_source(find_source(name, workspace_id=workspace_id))


def find_source(name: str, *, workspace_id: int) -> Source:
    """Raises `UnknownSourceError`, which names those that exist."""
    source = Source.objects.select_related("workspace").filter(workspace_id=workspace_id, name=name).first()
    if source is None:
        there_are = ", ".join(sources_in(workspace_id).values_list("name", flat=True))
        there_are = there_are or "none: `manage.py sources create NAME --kind file` makes one"
        raise UnknownSourceError(f"There is no source {name!r} in this workspace; there are {there_are}.")
    return source


def known_source(source: Source) -> KnownSource:
    return KnownSource(
        id=source.pk,
        workspace_id=source.workspace_id,
        name=source.name,
        region=source.default_region or source.workspace.default_region,
        limit=limit_of(source.events_per_second, source.burst),
        seal=seal_of(source.public_keys),
        plan_id=source.live_plan_id,
    )


_REGIONS = """
SELECT s.id, COALESCE(NULLIF(s.default_region, ''), w.default_region)
FROM source s JOIN workspace w ON w.id = s.workspace_id WHERE s.id = ANY(%s::bigint[])
"""


def regions_of(source_ids: Iterable[int]) -> dict[int, str]:
    """Asked for each batch of the pipeline, so by a query that need not be put together each time."""
    with connection.cursor() as cursor:
        cursor.execute(_REGIONS, [bigints(set(source_ids))])
        return dict(cursor.fetchall())


def seal_of(public_keys: str) -> str:
    """Other keys have another seal, so that the tokens of the former ones end."""
    return hashlib.sha256(public_keys.encode()).hexdigest()[:16] if public_keys else ""


def _look_up(digest: str) -> KnownSource | None:
    """Unknown keys are not remembered: a new one works at once."""
    _cache.pop(digest, None)
    key = (
        WriteKey.objects.select_related("source__workspace")
        .filter(digest=digest, revoked_at=None, source__is_enabled=True, source__workspace__closed_at=None)
        .first()
    )
    if key is None:
        return None
    if len(_cache) >= _MOST_CACHED:
        _cache.clear()
    known = known_source(key.source)
    _cache[digest] = (time.monotonic(), known)
    return known


def default_region_of(workspace_id: int) -> str:
    return Workspace.objects.values_list("default_region", flat=True).get(pk=workspace_id)

"""Sources, their write keys, and the cache by which a request finds its source."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.db import IntegrityError, transaction

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
    plan_id: int | None = None  # the live version of its tracking plan


def create_source(
    *, workspace_id: int, name: str, kind: SourceKind, region: str = "", has_unique_people: bool = False
) -> tuple[Source, str]:
    """Returns the source and its write key: the secret is known to nobody afterwards."""
    secret = new_secret("wk")
    try:
        with transaction.atomic():
            source = Source.objects.create(
                workspace_id=workspace_id,
                name=name,
                kind=kind,
                default_region=region,
                has_unique_people=has_unique_people,
            )
            WriteKey.objects.create(source=source, digest=digest_of(secret), hint=secret[:8])
    except IntegrityError:
        raise SourceExistsError(f"The workspace has a source {name!r} already.") from None
    return source, secret


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
        names = Source.objects.filter(workspace_id=workspace_id).order_by("name").values_list("name", flat=True)
        there_are = ", ".join(names) or "none: `manage.py sources create NAME --kind file` makes one"
        raise UnknownSourceError(f"There is no source {name!r} in this workspace; there are {there_are}.")
    return source


def known_source(source: Source) -> KnownSource:
    region = source.default_region or source.workspace.default_region
    return KnownSource(
        id=source.pk, workspace_id=source.workspace_id, name=source.name, region=region, plan_id=source.live_plan_id
    )


def regions_of(source_ids: Sequence[int]) -> dict[int, str]:
    sources = Source.objects.filter(pk__in=source_ids).select_related("workspace")
    return {source.pk: known_source(source).region for source in sources}


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

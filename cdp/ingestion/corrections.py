"""The error dictionary of a workspace: how people add to it, and the copy that a process keeps for its readings."""

import csv
import io
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection

from cdp.ingestion.normalise import BUILT_IN, Corrections, emails
from cdp.ingestion.normalise.corrections import corrections_from, key_of
from cdp.ingestion.normalise.values import folded, spaced
from cdp.kernel.errors import TesseraError
from cdp.models import Correction, CorrectionKind
from cdp.models.tenancy import workspace_scope

CACHED_SECONDS: Final = 5.0  # so long a process reads by the dictionary as it was
LONGEST: Final = 200
LARGEST_FILE: Final = 2 * 2**20
MOST_ENTRIES: Final = 20_000
COLUMNS: Final = ("kind", "wrong", "right")

_MOST_CACHED: Final = 1_000
_DOMAIN = re.compile(r"[^\s@]+\.[^\s@]+")

_cache: dict[int, tuple[float, Corrections]] = {}


class BadCorrectionError(TesseraError):
    """A correction needs a kind (DOMAIN or TOWN), what is wrong, and what is right."""

    code = "bad_correction"


class TooManyCorrectionsError(TesseraError):
    """A dictionary has at most 20,000 entries, and a file of them at most 2 MiB."""

    code = "too_many_corrections"


@dataclass(frozen=True, slots=True)
class Entry:
    """A correction that was checked. `key` is `wrong` as it is looked up."""

    kind: str
    wrong: str
    key: str
    right: str


def corrections_of(workspace_id: int) -> Corrections:
    """The dictionary by which values of this workspace are read, at most some seconds old."""
    read_at, known = _cache.get(workspace_id, (0.0, None))
    if known and time.monotonic() - read_at < CACHED_SECONDS:
        return known
    fresh = corrections_from(_entries(workspace_id))
    if known and known.digest == fresh.digest:
        fresh = known  # it is the key of other caches
    if len(_cache) >= _MOST_CACHED:
        _cache.clear()
    _cache[workspace_id] = (time.monotonic(), fresh)
    return fresh


def forget_corrections() -> None:
    """So that this process feels at once what it wrote itself."""
    _cache.clear()


def checked_entry(kind: str, wrong: str, right: str) -> Entry:
    """Raises `BadCorrectionError`, which says what is wrong with it."""
    kind, wrong, right = spaced(kind).upper(), spaced(wrong), spaced(right)
    if kind not in CorrectionKind.values or not folded(wrong) or not folded(right):
        raise BadCorrectionError
    if max(len(wrong), len(right)) > LONGEST:
        raise BadCorrectionError(f"A word of a correction has at most {LONGEST} characters.")
    key = key_of(kind, wrong)[:LONGEST]
    if kind == CorrectionKind.TOWN:
        return Entry(kind, wrong, key, right)
    return Entry(kind, wrong.lower(), key, _checked_domain(key, right))


def add_corrections(*, workspace_id: int, entries: Iterable[Entry], now: datetime) -> int:
    """Add these, or replace what stands for the same words. Returns how many there were."""
    by_key = {(one.kind, one.key): one for one in entries}
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(_COUNT, [workspace_id])
        if len(by_key) + cursor.fetchone()[0] > MOST_ENTRIES:
            raise TooManyCorrectionsError
        columns = [
            list(column) for column in zip(*((e.kind, e.wrong, e.key, e.right) for e in by_key.values()), strict=True)
        ]
        if columns:
            cursor.execute(_UPSERT, [workspace_id, now, *columns])
    forget_corrections()
    return len(by_key)


def entries_in(content: bytes) -> list[Entry]:
    """Of a CSV file with the columns `kind`, `wrong` and `right`. Raises `BadCorrectionError` with the line."""
    if len(content) > LARGEST_FILE:
        raise TooManyCorrectionsError
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadCorrectionError("The file must be CSV in UTF-8.") from None
    dialect = ";" if ";" in text.partition("\n")[0] else ","
    try:
        return list(_rows(csv.DictReader(io.StringIO(text, newline=""), delimiter=dialect)))
    except csv.Error:
        raise BadCorrectionError("The file must be CSV in UTF-8.") from None


# -- within ---------------------------------------------------------------------------------------------------------

_COUNT = "SELECT count(*) FROM correction WHERE workspace_id = %s"
_UPSERT = """
INSERT INTO correction (workspace_id, kind, wrong, key, "right", created_at)
SELECT %s, kind, wrong, key, "right", %s
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS new (kind, wrong, key, "right")
ORDER BY kind, key
ON CONFLICT (workspace_id, kind, key) DO UPDATE SET wrong = EXCLUDED.wrong, "right" = EXCLUDED."right"
"""


def _entries(workspace_id: int) -> list[tuple[str, str, str]]:
    with workspace_scope(workspace_id):
        rows = Correction.objects.filter(workspace_id=workspace_id).values_list("kind", "wrong", "right")
        return list(rows.order_by("pk")[:MOST_ENTRIES])


def _checked_domain(wrong: str, right: str) -> str:
    """A large provider's own name can be no misspelling, and nobody's address may be led to no domain at all."""
    lowered = right.lower()
    if not (_DOMAIN.fullmatch(wrong) and emails.checked(f"a@{lowered}") == f"a@{lowered}"):
        raise BadCorrectionError("A mail domain is written as `gmail.com`.")
    if wrong in set(BUILT_IN.domains.values()) and lowered != wrong:
        raise BadCorrectionError(f"{wrong} is a mail provider, and no misspelling.")
    return lowered


def _rows(reader: "csv.DictReader[str]") -> Iterator[Entry]:
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise BadCorrectionError(f"The file has no column `{missing[0]}`; it needs {', '.join(COLUMNS)}.")
    for row in reader:
        try:
            yield checked_entry(*(row[name] or "" for name in COLUMNS))
        except BadCorrectionError as error:
            raise BadCorrectionError(f"Line {reader.line_num}: {error.message}") from None

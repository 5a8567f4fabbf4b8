"""TC and GPP strings that events carry: each distinct one is read once, and what it said is kept without the string.

One that cannot be read says nothing and is counted with the reason: its event is stored as it came all the same.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection
from psycopg.types.json import Jsonb

from consent.gate import Collection, Permit
from consent.models import ConsentSettings
from consent.signals.bits import MalformedSignalError
from consent.signals.strings import NOTHING, Carried, Heard, hear

LONGEST_REASON: Final = 200


@dataclass(frozen=True, slots=True)
class Read:
    """A string, what was heard in it, and why not if it was not."""

    string: Carried
    heard: Heard
    unreadable: str = ""


def read_all(permit: Permit[Collection], came: Mapping[Carried, int], *, now: datetime) -> Mapping[Carried, Heard]:
    """What each says for the workspace's vendor; noted with how many events it came in."""
    if not came:
        return {}
    vendor = vendor_of(permit.workspace_id)
    read = [read_one(string, vendor=vendor, now=now) for string in came]
    _note(permit, read, came, vendor, now)
    return {each.string: each.heard for each in read}


def vendor_of(workspace_id: int) -> int | None:
    """Its number in the Global Vendor List. In the scope of the workspace."""
    return ConsentSettings.objects.filter(pk=workspace_id).values_list("vendor_id", flat=True).first()


def read_one(string: Carried, *, vendor: int | None, now: datetime) -> Read:
    """One that cannot be read says nothing."""
    try:
        return Read(string, hear(string, vendor=vendor, now=now))
    except MalformedSignalError as error:
        return Read(string, NOTHING, error.message[:LONGEST_REASON])


# In the order of the key, so that two writers of the same strings wait for each other instead of deadlocking. What it
# says may be another thing today: the vendor may have changed, or a fault may have come with time.
_NOTE: Final = """
INSERT INTO consent_string AS known (
    workspace_id, kind, digest, vendor_id, purposes, opt_outs, faults, unreadable, times_seen, first_seen_at, last_seen_at
) VALUES (
    %(workspace)s, %(kind)s, %(digest)s, %(vendor)s, %(purposes)s, %(opt_outs)s, %(faults)s, %(unreadable)s, %(times)s,
    %(now)s, %(now)s
) ON CONFLICT (workspace_id, kind, digest) DO UPDATE SET
    vendor_id = EXCLUDED.vendor_id, purposes = EXCLUDED.purposes, opt_outs = EXCLUDED.opt_outs, faults = EXCLUDED.faults,
    times_seen = known.times_seen + EXCLUDED.times_seen, last_seen_at = greatest(known.last_seen_at, EXCLUDED.last_seen_at)
"""


def _note(
    permit: Permit[Collection], read: Iterable[Read], came: Mapping[Carried, int], vendor: int | None, now: datetime
) -> None:
    rows = [_row(each, times=came[each.string]) for each in read]
    common = {"workspace": permit.workspace_id, "vendor": vendor, "now": now}
    with connection.cursor() as cursor:
        for row in sorted(rows, key=lambda row: (row["kind"], row["digest"])):
            cursor.execute(_NOTE, {**row, **common})


def _row(read: Read, *, times: int) -> dict[str, Any]:
    heard = read.heard
    return {
        "kind": read.string.name,
        "digest": digest_of(read.string),
        "purposes": Jsonb(dict(heard.purposes)),
        "opt_outs": Jsonb(dict(heard.opt_outs)),
        "faults": list(heard.faults),
        "unreadable": read.unreadable,
        "times": times,
    }


def digest_of(string: Carried) -> bytes:
    """SHA-256 of the text, and of the sections in force where they were said: other ones in force say another thing."""
    said = string.text if string.sections is None else f"{string.text} {sorted(string.sections)}"
    return hashlib.sha256(said.encode()).digest()

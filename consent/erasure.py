"""Erase a person: from every table that holds people, once and for good.

The order is what makes it safe. The turn is taken first, so that nobody stores or works on the person meanwhile. All
identifiers go on the suppression list, the rows go by the rules of `erasure_rule`, the line goes into the ledger outside of
the database, and then all of it is committed at once. Killed before that, nothing happened but perhaps the line, and
`reapply_erasures` does what it says. Destinations are told afterwards, by `activation.erasing`.
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from django.db import OperationalError, connection, transaction

from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import Identifier
from cdp.models.digests import Digested, identifier_digest
from cdp.models.tenancy import workspace_scope
from consent import erasure_ledger, suppression
from consent.erasure_ledger import Line
from consent.gate import ERASING
from consent.identities import sealed_identifiers
from consent.models import Erasure, ErasureSubject, SuppressionReason

log = structlog.get_logger()

# Tables of people that erasure leaves alone, each with the reason. Every other one has a row in `erasure_rule`.
KEPT: Final[Mapping[str, str]] = {
    "consent_record": "proof of what was permitted and withdrawn (Art. 7(1), 17(3)(e)): digests, without values",
    "suppression": "keeps the person from coming back: digests, without values",
    "restriction": "holds a person of the same identifiers back who comes later: digests, without values",
    "confirmation": "proof of how consent was asked for and confirmed (Art. 7(1)): digests, without values",
    "data_request": "proof that the person was answered (Art. 5(2)): who asked is encrypted",
    "data_request_step": "what was done for the person, and when (Art. 5(2))",
    "request_work": "what was done for the person, and what a human decided (Art. 5(2))",
    "identity_doubt": "why the answer took longer (Art. 12(6))",
    "breach_evidence": "how many a breach affected (Art. 33(5)): numbers of profiles that are no more",
    "audience_member": "until the destinations have removed the person: hashes, deleted when they answered",
    "erasure_subject": "until the destinations have erased the person: encrypted, deleted when they answered",
}
# What nobody looks for by itself, each with the reason. Rows of the person's own go by the rules; whatever names the person
# by address, telephone or key in what waits goes too. `consent.mentions` looks for words that an officer gives.
_BY_THEIR_WORDS: Final = "looked for, and blotted out, when an officer gives the words (`requests redact`)"
NOT_SEARCHED: Final[Mapping[str, str]] = {
    "event": f"what somebody else's event says of the person: their data too; {_BY_THEIR_WORDS}",
    "identifier_trait": f"a value of somebody else, such as a note: their data too; {_BY_THEIR_WORDS}",
    "trait": "a value of somebody else's profile, which follows from those of their identifiers",
    "record": f"somebody else's row of another system, to be corrected there as well; {_BY_THEIR_WORDS}",
    "quarantine": f"an item that has a name and no address, telephone or key: namesakes would lose theirs; {_BY_THEIR_WORDS}",
    "linkage_model": "how often values occur that others have as well: no record, no person, no two values together",
    "upload": "a file that waits to be loaded: whoever is suppressed is left out of it, and it is deleted after loading",
}
LEADING_NOWHERE: Final[Mapping[str, str]] = {"erasure_order": "the id of a profile that is no more"}

STAGES: Final = range(1, 5)  # their advisory locks; ingestion has the one of the gate
PATIENCE: Final = "2s"
ATTEMPTS: Final = 30
LOCK_NOT_AVAILABLE: Final = "55P03"


class BusyWorkspaceError(TesseraError):
    """The workspace is storing something that takes long. Nobody was erased: try again."""

    code = "workspace_is_busy"


def erase_person(
    *, workspace_id: int, identifier: Identifier, now: datetime, key: str = "", others: Sequence[Identifier] = ()
) -> Erasure:
    """Erase whoever has this identifier, with all identifiers known to be theirs. Destinations are told afterwards.

    `others` are the same person's, though nobody here knows it. The same `key` again erases nothing and returns what was
    done. Somebody unknown is only kept from coming. Raises `BusyWorkspaceError`, and then nothing was changed.
    """
    key = key or str(uuid.uuid4())
    with erasure_ledger.writing() as ledger, workspace_scope(workspace_id):
        if done := Erasure.objects.filter(workspace_id=workspace_id, key=key).first():
            return done
        _take_turn(workspace_id)
        people = _people_named(workspace_id, (identifier, *others))
        erasure = _erase(workspace_id, people, key=key, now=now)
        digests = _digests_of(people)
        erasure.number = erasure_ledger.append(ledger, workspace_id=workspace_id, digests=digests, now=now)
        erasure.save(update_fields=["number"])
        erasure_ledger.follow(erasure.number)
    log.info("person.erased", workspace=workspace_id, erasure=erasure.pk, rows=sum(erasure.rows.values()))
    return erasure


def reapply_erasures(*, now: datetime, since: datetime | None = None) -> int:
    """Do again what the ledger says and this database does not know. Returns how many lines that were.

    `since` begins earlier than where the database says that it is: for one that was put together from several backups.
    Workspaces that were closed need nothing.
    """
    followed = erasure_ledger.followed()
    again = 0
    for line in erasure_ledger.lines(after=0 if since else followed):
        if line.number > followed or (since and datetime.fromisoformat(line.at) >= since):
            _reapply(line, now)
            again += 1
    return again


def certificate(erasure: Erasure) -> dict[str, Any]:
    """What was erased, when, and what the destinations answered. Nothing in it says who it was."""
    answers = erasure.orders.order_by("destination")
    return {
        "erasure": erasure.key,
        "erased_at": erasure.erased_at,
        "completed_at": erasure.completed_at,
        "ledger_line": erasure.number,
        "rows": erasure.rows,
        "kept": dict(KEPT),
        "not_searched": dict(NOT_SEARCHED),
        "destinations": [
            {
                "destination": each.destination, "answer": each.answer.lower(), "code": each.code, "tries": each.tries,
                "answered_at": each.answered_at,
            }
            for each in answers
        ],
    }  # fmt: skip


# -- one person -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Known:
    """A profile, 0 where nobody is known, the digests of its identifiers, and those that were named in clear."""

    profile: int
    digests: Sequence[Digested]
    named: Sequence[Identifier] = ()


_WITHIN: Final = "SELECT set_config('lock_timeout', %s, true)"
_LOCK: Final = "SELECT pg_advisory_xact_lock(%s, %s)"


def _take_turn(workspace_id: int) -> None:
    """Wait until nobody stores or works in the workspace, and let nobody begin.

    Never long in one go: of two loaders of a file one may wait for the other while that one waits behind us.
    """
    for _ in range(ATTEMPTS):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(_WITHIN, [PATIENCE])
                for lock in (ERASING, *STAGES):
                    cursor.execute(_LOCK, [lock, workspace_id])
                cursor.execute(_WITHIN, ["0"])
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
        else:
            return
    raise BusyWorkspaceError


_CLUSTER: Final = """
SELECT DISTINCT i.profile_id, i.type, i.digest FROM identifier i WHERE i.workspace_id = %(workspace)s AND i.profile_id IN (
    SELECT profile_id FROM identifier WHERE workspace_id = %(workspace)s AND type = %(type)s AND digest = %(digest)s
)
"""


def person_behind(workspace_id: int, named: Digested) -> tuple[int, list[Digested]]:
    """The profile, 0 where nobody is known by that name, and the digests of all its identifiers."""
    with connection.cursor() as cursor:
        cursor.execute(_CLUSTER, {"workspace": workspace_id, "type": named[0], "digest": named[1]})
        rows = cursor.fetchall()
    digests = {(kind, bytes(digest)) for _, kind, digest in rows} | {named}
    return (rows[0][0] if rows else 0), sorted(digests)


def _people_named(workspace_id: int, identifiers: Iterable[Identifier]) -> list[_Known]:
    """Each profile once, whichever of its identifiers are named."""
    digests: dict[int, set[Digested]] = {}
    named: dict[int, list[Identifier]] = {}
    for one in dict.fromkeys(identifiers):
        profile, theirs = person_behind(workspace_id, (one.type, identifier_digest(one.type, one.value)))
        digests.setdefault(profile, set()).update(theirs)
        named.setdefault(profile, []).append(one)
    return [_Known(profile, sorted(digests[profile]), named[profile]) for profile in sorted(digests)]


def _digests_of(people: Iterable[_Known]) -> list[Digested]:
    return sorted({digest for known in people for digest in known.digests})


_ERASE: Final = "SELECT core.erase_and_name(%s, %s, %s)"


def _erase(workspace_id: int, people: Sequence[_Known], *, key: str, now: datetime) -> Erasure:
    """All but the ledger; the caller has the turn."""
    suppression.put_on_list(workspace_id, _digests_of(people), reason=SuppressionReason.ERASURE, now=now)
    erasure = Erasure.objects.create(workspace_id=workspace_id, key=key, number=0, rows={}, erased_at=now)
    rows: Counter[str] = Counter()
    for known in people:
        rows.update(_erase_one(erasure, known))
    erasure.rows = dict(rows)
    erasure.completed_at = None if erasure.orders.exists() else now
    erasure.save(update_fields=["rows", "completed_at"])
    return erasure


def _erase_one(erasure: Erasure, known: _Known) -> dict[str, int]:
    """Returns the rows by table, and leaves to each destination that must be told whom it is told of."""
    with connection.cursor() as cursor:
        cursor.execute(_ERASE, [known.profile, [one.value for one in known.named], erasure.pk])
        said = cursor.fetchone()[0]
    done = json.loads(said) if isinstance(said, str) else said
    subjects = []
    for order in done["orders"]:
        theirs = [Identifier(kind, value) for kind, value in order["identifiers"]]
        theirs += known.named if order["is_told_all"] else ()
        if theirs:
            sealed = sealed_identifiers(list(dict.fromkeys(theirs)))
            subjects.append(ErasureSubject(workspace_id=erasure.workspace_id, order_id=order["id"], identifiers=sealed))
    ErasureSubject.objects.bulk_create(subjects)
    rows: dict[str, int] = done["rows"]
    return rows


# -- after a restore ------------------------------------------------------------------------------------------------


def _reapply(line: Line, now: datetime) -> None:
    with workspace_scope(line.workspace_id):
        if _is_here(line.workspace_id):
            _take_turn(line.workspace_id)
            for profile, digests in _people(line):
                key = f"line {line.number}: {uuid.uuid4()}"
                erasure = _erase(line.workspace_id, [_Known(profile, digests)], key=key, now=now)
                Erasure.objects.filter(pk=erasure.pk).update(number=line.number)
        erasure_ledger.follow(line.number)


def _is_here(workspace_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM workspace WHERE id = %s)", [workspace_id])
        return bool(cursor.fetchone()[0])


def _people(line: Line) -> Iterator[tuple[int, Sequence[Digested]]]:
    """Those who have the identifiers here: they may not have been known as one person when the backup was made.

    What the backup has of them beyond the line goes too, but is not suppressed: its sources bring it back.
    """
    found = {profile for digest in line.digests if (profile := person_behind(line.workspace_id, digest)[0])}
    for profile in sorted(found) or [0]:
        yield profile, line.digests


# -- is the registry whole? -----------------------------------------------------------------------------------------

# What has a foreign key to people, or a column named as if it had one.
_POINTING: Final = """
SELECT DISTINCT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
WHERE c.relnamespace = 'core'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND (a.attname IN ('identifier_id', 'profile_id', 'identifier_digest') OR EXISTS (
    SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'
    AND k.confrelid IN ('core.identifier'::regclass, 'core.profile'::regclass)
  ))
  AND NOT EXISTS (SELECT FROM core.erasure_rule r WHERE r.table_name = c.relname)
  AND NOT c.relname = ANY(%s)
"""


def tables_without_a_rule() -> list[str]:
    """Tables that lead to people and that an erasure would forget. Shown by `doctor`, and a test finds none."""
    with connection.cursor() as cursor:
        cursor.execute(_POINTING, [sorted({*KEPT, *LEADING_NOWHERE})])
        return sorted(table for (table,) in cursor.fetchall())

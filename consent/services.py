"""What people say is recorded here, and workspaces begin here: without purposes a workspace permits nothing."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec
from django.db import OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper

from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from cdp.models import Scope, Workspace
from cdp.models.digests import identifier_digest
from cdp.models.tenancy import workspace_scope
from consent import queries
from consent.models import (
    CATEGORIES_OF_SIGNALS,
    JURISDICTION,
    ConsentSettings,
    ConsentState,
    LegalBasis,
    Notice,
    PurposePolicy,
    SignalMapping,
)
from consent.policy import PERMITTING

T = TypeVar("T")

MOST_STATEMENTS: Final = 10_000
LONGEST_KEY: Final = 100
RECIPIENT: Final = re.compile(r"^[a-z0-9_-]{0,64}$")
LONGEST_CATEGORY: Final = 100
ATTEMPTS: Final = 3
LOST_A_RACE: Final = frozenset({"40001", "40P01"})  # serialization failure, deadlock


class TooManyStatementsError(TesseraError):
    """A batch holds at most 10,000 statements: send several."""

    code = "too_many_statements"


class InvalidStatementError(TesseraError):
    """A statement of the batch cannot be recorded, so none was: `details` says which and why."""

    code = "invalid_statement"


class KeyReusedError(TesseraError):
    """A key stands for one statement for ever, and this one was given to another: nothing was recorded."""

    code = "consent_key_reused"


class KeyEndedError(TesseraError):
    """The key was revoked, or may no longer record consents: nothing was recorded."""

    code = "key_ended"


class NoticeExistsError(TesseraError):
    """Another text was kept as this version of the notice. A notice that people saw never changes: give the next version."""

    code = "notice_exists"


class ClosedWorkspaceError(TesseraError):
    """The workspace of this name was closed. Choose another one."""

    code = "workspace_closed"


class BadCategoryError(TesseraError):
    """There is no such signal. A category has from 1 to 100 characters, as the consent banner writes it."""

    code = "bad_category"


@dataclass(frozen=True, slots=True)
class ConsentStatement:
    """One identifier said something about one purpose. The identifier is normalised already.

    Without a `key` of the sender, the content is the key: the same statement again records nothing. `recipient` names
    the platform or channel that alone is meant; `jurisdiction` is a country or one of its regions, as `US-CA`.
    """

    identifier: Identifier
    purpose: str
    state: str
    occurred_at: datetime
    expires_at: datetime | None = None
    is_verified: bool = False
    notice_id: int | None = None
    key: str = ""
    recipient: str = ""
    jurisdiction: str = ""
    known_digest: bytes = b""  # of an identifier whose value is not kept

    @property
    def digest(self) -> bytes:
        return self.known_digest or identifier_digest(self.identifier.type, self.identifier.value)

    @property
    def content(self) -> tuple[object, ...]:
        """What must agree between two statements with the same key."""
        about = (self.identifier.type, self.digest, str(self.purpose), str(self.state))
        content = (*about, self.occurred_at, self.expires_at, self.is_verified)
        return (*content, self.recipient) if self.recipient else content  # keys of old statements must not change

    def with_key(self) -> "ConsentStatement":
        if self.key:
            return self
        return replace(self, key=f"content:{hashlib.sha256(repr(self.content).encode()).hexdigest()}")


Word = ConsentStatement | queries.LastWord


@dataclass(frozen=True, slots=True)
class Part:
    """What one sender said, with the id of the key that they showed; None where nobody had to show one."""

    statements: Sequence[ConsentStatement]
    api_key: int | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    recorded: int
    duplicates: int


# -- the ledger -----------------------------------------------------------------------------------------------------

# Sorted by key: two batches that hold the same keys wait for each other in one order.
_RECORD = """
INSERT INTO consent_record (identifier_type, identifier_digest, purpose, state, occurred_at, expires_at,
                            is_verified, notice_id, key, recipient, jurisdiction, rule, workspace_id, source_id)
SELECT new.type, decode(new.digest, 'hex'), new.purpose, new.state, new.occurred_at,
       CASE WHEN new.state IN ('GIVEN', 'RENEWED')
            THEN LEAST(new.expires_at, new.occurred_at + make_interval(days => u.consent_days::integer))
            ELSE new.expires_at END,
       new.is_verified, new.notice, new.key, new.recipient, new.jurisdiction, COALESCE(u.fingerprint, ''), %(workspace)s, %(source)s
FROM json_to_recordset(%(statements)s::json)
     AS new (type text, digest text, purpose text, state text, occurred_at timestamptz, expires_at timestamptz,
             is_verified boolean, notice bigint, key text, recipient text, jurisdiction text)
LEFT JOIN purpose u ON u.workspace_id = %(workspace)s AND u.purpose = new.purpose
ORDER BY key
ON CONFLICT (workspace_id, key) DO NOTHING RETURNING key
"""

# The scope of the workspace, and not the lock of the triggers: who waits for that one may hold what we are to record.
_TAKE_TURN = "SELECT set_config('tessera.workspace', %s, true), pg_advisory_xact_lock(4713, %s)"

_ENDED_KEYS = f"""
SELECT given.id FROM unnest(%(shown)s::bigint[]) AS given (id) WHERE NOT EXISTS (
    SELECT FROM api_key k JOIN workspace w ON w.id = k.workspace_id
    WHERE k.id = given.id AND w.id = %(workspace)s AND k.revoked_at IS NULL AND w.closed_at IS NULL
      AND '{Scope.CONSENTS_WRITE}' = ANY(k.scopes)
)
"""  # noqa: S608  # a name of our own

_KEPT = """
SELECT r.key, r.identifier_type, r.identifier_digest, r.purpose, r.state, r.occurred_at, r.expires_at, r.is_verified,
       r.recipient, (
           SELECT max((p.rule ->> 'consent_days')::integer) FROM purpose_rule p
           WHERE p.workspace_id = r.workspace_id AND p.purpose = r.purpose AND p.fingerprint = r.rule
       )
FROM consent_record r WHERE r.workspace_id = %s AND r.key = ANY(%s)
"""


def record_consents(
    *,
    workspace_id: int,
    statements: Sequence[ConsentStatement],
    now: datetime,
    source: int | None = None,
    api_key: int | None = None,
) -> Recorded:
    """Record all of the statements or none. Triggers decide anew for the people concerned in the same transaction.

    `source` is the id of the source that reports them, `api_key` of the key that was shown. Raises `KeyEndedError`,
    `InvalidStatementError`, `KeyReusedError` and `TooManyStatementsError`.
    """
    part = Part(checked(statements, now), api_key)
    new = _trying_again(lambda: _record_alone(workspace_id, part, source))
    return _counted(part.statements, new)


def record_parts(*, workspace_id: int, parts: Callable[[], Sequence[Part]]) -> list[Recorded]:
    """Record what several senders said, `checked` each, in one transaction: all of it or none. Counts for each part.

    Processes that gather take turns. `parts` is asked when the turn has come, within the transaction, so that who came
    meanwhile goes along; and once more where the transaction has to begin anew. Raises `KeyEndedError` besides.
    """
    return _trying_again(lambda: _record_in_turn(workspace_id, parts))


def checked(statements: Sequence[ConsentStatement], now: datetime) -> list[ConsentStatement]:
    """With their keys. Raises `InvalidStatementError` and `TooManyStatementsError`."""
    if len(statements) > MOST_STATEMENTS:
        raise TooManyStatementsError(given=len(statements))
    _refuse_invalid(statements, now)
    return [statement.with_key() for statement in statements]


def _counted(statements: Sequence[ConsentStatement], new: set[str]) -> Recorded:
    """Takes what it counts: of two with one key only the first was recorded."""
    mine = {statement.key for statement in statements} & new
    new -= mine
    return Recorded(recorded=len(mine), duplicates=len(statements) - len(mine))


def withdraw(
    *, workspace_id: int, identifier: Identifier, purpose: str, now: datetime, key: str = "", recipient: str = ""
) -> Recorded:
    """The person behind the identifier no longer permits the purpose, or the purpose for one recipient."""
    said = withdrawal(identifier=identifier, purpose=purpose, now=now, key=key, recipient=recipient)
    return record_consents(workspace_id=workspace_id, statements=[said], now=now)


def withdrawal(
    *, identifier: Identifier, purpose: str, now: datetime, key: str = "", recipient: str = ""
) -> ConsentStatement:
    return ConsentStatement(identifier, purpose, ConsentState.WITHDRAWN, now, key=key, recipient=recipient)


def record_signals(
    *, workspace_id: int, statements: Sequence[ConsentStatement], now: datetime, source: int
) -> Recorded:
    """Record what signals of events say, as far as it is news: a browser repeats the same choice with each event.

    A grant that stands is not recorded again, unless it runs out. Of refusals in succession the first and the last are:
    a grant that was given before the last one and arrives after it must find it there. A refusal of what was granted is
    a withdrawal.
    """
    with workspace_scope(workspace_id):
        news = _news(workspace_id, sorted(statements, key=_by_time))
        for start in range(0, len(news), MOST_STATEMENTS):
            part = news[start : start + MOST_STATEMENTS]
            record_consents(workspace_id=workspace_id, statements=part, now=now, source=source)
    return Recorded(recorded=len(news), duplicates=len(statements) - len(news))


def _by_time(statement: ConsentStatement) -> tuple[datetime, bool]:
    """Of two at the same instant the one that permits less comes last, and counts."""
    return statement.occurred_at, statement.state not in PERMITTING


def _news(workspace_id: int, statements: Sequence[ConsentStatement]) -> list[ConsentStatement]:
    kept = queries.last_words(workspace_id=workspace_id, subjects={_subject(each) for each in statements})
    news: dict[queries.Subject, list[ConsentStatement]] = {}
    for statement in statements:
        subject = _subject(statement)
        said = news.setdefault(subject, [])
        before = _said_before(statement, [*said[-1:], *([kept[subject]] if subject in kept else [])])
        if _refuses(statement) and len(said) > 1 and all(map(_refuses, said[-2:])):
            said[-1] = statement
        elif not _repeats(statement, before):
            said.append(_named(statement, before))
    return [statement for said in news.values() for statement in said]


def _refuses(statement: ConsentStatement) -> bool:
    return statement.state not in PERMITTING


def _subject(statement: ConsentStatement) -> queries.Subject:
    return statement.identifier.type, statement.digest, str(statement.purpose)


def _said_before(statement: ConsentStatement, heard: Sequence[Word]) -> Word | None:
    """The last word before it, of two at the same instant the one that permits less."""
    earlier = [each for each in heard if each.occurred_at <= statement.occurred_at]
    return max(earlier, key=lambda each: (each.occurred_at, each.state not in PERMITTING), default=None)


def _repeats(statement: ConsentStatement, before: Word | None) -> bool:
    """Whether it is a grant that stands already: what was said last before it is the same, and does not run out.

    Where the purpose ends consents a repetition does not prolong one: nobody was asked again.
    """
    if before is None or not before.state == statement.state in PERMITTING:
        return False
    if before.expires_at is None:
        return True
    is_of_the_purpose = isinstance(before, queries.LastWord) and before.ends_by_purpose
    return is_of_the_purpose and before.expires_at > statement.occurred_at


def _named(statement: ConsentStatement, before: Word | None) -> ConsentStatement:
    """Who refuses what they had granted withdraws it."""
    if statement.state != ConsentState.REFUSED or before is None or before.state not in PERMITTING:
        return statement
    if before.expires_at is not None and before.expires_at <= statement.occurred_at:
        return statement
    return replace(statement, state=ConsentState.WITHDRAWN)


def map_signal(*, workspace_id: int, kind: str, category: str, purpose: Purpose) -> SignalMapping:
    """From now on the signal speaks of this purpose. Raises `BadCategoryError`."""
    _refuse_category(kind, category)
    with workspace_scope(workspace_id):
        return SignalMapping.objects.get_or_create(
            workspace_id=workspace_id, purpose=purpose, kind=kind, category=category
        )[0]


def unmap_signal(*, workspace_id: int, kind: str, category: str, purpose: Purpose) -> None:
    """What was recorded stays."""
    with workspace_scope(workspace_id):
        SignalMapping.objects.filter(workspace_id=workspace_id, purpose=purpose, kind=kind, category=category).delete()


def _refuse_category(kind: str, category: str) -> None:
    known = CATEGORIES_OF_SIGNALS[kind]
    if known is None and not 0 < len(category) <= LONGEST_CATEGORY:
        raise BadCategoryError
    if known is not None and category not in known:
        raise BadCategoryError(known=known)


def _record_alone(workspace_id: int, part: Part, source: int | None) -> set[str]:
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        return _record(cursor, workspace_id, [part], source)


def _record_in_turn(workspace_id: int, parts: Callable[[], Sequence[Part]]) -> list[Recorded]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_TAKE_TURN, [str(workspace_id), workspace_id])
        said = parts()
        new = _record(cursor, workspace_id, said)
    return [_counted(part.statements, new) for part in said]


def _record(cursor: CursorWrapper, workspace_id: int, parts: Sequence[Part], source: int | None = None) -> set[str]:
    """Returns the keys of the statements that are new."""
    statements = [statement for part in parts for statement in part.statements]
    shown = {part.api_key for part in parts if part.api_key is not None}
    distinct = {statement.key: statement for statement in statements}
    said = msgspec.json.encode([_row(statement) for statement in distinct.values()]).decode()
    _refuse_notices(workspace_id, statements)
    given: dict[str, Any] = {"statements": said, "workspace": workspace_id, "source": source, "shown": list(shown)}
    cursor.execute(f"{_ENDED_KEYS}; {_RECORD}" if shown else _RECORD, given)  # once to the server and back
    if shown:
        _refuse_ended_keys(cursor)
    new = {key for (key,) in cursor.fetchall()}
    if len(new) < len(statements):  # else every key stands for what was given with it
        _refuse_reused_keys(workspace_id, statements)
    return new


def _refuse_ended_keys(cursor: CursorWrapper) -> None:
    if cursor.fetchall():
        raise KeyEndedError
    cursor.nextset()


def _row(statement: ConsentStatement) -> dict[str, object]:
    return {
        "type": statement.identifier.type,
        "digest": statement.digest.hex(),
        "purpose": str(statement.purpose),
        "state": str(statement.state),
        "occurred_at": statement.occurred_at,
        "expires_at": statement.expires_at,
        "is_verified": statement.is_verified,
        "notice": statement.notice_id,
        "key": statement.key,
        "recipient": statement.recipient,
        "jurisdiction": statement.jurisdiction,
    }


def _refuse_notices(workspace_id: int, statements: Sequence[ConsentStatement]) -> None:
    """The foreign key alone would take the notice of another workspace: it is checked without row-level security."""
    named = {statement.notice_id for statement in statements} - {None}
    if not named:
        return
    notices = Notice.objects.filter(workspace_id=workspace_id, pk__in=named).values_list("pk", "valid_from")
    valid_from = dict(notices)
    _refuse([(place, fault) for place, each in enumerate(statements) if (fault := _fault_of_notice(each, valid_from))])


def _fault_of_notice(statement: ConsentStatement, valid_from: Mapping[int, datetime]) -> str | None:
    if statement.notice_id is None:
        return None
    if statement.notice_id not in valid_from:
        return "unknown_notice"
    return "notice_not_yet_valid" if statement.occurred_at < valid_from[statement.notice_id] else None


def _refuse_reused_keys(workspace_id: int, statements: Sequence[ConsentStatement]) -> None:
    """A sender that gives its withdrawal the key of its grant must hear of it: silence would keep the grant."""
    with connection.cursor() as cursor:
        cursor.execute(_KEPT, [workspace_id, [statement.key for statement in statements]])
        kept = {
            key: ((kind, bytes(digest), *rest, *([recipient] if recipient else [])), days)
            for key, kind, digest, *rest, recipient, days in cursor.fetchall()
        }
    reused = [place for place, each in enumerate(statements) if not _is_kept(each, *kept[each.key])]
    if reused:
        raise KeyReusedError(statements=reused)


def _is_kept(statement: ConsentStatement, content: tuple[object, ...], days: int | None) -> bool:
    """Whether it was recorded with this content, when consents of its purpose ended after so many days."""
    if days is None or statement.state not in PERMITTING:
        return statement.content == content
    ended = statement.occurred_at + timedelta(days=days)
    return replace(statement, expires_at=min(statement.expires_at or ended, ended)).content == content


def _refuse_invalid(statements: Sequence[ConsentStatement], now: datetime) -> None:
    _refuse([(place, fault) for place, each in enumerate(statements) if (fault := _fault_of(each, now))])


def _refuse(faults: Sequence[tuple[int, str]]) -> None:
    if faults:
        raise InvalidStatementError(faults=[{"statement": place, "fault": fault} for place, fault in faults])


_PURPOSES: Final = frozenset(Purpose)
_STATES: Final = frozenset(ConsentState.values)


def _fault_of(statement: ConsentStatement, now: datetime) -> str | None:
    """The name of what is wrong; the value stays out of it."""
    occurred_at, expires_at = statement.occurred_at, statement.expires_at
    faults = (
        (statement.purpose not in _PURPOSES, "unknown_purpose"),
        (statement.state not in _STATES, "unknown_state"),
        (occurred_at > now, "occurred_in_the_future"),
        (not (_has_a_place(occurred_at) and _has_a_place(expires_at or now)), "no_such_time"),
        (expires_at is not None and expires_at <= occurred_at, "expires_before_it_occurred"),
        (len(statement.key) > LONGEST_KEY or len(statement.identifier.type) > 64, "too_long"),
        (not RECIPIENT.fullmatch(statement.recipient), "malformed_recipient"),
        (
            not (statement.jurisdiction == "" or JURISDICTION.fullmatch(statement.jurisdiction)),
            "malformed_jurisdiction",
        ),
    )
    return next((fault for is_so, fault in faults if is_so), None)


def _has_a_place(moment: datetime) -> bool:
    """Postgres has more years than Python: what went past 9999 could be kept for ever, and never be read."""
    try:
        moment.astimezone(UTC)
    except OverflowError:
        return False
    return True


def _trying_again(work: Callable[[], T]) -> T:
    """A merge of the same people may be at work: who loses the race for the rows begins anew."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return work()
        except OperationalError as error:
            state = getattr(error.__cause__, "sqlstate", None)
            if state not in LOST_A_RACE or attempt == ATTEMPTS or connection.in_atomic_block:
                raise
    raise AssertionError  # pragma: no cover  # the last attempt returns or raises


# -- notices --------------------------------------------------------------------------------------------------------


def publish_notice(
    *, workspace_id: int, key: str, version: int, locale: str, text: str, valid_from: datetime
) -> Notice:
    """Keep what people are shown. The same text again is the same notice; another text raises `NoticeExistsError`."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    with workspace_scope(workspace_id):
        kept, _ = Notice.objects.get_or_create(
            workspace_id=workspace_id,
            key=key,
            version=version,
            locale=locale,
            defaults={"text": text, "digest": digest, "valid_from": valid_from},
        )
    if kept.digest != digest:
        raise NoticeExistsError(key=key, version=version, locale=locale)
    return kept


# -- double opt-in --------------------------------------------------------------------------------------------------


def configure_consent(
    *,
    workspace_id: int,
    keeps_addresses: bool | None = None,
    confirmation_hours: int | None = None,
    vendor_id: int | None = None,
    jurisdiction_trait: str | None = None,
) -> ConsentSettings:
    """Change how the workspace asks, and return how it does now. None leaves a setting as it is.

    Another `jurisdiction_trait` decides for everybody anew, in the same transaction.
    """
    given = {
        "keeps_addresses": keeps_addresses,
        "confirmation_hours": confirmation_hours,
        "vendor_id": vendor_id,
        "jurisdiction_trait": jurisdiction_trait,
    }
    with workspace_scope(workspace_id):
        changed = {name: value for name, value in given.items() if value is not None}
        return ConsentSettings.objects.update_or_create(workspace_id=workspace_id, defaults=changed)[0]


# -- workspaces -----------------------------------------------------------------------------------------------------

# Showing people advertisements needs their consent; the rest rests on the interest that the workspace can show.
DEFAULT_BASES: Final = {
    purpose: LegalBasis.CONSENT if purpose is Purpose.ADVERTISING else LegalBasis.LEGITIMATE_INTEREST
    for purpose in Purpose
}


def open_workspace(*, slug: str, name: str, now: datetime) -> Workspace:
    """Make the workspace with its default purposes. One that is there already stays as it is."""
    with transaction.atomic():
        workspace, is_new = Workspace.objects.get_or_create(slug=slug, defaults={"name": name})
        if workspace.closed_at is not None:
            raise ClosedWorkspaceError(slug=slug)
        if is_new:
            workspace.created_at = now  # Django puts its own clock when it inserts
            workspace.save(update_fields=["created_at"])
            with workspace_scope(workspace.pk):
                PurposePolicy.objects.bulk_create(_default_purposes(workspace))
    return workspace


def _default_purposes(workspace: Workspace) -> list[PurposePolicy]:
    return [
        PurposePolicy(workspace=workspace, purpose=purpose, bit=purpose.bit, legal_basis=basis)
        for purpose, basis in DEFAULT_BASES.items()
    ]

"""The rules of a workspace: read, checked, tried and laid down. Whoever changes them can see first whom that changes."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import DataError, connection, transaction

from cdp.kernel.errors import TesseraError
from cdp.models import Cause, planning
from cdp.models.tenancy import workspace_scope
from identity import disputes, queries, resolver, services
from identity.models import IdentityRules

MOST_ENTRIES: Final = 1_000  # of a list or an object
MOST_PATTERNS: Final = 50
LONGEST_PATTERN: Final = 200
LONGEST_VALUE: Final = 400
MOST_OF_A_TYPE: Final = 1_000_000
MOST_DAYS: Final = 3_650
LOOKED_AT: Final = 5_000  # identifiers, for a preview

_TYPE: Final = re.compile(r"[a-z0-9_][a-z0-9_:.-]{0,63}")
# What makes Postgres search by trial and error, which no bound on the length would hold: it is never needed here.
_REFERS_BACK: Final = re.compile(r"\\[1-9]")

Document = dict[str, Any]


class InvalidRulesError(TesseraError):
    """The rules hold something that cannot be: see `details` for where, and why."""

    code = "invalid_identity_rules"

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"{place}: {why}", place=place, why=why)


# -- what may be laid down ------------------------------------------------------------------------------------------


def document_of(rules: IdentityRules) -> Document:
    return {name: getattr(rules, name) for name in _CHECKS}


def checked(document: object) -> Document:
    """The document if all of it can be; what it does not name has its default."""
    if not isinstance(document, Mapping):
        raise InvalidRulesError("rules", "an object.")
    for name in document:
        if name not in _CHECKS:
            raise InvalidRulesError(str(name)[:64], f"there is no such rule. Known are: {', '.join(_CHECKS)}.")
    for name, value in document.items():
        _CHECKS[name](name, value)
    return {**document_of(IdentityRules()), **document}


def _check_types(place: str, value: object) -> None:
    types = _listed(place, value, MOST_ENTRIES)
    for number, kind in enumerate(types):
        _check_type(f"{place}[{number}]", kind)
    if len(set(types)) < len(types):
        raise InvalidRulesError(place, "a type stands here once.")


def _check_limits(place: str, value: object) -> None:
    for kind, most in _keyed(place, value).items():
        if kind != resolver.ANY_TYPE:
            _check_type(place, kind)
        _check_number(f"{place}.{kind}", most, MOST_OF_A_TYPE)


def _check_windows(place: str, value: object) -> None:
    for kind, window in _keyed(place, value).items():
        _check_type(place, kind)
        if not isinstance(window, dict) or window.keys() != {"most", "days"}:
            raise InvalidRulesError(f"{place}.{kind}", 'write {"most": 5, "days": 30}.')
        _check_number(f"{place}.{kind}.most", window["most"], MOST_OF_A_TYPE)
        _check_number(f"{place}.{kind}.days", window["days"], MOST_DAYS)


def _check_values(place: str, value: object) -> None:
    for number, text in enumerate(_listed(place, value, MOST_ENTRIES)):
        _check_text(f"{place}[{number}]", text, LONGEST_VALUE)


def _check_patterns(place: str, value: object) -> None:
    for number, pattern in enumerate(_listed(place, value, MOST_PATTERNS)):
        _check_text(f"{place}[{number}]", pattern, LONGEST_PATTERN)
        _check_pattern(f"{place}[{number}]", pattern)


def _check_pattern(place: str, pattern: str) -> None:
    """By Postgres itself, which will have to match it: its expressions are not Python's."""
    if _REFERS_BACK.search(pattern):
        raise InvalidRulesError(place, "a pattern may not refer back to a group.")
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT '' ~ %s", [pattern])
            (matches_nothing,) = cursor.fetchone()
    except DataError:
        raise InvalidRulesError(place, "Postgres does not read this as a regular expression.") from None
    if matches_nothing:
        raise InvalidRulesError(place, "this matches every value: nobody would be recognised any more.")


def _check_flag(place: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidRulesError(place, "true or false.")


def _check_shared_after(place: str, value: object) -> None:
    _check_number(place, value, MOST_OF_A_TYPE)


_CHECKS: Final[Mapping[str, Callable[[str, object], None]]] = {
    "priority": _check_types,
    "limits": _check_limits,
    "windows": _check_windows,
    "blocked_values": _check_values,
    "blocked_patterns": _check_patterns,
    "has_role_addresses_blocked": _check_flag,
    "shared_after": _check_shared_after,
}


def _listed(place: str, value: object, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise InvalidRulesError(place, f"a list of at most {most} entries.")
    return value


def _keyed(place: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MOST_ENTRIES:
        raise InvalidRulesError(place, f"an object of at most {MOST_ENTRIES} types.")
    return value


def _check_type(place: str, value: object) -> None:
    if not isinstance(value, str) or not _TYPE.fullmatch(value):
        raise InvalidRulesError(place, "the type of an identifier, as in `email`, `user_id` or `crm:id`.")


def _check_number(place: str, value: object, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidRulesError(place, f"a whole number from 1 to {most}.")


def _check_text(place: str, value: object, longest: int) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= longest or "\x00" in value:
        raise InvalidRulesError(place, f"a text of 1 to {longest} characters.")


# -- reading and writing --------------------------------------------------------------------------------------------


def rules_in(workspace_id: int) -> IdentityRules:
    """Those that were laid down, or the defaults in a row that is not saved."""
    found = IdentityRules.objects.filter(workspace_id=workspace_id).first()
    return found or IdentityRules(workspace_id=workspace_id)


def change_rules(*, workspace_id: int, document: object) -> int:
    """Lay the rules down; everybody is resolved anew. Returns how many identifiers wait for that; the same rules
    again change nothing.
    """
    with workspace_scope(workspace_id):
        valid = checked(document)
        if document_of(rules_in(workspace_id)) == valid:
            return 0
        IdentityRules.objects.update_or_create(workspace_id=workspace_id, defaults=valid)
        return services.resolve_all_anew(workspace_id=workspace_id)


# -- what would change ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Preview:
    """Of so many identifiers that were looked at, and all that belongs to them: how many profiles would be other ones."""

    identifiers: int
    looked_at: int
    merged: int
    split: int

    @property
    def is_whole(self) -> bool:
        return self.looked_at == self.identifiers


# In an order that mixes old and new, and is the same each time.
_SOME = "SELECT id FROM identifier WHERE workspace_id = %s ORDER BY hashint8(id), id LIMIT %s"
_ALL = "SELECT count(*) FROM identifier WHERE workspace_id = %s"


def preview_rules(*, workspace_id: int, document: object, now: datetime, most: int = LOOKED_AT) -> Preview:
    """Resolve under these rules as the worker would, and leave everything as it is."""
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        proposed = IdentityRules(workspace_id=workspace_id, **checked(document))
        cursor.execute(_ALL, [workspace_id])
        (identifiers,) = cursor.fetchone()
        cursor.execute(_SOME, [workspace_id, most])
        some = [one for (one,) in cursor.fetchall()]
        causes = _tried(some, queries.rules_under(proposed), now)
    merged = sum(cause == Cause.MERGE for cause in causes)
    return Preview(identifiers, len(some), merged, len(causes) - merged)


def _tried(some: Iterable[int], rules: queries.Rules, now: datetime) -> list[Cause]:
    """The judgements that the rules would let speak are written, heard, and taken back with the savepoint."""
    with transaction.atomic():
        with planning.by_key():
            services.judge_sightings(some, rules, now)
            before = queries.neighbourhood_of(some, rules)
            after = disputes.resolve(before, rules).clusters
        transaction.set_rollback(True)
    return list(services.causes(before.profiles, after).values())


# -- what belongs to nobody -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SetAside:
    """An identifier that joins nobody, since it was seen with more identifiers of a type than one person would have."""

    identifier_id: int
    name: str
    seen_with: str
    number: int
    most: int


_COMPANIONS = """
WITH met AS (
    SELECT j.left_id AS id, j.right_id AS other FROM judgement j WHERE {counts}
    UNION ALL
    SELECT j.right_id, j.left_id FROM judgement j WHERE {counts}
)
SELECT i.id, i.type || ':' || i.value, o.type, count(DISTINCT o.id)
FROM met JOIN identifier i ON i.id = met.id JOIN identifier o ON o.id = met.other
WHERE i.type = ANY(%(shareable)s) AND i.type <> ALL(%(limited)s) AND o.type <> 'anonymous_id'
GROUP BY i.id, o.type HAVING count(DISTINCT o.id) > %(least)s ORDER BY 4 DESC, 1 LIMIT %(most)s
""".format(  # noqa: S608  # our own condition
    counts="""j.workspace_id = %(workspace)s AND j.kind = 'DETERMINISTIC' AND j.verdict = 'SAME' AND j.retracts_id IS NULL
    AND NOT EXISTS (SELECT FROM judgement later WHERE later.retracts_id = j.id)"""
)


def set_aside_in(workspace_id: int, *, most: int = 200) -> list[SetAside]:
    """The busiest first. Read from the ledger, so it is what the resolver goes by at this moment."""
    with workspace_scope(workspace_id), planning.in_bulk(), connection.cursor() as cursor:
        limits = queries.rules_of(workspace_id).limits
        asked: Document = {
            "workspace": workspace_id,
            "shareable": sorted(resolver.SHAREABLE_TYPES),
            "limited": sorted(limits),
            "least": min(limits.values()),
            "most": most * 10,
        }
        cursor.execute(_COMPANIONS, asked)
        rows = cursor.fetchall()
    found = [
        SetAside(one, name, kind, number, int(min(resolver.most_companions(kind, limits), MOST_OF_A_TYPE)))
        for one, name, kind, number in rows
    ]
    return [one for one in found if one.number > one.most][:most]

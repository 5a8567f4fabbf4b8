"""Which of the values of a trait survives: the rules of a workspace, what a change would do, and the change itself."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.db import connection, transaction

from cdp.kernel.errors import TesseraError
from cdp.models import Source
from cdp.models.tenancy import workspace_scope
from identity import golden
from identity.models import Choice, SurvivorshipRule

MOST_RULES: Final = 500
MOST_SOURCES: Final = 100
LONGEST_NAME: Final = 128
LOOKED_AT: Final = 20_000  # profiles, for a preview


class InvalidSurvivorshipError(TesseraError):
    """A rule for a trait holds something that cannot be: see `details` for where, and why."""

    code = "invalid_survivorship"

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"{place}: {why}", place=place, why=why)


@dataclass(frozen=True, slots=True)
class Rule:
    trait: str
    choice: Choice
    sources: tuple[str, ...] = ()


def rules_in(workspace_id: int) -> list[Rule]:
    rows = SurvivorshipRule.objects.filter(workspace_id=workspace_id).order_by("trait")
    return [Rule(row.trait, Choice(row.choice), tuple(row.sources)) for row in rows]


# -- what may be laid down ------------------------------------------------------------------------------------------


def checked(rows: Sequence[Mapping[str, Any]], *, workspace_id: int) -> list[Rule]:
    """In the order of the traits."""
    if len(rows) > MOST_RULES:
        raise InvalidSurvivorshipError("rules", f"at most {MOST_RULES}.")
    known = set(Source.objects.filter(workspace_id=workspace_id).values_list("name", flat=True))
    rules = [_checked(f"rules[{number}]", row, known) for number, row in enumerate(rows)]
    traits = [rule.trait for rule in rules]
    if twice := {trait for trait in traits if traits.count(trait) > 1}:
        raise InvalidSurvivorshipError("rules", f"a trait has one rule: {', '.join(sorted(twice))}.")
    return sorted(rules, key=lambda rule: rule.trait)


def _checked(place: str, row: Mapping[str, Any], known: set[str]) -> Rule:
    trait, choice, sources = row.get("trait"), row.get("choice"), row.get("sources", [])
    if not isinstance(trait, str) or not 0 < len(trait) <= LONGEST_NAME or "\x00" in trait:
        raise InvalidSurvivorshipError(f"{place}.trait", f"a text of 1 to {LONGEST_NAME} characters.")
    if choice not in Choice.values:
        raise InvalidSurvivorshipError(f"{place}.choice", f"one of {', '.join(Choice.values)}.")
    if not isinstance(sources, list) or len(sources) > MOST_SOURCES:
        raise InvalidSurvivorshipError(f"{place}.sources", f"a list of at most {MOST_SOURCES} names.")
    if sources and choice != Choice.TRUSTED_SOURCE:
        raise InvalidSurvivorshipError(f"{place}.sources", f"only with {Choice.TRUSTED_SOURCE}.")
    if strange := [name for name in sources if name not in known]:
        raise InvalidSurvivorshipError(f"{place}.sources", f"there is no source {str(strange[0])[:64]!r}.")
    return Rule(trait, Choice(choice), tuple(sources))


# -- writing --------------------------------------------------------------------------------------------------------

# Two who write at once wait for each other: the later one's rules hold, all of them.
_TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtext('identity.survivorship'), %s)"

# One subject for each profile that carries such a trait. The worker takes them in its batches, and chooses anew.
_CHOOSE_ANEW = """
INSERT INTO outbox (workspace_id, stage, subject_id, cause)
SELECT DISTINCT i.workspace_id, 'IDENTITY', i.profile_id, 'DEFINITION'
FROM identifier_trait t JOIN identifier i ON i.id = t.identifier_id
WHERE t.workspace_id = %s AND t.name = ANY(%s)
"""


def change_rules(*, workspace_id: int, rows: Sequence[Mapping[str, Any]]) -> int:
    """Lay all rules of the workspace down. Returns how many profiles wait to be chosen anew: those with a trait whose
    rule is another one.
    """
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(_TAKE_TURN, [workspace_id])
        rules = checked(rows, workspace_id=workspace_id)
        changed = _changed(rules_in(workspace_id), rules)
        _replace(workspace_id, rules)
        return choose_anew(workspace_id=workspace_id, traits=changed) if changed else 0


def choose_anew(*, workspace_id: int, traits: Sequence[str]) -> int:
    """After a change of their rules: the profiles that carry these traits wait for the worker. Returns how many."""
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(_CHOOSE_ANEW, [workspace_id, list(traits)])
        return int(cursor.rowcount)


def _changed(before: Sequence[Rule], after: Sequence[Rule]) -> list[str]:
    """The traits whose rule is another one. None at all and the most recent are the same."""
    of_default = {rule for rule in (*before, *after) if rule.choice == Choice.MOST_RECENT}
    return sorted({rule.trait for rule in (set(before) ^ set(after)) - of_default})


def _replace(workspace_id: int, rules: Sequence[Rule]) -> None:
    SurvivorshipRule.objects.filter(workspace_id=workspace_id).delete()
    SurvivorshipRule.objects.bulk_create(
        SurvivorshipRule(workspace_id=workspace_id, trait=rule.trait, choice=rule.choice, sources=list(rule.sources))
        for rule in rules
    )


# -- what would change ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """Of the profiles looked at that have the trait, so many would have another value."""

    trait: str
    profiles: int
    changed: int


@dataclass(frozen=True, slots=True)
class Preview:
    profiles: int
    looked_at: int
    changes: tuple[Change, ...]


_LIVE = "SELECT count(*) FROM profile WHERE workspace_id = %s AND merged_into_id IS NULL"
_SOME = """
SELECT id FROM profile WHERE workspace_id = %s AND merged_into_id IS NULL ORDER BY hashint8(id), id LIMIT %s
"""


def preview_rules(*, workspace_id: int, rows: Sequence[Mapping[str, Any]], most: int = LOOKED_AT) -> Preview:
    """Choose under these rules, and leave everything as it is."""
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        rules = checked(rows, workspace_id=workspace_id)
        changed = _changed(rules_in(workspace_id), rules)
        cursor.execute(_LIVE, [workspace_id])
        (profiles,) = cursor.fetchone()
        cursor.execute(_SOME, [workspace_id, most])
        some = [one for (one,) in cursor.fetchall()]
        found = _tried(workspace_id, rules, some, changed)
    return Preview(profiles, len(some), tuple(Change(name, *found.get(name, (0, 0))[::-1]) for name in changed))


def _tried(
    workspace_id: int, rules: Sequence[Rule], profiles: Sequence[int], names: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """The rules are written, followed, and taken back with the savepoint."""
    with transaction.atomic():
        _replace(workspace_id, rules)
        found = golden.traits_that_would_change(profiles, names)
        transaction.set_rollback(True)
    return found


def preview_one(*, workspace_id: int, row: Mapping[str, Any]) -> Preview:
    """One rule, beside the others as they are."""
    with workspace_scope(workspace_id):
        others = [asdict(rule) for rule in rules_in(workspace_id) if rule.trait != row.get("trait")]
    rows = [{**other, "sources": list(other["sources"])} for other in others]
    return preview_rules(workspace_id=workspace_id, rows=[*rows, row])

"""The blocking rules of a frozen model as keys: two records that a rule puts together have one key in common.

The rules are read from the model itself, so whatever it was trained with holds for the keys, too.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlglot
from sqlglot import exp

_DIALECT: Final = "duckdb"


@dataclass(frozen=True, slots=True)
class Blocking:
    """What must be equal of the one record and of the other, as expressions over columns of `record`."""

    ones: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def is_symmetric(self) -> bool:
        return self.ones == self.others


def rules_of(settings: Mapping[str, Any]) -> list[str]:
    """The rules as SQL over two records `l` and `r`."""
    return [rule["blocking_rule"] for rule in settings["blocking_rules_to_generate_predictions"]]


def blockings(settings: Mapping[str, Any]) -> list[Blocking]:
    """Of every rule the equalities alone: its other conditions are asked of the pairs. A rule without any makes no key."""
    found = (_blocking(rule) for rule in rules_of(settings))
    return [one for one in dict.fromkeys(found) if one.ones]


def condition_sql(settings: Mapping[str, Any]) -> str:
    """What pairs that have a key in common must fulfil besides: one condition where all rules have the same, as ours
    have, else the rules themselves.
    """
    rest = {tuple(sorted(_rest(rule))) for rule in rules_of(settings)}
    if len(rest) == 1 and all(_blocking(rule).ones for rule in rules_of(settings)):
        return " AND ".join(rest.pop()) or "true"
    return " OR ".join(f"({rule})" for rule in rules_of(settings)) or "false"


def _rest(rule: str) -> Iterator[str]:
    for condition in _conditions(rule):
        if not list(_equal_sides(condition)):
            yield f"({condition.sql(dialect=_DIALECT)})"


def _blocking(rule: str) -> Blocking:
    pairs = sorted(_equalities(rule))
    return Blocking(tuple(one for one, _ in pairs), tuple(other for _, other in pairs))


def _equalities(rule: str) -> Iterator[tuple[str, str]]:
    for condition in _conditions(rule):
        yield from _equal_sides(condition)


def _conditions(rule: str) -> Iterator[exp.Expr]:
    parsed = sqlglot.parse_one(rule, dialect=_DIALECT).unnest()
    yield from (part.unnest() for part in parsed.flatten()) if isinstance(parsed, exp.And) else (parsed,)


def _equal_sides(condition: exp.Expr) -> Iterator[tuple[str, str]]:
    """What of the one record equals what of the other; nothing of any other condition."""
    if isinstance(condition, exp.EQ):
        sides = {_side(part): part for part in (condition.this, condition.expression)}
        if sides.keys() == {"l", "r"}:
            yield _of_record(sides["l"]), _of_record(sides["r"])


def _side(expression: exp.Expr) -> str:
    """Of which record the expression speaks. Of both or none it is "": no key can be made of that."""
    tables = {column.table for column in expression.find_all(exp.Column)}
    return tables.pop() if len(tables) == 1 else ""


def _of_record(expression: exp.Expr) -> str:
    bare = expression.copy()
    for column in bare.find_all(exp.Column):
        column.set("table", None)
    return bare.sql(dialect=_DIALECT)


def kept_keys_sql(settings: Mapping[str, Any], *, salt: str) -> str:
    """A query for (record, key) by which the records of table `record` are found."""
    return f"SELECT unique_id, key FROM ({keys_sql(settings, salt=salt)}) WHERE is_kept"  # noqa: S608  # our own statements


def keys_sql(settings: Mapping[str, Any], *, salt: str) -> str:
    """A query for (record, key, is kept, is asked for)."""
    made = ", ".join(map(_key_sql, keys_of(settings, salt=salt)))
    return f"""
        SELECT unique_id, made.key AS key, made.is_kept AS is_kept, made.is_asked AS is_asked
        FROM (SELECT unique_id, unnest([{made}]) AS made FROM record) WHERE made.key IS NOT NULL
    """  # noqa: S608  # our own statements


@dataclass(frozen=True, slots=True)
class Key:
    """What a record must say to have this key, and whether it is found by it, or finds others by it, or both.

    `name` has the rule in it: no rule meets the key of another.
    """

    name: str
    expressions: tuple[str, ...]
    is_kept: bool
    is_asked: bool

    def hashed(self, values: Sequence[str]) -> int:
        """The same as `_key_sql`."""
        text = "\x1f".join((self.name, *values)).encode()
        digest = hashlib.md5(text, usedforsecurity=False).digest()
        return int.from_bytes(digest[8:], "little") - 2**63


def keys_of(settings: Mapping[str, Any], *, salt: str) -> list[Key]:
    """A rule that swaps columns is kept under what the one record must say, and asked for by what the other must."""
    rules = blockings(settings)
    keys = [Key(_name(rule, salt), rule.ones, is_kept=True, is_asked=rule.is_symmetric) for rule in rules]
    swapped = (rule for rule in rules if not rule.is_symmetric)
    return keys + [Key(_name(rule, salt), rule.others, is_kept=False, is_asked=True) for rule in swapped]


def _name(rule: Blocking, salt: str) -> str:
    return "|".join((salt, *rule.ones, "=", *rule.others))


def _key_sql(key: Key) -> str:
    """A signed 64-bit hash; NULL where a part is missing, as NULL equals nothing. By MD5, which every version of DuckDB
    computes alike.
    """
    name = key.name.replace("'", "''")
    parts = " || chr(31) || ".join(f"CAST({one} AS VARCHAR)" for one in key.expressions)
    number = f"CAST(md5_number_lower('{name}' || chr(31) || {parts}) AS HUGEINT) - 9223372036854775808"
    return f"{{'key': CAST({number} AS BIGINT), 'is_kept': {key.is_kept}, 'is_asked': {key.is_asked}}}"

"""How the columns of a file become keys, identifiers, traits and times: a YAML file, or the names of the columns.

    key: customer_no              # the source's own key of a row
    key_type: user_id             # of which type that is; left out: SOURCE:id
    identifiers: {email: mail, phone: mobile}
    traits: {given_name: first, surname: last}      # left out: every other column under its own name
    observed_at: changed_at
    region: AU                    # for phone numbers and dates; left out: the source's

For events `key` is the message id, and beside them there are `event`, `type` and `properties`. What is seen of a CSV
file and seen wrong may be said under `dialect`: `{delimiter: ";", header: "no", decimal: ",", encoding: cp1252}`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import yaml

from cdp.kernel.errors import TesseraError

RECORD_KEYS: Final = ("id", "rec_id", "record_id", "key", "unique_id", "customer_id", "user_id", "uuid")
SHARED_IDENTIFIERS: Final = ("email", "phone")
EVENT_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "key": ("message_id", "messageId", "event_id"),
    "event": ("event", "event_name", "name"),
    "type": ("type",),
    "observed_at": ("timestamp", "occurred_at", "observed_at", "event_time", "time", "created_at", "date"),
}
EVENT_IDENTIFIERS: Final[Mapping[str, tuple[str, ...]]] = {
    "user_id": ("user_id", "userId"),
    "anonymous_id": ("anonymous_id", "anonymousId"),
    "email": ("email",),
    "phone": ("phone",),
}

_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,49}(?::id)?")
_TEXTS: Final = ("key", "key_type", "observed_at", "region", "event", "type")
_TABLES: Final = ("identifiers", "traits", "properties", "dialect")
_OF_RECORDS: Final = frozenset({"key", "key_type", "identifiers", "traits", "observed_at", "region", "dialect"})
_OF_EVENTS: Final = frozenset({"key", "identifiers", "observed_at", "region", "event", "type", "properties", "dialect"})
_DIALECT: Final[Mapping[str, str]] = {
    "delimiter": r"[^\r\n\"]",
    "quote": r"[^\r\n\w]",
    "escape": r"[^\r\n\w]",
    "header": r"yes|no|true|false",
    "skip": r"\d{1,4}",
    "decimal": r"[.,]",
    "encoding": r"[\w.-]{1,40}",
}


class MappingError(TesseraError):
    """The mapping cannot be used."""

    code = "bad_mapping"


class MissingColumnError(TesseraError):
    """The file has no such column."""

    code = "missing_column"


@dataclass(frozen=True, slots=True)
class FileMapping:
    """Names of columns by what they mean. None for `traits` or `properties`: every column without another meaning."""

    key: str = ""
    key_type: str = ""
    identifiers: Mapping[str, str] = field(default_factory=dict)
    traits: Mapping[str, str] | None = None
    properties: Mapping[str, str] | None = None
    observed_at: str = ""
    region: str = ""
    event: str = ""
    type: str = ""
    dialect: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        named = (self.key, self.observed_at, self.event, self.type, *self.identifiers.values())
        return tuple(
            name for name in (*named, *(self.traits or {}).values(), *(self.properties or {}).values()) if name
        )

    @property
    def meaningful(self) -> frozenset[str]:
        """Columns that say something else than a trait or a property."""
        return frozenset(self.columns) - set((self.traits or {}).values()) - set((self.properties or {}).values())


def read_mapping(path: Path, *, of_events: bool) -> FileMapping:
    """Raises `MappingError`, which names the entry that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise MappingError(f"There is no mapping {path}.") from None
    except UnicodeDecodeError:
        raise MappingError(f"{path.name} is no YAML.") from None
    return mapping_in(text, of_events=of_events, name=path.name)


def mapping_in(text: str, *, of_events: bool, name: str = "The mapping") -> FileMapping:
    """Raises `MappingError`, which names the entry that is wrong."""
    try:
        # All scalars are text: to YAML `no` and `NO` are false, but here a column and Norway.
        given = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # makes text alone
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise MappingError(f"{name} is no YAML" + (f" at line {mark.line + 1}." if mark else ".")) from None
    return parse_mapping(given, of_events=of_events)


def parse_mapping(given: object, *, of_events: bool) -> FileMapping:
    if not isinstance(given, dict):
        raise MappingError("A mapping is a YAML table of entries, for example `key: customer_no`.")
    allowed = _OF_EVENTS if of_events else _OF_RECORDS
    unknown = sorted(str(name) for name in given if name not in allowed)
    if unknown:
        raise MappingError(f"`{unknown[0]}` is no entry of a mapping; there are {', '.join(sorted(allowed))}.")
    for name in _TEXTS:
        if name in given and not (isinstance(given[name], str) and given[name]):
            raise MappingError(f"`{name}` must be text.")
    for name in _TABLES:
        _check_table(name, given.get(name, {}))
    for kind in (*given.get("identifiers", {}), *([given["key_type"]] if "key_type" in given else [])):
        if not _TYPE.fullmatch(kind):
            raise MappingError(
                f"`{kind}` under `identifiers` or `key_type` is no identifier type, as `email` or `crm:id`."
            )
    if len(given.get("region", "XX")) != 2:
        raise MappingError("`region` must be an ISO 3166 code of two letters, for example AU.")
    return FileMapping(**{**given, "dialect": _dialect(given.get("dialect", {}))})


def _dialect(said: Mapping[str, str]) -> Mapping[str, Any]:
    """As `dialects.Dialect` and the reader of texts name it."""
    for name, value in said.items():
        if name not in _DIALECT:
            raise MappingError(f"`dialect.{name}` is unknown; there are {', '.join(sorted(_DIALECT))}.")
        if not re.fullmatch(_DIALECT[name], value, re.DOTALL):
            raise MappingError(f"`dialect.{name}` cannot be {value!r}.")
    if "encoding" in said:
        _check_encoding(said["encoding"])
    read: dict[str, Any] = {name: value for name, value in said.items() if name != "header"}
    if "header" in said:
        read["has_header"] = said["header"] in {"yes", "true"}
    return read | ({"skip": int(said["skip"])} if "skip" in said else {})


def _check_encoding(name: str) -> None:
    try:
        "\n".encode(name)
    except (LookupError, UnicodeError):
        raise MappingError(f"`dialect.encoding`: there is no encoding {name!r}.") from None


def _check_table(name: str, table: object) -> None:
    if not isinstance(table, dict):
        raise MappingError(f"`{name}` must be a table, for example `{name}: {{email: mail}}`.")
    for inner, column in table.items():
        if not (isinstance(inner, str) and inner and isinstance(column, str) and column):
            raise MappingError(f"`{name}.{inner}` must name a column.")


def mapping_for_records(
    given: FileMapping | None, *, columns: Sequence[str], source: str, is_uniform: bool = True
) -> FileMapping:
    """Complete a mapping by the names of the columns. Raises `MissingColumnError`, which tells which there are.

    Where rows have columns of their own, a column that the first rows lack may still come.
    """
    if given is None:
        key = _first(RECORD_KEYS, columns)
        given = FileMapping(key=key, identifiers={name: name for name in SHARED_IDENTIFIERS if name in columns})
    if not given.key:
        raise MissingColumnError(f"No column holds the key of a row: name it in a mapping. {_there_are(columns)}")
    _check_columns(given.columns if is_uniform else [given.key], columns)
    return replace(given, key_type=given.key_type or f"{source}:id")


def mapping_for_events(given: FileMapping | None, *, columns: Sequence[str], is_uniform: bool = True) -> FileMapping:
    if given is None:
        single: dict[str, Any] = {meaning: _first(names, columns) for meaning, names in EVENT_COLUMNS.items()}
        found = {kind: _first(names, columns) for kind, names in EVENT_IDENTIFIERS.items()}
        identifiers = {kind: column for kind, column in found.items() if column}
        given = FileMapping(identifiers=identifiers, **single)
    if is_uniform:
        _check_columns(given.columns, columns)
    if not given.identifiers:
        raise MissingColumnError(f"No column says whose event it is: name one in a mapping. {_there_are(columns)}")
    return given


def _check_columns(named: Iterable[str], columns: Sequence[str]) -> None:
    missing = [name for name in named if name not in columns]
    if missing:
        raise MissingColumnError(f"The file has no column {missing[0]!r}. {_there_are(columns)}")


def _first(names: Iterable[str], columns: Sequence[str]) -> str:
    return next((name for name in names if name in columns), "")


def _there_are(columns: Sequence[str]) -> str:
    return f"It has {', '.join(columns)}."

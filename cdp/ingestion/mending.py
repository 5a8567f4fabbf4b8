r"""Mends: small lists of operations that turn what was refused into what was meant. Pure.

    - rename: user_id                 # a path: properties.price, items.0.name, or /a.b/c where a name has a dot
      to: userId
    - default: type
      value: track
    - replace: properties.price       # an RE2 pattern, which takes linear time whatever it says
      find: '^EUR *'
      with: ''
    - to_number: properties.price
    - truncate: properties.note
      length: 200
      when: {path: type, is: track}   # or {path: …, exists: false}, or {path: …, matches: PATTERN}
    - text: ',\s*$'                    # before all others, on the text itself: for what is no JSON
      with: ''

What an operation finds in another shape than it needs stays as it was: whether the result is good is for the checks to
say that every event passes.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import yaml

from cdp.ingestion.bodies import InvalidJsonError, read_item, storable_json
from cdp.kernel.errors import TesseraError

MOST_OPERATIONS: Final = 50
MOST_COPIES: Final = 10  # each may double what there is
LONGEST_MEND: Final = 20_000
LONGEST_PATTERN: Final = 1_000
LONGEST_REPLACEMENT: Final = 200
LONGEST_TEXT: Final = 2**20  # longer ones are not searched

MISSING: Final = object()
Path = tuple[str, ...]


class MendError(TesseraError):
    """The mend cannot be used."""

    code = "bad_mend"


@dataclass(frozen=True, slots=True)
class Condition:
    path: Path
    test: str  # `is`, `exists` or `matches`
    value: Any

    def holds(self, item: object) -> bool:
        found = get(item, self.path)
        if self.test == "exists":
            return (found is not MISSING) is self.value
        if self.test == "is":
            return type(found) is type(self.value) and found == self.value
        return isinstance(found, str) and _matches(found, self.value)


@dataclass(frozen=True, slots=True)
class Operation:
    """`path` is where, `parameters` are the words beside it."""

    name: str
    path: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    when: Condition | None = None

    @property
    def is_idempotent(self) -> bool:
        """Whether doing it twice is doing it once."""
        within_list = any(step.isdecimal() for step in self.path)
        return self.name != "replace" and not (within_list and self.name in {"remove", "rename"})

    def change(self, item: object) -> object:
        if self.when and not self.when.holds(item):
            return item
        return _CHANGES[self.name](item, self)


@dataclass(frozen=True, slots=True)
class Mend:
    """`texts` are pairs of pattern and replacement, `operations` follow each other. `written` is its JSON form."""

    texts: Sequence[tuple[str, str]] = ()
    operations: Sequence[Operation] = ()
    written: Sequence[Mapping[str, Any]] = ()

    def mended_text(self, raw: str) -> str:
        for pattern, replacement in self.texts:
            raw = _replaced(raw, pattern, replacement)
        return raw

    def mended(self, item: object) -> object:
        """A new value: `item` stays as it is."""
        for operation in self.operations:
            item = operation.change(item)
        return item


NO_MEND: Final = Mend()


# -- reading a mend -------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """JSON's values alone: a date is text, and nothing refers to something else, which could grow without end."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise MendError("A mend has no aliases (`*name`): write the value where it belongs.")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_mend(text: str) -> Mend:
    """From YAML or JSON. Raises `MendError`, which names the operation that is wrong."""
    if len(text) > LONGEST_MEND:
        raise MendError(f"A mend has at most {LONGEST_MEND} characters.")
    try:
        return parse_mend(read_item(text.encode(errors="replace")))
    except InvalidJsonError:  # YAML reads most of JSON, but half of each character beyond the first plane
        return parse_mend(_read_yaml(text) or [])


def _read_yaml(text: str) -> object:
    try:
        given: object = yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise MendError("The mend is no YAML" + (f" at line {mark.line + 1}." if mark else ".")) from None
    except (ValueError, RecursionError):  # of `0x`, of a hundred thousand brackets
        raise MendError("The mend is no YAML.") from None
    return given


def parse_mend(given: object) -> Mend:
    """From the parsed list."""
    try:
        given = read_item(storable_json(given).encode())
    except (ValueError, TypeError, RecursionError, TesseraError):
        raise MendError("A mend has the values of JSON alone.") from None
    if not isinstance(given, list):
        raise MendError("A mend is a list of operations, for example `- rename: user_id` with `to: userId`.")
    if len(given) > MOST_OPERATIONS:
        raise MendError(f"A mend has at most {MOST_OPERATIONS} operations.")
    if sum(isinstance(each, dict) and "copy" in each for each in given) > MOST_COPIES:
        raise MendError(f"A mend has at most {MOST_COPIES} operations `copy`.")
    texts: list[tuple[str, str]] = []
    operations: list[Operation] = []
    for number, each in enumerate(given, 1):
        try:
            if isinstance(each, dict) and "text" in each:
                texts.append(_text_operation(each))
            else:
                operations.append(_operation(each))
        except MendError as error:
            raise MendError(f"Operation {number}: {error.message}", operation=number) from None
    return Mend(tuple(texts), tuple(operations), tuple(given))


def write_mend(written: Sequence[Mapping[str, Any]]) -> str:
    """As YAML, each operation on a line with its name first: stored JSON forgets the order."""
    names = {*_PARAMETERS, "text"}
    ordered = [dict(sorted(each.items(), key=lambda word: word[0] not in names)) for each in written]
    return "".join(
        yaml.safe_dump([each], allow_unicode=True, sort_keys=False, default_flow_style=None, width=LONGEST_MEND)
        for each in ordered
    )


def _text_operation(given: Mapping[str, Any]) -> tuple[str, str]:
    if given.keys() - {"text", "with"}:
        raise MendError("`text` takes `with` and nothing else.")
    pattern, replacement = _pattern(given["text"]), _replacement(given.get("with", ""))
    _check_fits(pattern, replacement)
    return pattern, replacement


def _operation(given: object) -> Operation:
    if not isinstance(given, dict):
        raise MendError("it is no table such as `{remove: properties.note}`.")
    named = [name for name in _PARAMETERS if name in given]
    if len(named) != 1:
        raise MendError(f"it must have one of {', '.join(sorted({*_PARAMETERS, 'text'}))}.")
    name = named[0]
    readers = _PARAMETERS[name]
    unknown = [str(word) for word in given if word not in {name, "when", *readers}]
    missing = [word for word in readers if word not in given]
    if unknown or missing:
        takes = ", ".join(f"`{word}`" for word in readers) or "nothing beside it but `when`"
        raise MendError(f"`{name}` takes {takes}.")
    path = _path(given[name])
    parameters = {word: read(given[word]) for word, read in readers.items()}
    if name == "replace":
        _check_fits(parameters["find"], parameters["with"])
    _check_apart(name, path, parameters.get("to"))
    return Operation(name, path, parameters, _condition(given["when"]) if "when" in given else None)


def _check_fits(pattern: str, replacement: str) -> None:
    r"""`\1` in the replacement is the first group of the pattern."""
    try:
        _replaced("", pattern, replacement)
    except ValueError:
        raise MendError(f"`{replacement}` names a group that `{pattern}` does not have.") from None


def _check_apart(name: str, path: Path, target: Path | None) -> None:
    """Into itself a value would sink deeper each time."""
    if target and path[: len(target)] == target[: len(path)]:
        raise MendError(f"`{name}` needs two places of which neither holds the other.")


def _condition(given: object) -> Condition:
    if not isinstance(given, dict) or len(given) != 2 or "path" not in given:
        raise MendError("`when` is a table of `path` and one of `is`, `exists`, `matches`.")
    (test,) = given.keys() - {"path"}
    value = given[test]
    if test == "matches":
        value = _pattern(value)
    elif test == "exists" and not isinstance(value, bool):
        raise MendError("`exists` is true or false.")
    elif test not in {"is", "exists"}:
        raise MendError("`when` is a table of `path` and one of `is`, `exists`, `matches`.")
    return Condition(_path(given["path"]), test, value)


def _path(given: object) -> Path:
    """Dotted, or a JSON pointer (RFC 6901)."""
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    if not (isinstance(given, str) and given.strip("/.")) or len(given) > LONGEST_PATTERN:
        raise MendError("a path is text such as `properties.price` or `/properties/price`.")
    if given.startswith("/"):
        return tuple(step.replace("~1", "/").replace("~0", "~") for step in given[1:].split("/"))
    return tuple(given.split("."))


def _value(given: object) -> object:
    return given


def _length(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise MendError("`length` is a number of characters.")
    return given


def _format(given: object) -> str:
    if not isinstance(given, str) or "%" not in given or len(given) > 100:
        raise MendError("`format` is one of strptime, for example `%d/%m/%Y %H:%M`.")
    return given


def _replacement(given: object) -> str:
    if not isinstance(given, str) or len(given) > LONGEST_REPLACEMENT:
        raise MendError(f"`with` is text of at most {LONGEST_REPLACEMENT} characters.")
    return given


def _pattern(given: object) -> str:
    if not isinstance(given, str) or not 0 < len(given) <= LONGEST_PATTERN:
        raise MendError(f"a pattern is text of at most {LONGEST_PATTERN} characters.")
    try:
        finds_nothing = _matches("", given)
    except ValueError:
        raise MendError(f"`{given}` is no pattern of RE2: it has neither look-around nor references.") from None
    if finds_nothing and not re.fullmatch(r"\^?\$?", given):
        raise MendError(f"`{given}` finds the empty text too, which is everywhere: say what must be there.")
    return given


_PARAMETERS: Final[Mapping[str, Mapping[str, Callable[[object], Any]]]] = {
    "set": {"value": _value},
    "default": {"value": _value},
    "rename": {"to": _path},
    "copy": {"to": _path},
    "remove": {},
    "to_text": {},
    "to_number": {},
    "truncate": {"length": _length},
    "parse_date": {"format": _format},
    "replace": {"find": _pattern, "with": _replacement},
}


# -- places in a value ----------------------------------------------------------------------------------------------


def get(item: object, path: Path) -> object:
    for step in path:
        if isinstance(item, dict) and step in item:
            item = item[step]
        elif isinstance(item, list) and step.isdecimal() and int(step) < len(item):
            item = item[int(step)]
        else:
            return MISSING
    return item


def put(item: object, path: Path, value: object) -> object:
    """Objects that are missing on the way are made; what is neither object nor list is not replaced by one."""
    step, rest = path[0], path[1:]
    if isinstance(item, dict):
        inner = put(_container(item.get(step)), rest, value) if rest else value
        return item if rest and inner is item.get(step) else {**item, step: inner}
    if isinstance(item, list) and step.isdecimal() and int(step) < len(item):
        place = int(step)
        inner = put(_container(item[place]), rest, value) if rest else value
        return [*item[:place], inner, *item[place + 1 :]]
    return item


def _container(value: object) -> object:
    return {} if value is None else value


def without(item: object, path: Path) -> object:
    if get(item, path) is MISSING:
        return item
    step, rest = path[0], path[1:]
    if isinstance(item, dict):
        if rest:
            return {**item, step: without(item[step], rest)}
        return {name: value for name, value in item.items() if name != step}
    if isinstance(item, list):
        place = int(step)
        inner = [without(item[place], rest)] if rest else []
        return [*item[:place], *inner, *item[place + 1 :]]
    return item


# -- operations -----------------------------------------------------------------------------------------------------


def _set(item: object, operation: Operation) -> object:
    return put(item, operation.path, operation.parameters["value"])


def _default(item: object, operation: Operation) -> object:
    """Null, blank and nothing are alike: none is a value."""
    found = get(item, operation.path)
    return _set(item, operation) if found is MISSING or found is None or found == "" else item


def _remove(item: object, operation: Operation) -> object:
    return without(item, operation.path)


def _copy(item: object, operation: Operation) -> object:
    value = get(item, operation.path)
    return item if value is MISSING else put(item, operation.parameters["to"], value)


def _rename(item: object, operation: Operation) -> object:
    """Where there is no way to the new place, the value stays at the old one."""
    moved = _copy(item, operation)
    return without(moved, operation.path) if moved is not item else item


def _of_value(change: Callable[[Any, Mapping[str, Any]], object]) -> Callable[[object, Operation], object]:
    """An operation that makes another value of the one at its path."""

    def changed(item: object, operation: Operation) -> object:
        value = get(item, operation.path)
        new = value if value is MISSING else change(value, operation.parameters)
        return item if new is value else put(item, operation.path, new)

    return changed


def _to_text(value: object, _: Mapping[str, Any]) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, int | float):
        return value
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


_NUMBER = re.compile(r"[+-]?(\d{1,300})([.,]\d{1,30})?")


def _to_number(value: object, _: Mapping[str, Any]) -> object:
    """`12`, `12.50` and `12,50`; spaces may part the thousands."""
    if not isinstance(value, str) or len(value) > LONGEST_PATTERN:
        return value
    written = "".join(value.split())
    found = _NUMBER.fullmatch(written)
    if not found:
        return value
    return float(written.replace(",", ".")) if found[2] else int(written)


def _truncate(value: object, parameters: Mapping[str, Any]) -> object:
    length = parameters["length"]
    return value[:length] if isinstance(value, str | list) and len(value) > length else value


def _parse_date(value: object, parameters: Mapping[str, Any]) -> object:
    """ISO 8601; without a zone it is UTC."""
    if not isinstance(value, str) or len(value) > LONGEST_PATTERN:
        return value
    try:
        read = datetime.strptime(value.strip(), parameters["format"])  # noqa: DTZ007  # the next line gives it a zone
        return (read.replace(tzinfo=UTC) if read.tzinfo is None else read).isoformat()
    except (ValueError, OverflowError, re.error):
        return value


def _replace(value: object, parameters: Mapping[str, Any]) -> object:
    return _replaced(value, parameters["find"], parameters["with"]) if isinstance(value, str) else value


_CHANGES: Final[Mapping[str, Callable[[object, Operation], object]]] = {
    "set": _set,
    "default": _default,
    "rename": _rename,
    "copy": _copy,
    "remove": _remove,
    "to_text": _of_value(_to_text),
    "to_number": _of_value(_to_number),
    "truncate": _of_value(_truncate),
    "parse_date": _of_value(_parse_date),
    "replace": _of_value(_replace),
}


# -- patterns -------------------------------------------------------------------------------------------------------


def _matches(text: str, pattern: str) -> bool:
    """Raises `ValueError` for what is no pattern."""
    import pyarrow as pa  # noqa: PLC0415  # takes a third of a second that web and workers need not spend
    import pyarrow.compute as pc  # noqa: PLC0415  # as above

    return bool(pc.match_substring_regex(pa.scalar(text), pattern).as_py())


def _replaced(text: str, pattern: str, replacement: str) -> str:
    """By RE2. A text that would grow past what an item may have stays as it was."""
    import pyarrow as pa  # noqa: PLC0415  # as above
    import pyarrow.compute as pc  # noqa: PLC0415  # as above

    if len(text) > LONGEST_TEXT:
        return text
    new = pc.replace_substring_regex(pa.scalar(text), pattern, replacement).as_py()
    return text if new == text or len(new) > LONGEST_TEXT else str(new)


# -- differences ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """What is at `path` before and after; `MISSING` where there is nothing."""

    path: str
    before: Any
    after: Any


def differences(before: object, after: object, path: str = "") -> Iterator[Difference]:
    """The paths that changed, and those alone."""
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in {**before, **after}:
            inner = f"{path}.{name}" if path else name
            yield from differences(before.get(name, MISSING), after.get(name, MISSING), inner)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(old, new, f"{path}.{place}" if path else str(place))
    elif type(before) is not type(after) or before != after:
        yield Difference(path, before, after)

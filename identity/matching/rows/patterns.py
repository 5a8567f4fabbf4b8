"""Regular expressions of DuckDB (RE2) as Python has them. Both prefer the first alternative, so both find the same."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from identity.matching.rows import letters

_ASCII: Final[Mapping[str, str]] = {r"\p{L}": "a-zA-Z", r"\p{N}": "0-9"}
_SPACES: Final = r"\t\n\f\r "  # Python has one more
_PART: Final = re.compile(r"\\p\{[LN]\}|\\.|\[\^?|.", re.DOTALL)


class UnknownPatternError(ValueError):
    """Whether Python reads this regular expression as DuckDB does is not known."""


@dataclass
class Pattern:
    """For texts of ASCII alone it is a short one: the classes of all letters that there are make others slow."""

    source: str

    def of(self, text: str) -> re.Pattern[str]:
        return self._plain if text.isascii() or not self._has_classes else self._full

    @cached_property
    def _has_classes(self) -> bool:
        return r"\p" in self.source

    @cached_property
    def _plain(self) -> re.Pattern[str]:
        return re.compile(python(self.source, _ASCII), re.ASCII)

    @cached_property
    def _full(self) -> re.Pattern[str]:
        beyond = letters.known().classes
        return re.compile(python(self.source, {name: _ASCII[name] + beyond[name] for name in _ASCII}), re.ASCII)


def python(source: str, classes: Mapping[str, str] = _ASCII) -> str:
    return "".join(_read(source, classes))


def _read(source: str, classes: Mapping[str, str]) -> Iterator[str]:
    within = False
    for part in _PART.findall(source):
        if part.startswith("["):
            yield part if not within else r"\["
            within = True
        elif part == "]":
            within = False
            yield part
        else:
            yield _within(part, classes) if within else _outside(part, classes)


def _within(part: str, classes: Mapping[str, str]) -> str:
    if part in classes:
        return classes[part]
    if part in {r"\S", r"\b"} or part.startswith(r"\p"):
        raise UnknownPatternError(part)
    return _SPACES if part == r"\s" else part


def _outside(part: str, classes: Mapping[str, str]) -> str:
    if part in classes:
        return f"[{classes[part]}]"
    if part.startswith("\\") and part[1].isalnum() and part not in _ALIKE:
        raise UnknownPatternError(part)
    return _OUTSIDE.get(part, part)


_OUTSIDE: Final[Mapping[str, str]] = {r"\s": f"[{_SPACES}]", r"\S": f"[^{_SPACES}]", "$": r"\Z"}
_ALIKE: Final = frozenset({r"\d", r"\D", r"\w", r"\W", r"\b", r"\B", *_OUTSIDE})

"""Regular expressions of DuckDB (RE2) as Python has them. Both prefer the first alternative, so both find the same."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from identity.matching.rows import letters

_ASCII: Final[Mapping[str, str]] = {r"\p{L}": "a-zA-Z", r"\p{N}": "0-9"}
_SPACES: Final = r"\t\n\f\r "  # Python has one more
_TOKEN: Final = re.compile(r"\\p\{[LN]\}|\\.|\[\^?|.", re.DOTALL)


class UnknownPatternError(ValueError):
    """This regular expression is not known to mean the same in Python."""


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
    return "".join(_tokens(source, classes))


def _tokens(source: str, classes: Mapping[str, str]) -> Iterator[str]:
    within = False
    for token in _TOKEN.findall(source):
        if token.startswith("["):
            yield token if not within else r"\["
            within = True
        elif token == "]":
            within = False
            yield token
        else:
            yield _within(token, classes) if within else _outside(token, classes)


def _within(token: str, classes: Mapping[str, str]) -> str:
    if token in classes:
        return classes[token]
    if token in {r"\S", r"\b"} or token.startswith(r"\p"):
        raise UnknownPatternError(token)
    return _SPACES if token == r"\s" else token


def _outside(token: str, classes: Mapping[str, str]) -> str:
    if token in classes:
        return f"[{classes[token]}]"
    if token.startswith("\\") and token[1].isalnum() and token not in _ALIKE:
        raise UnknownPatternError(token)
    return _OUTSIDE.get(token, token)


_OUTSIDE: Final[Mapping[str, str]] = {r"\s": f"[{_SPACES}]", r"\S": f"[^{_SPACES}]", "$": r"\Z"}
_ALIKE: Final = frozenset({r"\d", r"\D", r"\w", r"\W", r"\b", r"\B", *_OUTSIDE})

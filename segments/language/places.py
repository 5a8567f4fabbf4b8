"""Where each part of a tree was written, for messages about what only the workspace knows: names and kinds of values."""

from typing import TypeVar

from segments.language.errors import Span

Part = TypeVar("Part")


class Places:
    """By identity, for equal parts may be written in several places. Leaves, measured values, conditions and steps."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[object, Span, Span]] = {}  # the part itself too: else its id could be another's

    def note(self, part: Part, name: Span, value: Span | None = None) -> Part:
        """The first note of a part stays: what reads a part knows its places better than what reads its surroundings."""
        self._found.setdefault(id(part), (part, name, value or name))
        return part

    def of_name(self, part: object) -> Span | None:
        """The place of the name that the part begins with."""
        return self._found[id(part)][1] if id(part) in self._found else None

    def of_value(self, part: object) -> Span | None:
        """The place of the value that is compared."""
        return self._found[id(part)][2] if id(part) in self._found else None

"""An identifier is a (type, normalised value): the atom of identity. It never splits."""

from dataclasses import dataclass

from cdp.kernel.errors import TesseraError


class IdentifierSyntaxError(TesseraError):
    """An identifier is written TYPE:VALUE, for example `email:ada@example.com` or `crm:id:4711`."""

    code = "identifier_syntax"


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    type: str
    value: str

    @classmethod
    def parse(cls, text: str) -> "Identifier":
        """Read `TYPE:VALUE`. A source's own key has a two-part type: `crm:id:4711` is (`crm:id`, `4711`)."""
        head, separator, rest = text.partition(":")
        if rest.startswith("id:"):
            head, rest = f"{head}:id", rest.removeprefix("id:")
        if not (separator and head and rest):
            raise IdentifierSyntaxError
        return cls(head, rest)

    def __str__(self) -> str:
        return f"{self.type}:{self.value}"

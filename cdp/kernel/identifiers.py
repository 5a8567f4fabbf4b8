"""An identifier is a (type, normalised value): the atom of identity. It never splits."""

from dataclasses import dataclass
from typing import Final

from cdp.kernel.errors import TesseraError

# What names a device or a browser and not whoever uses it, in the words of OpenDSR. Postgres has the same list: a type
# more takes a migration (see consent/migrations/0017_lean_decision.py).
DEVICE_TYPES: Final = frozenset(
    {
        "anonymous_id",
        "android_advertising_id",
        "android_id",
        "fire_advertising_id",
        "ios_advertising_id",
        "ios_vendor_id",
        "microsoft_advertising_id",
        "microsoft_publisher_id",
        "roku_advertising_id",
        "roku_publisher_id",
    }
)


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

    @property
    def is_device(self) -> bool:
        return self.type in DEVICE_TYPES

    def __str__(self) -> str:
        return f"{self.type}:{self.value}"

"""The kinds of destinations there are. A new one is a folder, and a line here."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from activation.destination import Destination
from activation.destinations.opendsr.destination import OpenDsr
from activation.destinations.webhook.destination import Webhook
from cdp.kernel.errors import TesseraError

_MAKERS: Final[Mapping[str, Callable[[Mapping[str, Any], Mapping[str, str]], Destination]]] = {
    Webhook.kind: Webhook,
    OpenDsr.kind: OpenDsr,
}
_EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {Webhook.kind: Webhook.example, OpenDsr.kind: OpenDsr.example}

KINDS: Final = tuple(_MAKERS)


class UnknownKindError(TesseraError):
    """There is no destination of this kind."""

    code = "unknown_destination_kind"


def destination(kind: str, config: Mapping[str, Any], secrets: Mapping[str, str] | None = None) -> Destination:
    """Ready to use. Without secrets it formats and builds, but authorises nothing.

    Raises `DestinationConfigError` where the configuration is wrong.
    """
    _check(kind)
    return _MAKERS[kind](config, secrets or {})


def example(kind: str) -> Mapping[str, Any]:
    """A configuration to start from."""
    _check(kind)
    return _EXAMPLES[kind]


def _check(kind: str) -> None:
    if kind not in _MAKERS:
        raise UnknownKindError(f"There is no destination of kind {kind!r}, but: {', '.join(KINDS)}.")

"""Global Privacy Control: a browser says of its person that their data is not to be sold or shared. Pure."""

from collections.abc import Mapping
from datetime import date
from typing import Final

HEADER: Final = "HTTP_SEC_GPC"  # as WSGI names `Sec-GPC`
ASSERTED: Final = "1"


def is_asserted(header: str | None) -> bool:
    """`1` is the only value that says anything, and it says yes."""
    return header == ASSERTED


def support(last_update: date) -> Mapping[str, bool | str]:
    """What `/.well-known/gpc.json` answers: that this site heeds the signal, and since when."""
    return {"gpc": True, "lastUpdate": last_update.isoformat()}

"""From which address a call comes, where proxies pass it on."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from django.conf import settings

Ip = IPv4Address | IPv6Address


def address_of(environ: Mapping[str, Any]) -> str | None:
    """The address of the caller; None where it cannot be told.

    Anybody can write an `X-Forwarded-For`. Read from its end, each address was written by the one behind it, so it is
    believed only as far as TRUSTED_PROXIES reaches.
    """
    forwarded = [part.strip() for part in environ.get("HTTP_X_FORWARDED_FOR", "").split(",") if part.strip()]
    found = _read(environ.get("REMOTE_ADDR", ""))
    while found and forwarded and _is_trusted(found):
        found = _read(forwarded.pop())
    return str(found) if found else None


def _read(text: str) -> Ip | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _is_trusted(found: Ip) -> bool:
    return any(found in network for network in settings.TRUSTED_PROXIES)

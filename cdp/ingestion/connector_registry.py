"""The kinds of systems that are read from. A new one is a folder, and a line here."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.conf import settings

from cdp.ingestion.connector import Connector, ConnectorConfigError
from cdp.ingestion.connectors.ga4.export import call_of as call_of_ga4
from cdp.ingestion.connectors.hubspot.connector import HubSpot
from cdp.ingestion.connectors.salesforce.connector import Salesforce

_MAKERS: Final[Mapping[str, Callable[[Mapping[str, Any], Mapping[str, str], str], Connector]]] = {
    Salesforce.kind: Salesforce,
    HubSpot.kind: HubSpot,
}
_VENDORS: Final[Mapping[str, type[Connector]]] = {Salesforce.kind: Salesforce, HubSpot.kind: HubSpot}

KINDS: Final = tuple(_MAKERS)

# Exports of systems, read as files: each row as the call that an SDK would have sent.
EXPORTS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {"ga4": call_of_ga4}


def connector(kind: str, config: Mapping[str, Any], secrets: Mapping[str, str]) -> Connector:
    """Ready to use. Raises `ConnectorConfigError`, and `MissingExtraError` where its library is not installed."""
    described(kind)
    return _MAKERS[kind](config, secrets, settings.CONNECTOR_URLS[kind])


def described(kind: str) -> type[Connector]:
    """Its streams, mappings, example and names of secrets, for which no library is needed."""
    if kind not in _VENDORS:
        raise ConnectorConfigError(f"There is no connector of kind {kind!r}, but: {', '.join(KINDS)}.")
    return _VENDORS[kind]

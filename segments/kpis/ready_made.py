"""Figures that most sellers want, to begin with: everyone may change them, and add others."""

from collections.abc import Mapping
from typing import Any, Final

ORDER = {"event": "Order Completed"}
MONEY = {**ORDER, "amount": "revenue", "unit": "EUR"}
DEAL = {"opened": "Opportunity Created", "closed": "Opportunity Closed", "key": "opportunity_id"}

FLOW: Final[Mapping[str, Mapping[str, Any]]] = {
    "size": {"name": "Size", "kind": "SIZE"},
    "entries": {"name": "Entries", "kind": "ENTRIES"},
    "exits": {"name": "Exits", "kind": "EXITS"},
    "retention": {"name": "Retention", "kind": "RETENTION"},
}
B2C: Final[Mapping[str, Mapping[str, Any]]] = {
    "conversion": {"name": "Conversion", "kind": "CONVERSION", **ORDER},
    "average-basket": {"name": "Average basket", "kind": "AVERAGE", **MONEY},
    "revenue": {"name": "Revenue", "kind": "REVENUE", **MONEY},
}
B2B: Final[Mapping[str, Mapping[str, Any]]] = {
    "renewal": {
        "name": "Renewal",
        "kind": "RENEWAL",
        "due": "Contract Due",
        "renewed": "Contract Renewed",
        "key": "contract_id",
    },
    "sales-cycle": {"name": "Sales-cycle length", "kind": "CYCLE", **DEAL},
    "contacts-per-opportunity": {
        "name": "Contacts per opportunity",
        "kind": "CONTACTS",
        **DEAL,
        "contacts": ["Call Logged", "Email Sent", "Meeting Held"],
    },
}
READY_MADE: Final = {**FLOW, **B2C, **B2B}

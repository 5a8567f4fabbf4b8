"""Google Analytics 4 as BigQuery exports it: a row of `events_YYYYMMDD` as the call that an SDK would have sent. Pure.

In JSON all whole numbers are text, in Parquet they are numbers: both give the same call. A row has no id of its own,
and Google may complete the row of a day afterwards, so the message id is made of what tells events apart and stays.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from cdp.ingestion.messages import RefusedEventError

EVENTS: Final[Mapping[str, str]] = {
    "add_payment_info": "Payment Info Entered",
    "add_to_cart": "Product Added",
    "add_to_wishlist": "Product Added to Wishlist",
    "begin_checkout": "Checkout Started",
    "first_open": "Application Installed",
    "login": "Signed In",
    "purchase": "Order Completed",
    "refund": "Order Refunded",
    "remove_from_cart": "Product Removed",
    "search": "Products Searched",
    "select_item": "Product Clicked",
    "select_promotion": "Promotion Clicked",
    "sign_up": "Signed Up",
    "view_cart": "Cart Viewed",
    "view_item": "Product Viewed",
    "view_item_list": "Product List Viewed",
    "view_promotion": "Promotion Viewed",
    "view_search_results": "Products Searched",
}
KINDS: Final[Mapping[str, str]] = {"page_view": "page", "screen_view": "screen"}
PARAMETERS: Final[Mapping[str, str]] = {
    "firebase_screen": "name",
    "page_location": "url",
    "page_referrer": "referrer",
    "page_title": "title",
    "search_term": "query",
    "transaction_id": "order_id",
}
ORDER: Final[Mapping[str, str]] = {
    "transaction_id": "order_id",
    "purchase_revenue": "revenue",
    "refund_value": "refund",
    "shipping_value": "shipping",
    "tax_value": "tax",
}
ITEM: Final[Mapping[str, str]] = {
    "item_id": "product_id",
    "item_name": "name",
    "item_brand": "brand",
    "item_variant": "variant",
    "item_category": "category",
    "item_list_name": "list",
    "promotion_name": "promotion",
    "affiliation": "affiliation",
    "coupon": "coupon",
    "price": "price",
    "quantity": "quantity",
}
KEPT: Final = (
    "privacy_info", "device", "geo", "app_info", "traffic_source", "collected_traffic_source", "platform", "stream_id",
)  # fmt: skip
_TELLS_APART: Final = (
    "stream_id", "user_pseudo_id", "event_timestamp", "event_name", "event_bundle_sequence_id", "batch_page_id",
    "batch_ordering_id", "batch_event_index",
)  # fmt: skip
_KINDS_OF_VALUE: Final = ("string_value", "int_value", "double_value", "float_value")
_NOTHING: Final = ("", "(not set)")
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


def call_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Raises `RefusedEventError` for what is no row of such an export."""
    name = row.get("event_name")
    if not isinstance(name, str) or not name:
        raise RefusedEventError("missing_event_name", "A row of GA4 needs `event_name`.")
    parameters = _values(row.get("event_params"))
    return {
        "type": KINDS.get(name, "track"),
        "messageId": _message_id(row, parameters),
        "event": EVENTS.get(name, name),
        "userId": row.get("user_id"),
        "anonymousId": row.get("user_pseudo_id"),
        "timestamp": _occurred_at(row),
        "properties": _properties(row, parameters),
        "context": _context(row),
    }


def _occurred_at(row: Mapping[str, Any]) -> str:
    try:
        return (_BEGINNING + timedelta(microseconds=int(row["event_timestamp"]))).isoformat()
    except (KeyError, TypeError, ValueError, OverflowError):
        raise RefusedEventError("invalid_timestamp", "`event_timestamp` must be microseconds since 1970.") from None


def _message_id(row: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    parts = [None if row.get(name) is None else str(row[name]) for name in _TELLS_APART]
    told = json.dumps([parts, parameters, _products(row)], sort_keys=True, default=str)
    return "ga4-" + hashlib.sha256(told.encode()).hexdigest()


def _properties(row: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    properties = {PARAMETERS.get(name, name): value for name, value in parameters.items()}
    if isinstance(url := properties.get("url"), str):
        properties["path"] = _path(url)
    properties |= _named(row.get("ecommerce"), ORDER)
    if products := _products(row):
        properties["products"] = products
    return properties


def _path(url: str) -> str:
    try:
        return urlsplit(url).path or "/"
    except ValueError:
        return ""


def _products(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_values(item.get("item_params")) | _named(item, ITEM) for item in _objects(row.get("items"))]


def _context(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in KEPT if row.get(name) not in (None, {}, [])}
    if properties := _values(row.get("user_properties")):
        kept["user_properties"] = properties
    return {"library": {"name": "ga4"}, **kept}


# -- nested values --------------------------------------------------------------------------------------------------


def _values(pairs: object) -> dict[str, Any]:
    """[{key, value: {string_value, int_value, …}}] as a table: of the kinds of value one is set."""
    found = {}
    for pair in _objects(pairs):
        key, kinds = pair.get("key"), pair.get("value")
        if isinstance(key, str) and key and isinstance(kinds, Mapping) and (value := _value(kinds)) is not None:
            found[key] = value
    return found


def _value(kinds: Mapping[str, Any]) -> Any:  # noqa: ANN401  # text or a number
    kind = next((kind for kind in _KINDS_OF_VALUE if kinds.get(kind) is not None), "")
    value = kinds.get(kind)
    return value if kind == "string_value" else _number(value)


def _named(given: object, names: Mapping[str, str]) -> dict[str, Any]:
    """What is said, under our names; GA4 says `(not set)` where it knows nothing."""
    if not isinstance(given, Mapping):
        return {}
    said = {ours: given.get(theirs) for theirs, ours in names.items()}
    return {
        ours: _number(value) if ours == "quantity" else value
        for ours, value in said.items()
        if value is not None and value not in _NOTHING
    }


def _number(value: Any) -> Any:  # noqa: ANN401  # text or a number
    if not isinstance(value, str):
        return value
    try:
        return int(value)
    except ValueError:
        return value


def _objects(given: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(given, Sequence) and not isinstance(given, str):
        yield from (one for one in given if isinstance(one, Mapping))

"""A small export of Google Analytics 4, as BigQuery writes it: as JSON lines (whole numbers are text), or as Parquet."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

STARTED = 1_763_712_000_000_000  # 2025-11-21 08:00 UTC, in microseconds
_VALUE = pa.struct(
    [("string_value", pa.string()), ("int_value", pa.int64()), ("float_value", pa.float64()), ("double_value", pa.float64())]
)  # fmt: skip
_PAIRS = pa.list_(pa.struct([("key", pa.string()), ("value", _VALUE)]))
_ITEM = pa.struct(
    [("item_id", pa.string()), ("item_name", pa.string()), ("item_brand", pa.string()), ("price", pa.float64()),
     ("quantity", pa.int64()), ("item_params", _PAIRS)]
)  # fmt: skip
SCHEMA = pa.schema(
    [
        ("event_date", pa.string()),
        ("event_timestamp", pa.int64()),
        ("event_name", pa.string()),
        ("event_params", _PAIRS),
        ("event_bundle_sequence_id", pa.int64()),
        ("batch_event_index", pa.int64()),
        ("user_id", pa.string()),
        ("user_pseudo_id", pa.string()),
        ("privacy_info", pa.struct([("analytics_storage", pa.string()), ("ads_storage", pa.string())])),
        ("user_properties", _PAIRS),
        ("device", pa.struct([("category", pa.string()), ("language", pa.string())])),
        ("geo", pa.struct([("country", pa.string()), ("city", pa.string())])),
        ("stream_id", pa.string()),
        ("platform", pa.string()),
        ("ecommerce", pa.struct([("transaction_id", pa.string()), ("purchase_revenue", pa.float64())])),
        ("items", pa.list_(_ITEM)),
    ]
)


def parameter(key: str, value: str | float) -> dict[str, Any]:
    kind = {str: "string_value", int: "int_value", float: "double_value"}[type(value)]
    return {
        "key": key,
        "value": {"string_value": None, "int_value": None, "float_value": None, "double_value": None, kind: value},
    }


def row(name: str, second: float, device: str | None = "1234.5678", **more: Any) -> dict[str, Any]:
    parameters = more.pop("parameters", {})
    return {
        "event_date": "20251121",
        "event_timestamp": STARTED + int(second * 1_000_000),
        "event_name": name,
        "event_params": [parameter(key, value) for key, value in parameters.items()],
        "event_bundle_sequence_id": 7,
        "batch_event_index": 1,
        "user_id": None,
        "user_pseudo_id": device,
        "privacy_info": {"analytics_storage": "Yes", "ads_storage": "No"},
        "user_properties": [],
        "device": {"category": "mobile", "language": "fr-fr"},
        "geo": {"country": "France", "city": "Lyon"},
        "stream_id": "1234567890",
        "platform": "WEB",
        "ecommerce": None,
        "items": [],
        **more,
    }


SHOE = {
    "item_id": "SKU_1",
    "item_name": "Shoe",
    "item_brand": "(not set)",
    "price": 49.5,
    "quantity": 2,
    "item_params": [],
}
DAY = [
    row("session_start", 0, parameters={"ga_session_id": 99}),
    row("page_view", 1, parameters={"page_location": "https://shop.example/shoes?x=1", "page_title": "Shoes"}),
    row("view_item", 2, parameters={"currency": "EUR", "value": 49.5}, items=[SHOE]),
    row("add_to_cart", 3, items=[SHOE], user_id="ada"),
    row(
        "purchase", 4.25, user_id="ada", items=[SHOE], parameters={"currency": "EUR", "value": 99.0},
        ecommerce={"transaction_id": "T-1", "purchase_revenue": 99.0},
        user_properties=[parameter("plan", "gold")],
    ),
    row("newsletter_opened", 5),
    row("newsletter_opened", 5, batch_event_index=2),
    row("page_view", 6, device=None),  # of somebody who refused: there is no id
]  # fmt: skip


def write_json(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(_with_numbers_as_text(one)) + "\n" for one in rows))
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    return path


def _with_numbers_as_text(value: Any) -> Any:
    """As BigQuery exports INT64, and leaves out what is null."""
    if isinstance(value, dict):
        return {name: _with_numbers_as_text(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_with_numbers_as_text(inner) for inner in value]
    return str(value) if isinstance(value, int) else value

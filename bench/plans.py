"""Which engine checks tracking plans: jsonschema-rs, which Tessera uses, against msgspec with types of the same rules.

One rule of a usual size on one thread. The third engine, jsonschema in Python, is what most projects take. Besides, what
the check of an arriving event costs in all, beside reading and checking the event itself.
"""

import json
from collections.abc import Callable
from typing import Annotated, Any

import jsonschema
import jsonschema_rs
import msgspec
from msgspec import Meta

from bench import harness

EVENTS = 20_000
SLOW_EVENTS = 2_000  # for the engine in Python

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["order_id", "revenue", "currency", "products"],
    "properties": {
        "order_id": {"type": "string", "minLength": 1, "maxLength": 64},
        "revenue": {"type": "number", "minimum": 0},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "coupon": {"type": ["string", "null"]},
        "products": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["sku", "price", "quantity"],
                "properties": {
                    "sku": {"type": "string"},
                    "price": {"type": "number", "minimum": 0},
                    "quantity": {"type": "integer", "minimum": 1},
                },
            },
        },
    },
}


class Product(msgspec.Struct):
    sku: str
    price: Annotated[float, Meta(ge=0)]
    quantity: Annotated[int, Meta(ge=1)]


class Order(msgspec.Struct):
    order_id: Annotated[str, Meta(min_length=1, max_length=64)]
    revenue: Annotated[float, Meta(ge=0)]
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    products: list[Product]
    coupon: str | None = None


def run() -> dict[str, Any]:
    good, bad = [_order(number) for number in range(EVENTS)], [_order(number, "?") for number in range(EVENTS)]
    sent = [_call(order) for order in good]
    rust = jsonschema_rs.Draft202012Validator(SCHEMA, pattern_options=jsonschema_rs.RegexOptions())
    python = jsonschema.Draft202012Validator(SCHEMA)
    figures = {
        "good_per_second": _rate(lambda: [rust.is_valid(one) for one in good]),
        "bad_per_second_all_errors": _rate(lambda: [list(rust.iter_errors(one)) for one in bad]),
        "arriving_events_with_a_plan_per_second": _rate(lambda: _arrive(sent, SCHEMA)),
        "arriving_events_without_a_plan_per_second": _rate(lambda: _arrive(sent, None)),
    }
    baseline = {
        "good_per_second": _rate(lambda: [msgspec.convert(one, Order) for one in good]),
        "bad_per_second_first_error": _rate(lambda: [_first_error(one) for one in bad]),
        "jsonschema_in_python_good_per_second": _rate(
            lambda: [python.is_valid(one) for one in good[:SLOW_EVENTS]], of=SLOW_EVENTS
        ),
    }
    return {
        "name": "plans",
        "what": f"checks of single events, {EVENTS} with three products each, one thread; baseline: msgspec.convert",
        "figures": figures,
        "baseline": baseline,
        "ratio": figures["good_per_second"] / baseline["good_per_second"],
    }


def _rate(work: Callable[[], object], of: int = EVENTS) -> float:
    return of / harness.best_seconds(work)


def _order(number: int, price: object = 19.9) -> dict[str, Any]:
    products = [{"sku": f"sku-{number}-{place}", "price": price, "quantity": place + 1} for place in range(3)]
    return {"order_id": f"o-{number}", "revenue": 59.7, "currency": "EUR", "coupon": None, "products": products}


def _first_error(values: dict[str, Any]) -> str:
    try:
        msgspec.convert(values, Order)
    except msgspec.ValidationError as error:
        return str(error)
    raise AssertionError("an order with a wrong price passed")


def _call(order: dict[str, Any]) -> bytes:
    return json.dumps({"type": "track", "event": "Order", "userId": order["order_id"], "properties": order}).encode()


def _arrive(sent: list[bytes], schema: dict[str, Any] | None) -> None:
    """Reading, the checks of every event, and the plan if there is one: what happens before the batch is written."""
    from cdp.ingestion import messages, plan_check

    plan = (
        plan_check.compile_plan({"rules": [{"kind": "track", "event": "Order", "schema": schema}]}) if schema else None
    )
    for raw in sent:
        call, _ = messages.checked_call(raw, kind=None, shared={})
        if plan:
            plan.apply(messages.said(call))

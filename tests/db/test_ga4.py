"""Exports of Google Analytics 4: exact counts, the meaning of a row, and that a second import adds none."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from hypothesis import given
from hypothesis import strategies as st

from cdp.ingestion.connectors.ga4.export import call_of
from cdp.ingestion.messages import RefusedEventError
from cdp.ingestion.rows import event_fact
from cdp.management.commands import load as load_command
from cdp.models import Event, Identifier, QuarantinedItem, SourceKind
from tests.factories import SourceFactory
from tests.factories.ga4 import DAY, SHOE, row, write_json, write_parquet

BEGAN = datetime(2025, 11, 21, 8, tzinfo=UTC)
WRITERS = {"events_20251121.jsonl": write_json, "events_20251121.parquet": write_parquet}


@pytest.fixture
def load(workspace, capsys):
    SourceFactory(workspace=workspace, name="ga4", kind=SourceKind.GA4)

    def run(path):
        call_command(
            load_command.Command(), "events", str(path), "--source", "ga4", "--format", "ga4", "--workspace",
            workspace.slug, "--json",
        )  # fmt: skip
        return json.loads(capsys.readouterr().out)

    return run


def written(tmp_path, name, rows=DAY):
    return WRITERS[name](tmp_path / name, rows)


@pytest.mark.parametrize("name", WRITERS)
def test_export__has_exact_counts_and_a_second_import_adds_none(name, load, tmp_path):
    path = written(tmp_path, name)

    first, again = load(path), load(path)

    assert first == {"read": 8, "accepted": 7, "duplicates": 0, "quarantined": 1}
    assert again == {"read": 8, "accepted": 0, "duplicates": 7, "quarantined": 1}
    assert Event.objects.count() == 7
    assert {str(one) for one in Identifier.objects.all()} == {"anonymous_id:1234.5678", "user_id:ada"}
    assert list(QuarantinedItem.objects.values_list("place", "code")) == [(f"{name}:8", "missing_identity")]


def test_export__in_both_forms__is_the_same_events(load, tmp_path):
    load(written(tmp_path, "events_20251121.jsonl"))

    counts = load(written(tmp_path, "events_20251121.parquet"))

    assert counts["duplicates"] == 7
    assert Event.objects.count() == 7


def test_export__that_google_completed_afterwards__adds_only_what_is_new(load, tmp_path):
    load(written(tmp_path, "events_20251121.jsonl"))
    completed = [{**one, "collected_traffic_source": {"manual_source": "newsletter"}} for one in DAY]

    counts = load(written(tmp_path, "events_20251121.jsonl", [*completed, row("refund", 60)]))

    assert (counts["accepted"], counts["duplicates"]) == (1, 7)


def test_purchase__is_an_order_with_its_products(load, tmp_path):
    load(written(tmp_path, "events_20251121.parquet"))

    order = Event.objects.get(name="Order Completed")

    assert order.occurred_at == BEGAN + timedelta(seconds=4.25)
    assert str(order.identifier) == "user_id:ada"
    assert order.properties == {
        "currency": "EUR", "value": 99.0, "order_id": "T-1", "revenue": 99.0,
        "products": [{"product_id": "SKU_1", "name": "Shoe", "price": 49.5, "quantity": 2}],
    }  # fmt: skip
    assert order.context["privacy_info"] == {"analytics_storage": "Yes", "ads_storage": "No"}
    assert order.context["user_properties"] == {"plan": "gold"}


def test_page_view__is_a_page(load, tmp_path):
    load(written(tmp_path, "events_20251121.jsonl"))

    page = Event.objects.get(kind="page")

    assert page.properties == {"url": "https://shop.example/shoes?x=1", "path": "/shoes", "title": "Shoes"}
    assert page.context["geo"] == {"country": "France", "city": "Lyon"}


def test_event__without_a_name_of_ours__keeps_its_own(load, tmp_path):
    load(written(tmp_path, "events_20251121.jsonl"))

    assert Event.objects.filter(name="newsletter_opened").count() == 2


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"event_name": None}, "missing_event_name"),
        ({"event_timestamp": None}, "invalid_timestamp"),
        ({"event_timestamp": "yesterday"}, "invalid_timestamp"),
        ({"event_timestamp": 10**30}, "invalid_timestamp"),
    ],
)
def test_row__that_is_none_of_an_export__is_refused(wrong, code):
    with pytest.raises(RefusedEventError) as raised:
        call_of({**row("purchase", 0), **wrong})

    assert raised.value.reason == code


def test_number__as_text__is_a_number_and_text_stays_text():
    told = row("view_item", 0, items=[{**SHOE, "quantity": "2"}])
    told["event_params"] = [
        {"key": "ga_session_number", "value": {"int_value": "3"}},
        {"key": "postcode", "value": {"string_value": "01000"}},
    ]

    properties = call_of(told)["properties"]

    assert (properties["ga_session_number"], properties["postcode"]) == (3, "01000")
    assert properties["products"][0]["quantity"] == 2


odd = st.sampled_from([None, True, 0, 1.5, "", "x", "7", [], {}, [[]], [{}], {"key": "x"}, {"key": 1, "value": 2}])
pairs = st.lists(
    st.fixed_dictionaries({}, optional={"key": odd, "value": odd, "item_id": odd, "quantity": odd}), max_size=2
)
anything = odd | pairs | st.fixed_dictionaries({}, optional={"transaction_id": odd, "tax_value": odd})
NESTED = ("event_params", "items", "ecommerce", "user_properties", "device", "privacy_info")


@given(parts=st.fixed_dictionaries(dict.fromkeys(NESTED, anything)))
def test_row__whatever_is_nested_in_it__is_an_event_that_is_kept(parts):
    call = call_of({**row("purchase", 0), **parts})

    fact = event_fact(call, None, source_id=7, region="", has_types=True, now=BEGAN)

    assert (fact.name, fact.nodes, fact.occurred_at) == ("Order Completed", (("anonymous_id", "1234.5678"),), BEGAN)
    assert call == call_of({**row("purchase", 0), **parts})

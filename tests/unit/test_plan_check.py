"""A plan says which events pass, what is left out, and where a schema is wrong."""

import time

import pytest

from cdp.ingestion.plan_check import (
    LARGEST_PLAN_BYTES,
    LONGEST_PLACE,
    MOST_SENDERS_NAMES,
    Action,
    PlanError,
    Violation,
    compile_plan,
)

ORDER = {
    "type": "object",
    "required": ["order_id"],
    "additionalProperties": False,
    "properties": {
        "order_id": {"type": "string"},
        "revenue": {"type": "number", "minimum": 0},
        "tags": {"type": "array", "items": {"type": "string"}},
        "products": {
            "type": "array",
            "items": {"type": "object", "required": ["price"], "properties": {"price": {"type": "number"}}},
        },
    },
}
BROKEN = {"order_id": "o-1", "revenue": "ada@example.com", "tags": ["new", 3], "products": [{"price": "x", "sku": 1}]}


def plan(schema=ORDER, action="WARN", **more):
    return compile_plan(
        {"rules": [{"kind": "track", "event": "Order", "on_violation": action, "schema": schema}], **more}
    )


def track(properties, event="Order"):
    return {"type": "track", "event": event, "userId": "ada", "properties": properties}


def found(verdict):
    return [(one.path, one.keyword) for one in verdict.violations]


# -- verdicts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["BLOCK", "OMIT", "WARN"])
def test_event__that_keeps_to_its_rule__is_handed_back_itself(action):
    event = track({"order_id": "o-1", "revenue": 9.5})

    verdict = plan(action=action).apply(event)

    assert verdict.event is event
    assert verdict.violations == ()


def test_warn__keeps_the_event_and_names_each_place_once():
    event = track({**BROKEN, "products": [{"price": "x"}, {"price": "y"}, {}]})

    verdict = plan().apply(event)

    assert verdict.event is event
    assert sorted(found(verdict)) == [
        ("/products/*/price", "required"), ("/products/*/price", "type"), ("/revenue", "type"), ("/tags/*", "type"),
    ]  # fmt: skip
    assert Violation("track Order", "/products/*/price", "type", Action.WARN) in verdict.violations


def test_block__refuses_and_says_where_without_a_value():
    verdict = plan(action="BLOCK").apply(track({"order_id": "o-1", "revenue": "ada@example.com"}))

    assert (verdict.event, verdict.code) == (None, "plan_violation")
    assert verdict.reason == '`/revenue` breaks `type` of the tracking plan: the value is not of type "number".'
    assert found(verdict) == [("/revenue", "type")]


def test_block__of_several_mistakes__names_the_first_and_counts_the_others():
    verdict = plan(action="BLOCK").apply(track({"colour": "red"}))

    assert verdict.reason.endswith("And 1 more.")
    assert sorted(found(verdict)) == [("/colour", "additionalProperties"), ("/order_id", "required")]


def test_omit__leaves_the_innermost_property_out_and_touches_nothing_else():
    event = track({**BROKEN, "colour": "red"})

    verdict = plan(action="OMIT").apply(event)

    assert verdict.event == track({"order_id": "o-1", "products": [{"sku": 1}]})
    assert event == track({**BROKEN, "colour": "red"}), "the event as it came is the caller's"


def test_omit__cannot_mend_what_is_missing():
    verdict = plan(action="OMIT").apply(track({"revenue": 1}))

    assert verdict.event == track({"revenue": 1})
    assert found(verdict) == [("/order_id", "required")]


def test_omit__of_a_rule_about_the_whole__leaves_the_event_as_it_is():
    verdict = plan({"minProperties": 2}, "OMIT").apply(track({"a": 1}))

    assert verdict.event == track({"a": 1})
    assert found(verdict) == [("", "minProperties")]


def test_identify__is_checked_by_its_traits_wherever_they_are_sent():
    rule = {"kind": "identify", "on_violation": "OMIT", "schema": {"properties": {"age": {"type": "integer"}}}}
    event = {"type": "identify", "userId": "ada", "traits": {"city": "Paris"}, "context": {"traits": {"age": "old"}}}

    verdict = compile_plan({"rules": [rule]}).apply(event)

    assert verdict.event == {
        "type": "identify",
        "userId": "ada",
        "traits": {"city": "Paris"},
        "context": {"traits": {}},
    }


def test_other_kinds__have_one_rule_whatever_their_name():
    checked = compile_plan({"rules": [{"kind": "page", "schema": {"required": ["url"]}}]})

    assert found(checked.apply({"type": "page", "name": "Home"})) == [("/url", "required")]
    assert found(checked.apply({"type": "screen", "name": "Home"})) == []


# -- events without a rule ------------------------------------------------------------------------------------------


def test_unplanned__is_allowed_unless_the_plan_says_otherwise():
    assert plan().apply(track({}, "Other")).violations == ()
    refused = plan(unplanned="BLOCK").apply(track({}, "Other"))

    assert (refused.event, refused.code) == (None, "unplanned_event")
    assert refused.violations == [Violation("track Other", "", "unplanned", Action.BLOCK)]
    assert plan(unplanned="BLOCK").apply({"type": "page"}).violations[0].event == "page"


# -- what is counted is bounded and holds nobody's data ---------------------------------------------------------------


def test_names_of_the_sender__are_told_apart_only_as_long_as_they_are_few():
    checked = plan()
    names = [f"extra_{number}" for number in range(MOST_SENDERS_NAMES + 20)]

    places = [found(checked.apply(track({"order_id": "o", name: 1})))[0][0] for name in names]

    assert len(set(places)) == MOST_SENDERS_NAMES + 1
    assert places[0] == "/extra_0"
    assert places[-1] == "/*"
    assert found(checked.apply(track({"order_id": "o", "extra_0": 1}))) == [("/extra_0", "additionalProperties")]


@pytest.mark.parametrize("name", ["ada@example.com", "+33 6 12 34 56 78", "a/b", "", "é" * 3, "x" * 65])
def test_names_of_the_sender__that_look_like_data__are_not_told(name):
    assert found(plan().apply(track({"order_id": "o", name: 1}))) == [("/*", "additionalProperties")]


def test_names_of_events__that_look_like_data__are_not_told():
    refused = plan(unplanned="BLOCK").apply(track({}, "mail to ada@example.com"))

    assert refused.violations[0].event == "track *"


def nested(depth):
    outer = inner = []
    for _ in range(depth):
        inner.append([])
        inner = inner[0]
    return outer


@pytest.mark.parametrize(
    ("schema", "value"), [({"uniqueItems": True}, [nested(700), nested(700)]), ({"const": 1}, nested(700))]
)
def test_values__that_are_nested_too_deeply_for_the_engine__are_a_violation(schema, value):
    verdict = plan({"properties": {"a": schema}}, "BLOCK").apply(track({"a": value}))

    assert (verdict.event, found(verdict)) == (None, [("", "depth")])
    assert verdict.reason == "`/` breaks `depth` of the tracking plan: the values are nested too deeply to be checked."


def test_place__that_is_long__is_cut():
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    for _ in range(20):
        schema = {"properties": {"a_rather_long_name": schema}}
    value = 1
    for _ in range(20):
        value = {"a_rather_long_name": value}

    ((place, keyword),) = found(plan(schema).apply(track({**value})))

    assert (len(place), place[-1], keyword) == (LONGEST_PLACE, "…", "type")


# -- schemas of users -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "place", "told"),
    [
        ({"properties": {"a": {"minimum": "x"}}}, "rules[0].schema.properties.a.minimum", 'not of type "number"'),
        ({"type": "objct"}, "rules[0].schema.type", "not valid"),
        ({"pattern": "(?=a)b"}, "rules[0].schema.pattern", "looks around"),
        ({"pattern": r"(a)\1"}, "rules[0].schema.pattern", "refers back"),
        ({"pattern": "[a"}, "rules[0].schema.pattern", "no regular expression"),
        ({"pattern": "(a{1000}){1000}"}, "rules[0].schema.pattern", "too large"),
        ({"format": "colour"}, "rules[0].schema.format", "Unknown format"),
        ({"$ref": "https://example.com/schema"}, "rules[0].schema.$ref", "its own schema alone"),
        ({"$ref": "other.json"}, "rules[0].schema.$ref", "its own schema alone"),
        ({"$ref": "#/$defs/nothing"}, "rules[0].schema", "does not exist"),
        ({"$ref": "#"}, "rules[0].schema", "recursive"),
        ({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}, "rules[0].schema", "recursive"),
        ({"$id": "https://example.com/"}, "rules[0].schema", "not supported"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "rules[0].schema.$schema", "2020-12"),
        ({"const": "\x00"}, "", "NUL"),
        ({"const": "\ud800"}, "", "surrogate"),
        ({"const": float("nan")}, "", "NaN"),
    ],
)  # fmt: skip
def test_schema__that_cannot_be_used__is_refused_with_its_place(schema, place, told):
    with pytest.raises(PlanError) as refused:
        plan(schema)

    assert refused.value.details["place"] == place
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], 'not of type "object"'),
        ({}, '"rules" is a required property'),
        ({"rules": [], "unplanned": "no"}, "unplanned: "),
        ({"rules": [{"kind": "click", "schema": {}}]}, "rules[0].kind: "),
        ({"rules": [{"kind": "track", "schema": {}}]}, 'rules[0]: "event" is a required property'),
        ({"rules": [{"kind": "page", "event": "Home", "schema": {}}]}, "rules[0].event: "),
        ({"rules": [{"kind": "page", "schema": {}}] * 2}, "rules[1]: There is a rule for this event already."),
        ({"rules": [{"kind": "page", "schema": {"const": "x" * LARGEST_PLAN_BYTES}}]}, "at most 262144 bytes"),
    ],
)
def test_document__that_is_no_plan__is_refused_with_its_place(document, told):
    with pytest.raises(PlanError) as refused:
        compile_plan(document)

    assert told in refused.value.message


def test_document__that_is_nested_without_end__is_refused():
    schema = {}
    for _ in range(5_000):
        schema = {"items": schema}

    with pytest.raises(PlanError, match="levels deep"):
        plan(schema)


def test_schema__that_grows_by_references__is_refused_before_it_costs_anything():
    """Each name stands for two of the one before: 2 to the 40th checks for one event."""
    definitions = {"a0": {"type": "string"}}
    for number in range(1, 41):
        definitions[f"a{number}"] = {"allOf": [{"$ref": f"#/$defs/a{number - 1}"}] * 2}
    began = time.perf_counter()

    with pytest.raises(PlanError, match="subschemas"):
        plan({"$defs": definitions, "$ref": "#/$defs/a40"})

    assert time.perf_counter() - began < 1


def test_pattern__that_would_backtrack_without_end__is_checked_at_once():
    checked = plan({"properties": {"a": {"pattern": "^(a+)+$"}}})
    began = time.perf_counter()

    assert found(checked.apply(track({"a": "a" * 30_000 + "!"}))) == [("/a", "pattern")]
    assert time.perf_counter() - began < 1


def test_property__may_be_called_as_a_keyword_is():
    checked = plan({"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}}})

    assert found(checked.apply(track({"$ref": 1}))) == [("/$ref", "type")]


def test_definitions__may_be_shared_within_a_rule():
    checked = plan({"$defs": {"money": {"type": "number"}}, "properties": {"tax": {"$ref": "#/$defs/money"}}})

    assert found(checked.apply(track({"tax": "x"}))) == [("/tax", "type")]

"""A draft of a plan says what was seen, and no more."""

from cdp.ingestion.plan_proposal import FEW, MOST_PROPERTIES, propose


def rule_of(*values, kind="track", name="Order", times=FEW):
    (rule,) = propose((kind, name, one) for one in values for _ in range(times))["rules"]
    return rule


def schema_of(*values):
    return rule_of(*values)["schema"]


def test_types__are_those_that_were_seen():
    schema = schema_of({"a": 1, "b": 1, "c": None, "d": True, "e": [1, "x"]}, {"a": 1.5, "b": "x", "c": "x"})

    assert schema["properties"] == {
        "a": {"type": "number"}, "b": {"type": ["integer", "string"]}, "c": {"type": ["null", "string"]},
        "d": {"type": "boolean"}, "e": {"type": "array", "items": {"type": ["integer", "string"]}},
    }  # fmt: skip
    assert schema["required"] == ["a", "b", "c"]


def test_empty_list__says_nothing_of_its_items():
    assert schema_of({"a": []})["properties"] == {"a": {"type": "array"}}


def test_texts__that_are_all_times__have_their_format():
    schema = schema_of(
        {"at": "2026-11-25T10:00:00Z", "on": "2026-11-25T10:00:00Z"}, {"at": "2026-11-25T10:00:00+01:00", "on": "?"}
    )

    assert schema["properties"] == {"at": {"type": "string", "format": "date-time"}, "on": {"type": "string"}}


def test_objects__are_looked_into_until_some_depth():
    deep = {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}

    schema, depth = schema_of(deep), 0
    while "properties" in schema:
        schema, depth = schema["properties"]["a"], depth + 1

    assert (depth, schema) == (4, {"type": "object"})


def test_object__with_too_many_names__is_a_map_and_its_names_are_data():
    schema = schema_of({"by_customer": {f"c{number}": 1 for number in range(MOST_PROPERTIES + 1)}})

    assert schema["properties"] == {"by_customer": {"type": "object"}}


def test_few_events__require_nothing():
    assert "required" not in rule_of({"a": 1}, times=FEW - 1)["schema"]
    assert rule_of({"a": 1})["schema"]["required"] == ["a"]


def test_kinds__have_rules_of_their_own_without_what_storing_added():
    proposed = propose(
        [("page", "Home", {"name": "Home", "url": "/"}), ("group", "group", {"groupId": "g", "plan": "x"})]
    )

    assert [(rule["kind"], rule.get("event"), list(rule["schema"]["properties"])) for rule in proposed["rules"]] == [
        ("group", None, ["plan"]), ("page", None, ["url"]),
    ]  # fmt: skip


def test_names_of_events__that_no_rule_could_have__are_left_out():
    assert propose([("track", "x" * 201, {})])["rules"] == []

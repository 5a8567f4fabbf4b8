"""Laws of tracking plans, for whatever a sender sends."""

import contextlib
import copy

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from cdp.ingestion.messages import KINDS
from cdp.ingestion.plan_check import PlanError, compile_plan
from cdp.ingestion.plan_proposal import FEW, propose

NAMES = st.sampled_from(["a", "b", "price", "items", "x y", "$ref"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("ab é", max_size=3)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=12
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)

TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
SCHEMAS = st.recursive(
    st.fixed_dictionaries({"type": TYPES}),
    lambda inner: (
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(NAMES, inner, max_size=3)},
            optional={"additionalProperties": st.just(False)},
        )
        | st.fixed_dictionaries({"type": st.just("array"), "items": inner})
    ),
    max_leaves=8,
)
RULES = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(NAMES, SCHEMAS, max_size=4)},
    optional={"additionalProperties": st.just(False)},
)


def event_of(properties):
    return {"type": "track", "event": "Order", "properties": properties}


def plan_of(schema, action):
    return compile_plan({"rules": [{"kind": "track", "event": "Order", "on_violation": action, "schema": schema}]})


@given(schema=RULES, properties=OBJECTS)
def test_omit__always_leaves_an_event_that_keeps_to_its_rule(schema, properties):
    event = event_of(properties)
    before = copy.deepcopy(event)

    verdict = plan_of(schema, "OMIT").apply(event)

    assert Draft202012Validator(schema).is_valid(verdict.event["properties"])
    assert event == before


@given(schema=RULES, properties=OBJECTS)
def test_actions__always_agree_on_what_was_broken(schema, properties):
    verdicts = {action: plan_of(schema, action).apply(event_of(properties)) for action in ("BLOCK", "OMIT", "WARN")}

    is_kept = Draft202012Validator(schema).is_valid(properties)
    assert len({tuple((one.path, one.keyword) for one in verdict.violations) for verdict in verdicts.values()}) == 1
    assert not verdicts["WARN"].violations if is_kept else verdicts["WARN"].violations
    assert (verdicts["BLOCK"].event is None) is not is_kept
    assert verdicts["WARN"].event == event_of(properties)


WORDS = st.sampled_from(
    ["type", "properties", "items", "$ref", "$defs", "required", "pattern", "format", "enum", "const", "allOf", "not", "if",
     "minimum", "multipleOf", "maxLength", "patternProperties", "additionalProperties", "$schema", "$id", "dependentRequired",
     "prefixItems", "contains", "uniqueItems", "propertyNames", "a"]
)  # fmt: skip
TEXTS = st.sampled_from(
    ["string", "object", "#", "#/$defs/a", "#/a/0", "email", "regex", "(", "^a+$", "\x00", "\ud800", "10/0"]
)
LEAVES = SCALARS | TEXTS | st.just(10**400) | st.just(float("nan"))
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=15
)


@settings(max_examples=300)
@given(
    schema=st.dictionaries(WORDS, ANYTHING, max_size=5), properties=OBJECTS, action=st.sampled_from(["OMIT", "BLOCK"])
)
def test_schema__whatever_it_is__is_used_or_refused_with_an_error(schema, properties, action):
    try:
        checked = plan_of(schema, action)
    except PlanError:
        return
    verdict = checked.apply(event_of(properties))
    assert verdict.violations or verdict.event == event_of(properties)


@given(ANYTHING)
def test_document__whatever_it_is__is_used_or_refused_with_an_error(document):
    with contextlib.suppress(PlanError):
        assert compile_plan(document).rules is not None


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS - {"track"})) | st.just("track"), NAMES, OBJECTS), max_size=8))
def test_proposal__always_accepts_the_events_that_it_was_made_from(seen):
    events = [(kind, name, values) for kind, name, values in seen for _ in range(FEW)]

    proposed = compile_plan(propose(events))

    for kind, name, values in seen:
        place = "traits" if kind in {"identify", "group", "alias"} else "properties"
        assert proposed.apply({"type": kind, "event": name, place: values}).violations == ()

"""Mends: each operation does what it says, touches nothing else, and never fails whatever it meets."""

import json
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.ingestion import mending
from cdp.ingestion.mending import MISSING, Difference, MendError, Operation, differences, parse_mend, read_mend

ITEM = {"type": "track", "user": 42, "properties": {"price": "EUR 4,50", "at": "03/04/2026", "tags": ["a", "b"]}}


def mended(text, item=ITEM):
    return read_mend(text).mended(item)


@pytest.mark.parametrize(
    ("operation", "path", "value"),
    [
        ("{set: userId, value: [1]}", "userId", [1]),
        ("{set: context.page.url, value: x}", "context.page.url", "x"),
        ("{set: user.name, value: x}", "user", 42),
        ("{set: properties.tags.1, value: c}", "properties.tags", ["a", "c"]),
        ("{set: properties.tags.2, value: c}", "properties.tags", ["a", "b"]),
        ("{default: user, value: 1}", "user", 42),
        ("{default: event, value: Viewed}", "event", "Viewed"),
        ("{rename: user, to: userId}", "userId", 42),
        ("{rename: user, to: properties.user}", "properties.user", 42),
        ("{rename: properties, to: user.properties}", "properties.price", "EUR 4,50"),
        ("{rename: absent, to: user}", "user", 42),
        ("{copy: user, to: userId}", "userId", 42),
        ("{remove: properties.tags.0}", "properties.tags", ["b"]),
        ("{to_text: user}", "user", "42"),
        ("{to_text: properties}", "type", "track"),
        ("{to_number: properties.price}", "properties.price", "EUR 4,50"),
        ("{truncate: properties.price, length: 3}", "properties.price", "EUR"),
        ("{truncate: properties.tags, length: 1}", "properties.tags", ["a"]),
        ("{parse_date: properties.at, format: '%d/%m/%Y'}", "properties.at", "2026-04-03T00:00:00+00:00"),
        ("{parse_date: properties.at, format: '%Y'}", "properties.at", "03/04/2026"),
        ("{replace: properties.price, find: '^EUR *', with: ''}", "properties.price", "4,50"),
        (r"{replace: properties.at, find: '(\d+)/(\d+)/(\d+)', with: '\3-\2-\1'}", "properties.at", "2026-04-03"),
        ("{replace: user, find: '4', with: ''}", "user", 42),
        ("{set: type, value: page, when: {path: type, is: track}}", "type", "page"),
        ("{set: type, value: page, when: {path: user, is: '42'}}", "type", "track"),
        ("{set: type, value: page, when: {path: userId, exists: false}}", "type", "page"),
        ("{set: type, value: page, when: {path: properties.price, matches: '^USD'}}", "type", "track"),
        ("{set: type, value: page, when: {path: properties.price, matches: 'EUR'}}", "type", "page"),
    ],
)
def test_operation__changes_what_is_at_its_path(operation, path, value):
    before = deepcopy(ITEM)

    after = mended(f"- {operation}")

    assert mending.get(after, tuple(path.split("."))) == value
    assert before == ITEM


@pytest.mark.parametrize(
    ("text", "number"),
    [("12", 12), ("-3", -3), ("4,50", 4.5), ("4.50", 4.5), ("1 234,5", 1234.5), ("\u202f7", 7)]
    + [(text, text) for text in ("", "a", "1.2.3", "0x10", "1e5", "1" * 400, "١٢,")],
)
def test_to_number__reads_what_people_write(text, number):
    after = read_mend("- {to_number: n}").mended({"n": text})["n"]

    assert (after, type(after)) == (number, type(number))


def test_path__with_dots_in_a_name__is_a_pointer():
    assert mended("- {rename: /a.b~1c, to: x}", {"a.b/c": 1}) == {"x": 1}


def test_rename__takes_the_old_name_away():
    assert "user" not in mended("- {rename: user, to: userId}")


def test_text__is_mended_before_it_is_read():
    mend = read_mend("- {text: ',}', with: '}'}\n- {set: a, value: 2}")

    assert (mend.mended_text('{"a": 1,}'), mend.mended({"a": 1})) == ('{"a": 1}', {"a": 2})


def test_values__are_those_of_json():
    mend = read_mend('- {set: a, value: 2026-01-02}\n- {set: b, value: yes}\n- {set: c, value: "x\\0"}')

    assert mend.mended({}) == {"a": "2026-01-02", "b": True, "c": "x\ufffd"}
    assert parse_mend(json.loads(json.dumps(mend.written))) == mend


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1", "list of operations"),
        ("- 3", "Operation 1: it is no table"),
        ("- {set: a, value: 1}\n- {sett: a}", "Operation 2: it must have one of"),
        ("- {set: a, copy: b, to: c}", "must have one of"),
        ("- {set: a}", "`set` takes `value`"),
        ("- {remove: a, value: 1}", "`remove` takes nothing"),
        ("- {remove: ''}", "a path is text"),
        ("- {remove: [a]}", "a path is text"),
        ("- {rename: a, to: a.b}", "neither holds the other"),
        ("- {copy: a.b, to: a}", "neither holds the other"),
        ("- {truncate: a, length: -1}", "`length` is a number"),
        ("- {truncate: a, length: true}", "`length` is a number"),
        ("- {parse_date: a, format: x}", "`format` is one of strptime"),
        ("- {replace: a, find: '(', with: ''}", "no pattern of RE2"),
        ("- {replace: a, find: '(?=a)', with: ''}", "no pattern of RE2"),
        ("- {replace: a, find: 'a*', with: ''}", "empty text"),
        ("- {replace: a, find: 'a', with: '\\1'}", "group"),
        ("- {replace: a, find: a, with: 3}", "`with` is text"),
        (f"- {{replace: a, find: a, with: {'x' * 201}}}", "`with` is text"),
        (f"- {{replace: a, find: {'x' * 1_001}, with: a}}", "a pattern is text"),
        ("- {text: a, with: b, when: 1}", "`text` takes"),
        ("- {text: a, with: '\\2'}", "group"),
        ("- {remove: a, when: {path: a}}", "`when` is a table"),
        ("- {remove: a, when: {path: a, exists: 3}}", "`exists` is true or false"),
        ("- {remove: a, when: {path: a, like: 3}}", "`when` is a table"),
        ("- {remove: a, when: {path: a, matches: '('}}", "no pattern"),
        ("- &x [*x]", "aliases"),
        ("- {remove: a", "no YAML at line 1"),
        ("[" * 600, "no YAML"),
        ('- {set: a, value: "\\ud800"}', "JSON"),
        ("- {remove: a}\n" * 51, "at most 50"),
        ("- {copy: a, to: b}\n" * 11, "at most 10"),
        ("#" * 20_001, "at most 20000"),
    ],
)
def test_mend__that_is_none__says_what_is_wrong(text, said):
    with pytest.raises(MendError) as refused:
        read_mend(text)

    assert said in refused.value.message


def test_mend__in_json__keeps_characters_beyond_the_first_plane():
    assert read_mend(json.dumps([{"set": "a", "value": "😀"}])).mended({}) == {"a": "😀"}


def test_mend__when_written__is_the_same_mend():
    mend = read_mend("- {to: userId, rename: user, when: {path: a, is: 1}}\n- {with: '', text: ',}'}")

    written = mending.write_mend(mend.written)

    assert [line.split(":")[0] for line in written.splitlines()] == ["- rename", "  to", "  when", "- {text"]
    assert read_mend(written) == mend


def test_mend__of_nothing__changes_nothing():
    assert read_mend("").mended(ITEM) is ITEM


def test_text__that_would_grow_without_end__stays_as_it_was():
    grow = "- {replace: a, find: x, with: " + "x" * 200 + "}\n"

    after = read_mend(grow * 5).mended({"a": "x" * 1_000})

    assert len(after["a"]) == 200_000


def test_pattern__that_would_take_other_engines_for_ever__is_quick():
    assert mended("- {replace: a, find: '(a+)+$', with: ''}", {"a": "a" * 50_000 + "b"})["a"].endswith("b")


def test_differences__name_the_paths_that_changed():
    after = mended("- {rename: user, to: userId}\n- {set: properties.tags.0, value: c}\n- {to_text: userId}")

    assert list(differences(ITEM, after)) == [
        Difference("user", 42, MISSING),
        Difference("properties.tags.0", "a", "c"),
        Difference("userId", MISSING, "42"),
    ]
    assert list(differences({"a": 1}, {"a": 1.0})) == [Difference("a", 1, 1.0)]
    assert list(differences("text", {"a": 1})) == [Difference("", "text", {"a": 1})]


# -- laws -----------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", "0", "1"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
    | st.sampled_from(["12", "4,5", "2026-01-02", "aab"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)  # fmt: skip
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
CONDITIONS = st.fixed_dictionaries({"path": PATHS}).flatmap(
    lambda at: st.sampled_from(
        [{**at, "is": "12"}, {**at, "exists": True}, {**at, "exists": False}, {**at, "matches": "a"}]
    )
)


OPERATIONS = {
    "set": {"value": VALUES},
    "default": {"value": VALUES},
    "rename": {"to": PATHS},
    "copy": {"to": PATHS},
    "remove": {},
    "to_text": {},
    "to_number": {},
    "truncate": {"length": st.integers(0, 3)},
    "parse_date": {"format": st.just("%Y-%m-%d")},
    "replace": {"find": st.sampled_from(["a", "[0-9]"]), "with": st.sampled_from(["", "aa", "\\0\\0"])},
}


@st.composite
def operations(draw):
    name = draw(st.sampled_from(sorted(OPERATIONS)))
    made = {name: draw(PATHS), **{word: draw(values) for word, values in OPERATIONS[name].items()}}
    return {**made, "when": draw(CONDITIONS)} if draw(st.booleans()) else made


def parsed(written):
    try:
        return parse_mend(written)
    except MendError as error:
        if "neither holds the other" not in error.message:
            raise
        return mending.NO_MEND


@settings(max_examples=200, deadline=None)
@given(written=st.lists(operations(), max_size=4), item=VALUES)
def test_mend__whatever_it_meets__makes_a_new_value_and_leaves_the_old_one(written, item):
    mend, before = parsed(written), deepcopy(item)

    after = mend.mended(item)

    assert item == before
    assert json.dumps(after) == json.dumps(mend.mended(item))
    assert (list(differences(item, after)) == []) == (
        json.dumps(item, sort_keys=True) == json.dumps(after, sort_keys=True)
    )


@settings(max_examples=200, deadline=None)
@given(written=operations(), item=VALUES)
def test_operation__that_says_so__does_nothing_the_second_time(written, item):
    written.pop("when", None)  # which may hold no longer afterwards
    for operation in parsed([written]).operations:
        if operation.is_idempotent:
            once = operation.change(item)
            assert json.dumps(operation.change(once)) == json.dumps(once)


def test_operations__that_may_do_more_the_second_time__say_so():
    def is_idempotent(written):
        (operation,) = parse_mend([written]).operations
        assert isinstance(operation, Operation)
        return operation.is_idempotent

    assert is_idempotent({"rename": "a", "to": "b"})
    assert not is_idempotent({"remove": "a.0"})
    assert not is_idempotent({"replace": "a", "find": "x", "with": "xx"})

"""The rule language: what is read, what is refused and where, and how it is said."""

import json
from decimal import Decimal

import pytest

from segments.language import (
    Aggregate,
    And,
    Comparison,
    Condition,
    Count,
    Event,
    LanguageError,
    Learned,
    Measured,
    Not,
    Of,
    Or,
    Property,
    Trait,
    Unit,
    Window,
    explain,
    parse_json,
    parse_text,
    to_json,
    to_text,
)  # fmt: skip
from segments.language.written import FOLDED_FROM, FOLDED_TO, folded

LOYAL = (
    'count of "Order Completed" where "amount" >= 10 and "currency" = "EUR" in last 90 days >= 3\n'
    'and not (trait "country" in ("FR", "BE") or learned "groups" is "lost")\n'
    'and sum of "amount" of "Order Completed" > 300.5'
)
LOYAL_TREE = And(
    (
        Event(
            Measured(
                "Order Completed",
                Count(),
                (
                    Condition("amount", Comparison.GREATER_OR_EQUAL, Decimal(10)),
                    Condition("currency", Comparison.EQUALS, "EUR"),
                ),
                Window(90, Unit.DAYS),
            ),
            Comparison.GREATER_OR_EQUAL,
            Decimal(3),
        ),
        Not(Or((Trait(Condition("country", Comparison.IN, ("FR", "BE"))), Learned("groups", "lost")))),
        Event(Measured("Order Completed", Aggregate(Of.SUM, Property("amount"))), Comparison.GREATER, Decimal("300.5")),
    )
)
LOYAL_JSON = {
    "and": [
        {
            "event": "Order Completed",
            "where": [
                {"property": "amount", "is": "greater_or_equal", "value": 10},
                {"property": "currency", "is": "equals", "value": "EUR"},
            ],
            "measure": "count",
            "is": "greater_or_equal",
            "value": 3,
            "within": {"last": 90, "unit": "days"},
        },
        {
            "not": {
                "or": [
                    {"trait": "country", "is": "in", "value": ["FR", "BE"]},
                    {"learned": "groups", "group": "lost"},
                ]
            }
        },
        {"event": "Order Completed", "measure": {"sum": "amount"}, "is": "greater", "value": 300.5},
    ]
}


def test_text__of_a_rule__is_the_same_tree_as_its_json():
    assert parse_text(LOYAL) == LOYAL_TREE
    assert parse_json(LOYAL_JSON) == LOYAL_TREE
    assert to_json(LOYAL_TREE) == LOYAL_JSON
    assert parse_text(to_text(LOYAL_TREE)) == LOYAL_TREE


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ('done "X"', 'count of "X" >= 1'),
        ('not done "X" in last 1 day', 'count of "X" in last 1 day = 0'),
        ("trait country starts with 'F'".replace("'", '"'), 'trait "country" starts with "F"'),
        ("COUNT OF order In All Time > 2", 'count of "order" > 2'),
        ("trait a exists or trait b = true and trait c != -1.50", 'trait "a" exists or (trait "b" = true and trait "c" != -1.5)'),
        ("((trait a exists))", 'trait "a" exists'),
    ],
)  # fmt: skip
def test_text__with_a_short_form__has_a_canonical_one(text, meaning):
    assert to_text(parse_text(text)) == meaning


def test_json__with_defaults__is_at_least_once_ever():
    assert parse_json({"event": "X"}) == Event(Measured("X"))
    assert parse_json({"trait": "a", "value": 1}) == Trait(Condition("a", Comparison.EQUALS, Decimal(1)))
    assert parse_json({"trait": "a"}) == Trait(Condition("a", Comparison.EXISTS))
    assert parse_json('{"trait": "a", "is": "<", "value": 0.1}') == Trait(
        Condition("a", Comparison.LESS, Decimal("0.1"))
    )


@pytest.mark.parametrize(
    ("text", "code", "place", "suggestion"),
    [
        ('count of "X" in last 90 dys >= 3', "unexpected_word", (1, 25), "days"),
        ('trait "a" = "b"\n  nad done x', "unexpected_word", (2, 3), "and"),
        ('trait "a" contians "b"', "unexpected_word", (1, 11), "contains"),
        ('cuont of "X" >= 1', "unexpected_word", (1, 1), "count"),
        ('done "x', "text_not_closed", (1, 6), None),
        ('trait "a" = ', "unexpected_end", (1, 13), None),
        ('trait "a" = "b" ; 1', "unexpected_character", (1, 17), None),
        ("done x in last 0 days", "window_not_positive", (1, 16), None),
        ("done x in last -1 days", "window_not_positive", (1, 16), None),
        ("done x in last 1.5 days", "window_not_whole", (1, 16), None),
        ("done x in last 36526 days", "window_too_long", (1, 16), None),
        ('trait "a" > true', "value_not_ordered", (1, 7), None),
        ('trait "a" starts with 1', "value_not_text", (1, 7), None),
        ('trait "a" = 0.1234567890123456', "number_not_exact", (1, 7), None),
        ('done "\\ud800"', "text_not_storable", (1, 1), None),
        ('done "\\u0000"', "text_not_storable", (1, 1), None),
        ('done "\\x"', "bad_escape", (1, 6), None),
        ("", "unexpected_end", (1, 1), None),
        ("()", "unexpected_word", (1, 2), None),
        ("count of x >= 1000000001", "count_too_large", (1, 1), None),
    ],
)
def test_text__with_a_mistake__names_its_place_and_what_was_meant(text, code, place, suggestion):
    with pytest.raises(LanguageError) as caught:
        parse_text(text)

    error = caught.value
    assert error.code == code
    assert error.span is not None
    assert (error.span.line, error.span.column) == place
    assert error.suggestion == suggestion
    assert error.details["line"] == place[0]


@pytest.mark.parametrize(
    ("document", "code", "pointer", "suggestion"),
    [
        ({"and": [{"trait": "a"}, {"triat": "b"}]}, "unknown_rule", "/and/1", "trait"),
        ({"and": []}, "group_empty", "/and", None),
        ({"not": [1]}, "object_needed", "/not", None),
        ({"trait": "a", "is": "eqals", "value": 1}, "unknown_comparison", "/is", "equals"),
        ({"trait": "a", "is": [], "value": 1}, "unknown_comparison", "/is", None),
        ({"trait": "a", "is": "equals"}, "value_missing", "", None),
        ({"trait": "a", "is": "exists", "value": 1}, "value_not_wanted", "/value", None),
        ({"trait": "a", "is": "in", "value": []}, "choices_missing", "/value", None),
        ({"trait": "a", "is": "in", "value": [1, {}]}, "not_a_number", "/value/1", None),
        ({"trait": " "}, "name_missing", "", None),
        ({"trait": 1}, "name_missing", "/trait", None),
        ({"event": "X", "wihtin": {}}, "unknown_field", "/wihtin", "within"),
        ({"event": "X", "a/b": 1}, "unknown_field", "/a~1b", None),
        ({"event": "X", "within": {"last": 1, "unit": "day"}}, "unknown_unit", "/within/unit", "days"),
        ({"event": "X", "within": {"last": True}}, "window_not_whole", "/within/last", None),
        ({"event": "X", "within": {"last": 10**12, "unit": "seconds"}}, "window_too_long", "/within", None),
        ({"event": "X", "where": {}}, "list_needed", "/where", None),
        ({"event": "X", "where": [{"property": "a", "is": ">", "value": False}]}, "value_not_ordered", "/where/0/value", None),
        ({"event": "X", "is": "contains", "value": 1}, "not_a_number_comparison", "/value", None),
        ({"event": "X", "value": "3"}, "not_a_number", "/value", None),
        ({"event": "X", "value": float("nan")}, "not_a_number", "/value", None),
        ({"event": "X", "measure": {"sun": "a"}}, "unknown_measure", "/measure", None),
        ({"event": "X", "trait": "a"}, "unknown_rule", "", None),
        ({"trait": "a", "value": 10**28}, "number_not_exact", "/value", None),
        ({"trait": "a", "value": "x" * 1_001}, "text_too_long", "/value", None),
        (None, "object_needed", "", None),
    ],
)  # fmt: skip
def test_json__with_a_mistake__points_at_it(document, code, pointer, suggestion):
    with pytest.raises(LanguageError) as caught:
        parse_json(document)

    error = caught.value
    assert (error.code, error.span and error.span.pointer) == (code, pointer)
    assert error.suggestion == suggestion


def test_json__that_is_not_json__names_line_and_column():
    with pytest.raises(LanguageError, match="line 2, column 1") as caught:
        parse_json('{"and":\n}')
    assert caught.value.code == "not_json"


@pytest.mark.parametrize("levels", [50, 200, 100_000])
def test_json__that_is_too_deep__is_refused_without_recursion(levels):
    text = '{"not":' * levels + '{"trait":"a"}' + "}" * levels
    with pytest.raises(LanguageError) as caught:
        parse_json(text)
    assert caught.value.code == "rule_too_deep"


@pytest.mark.parametrize("opening", ["(", "not "])
@pytest.mark.parametrize("levels", [50, 200, 100_000])
def test_text__that_is_too_deep__is_refused_without_recursion(levels, opening):
    closing = ")" if opening == "(" else ""
    with pytest.raises(LanguageError) as caught:
        parse_text(opening * levels + "trait a exists" + closing * levels)
    assert caught.value.code == "rule_too_deep"


def test_rule__with_ten_thousand_conditions__is_refused():
    leaves = [{"trait": f"t{place}"} for place in range(10_000)]
    for write in (lambda: parse_json({"or": leaves}), lambda: parse_text(" or ".join(f"trait t{n} exists" for n in range(10_000)))):  # fmt: skip
        with pytest.raises(LanguageError) as caught:
            write()
        assert caught.value.code == "rule_too_large"
    nested = {"or": [{"and": leaves[:200]}, {"and": leaves[:200]}]}
    with pytest.raises(LanguageError, match="300 conditions"):
        parse_json(nested)


def test_rule__as_large_as_allowed__is_read():
    deep: object = {"trait": "a"}
    for _ in range(49):
        deep = {"not": deep}
    assert to_json(parse_json(deep)) == to_json(parse_text(to_text(parse_json(deep))))
    assert json.dumps(to_json(parse_json({"or": [{"trait": f"t{place}"} for place in range(300)]})))


def test_sentence__in_english_and_french__tells_the_rule():
    assert explain(LOYAL_TREE, "en-GB") == (
        "The number of “Order Completed” where “amount” is at least 10 and “currency” is “EUR” in the last 90 days is at"
        " least 3 and it is not so that (“country” is one of “FR”, “BE” or the profile is in the group “lost” of"
        " “groups”) and the sum of “amount” of “Order Completed” is more than 300.5."
    )
    assert explain(LOYAL_TREE, "fr") == (
        "Le nombre de « Order Completed » où « amount » vaut au moins 10 et « currency » vaut « EUR » au cours des 90"
        " derniers jours vaut au moins 3 et il est faux que (« country » vaut « FR » ou « BE » ou le profil est dans le"
        " groupe « lost » de « groups ») et la somme de « amount » de « Order Completed » dépasse 300,5."
    )
    assert explain(parse_text('not done "X" in last 1 hour'), "en") == "“X” did not happen in the last hour."
    assert explain(parse_text('done "X" in last 2 hours'), "fr") == "« X » a eu lieu au cours des 2 dernières heures."
    with pytest.raises(LanguageError, match="en, fr"):
        explain(LOYAL_TREE, "de")


def test_folding__of_letters__keeps_their_number_and_is_done_once():
    assert folded("ÉCOLE ΛΔΨ ДОМ ẞ") == "école λδψ дом ß"
    assert folded("\u0130 \u212a 京") == "\u0130 \u212a 京"  # two letters in lower case; a sign; no case
    assert len(FOLDED_FROM) == len(FOLDED_TO) == len(set(FOLDED_FROM))
    assert not set(FOLDED_FROM) & set(FOLDED_TO)

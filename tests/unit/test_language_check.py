"""A rule against a workspace: what is misspelt, and what no value there can meet."""

import pytest

from segments.language import (
    Kind,
    Known,
    Measured,
    check,
    check_made,
    parse_json_with_places,
    parse_measured_text,
    parse_text,
    parse_text_with_places,
)  # fmt: skip

TEXT, NUMBER, BOOLEAN, LIST, OBJECT = (frozenset({kind}) for kind in Kind)
KNOWN = Known(
    traits={
        "country": TEXT, "age": NUMBER, "is_vip": BOOLEAN, "tags": LIST, "address": OBJECT, "mixed": TEXT | NUMBER,
        "new": frozenset(),
    },
    events={"Order": {"amount": NUMBER, "coupon": TEXT, "cart": OBJECT, "products": LIST}, "View": {}},
    models={"groups": frozenset({"loyal", "lost"})},
    scores=frozenset({"churn"}),
    segments=frozenset({"vip"}),
    purposes=frozenset({"advertising", "analytics"}),
    lists=frozenset({"friends"}),
    computed={"total": Measured("Order"), "coupons": parse_measured_text("values of coupon of Order")},
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        'trait country = "FR" and trait country in ("FR", 3) and trait country exists and trait new > 3',
        'trait tags contains "a" and trait country contains any of ("a") and trait mixed > 3 and trait mixed = "a"',
        'trait address."city" = "Paris" and trait address within 3 km of (1, 2) and trait country in next 3 days',
        'count of Order where amount > 3 and "cart"."total" > 3 >= 1 and done View where anything = 3',
        'sum of cart."total" of Order > 3 and first coupon of Order = "x" and values of coupon of Order contains "a"',
        "done Order then View where x = 1 and learned groups is lost and score churn > 0.5 and segment vip",
        'consent analytics and listed friends and computed total > 3 and computed coupons contains "a"',
        "top 3 by trait age among segment vip and lowest 3 % by sum of amount of Order and sample 0 to 3 % of x",
        'done Order where products has (anything = 3) and "cart"."products" has (sku exists) and trait tags has (x = 1)',
        "trait is_vip = true and trait is_vip not in (false) and trait age not in (3)",
    ],
)  # fmt: skip
def test_rule__of_what_there_is__has_no_problem(text):
    assert check(parse_text(text), KNOWN) == []


@pytest.mark.parametrize(
    ("text", "code", "column", "suggestion"),
    [
        ('trait contry = "FR"', "unknown_trait", 7, "country"),
        ('trait address.city = "Paris"', "unknown_trait", 7, '"address"."city"'),
        ("trait ages in next 3 days", "unknown_trait", 7, "age"),
        ("trait adress within 3 m of (1, 2)", "unknown_trait", 7, "address"),
        ("anniversary of cuntry today", "unknown_trait", 16, "country"),
        ("top 3 by trait agee", "unknown_trait", 16, "age"),
        ("done Ordr", "unknown_event", 6, "Order"),
        ("count of order >= 1", "unknown_event", 10, "Order"),
        ("done View then Orders", "unknown_event", 16, "Order"),
        ("done View then not Orders within 1 day", "unknown_event", 20, "Order"),
        ('done View then View without "Orders"', "unknown_event", 29, "Order"),
        ("top 3 by count of Views", "unknown_event", 19, "View"),
        ("count of Order where amuont > 3 >= 1", "unknown_property", 22, "amount"),
        ("average of amuont of Order > 3", "unknown_property", 12, "amount"),
        ("learned group is lost", "unknown_learned_model", 9, "groups"),
        ("learned groups is lst", "unknown_group", 9, "lost"),
        ("score chrun > 1", "unknown_score", 7, "churn"),
        ("segment vips", "unknown_segment", 9, "vip"),
        ("top 3 by trait age among segment vipp", "unknown_segment", 5, "vip"),
        ("consent advertizing", "unknown_purpose", 9, "advertising"),
        ("listed freinds", "unknown_list", 8, "friends"),
        ("computed totl > 3", "unknown_computed_trait", 10, "total"),
        ("trait country > 3", "kinds_clash", 17, None),
        ('trait age = "30"', "kinds_clash", 13, None),
        ('trait age starts with "3"', "kinds_clash", 23, None),
        ('trait age contains "3"', "kinds_clash", 20, None),
        ("trait country contains any of (3)", "kinds_clash", 31, None),
        ("trait is_vip between 3 and 4", "kinds_clash", 22, None),
        ("trait tags in (3, true)", "kinds_clash", 15, None),
        ("trait country within 3 km of (1, 2)", "kinds_clash", 7, None),
        ("trait age more than 3 days ago", "kinds_clash", 7, None),
        ('trait country."x" exists', "not_an_object", 7, None),
        ('done Order where products."sku" exists', "not_an_object", 18, None),
        ("trait country has (x = 1)", "kinds_clash", 19, None),
        ('first amount of Order = "3"', "kinds_clash", 25, None),
        ("sum of coupon of Order > 3", "kinds_clash", 8, None),
        ("top 3 by trait country", "kinds_clash", 16, None),
        ('sum of coupon."x" of Order > 3', "not_an_object", 8, None),
        ('computed total contains "a"', "not_a_number_comparison", 25, None),
    ],
)
def test_rule__of_what_there_is_not__has_a_problem_at_its_place(text, code, column, suggestion):
    [problem] = check(*reordered(parse_text_with_places(text)))

    assert (problem.code, problem.span.column, problem.suggestion) == (code, column, suggestion)


def reordered(read):
    tree, places = read
    return tree, KNOWN, places


@pytest.mark.parametrize(
    ("document", "code", "pointer"),
    [
        ({"trait": "contry"}, "unknown_trait", "/trait"),
        ({"trait": "country", "is": ">", "value": 3}, "kinds_clash", "/value"),
        ({"not": {"event": "Ordr"}}, "unknown_event", "/not/event"),
        ({"event": "Order", "where": [{"property": "amont"}]}, "unknown_property", "/where/0/property"),
        ({"event": "Order", "where": [{"property": "amount", "value": "3"}]}, "kinds_clash", "/where/0/value"),
        ({"event": "Order", "measure": {"sum": "amont"}}, "unknown_property", "/measure/sum"),
        ({"sequence": [{"event": "Order"}, {"event": "Viw"}]}, "unknown_event", "/sequence/1/event"),
        ({"rank": {"trait": "agee"}, "top": 3}, "unknown_trait", "/rank/trait"),
        ({"segment": "vipp"}, "unknown_segment", "/segment"),
        ({"computed": "total", "is": "contains", "value": "a"}, "not_a_number_comparison", "/value"),
    ],
)
def test_json_rule__of_what_there_is_not__has_a_problem_at_its_place(document, code, pointer):
    [problem] = check(*reordered(parse_json_with_places(document)))

    assert (problem.code, problem.span.pointer) == (code, pointer)


def test_rule__with_equal_conditions__names_the_place_of_each():
    tree, places = parse_text_with_places("trait contry exists\nor trait contry exists")

    problems = check(tree, KNOWN, places)

    assert [(problem.span.line, problem.span.column) for problem in problems] == [(1, 7), (2, 10)]


def test_rule__checked_without_places__has_the_same_problems():
    [problem] = check(parse_text("trait contry exists"), KNOWN)

    assert (problem.code, problem.span, problem.suggestion) == ("unknown_trait", None, "country")
    assert str(problem) == "There is no trait 'contry' here. Did you mean country?"


def test_rule__in_a_workspace_that_knows_nothing__has_no_problem():
    tree = parse_text("trait a > 3 and done x where y = 1 and learned m is g and score m > 1 and segment s and consent p"
                      " and listed l and computed c > 3 and top 3 by trait a")  # fmt: skip

    assert check(tree, Known()) == []


def test_computed_trait__of_an_unknown_event__has_a_problem():
    [problem] = check_made(parse_measured_text("sum of amount of Ordr"), KNOWN)

    assert (problem.code, problem.suggestion) == ("unknown_event", "Order")
    assert check_made(Measured("Order"), KNOWN) == []

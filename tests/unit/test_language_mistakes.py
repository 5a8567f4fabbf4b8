"""Rules that are wrong, huge or hostile: refused at once, at their place, and never by breaking."""

import json
import time
from decimal import Decimal

import pytest

from segments.language import LanguageError, parse_json, parse_measured_text, parse_text


def refused(read, written):
    """The mistake, found within a second of processor time."""
    began = time.thread_time()
    with pytest.raises(LanguageError) as caught:
        read(written)
    assert time.thread_time() - began < 1
    return caught.value


@pytest.mark.parametrize(
    ("text", "code", "column", "suggestion"),
    [
        ("trait a in lst 3 days", "unexpected_word", 12, "last"),
        ("trait a in last 3 months", "unit_of_calendar", 19, "calendar months"),
        ("trait a in last 3 calendar dys", "unexpected_word", 28, "days"),
        ("done a in next 3 days", "period_of_dates", 8, None),
        ("trait a in all time", "period_missing", 9, None),
        ("trait a.b in last 3 days or trait a", "unexpected_end", 36, None),
        ('trait "a"."b" in last 3 days', "path_not_possible", 7, None),
        ('trait "a" within 3 km of (91, 0)', "no_such_place", 1, None),
        ('trait "a" within 0 km of (9, 0)', "distance_out_of_range", 1, None),
        ('trait "a" within 0.1234567891 km of (9, 0)', "number_not_exact", 18, None),
        ('trait "a" within 3 miles of (9, 0)', "unexpected_word", 20, None),
        ("done a from 2026-02-30", "not_a_time", 13, None),
        ("done a from yesterday", "unexpected_word", 13, None),
        ("done a from 2026-02-01T12:00", "time_without_zone", 8, None),
        ("done a from 2026-02-01 until 2026-02-01", "window_empty", 8, None),
        ("done a from 0001-01-01T00:00+01:00", "not_a_time", 13, None),
        ("done a between 3 and 2 days ago", "window_empty", 8, None),
        ("done a between 3 hours and 2 minutes ago", "window_empty", 8, None),
        ("done a in last 0 calendar days", "window_not_positive", 8, None),
        ("done a in last 10000 calendar years", "window_too_long", 8, None),
        ("done a in last 3650000 days", "window_too_long", 16, None),
        ("days since lst a > 3", "unexpected_word", 12, "last"),
        ("months since last a > 3", "unit_of_calendar", 1, "calendar months"),
        ("sum of a of b contains 3", "unexpected_word", 15, None),
        ('trait "a" has "x"', "unexpected_word", 15, None),
        ('trait "a" has ("x" = 1 or "y" = 2)', "unexpected_word", 24, None),
        ('trait "a" has ("x" has ("y" has ("z" has ("k" = 1))))', "objects_too_deep", 42, None),
        (f'trait "a" has ({" and ".join(["x = 1"] * 11)})', "too_many_conditions", 121, None),
        ('trait "a" has ("x" = 1) ignoring case', "value_not_text", 7, None),
        ('first "a" of "E" has ("x" = 1)', "objects_not_possible", 1, None),
        ('values of a of b = "x"', "not_a_list_comparison", 1, None),
        ("first a of b = ", "unexpected_end", 16, None),
        ("done a then not b", "window_missing", 1, None),
        ("done a then", "unexpected_end", 12, None),
        ("done a then b then not c within 1 day then d", "unexpected_word", 39, None),
        ("top 0 by count of a", "count_too_large", 5, None),
        ("top 101 % by count of a", "percent_out_of_range", 5, None),
        ("top 5 by first a of b", "not_a_number", 1, None),
        ("top 5 by coutn of b", "unexpected_word", 10, "count"),
        ("sample 10 to 5 % of x", "percent_out_of_range", 1, None),
        ("score a contains 3", "unexpected_word", 9, None),
        ("anniversary of a in next 301 days", "window_too_long", 1, None),
        ("trait a = 12ab", "unexpected_character", 11, None),
        ("trait a = 5 ignoring case", "value_not_text", 7, None),
        ("lsted friends", "unexpected_word", 1, "listed"),
    ],
)
def test_text__with_a_mistake_in_a_condition__names_its_place_and_what_was_meant(text, code, column, suggestion):
    error = refused(parse_text, text)

    assert (error.code, error.span.line, error.span.column, error.suggestion) == (code, 1, column, suggestion)


@pytest.mark.parametrize(
    ("document", "code", "pointer", "suggestion"),
    [
        ({"near": "a", "latitude": 1, "longitude": 2}, "field_missing", "", None),
        ({"near": "a", "latitude": "1", "longitude": 2, "metres": 3}, "not_a_number", "/latitude", None),
        ({"dated": "a"}, "field_missing", "", None),
        ({"dated": "a", "within": {"lst": 3}}, "unknown_period", "/within", "last"),
        ({"event": "a", "within": {"next": 3}}, "period_of_dates", "/within", None),
        ({"event": "a", "within": None}, "object_needed", "/within", None),
        ({"event": "a", "within": {"from": "2026-13-01"}}, "not_a_time", "/within/from", None),
        ({"event": "a", "within": {"until": 3}}, "not_a_time", "/within/until", None),
        ({"event": "a", "within": {"last": 3, "unit": "months"}}, "unit_of_calendar", "/within/unit", None),
        ({"event": "a", "within": {"calendar": 3, "zone": "prfile"}}, "unknown_zone", "/within/zone", "profile"),
        ({"event": "a", "within": {"calendar": 3, "over": 1}}, "not_true_or_false", "/within/over", None),
        ({"event": "a", "within": {"more_than": {"last": 3}}}, "unknown_field", "/within/more_than/last", None),
        ({"event": "a", "measure": {"since": "lst"}}, "unknown_end", "/measure/since", "last"),
        ({"event": "a", "measure": {"sum": "a", "inside": "b"}}, "list_needed", "/measure/inside", None),
        ({"sequence": [{"event": "a"}]}, "steps_out_of_range", "", None),
        ({"sequence": [{"event": "a"}, {"evnt": "b"}]}, "unknown_field", "/sequence/1/evnt", "event"),
        ({"sequence": [{"event": "a"}] * 11}, "steps_out_of_range", "/sequence", None),
        ({"rank": {"event": "a"}}, "field_missing", "", None),
        ({"rank": {"event": "a", "value": 3}, "top": 3}, "unknown_field", "/rank/value", None),
        ({"rank": {"event": "a"}, "top": 3, "percent": 4}, "field_missing", "", None),
        ({"rank": {"event": "a"}, "top": 1.5}, "count_too_large", "/top", None),
        ({"sample": "a"}, "field_missing", "", None),
        ({"score": "a"}, "field_missing", "", None),
        ({"score": "a", "value": "b"}, "not_a_number", "/value", None),
        ({"trait": "a", "is": "has"}, "objects_missing", "", None),
        ({"trait": "a", "has": []}, "objects_missing", "/has", None),
        ({"trait": "a", "has": [{"property": "x"}], "value": 3}, "value_not_wanted", "/value", None),
        ({"trait": "a", "has": [{"property": "x"}], "is": "equals"}, "value_not_wanted", "/has", None),
        ({"trait": "a", "has": [{"trait": "x"}]}, "unknown_field", "/has/0/trait", None),
        ({"trait": "a", "has": [{"property": "x"}] * 11}, "too_many_conditions", "/has", None),
        ({"computed": "a", "is": "has"}, "objects_not_possible", "", None),
        ({"trait": "a", "inside": ["b"] * 11}, "path_too_deep", "/inside", None),
        ({"trait": "a", "value": ["b"] * 10_001, "is": "in"}, "too_many_choices", "/value", None),
        ({"trait": "a", "is": "in", "value": 3}, "choices_missing", "/value", None),
        ({"trait": "a", "value": 3, "ignoring_case": True}, "value_not_text", "/value", None),
        ({"trait": "a", "value": "x\0"}, "text_not_storable", "/value", None),
        ({"trait": "a", "value": "\ud800"}, "text_not_storable", "/value", None),
        ({"\ud800": "a"}, "unknown_rule", "", None),
        ({"trait": "a", "value": float("inf")}, "not_a_number", "/value", None),
        ({"trait": "a", "value": 10**5_000}, "number_not_exact", "/value", None),
        ({"trait": "a", "value": Decimal("1e999999999")}, "number_not_exact", "/value", None),
        ({"event": "a", "within": {"last": Decimal("1e999999999")}}, "window_not_whole", "/within/last", None),
        ({"event": "a", "within": {"last": 10**5_000}}, "number_not_exact", "/within/last", None),
        ({"event": "a", "where": [{}] * 301}, "too_many_conditions", "/where", None),
    ],
)  # fmt: skip
def test_json__with_a_mistake_in_a_condition__points_at_it(document, code, pointer, suggestion):
    error = refused(parse_json, document)

    assert (error.code, error.span.pointer, error.suggestion) == (code, pointer, suggestion)


MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "x" * MEGABYTE,
        "(" * MEGABYTE,
        '"' + "\\" * (MEGABYTE - 1),
        'done "' + "x" * (MEGABYTE - 6),
        "trait a = " + "9" * (MEGABYTE - 10),
        "done a in last " + "9" * (MEGABYTE - 20) + " days",
        "trait a in (" + "1," * 499_000,
        "trait a exists or " * 55_000,
        "done a where " + "b exists and " * 76_000,
        "done a then " + "b then " * 140_000,
        "not " * 250_000,
        "\n" * (MEGABYTE - 1) + "x",
        "trait a" + ".b" * 490_000,
        "trait a = 1 " + "." * 900_000,
        "-" * MEGABYTE,
        "trait a exists\n" + "y" * (2 * MEGABYTE),
    ],
    ids=lambda text: text[:20].strip(),
)
def test_text__of_a_megabyte__is_refused_within_a_second(text):
    error = refused(parse_text, text)

    assert len(str(error)) < 500
    str(error).encode()


@pytest.mark.parametrize(
    "document",
    [
        {"x" * MEGABYTE: 1},
        {"trait": "a", "x" * MEGABYTE: 1},
        {"trait": "a", "is": "x" * MEGABYTE},
        {"trait": "x" * MEGABYTE},
        {"event": "a", "measure": "x" * MEGABYTE},
        {"event": "a", "within": {"last": 1, "unit": ["x" * 100] * 10_000}},
        {"or": [{"and": [{"trait": "a"}] * 300}] * 300},
        "[" * MEGABYTE,
        '{"trait": "a", "value": ' + "9" * MEGABYTE + "}",
        '{"trait": "a", "value": 1e' + "9" * 20 + "}",
        '{"trait": "a", "value": "' + "x" * MEGABYTE + '"}',
        json.dumps({"trait": "a", "is": "in", "value": ["x"] * 250_000}),
        b"\xff\xfe",
    ],
    ids=lambda document: str(document)[:30],
)
def test_json__that_is_huge__is_refused_within_a_second(document):
    error = refused(parse_json, document)

    assert len(str(error)) < 1_000
    str(error).encode()


@pytest.mark.parametrize(
    ("text", "code", "column"),
    [
        ('count of "a" >= 3', "unexpected_word", 14),
        ('trait "a"', "unexpected_word", 1),
        ("sum of a", "unexpected_end", 9),
    ],
)
def test_measured_text__that_is_more_or_less_than_that__is_refused(text, code, column):
    error = refused(parse_measured_text, text)

    assert (error.code, error.span.column) == (code, column)

"""Which comparisons and which blocking rules a model has, by what its records tell. Comparisons bear names of traits.

Names, date, number, address, place: one comparison each, since two comparisons of one fact would count it twice.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import splink.comparison_level_library as levels
import splink.comparison_library as comparisons
from splink import block_on
from splink.internals.comparison_creator import ComparisonCreator
from splink.internals.comparison_level_creator import ComparisonLevelCreator

Columns = frozenset[str]
Rule = tuple[str, ...]
Level = ComparisonLevelCreator | dict[str, Any]

# Two records of a source that has each person once are never compared.
DIFFERENT_PEOPLE: Final = "(l.unique_in IS NULL OR r.unique_in IS NULL OR l.unique_in <> r.unique_in)"

_CLOSE, _ALIKE = 0.92, 0.8


def _null(*columns: str) -> Level:
    one_side = [" AND ".join(f"{column}_{side} IS NULL" for column in columns) for side in ("l", "r")]
    return {"sql_condition": " OR ".join(f"({part})" for part in one_side), "is_null_level": True}


def _exact(column: str, *, by_frequency: bool = True) -> Level:
    level = levels.ExactMatchLevel(column)
    return level.configure(tf_adjustment_column=column) if by_frequency else level


def _comparison(name: str, *made: Level) -> ComparisonCreator:
    return comparisons.CustomComparison(output_column_name=name, comparison_levels=[*made, levels.ElseLevel()])


def _name(column: str, other: str | None) -> ComparisonCreator:
    """Typing errors, an initial in place of a name, and the two names in each other's place."""
    swapped = (
        [{"sql_condition": f"{column}_l = {other}_r AND {other}_l = {column}_r", "label_for_charts": "swapped"}]
        if other
        else []
    )
    initial = f"(length({column}_l) = 1 OR length({column}_r) = 1) AND left({column}_l, 1) = left({column}_r, 1)"
    return _comparison(
        column,
        _null(column),
        _exact(column),
        *swapped,
        levels.JaroWinklerLevel(column, _CLOSE),
        levels.JaroWinklerLevel(column, _ALIKE),
        {"sql_condition": initial, "label_for_charts": "initial"},
    )


def _number(column: str) -> ComparisonCreator:
    return _comparison(
        column,
        _null(column),
        _exact(column),
        levels.DamerauLevenshteinLevel(column, 1),
        levels.DamerauLevenshteinLevel(column, 2),
    )


def _dob(_: Columns) -> ComparisonCreator:
    day_and_month = "left(dob_l, 4) = left(dob_r, 4) AND dob_l[5:6] = dob_r[7:8] AND dob_l[7:8] = dob_r[5:6]"
    return _comparison(
        "date_of_birth",
        _null("dob"),
        _exact("dob", by_frequency=False),
        levels.DamerauLevenshteinLevel("dob", 1),
        {"sql_condition": day_and_month, "label_for_charts": "day and month swapped"},
        levels.DamerauLevenshteinLevel("dob", 2),
        {"sql_condition": "left(dob_l, 4) = left(dob_r, 4)", "label_for_charts": "same year"},
    )


def _email(_: Columns) -> ComparisonCreator:
    return _comparison(
        "email",
        _null("email"),
        _exact("email"),
        levels.DamerauLevenshteinLevel("email", 2),
        _exact("email_name"),
        levels.JaroWinklerLevel("email_name", _CLOSE),
        levels.JaroWinklerLevel("email_name", _ALIKE),
    )


def _address(_: Columns) -> ComparisonCreator:
    return _comparison(
        "street",
        _null("street"),
        _exact("street"),
        {
            "sql_condition": f"house_number_l = house_number_r AND jaro_winkler_similarity(street_name_l, street_name_r)"
            f" >= {_CLOSE}",
            "label_for_charts": "same number, street alike",
        },
        _exact("street_name"),
        levels.JaroWinklerLevel("street_name", _CLOSE),
        levels.JaroWinklerLevel("street_name", _ALIKE),
        {"sql_condition": "house_number_l = house_number_r", "label_for_charts": "same number"},
    )


def _place(columns: Columns) -> ComparisonCreator:
    if not {"city", "postcode"} <= columns:
        return _number("postcode") if "postcode" in columns else _name("city", None)
    return _comparison(
        "postcode",
        _null("postcode", "city"),
        {"sql_condition": "postcode_l = postcode_r AND city_l = city_r", "label_for_charts": "postcode and city"},
        _exact("postcode"),
        _exact("city"),
        {
            "sql_condition": "damerau_levenshtein(postcode_l, postcode_r) <= 1"
            f" AND jaro_winkler_similarity(city_l, city_r) >= {_ALIKE}",
            "label_for_charts": "both alike",
        },
        levels.JaroWinklerLevel("city", _CLOSE),
        levels.DamerauLevenshteinLevel("postcode", 1),
    )


def _organisation(_: Columns) -> ComparisonCreator:
    words = "list_sort(string_split(organisation_{side}, ' '))"
    same_words = f"{words.format(side='l')} = {words.format(side='r')}"
    return _comparison(
        "organisation",
        _null("organisation"),
        _exact("organisation"),
        {"sql_condition": same_words, "label_for_charts": "same words in another order"},
        levels.JaroWinklerLevel("organisation", _CLOSE),
        levels.JaroWinklerLevel("organisation", _ALIKE),
    )


# The first column must be filled for the comparison to be made.
_MADE: Final[tuple[tuple[Rule, Callable[[Columns], ComparisonCreator]], ...]] = (
    (("given_name",), lambda columns: _name("given_name", "surname" if "surname" in columns else None)),
    (("surname",), lambda columns: _name("surname", "given_name" if "given_name" in columns else None)),
    (("dob",), _dob),
    (("national_id",), lambda _: _number("national_id")),
    (("email",), _email),
    (("phone",), lambda _: _number("phone")),
    (("street",), _address),
    (("postcode", "city"), _place),
    (("organisation",), _organisation),
    (("website",), lambda _: _comparison("website", _null("website"), _exact("website"))),
)


def comparisons_for(columns: Columns) -> list[ComparisonCreator | dict[str, Any]]:
    return [make(columns) for needed, make in _MADE if columns.intersection(needed)]


# Keys on which two records are compared at all: many tight rules, since each typing error escapes some of them.
_RULES: Final[tuple[Rule, ...]] = (
    ("national_id",),
    ("email",),
    ("phone",),
    ("given_name", "surname"),
    ("surname", "dob"),
    ("given_name", "dob"),
    ("dob", "postcode"),
    ("dob", "city"),
    ("dob", "street_name"),
    ("email_name", "surname"),
    ("email_name", "dob"),
    ("street", "surname"),
    ("street", "given_name"),
    ("street", "postcode"),
    ("surname", "postcode"),
    ("given_name", "postcode"),
    ("surname", "city"),
    ("given_name", "street_name"),
    ("left(given_name, 3)", "left(surname, 3)", "left(dob, 4)"),
    ("left(given_name, 3)", "left(surname, 3)", "left(postcode, 3)"),
    ("left(surname, 4)", "left(dob, 6)"),
    ("left(given_name, 4)", "right(dob, 4)"),
    ("left(email_name, 5)", "left(dob, 4)"),
    ("left(email_name, 5)", "left(surname, 3)"),
    ("left(email_name, 5)", "city"),
    ("left(surname, 3)", "left(dob, 4)"),
    ("left(given_name, 3)", "left(dob, 4)"),
    ("left(surname, 3)", "right(dob, 4)"),
    ("given_name", "city"),
    ("city", "left(dob, 4)"),
    ("city", "right(dob, 4)"),
    ("email_name",),
    ("dob",),
    ("left(dob, 7)",),
    ("right(dob, 5)",),
    ("organisation",),
    ("website",),
    ("left(organisation, 5)", "city"),
    ("left(organisation, 5)", "postcode"),
    ("left(organisation, 4)", "street_name"),
    ("street", "city"),
)
_SWAPPED: Final = "l.given_name = r.surname AND l.surname = r.given_name"
# Sessions of training: what one blocks on, another estimates.
_SESSIONS: Final[tuple[Rule, ...]] = (
    ("given_name", "surname"),
    ("dob",),
    ("email",),
    ("phone",),
    ("national_id",),
    ("surname", "postcode"),
    ("street",),
    ("postcode",),
)
# Companies of one name or one website have many sites, each a company of its own: only name and place together mean one.
_SESSIONS_OF_COMPANIES: Final[tuple[Rule, ...]] = (
    ("organisation", "postcode"),
    ("organisation", "street"),
    ("website", "postcode"),
    ("website", "street"),
    ("phone", "organisation"),
    ("email", "organisation"),
    ("organisation", "city"),
    ("national_id",),
)
# So strict that what agrees on them is one person almost always: the prior rests on them.
_CERTAIN: Final[tuple[Rule, ...]] = (
    ("given_name", "surname", "dob"),
    ("national_id", "dob"),
    ("national_id", "surname"),
    ("email", "surname"),
    ("email", "dob"),
    ("phone", "surname", "given_name"),
    ("given_name", "surname", "street"),
    ("given_name", "surname", "postcode"),
    ("organisation", "postcode"),
    ("organisation", "phone"),
    ("organisation", "website"),
)


def _column(key: str) -> str:
    return key.partition("(")[2].partition(",")[0] or key


def usable(rules: Iterable[Rule], columns: Columns) -> list[Rule]:
    return [rule for rule in rules if columns.issuperset(map(_column, rule))]


def blocking_rules(columns: Columns) -> list[Rule]:
    return usable(_RULES, columns)


def sessions(columns: Columns) -> list[Rule]:
    of_people = {"given_name", "surname"} & columns
    return usable(_SESSIONS_OF_COMPANIES if "organisation" in columns and not of_people else _SESSIONS, columns)


def certain_rules(columns: Columns) -> list[Rule]:
    return usable(_CERTAIN, columns)


def as_sql(rule: Rule) -> str:
    """The rule as Splink takes it, without pairs that cannot be one person."""
    same = block_on(*rule).get_blocking_rule("duckdb").blocking_rule_sql
    return f"{same} AND {DIFFERENT_PEOPLE}"


def swapped_names(columns: Columns) -> list[str]:
    return [f"{_SWAPPED} AND {DIFFERENT_PEOPLE}"] if {"given_name", "surname"} <= columns else []

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
_DIFFERENT_PEOPLE: Final = "(l.unique_in IS NULL OR r.unique_in IS NULL OR l.unique_in <> r.unique_in)"
# Nor is a person ever compared with a company, where a file has both.
_ONE_KIND: Final = "(l.kind IS NULL OR r.kind IS NULL OR l.kind = r.kind)"

_CLOSE, _ALIKE = 0.92, 0.8


def _null(*columns: str) -> Level:
    one_side = [" AND ".join(f"{column}_{side} IS NULL" for column in columns) for side in ("l", "r")]
    return {"sql_condition": " OR ".join(f"({part})" for part in one_side), "is_null_level": True}


def _exact(column: str, *, by_frequency: bool = True) -> Level:
    level = levels.ExactMatchLevel(column)
    return level.configure(tf_adjustment_column=column) if by_frequency else level


def _comparison(name: str, *made: Level) -> ComparisonCreator:
    return comparisons.CustomComparison(output_column_name=name, comparison_levels=[*made, levels.ElseLevel()])


def _labelled(label: str, condition: str) -> Level:
    return {"sql_condition": condition, "label_for_charts": label}


def _within(column: str) -> Level:
    """All words of the one stand together in the other: a second given name, a double surname."""
    padded = {side: f"' ' || {column}_{side} || ' '" for side in ("l", "r")}
    return _labelled(
        "one within the other",
        f"contains({padded['l']}, {padded['r']}) OR contains({padded['r']}, {padded['l']})",
    )


def _initial(column: str) -> Level:
    is_short = f"(length({column}_l) = 1 OR length({column}_r) = 1)"
    return _labelled("initial", f"{is_short} AND left({column}_l, 1) = left({column}_r, 1)")


def _mistyped(column: str) -> Level:
    """Nearly the same letters. Of a short name one wrong letter is much, though it is one typing error like any other."""
    close = f"jaro_winkler_similarity({column}_l, {column}_r) >= {_CLOSE}"
    is_long = f"length({column}_l) > 3 AND length({column}_r) > 3"
    return _labelled(
        "close, or one typing error", f"{close} OR ({is_long} AND damerau_levenshtein({column}_l, {column}_r) <= 1)"
    )


def _crossed(one: str, other: str) -> Level:
    """The same, but in the other's column."""
    pairs = ((one, other), (other, one), (other, other))
    return _labelled("in another column", " OR ".join(f"{left}_l = {right}_r" for left, right in pairs))


def _null_name(column: str, *, told_by: str = "") -> Level:
    """Names in two scripts say nothing of each other, as a name that is missing. Nor does a name in the place of another
    where the comparison `told_by` says so: it is one fact.
    """
    is_latin = [f"(unicode({column}_{side}) < {_FIRST_BEYOND_LATIN})" for side in ("l", "r")]
    silent = [f"{column}_l IS NULL", f"{column}_r IS NULL", f"{is_latin[0]} <> {is_latin[1]}"]
    if told_by:
        silent.append(f"({column}_l <> {column}_r AND ({column}_l = {told_by}_r OR {told_by}_l = {column}_r))")
    return {"sql_condition": " OR ".join(silent), "is_null_level": True}


_FIRST_BEYOND_LATIN: Final = 880  # Greek begins there


def _name(
    column: str, columns: Columns, *, other: str = "", told_by: str = "", variant: str = "", second: str = ""
) -> ComparisonCreator:
    """Typing errors, nicknames and sounds, an initial in place of a name, and names in each other's place."""
    in_place_of = _labelled("in the place of the other", f"{column}_l = {other}_r OR {other}_l = {column}_r")
    swapped = _labelled("swapped", f"{column}_l = {other}_r AND {other}_l = {column}_r")
    return _comparison(
        column,
        _null_name(column, told_by=told_by if told_by in columns else ""),
        _exact(column),
        *([swapped] if other in columns else []),
        *([_crossed(column, second)] if second in columns else []),
        _mistyped(column),
        *([_labelled("a variant of it", f"{variant}_l = {variant}_r")] if variant else []),
        *([in_place_of] if other in columns else []),
        _within(column),
        levels.JaroWinklerLevel(column, _ALIKE),
        _initial(column),
    )


def _number(column: str, columns: Columns = frozenset(), *, other: str = "") -> ComparisonCreator:
    return _comparison(
        column,
        _null(column),
        _exact(column),
        *([_crossed(column, other)] if other in columns else []),
        levels.DamerauLevenshteinLevel(column, 1),
        levels.DamerauLevenshteinLevel(column, 2),
    )


def _same(column: str) -> ComparisonCreator:
    return _comparison(column, _null(column), _exact(column))


def _dob(columns: Columns) -> ComparisonCreator:
    """A year alone agrees with a date of that year, and says no more."""
    if "dob" not in columns:
        return _comparison("date_of_birth", _null("birth_year"), _exact("birth_year"))
    day_and_month = "left(dob_l, 4) = left(dob_r, 4) AND dob_l[5:6] = dob_r[7:8] AND dob_l[7:8] = dob_r[5:6]"
    year, month, day = (f"dob_l[{part}] = dob_r[{part}]" for part in ("1:4", "5:6", "7:8"))
    two = f"({year} AND {month}) OR ({month} AND {day}) OR ({day} AND {year})"
    return _comparison(
        "date_of_birth",
        _null("birth_year"),
        _exact("dob"),
        levels.DamerauLevenshteinLevel("dob", 1),
        _labelled("day and month swapped", day_and_month),
        _labelled("two of year, month and day", two),
        levels.DamerauLevenshteinLevel("dob", 2),
        _labelled("same year", "birth_year_l = birth_year_r"),
    )


def _age(_: Columns) -> ComparisonCreator:
    """A birthday lies between two files, or some years do."""
    apart = "TRY_CAST(age_l AS INT) - TRY_CAST(age_r AS INT)"
    return _comparison(
        "age",
        _null("age"),
        _exact("age", by_frequency=False),
        _labelled("a year apart", f"{apart} BETWEEN -1 AND 1"),
        _labelled("a few years apart", f"{apart} BETWEEN -5 AND 5"),
    )


# Of two people of one name such addresses are alike as the names are, which those have said already.
_MADE_OF_NAMES: Final = " AND ".join(
    f"is_made_of_names(email_name_{side}, given_name_{side}, surname_{side})" for side in "lr"
)
_MADE_OF_SURNAMES: Final = " AND ".join(
    f"contains(email_name_{side}, replace(surname_{side}, ' ', ''))" for side in "lr"
)


def _email(columns: Columns) -> ComparisonCreator:
    return _comparison(
        "email",
        _null("email"),
        _exact("email"),
        *([_crossed("email", "other_email")] if "other_email" in columns else []),
        levels.DamerauLevenshteinLevel("email", 2),
        *([_labelled("each made of names alone", _MADE_OF_NAMES)] if {"given_name", "surname"} <= columns else []),
        _exact("email_name"),
        *([_labelled("each made of a surname", _MADE_OF_SURNAMES)] if "surname" in columns else []),
        levels.JaroWinklerLevel("email_name", _CLOSE),
        levels.JaroWinklerLevel("email_name", _ALIKE),
    )


def _address(_: Columns) -> ComparisonCreator:
    alike = f"jaro_winkler_similarity(street_name_l, street_name_r) >= {_CLOSE}"
    return _comparison(
        "street",
        _null("street"),
        _exact("street"),
        _labelled("same number, street alike", f"house_number_l = house_number_r AND {alike}"),
        _exact("street_name"),
        levels.JaroWinklerLevel("street_name", _CLOSE),
        levels.JaroWinklerLevel("street_name", _ALIKE),
        _labelled("same number", "house_number_l = house_number_r"),
    )


def _place(columns: Columns) -> ComparisonCreator:
    """Postcode, town, region and country are one fact, told more or less exactly."""
    if not {"city", "postcode"} <= columns:
        return _ladder_of("postcode" if "postcode" in columns else "city", columns)
    alike = f"damerau_levenshtein(postcode_l, postcode_r) <= 1 AND jaro_winkler_similarity(city_l, city_r) >= {_ALIKE}"
    return _comparison(
        "postcode",
        _null("postcode", "city"),
        _labelled("postcode and city", "postcode_l = postcode_r AND city_l = city_r"),
        _exact("postcode"),
        _exact("city"),
        _labelled("both alike", alike),
        levels.JaroWinklerLevel("city", _CLOSE),
        levels.DamerauLevenshteinLevel("postcode", 1),
        *_wider(columns),
    )


def _ladder_of(column: str, columns: Columns) -> ComparisonCreator:
    near = (
        [levels.DamerauLevenshteinLevel(column, 1), _labelled("same area", _AREA)]
        if column == "postcode"
        else [levels.JaroWinklerLevel(column, _CLOSE), levels.JaroWinklerLevel(column, _ALIKE)]
    )
    return _comparison(column, _null(column), _exact(column), *near, *_wider(columns))


# The département in France, the area in Britain, the region elsewhere.
_AREA: Final = "left(postcode_l, 2) = left(postcode_r, 2)"


def _wider(columns: Columns) -> list[Level]:
    area = [_labelled("same area", _AREA)] if {"postcode", "city"} <= columns else []
    return [*area, *(_labelled("same region", "region_l = region_r") for _ in columns & {"region"})]


def _organisation(columns: Columns) -> ComparisonCreator:
    """Legal forms are gone already; words change their order, are left out or shortened, or shrink to their initials.

    What tells companies of one family apart is that each has a word of its own: that is a level, and not half a name.
    """
    left, right = "string_split(organisation_l, ' ')", "string_split(organisation_r, ' ')"
    shared = f"len(list_intersect({left}, {right}))"
    of_all = f"len(list_distinct(list_concat({left}, {right})))"
    initials = (
        [_labelled("initials", "organisation_l = initials_r OR organisation_r = initials_l")]
        if "initials" in columns
        else []
    )
    return _comparison(
        "organisation",
        _null("organisation"),
        _exact("organisation"),
        *([_crossed("organisation", "other_organisation")] if "other_organisation" in columns else []),
        _labelled("same words in another order", f"{shared} = {of_all}"),
        levels.JaroWinklerLevel("organisation", _CLOSE),
        *initials,
        _labelled("a word shortened", "is_one_word_short(organisation_l, organisation_r)"),
        _labelled("one within the other", f"{shared} = least(len({left}), len({right}))"),
        _labelled("half of the words, and each has others", f"2 * {shared} >= {of_all}"),
        _labelled("a word, and each has others", f"{shared} > 0"),
        levels.JaroWinklerLevel("organisation", _ALIKE),
    )


def _employer(_: Columns) -> ComparisonCreator:
    return _comparison(
        "employer",
        _null("employer"),
        _exact("employer"),
        levels.JaroWinklerLevel("employer", _CLOSE),
        _within("employer"),
    )


# One of the columns must be filled for the comparison to be made.
_MADE: Final[tuple[tuple[Rule, Callable[[Columns], ComparisonCreator]], ...]] = (
    (("given_name",), lambda columns: _name("given_name", columns, other="surname", variant="given_root")),
    (("middle_name",), lambda columns: _name("middle_name", columns)),
    (
        ("surname",),
        lambda columns: _name(
            "surname", columns, told_by="given_name", variant="surname_sound", second="other_surname"
        ),
    ),
    (("generation",), lambda _: _same("generation")),
    (("gender",), lambda _: _same("gender")),
    (("dob", "birth_year"), _dob),
    (("age",), _age),
    (("national_id",), lambda _: _number("national_id")),
    (("other_id",), lambda _: _number("other_id")),
    (("passport",), lambda _: _number("passport")),
    (("driving_licence",), lambda _: _number("driving_licence")),
    (("email",), _email),
    (("phone",), lambda columns: _number("phone", columns, other="other_phone")),
    (("street",), _address),
    (("postcode", "city"), _place),
    (("birth_place",), lambda _: _ladder_of("birth_place", frozenset())),
    (("organisation",), _organisation),
    (("employer",), _employer),
    (("website",), lambda _: _same("website")),
    (("category",), lambda _: _same("category")),
)


def telling(columns: Columns) -> Columns:
    """Of these columns what each says that no other does: an age says less exactly what a birth date has said."""
    return columns - {"age"} if {"dob", "birth_year"} & columns else columns


def comparisons_for(columns: Columns) -> list[ComparisonCreator | dict[str, Any]]:
    return [make(columns) for needed, make in _MADE if columns.intersection(needed)]


# Keys on which two records are compared at all: many tight rules, since each typing error escapes some of them.
_RULES: Final[tuple[Rule, ...]] = (
    ("national_id",),
    ("other_id",),
    ("passport",),
    ("driving_licence",),
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
    ("given_root", "surname"),
    ("given_root", "surname_sound"),
    ("given_root", "dob"),
    ("surname_sound", "birth_year"),
    ("surname_sound", "dob"),
    ("given_root", "birth_year", "city"),
    ("surname_sound", "age"),
    ("given_root", "age", "city"),
    ("left(given_name, 3)", "left(surname, 3)", "age"),
    ("birth_place", "surname"),
    ("birth_place", "given_name", "birth_year"),
    ("dob", "left(given_name, 1)"),
    ("dob", "left(surname, 1)"),
    ("surname", "left(given_name, 1)"),
    ("website",),
    ("organisation",),
    ("initials", "postcode"),
    ("initials", "city"),
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
# One thing in two columns: the rule compares across.
_CROSSED: Final = (
    (("given_name", "surname"), "l.given_name = r.surname AND l.surname = r.given_name"),
    (("surname", "other_surname", "given_name"), "l.surname = r.other_surname AND l.given_name = r.given_name"),
    (("surname", "other_surname", "given_name"), "l.other_surname = r.surname AND l.given_name = r.given_name"),
    (("organisation", "other_organisation"), "l.organisation = r.other_organisation"),
    (("organisation", "other_organisation"), "l.other_organisation = r.organisation"),
    (("email", "other_email"), "l.email = r.other_email"),
    (("email", "other_email"), "l.other_email = r.email"),
    (("phone", "other_phone"), "l.phone = r.other_phone"),
    (("phone", "other_phone"), "l.other_phone = r.phone"),
)
# Sessions of training: what one blocks on, another estimates.
_SESSIONS: Final[tuple[Rule, ...]] = (
    ("given_name", "surname"),
    ("dob",),
    ("email",),
    ("phone",),
    ("national_id",),
    ("other_id",),
    ("passport",),
    ("driving_licence",),
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


def column_of(key: str) -> str:
    """Of "surname", of "left(surname, 3)", or of a key without its common values."""
    without = key.rpartition(" THEN ")[2].removesuffix(" END")
    return without.partition("(")[2].partition(",")[0] or without


def usable(rules: Iterable[Rule], columns: Columns) -> list[Rule]:
    return [rule for rule in rules if columns.issuperset(map(column_of, rule))]


def blocking_rules(columns: Columns) -> list[Rule]:
    return usable(_RULES, columns)


def sessions(columns: Columns) -> list[Rule]:
    of_people = {"given_name", "surname"} & columns
    return usable(_SESSIONS_OF_COMPANIES if "organisation" in columns and not of_people else _SESSIONS, columns)


def can_be_one(columns: Columns) -> str:
    """What must hold of any two records that are compared."""
    return f"{_DIFFERENT_PEOPLE} AND {_ONE_KIND}" if "kind" in columns else _DIFFERENT_PEOPLE


def as_sql(rule: Rule, columns: Columns) -> str:
    """The rule as Splink takes it, without pairs that cannot be one person."""
    same = block_on(*rule).get_blocking_rule("duckdb").blocking_rule_sql
    return f"{same} AND {can_be_one(columns)}"


def crossed_rules(columns: Columns) -> list[str]:
    return [f"{rule} AND {can_be_one(columns)}" for needed, rule in _CROSSED if columns.issuperset(needed)]

"""Every leaf of a rule in Postgres, by hand: what it says at exact instants, and when it says that this could change."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Profile
from consent import gate
from segments import queries
from segments.language import LanguageError, canonical
from segments.language.compile import Asked, compile_rules, passes
from segments.language.ranks import Threshold
from segments.language.tree import (
    Active,
    Aggregate,
    Ahead,
    And,
    Anniversary,
    Between,
    Calendar,
    CalendarUnit,
    Comparison,
    Condition,
    Consented,
    Count,
    Dated,
    End,
    Event,
    Learned,
    Measured,
    Member,
    Near,
    Node,
    Not,
    Of,
    Past,
    Period,
    Property,
    Rank,
    Sample,
    Score,
    Sequence,
    Since,
    Step,
    Top,
    Trait,
    Unit,
    Value,
    Window,
    Zone,
)
from segments.models import Membership, Segment, SegmentVersion
from segments.models import Score as StoredScore
from tests.factories import SourceFactory
from tests.factories.segments import happen, know, people, put_in_group

HOUR, DAY, MOMENT = timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)
DAYS = CalendarUnit.DAYS
Answer = tuple[bool, datetime | None]
Ask = Callable[..., Answer]


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


@pytest.fixture
def ada(workspace):
    [one] = people(1, workspace)
    return one


@pytest.fixture
def ask(workspace, ada) -> Ask:
    """Whether ada is in at an instant, and when that could change: the same, however it is asked."""

    def asked(rule: Node, at: datetime, frozen: dict[str, Threshold] | None = None) -> Answer:
        with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
            of_ada = queries.of_profiles([ada.pk])
            given = {
                Asked.EVERYBODY: {"now": at},
                Asked.SOME: {**of_ada, "now": at},
                Asked.EACH_AT_ITS_INSTANT: {**of_ada, "instants": [at]},
            }
            [answer] = {answered(rule, kind, ada.pk, parameters, frozen or {}) for kind, parameters in given.items()}
            assert queries.matching(permit, rule, now=at, frozen=frozen or {}).members == [ada.pk] * answer[0]
        return answer

    return asked


def answered(rule: Node, asked: Asked, profile: int, given: dict[str, Any], frozen: dict[str, Threshold]) -> Answer:
    query = compile_rules({0: rule}, asked, frozen)
    with connection.cursor() as cursor:
        cursor.execute(query.sql, {**query.parameters, **given})
        [answer] = [(is_in, change) for _, found, is_in, change, _ in cursor.fetchall() if found == profile]
    return answer


def count(period: Period, least: int = 1) -> Event:
    return Event(Measured("Order", Count(), (), period), Comparison.GREATER_OR_EQUAL, Decimal(least))


def made(of: Of, comparison: Comparison, value: Value, period: Period = None) -> Event:
    numbers = tuple(map(Decimal, value)) if isinstance(value, tuple) and not isinstance(value[0], str) else value
    compared = Decimal(value) if isinstance(value, int | float) and not isinstance(value, bool) else numbers
    return Event(Measured("Order", Aggregate(of, Property("amount")), (), period), comparison, compared)


# -- periods --------------------------------------------------------------------------------------------------------


def test_past__more_than_30_days_ago_and_less_than_60__lasts_exactly_so_long(ask, ada, source, now):
    happen(ada, source, "Order", now)
    rule = count(Past(Window(30, Unit.DAYS), Window(60, Unit.DAYS)))

    assert ask(rule, now) == (False, now + 30 * DAY)
    assert ask(rule, now + 30 * DAY - MOMENT) == (False, now + 30 * DAY)
    assert ask(rule, now + 30 * DAY) == (True, now + 60 * DAY)
    assert ask(rule, now + 60 * DAY - MOMENT) == (True, now + 60 * DAY)
    assert ask(rule, now + 60 * DAY) == (False, None)
    assert ask(count(Past(Window(30, Unit.DAYS))), now + 60 * DAY) == (True, None)


def test_between__counts_from_the_event_on_if_it_lies_in_it(ask, ada, source, now):
    happen(ada, source, "Order", now)

    assert ask(count(Between(now, now + MOMENT)), now) == (True, None)
    assert ask(count(Between(now - DAY, now)), now) == (False, None)
    assert ask(count(Between(None, now + DAY)), now - MOMENT) == (False, now)
    assert ask(count(Between(now + MOMENT, None)), now + DAY) == (False, None)


def test_calendar__of_today_in_the_zone_of_the_profile__ends_at_its_midnight(ask, ada, source, workspace):
    at = datetime(2026, 10, 31, 12, tzinfo=UTC)
    happen(ada, source, "Order", at)
    rule = count(Calendar(1, DAYS))

    # Paris, that of the workspace, has just gone back to winter.
    assert ask(rule, at) == (True, datetime(2026, 10, 31, 23, tzinfo=UTC))
    # In Havana the day is 25 hours long: midnight of the 1st of November comes twice, and the earlier one ends it.
    know(ada, source, timezone="America/Havana")
    assert ask(rule, at) == (True, datetime(2026, 11, 1, 4, tzinfo=UTC))
    assert ask(count(Calendar(2, DAYS)), at) == (True, datetime(2026, 11, 2, 5, tzinfo=UTC))
    assert ask(count(Calendar(1, DAYS, Zone.UTC)), at) == (True, datetime(2026, 11, 1, tzinfo=UTC))
    assert ask(count(Calendar(1, DAYS, Zone.WORKSPACE)), at) == (True, datetime(2026, 10, 31, 23, tzinfo=UTC))
    know(ada, source, timezone="Cuba/Havana")  # there is no such zone
    assert ask(rule, at) == (True, datetime(2026, 10, 31, 23, tzinfo=UTC))


def test_calendar__of_the_month_that_is_over__begins_and_ends_with_months(ask, ada, source):
    happen(ada, source, "Order", datetime(2026, 1, 31, 23, 30, tzinfo=UTC))  # in Paris it is February
    rule = count(Calendar(1, CalendarUnit.MONTHS, is_over=True))
    begins, ends = datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 31, 22, tzinfo=UTC)

    assert ask(rule, begins - MOMENT) == (False, begins)
    assert ask(rule, begins) == (True, ends)
    assert ask(rule, ends - MOMENT) == (True, ends)
    assert ask(rule, ends) == (False, None)


def test_count__of_many_in_a_window__changes_when_the_one_that_matters_ends(ask, ada, source, now):
    for hours in (1, 2, 3):
        happen(ada, source, "Order", now - hours * HOUR)
    window = Window(1, Unit.DAYS)

    assert ask(count(window, 2), now) == (True, now + 22 * HOUR)
    assert ask(count(window, 4), now) == (False, None)
    assert ask(Not(count(window)), now) == (False, now + 23 * HOUR)
    between = Event(Measured("Order", Count(), (), window), Comparison.BETWEEN, (Decimal(2), Decimal("2.5")))
    assert ask(between, now) == (False, now + 21 * HOUR)
    assert ask(between, now + 21 * HOUR) == (True, now + 22 * HOUR)


# -- measures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (made(Of.AVERAGE, Comparison.EQUALS, Decimal("1.8")), True),
        (made(Of.AVERAGE, Comparison.BETWEEN, (Decimal("1.8"), 2)), True),
        (made(Of.AVERAGE, Comparison.LESS, Decimal("1.8")), False),
        (made(Of.MINIMUM, Comparison.EQUALS, 1), True),
        (made(Of.MAXIMUM, Comparison.BETWEEN, (3, 9)), True),
        (made(Of.MAXIMUM, Comparison.NOT_EQUALS, 3), False),
        (made(Of.DISTINCT, Comparison.EQUALS, 4), True),  # 1 and 1.0, 3, "1", true
        (made(Of.FIRST, Comparison.EQUALS, "1"), True),
        (made(Of.LAST, Comparison.CONTAINS, "a"), True),
        (made(Of.LAST, Comparison.EXISTS, None), True),
        (made(Of.MOST_FREQUENT, Comparison.EQUALS, 1), True),
        (made(Of.MOST_FREQUENT, Comparison.IN, ("1",)), False),
        (made(Of.VALUES, Comparison.CONTAINS, 3), True),
        (made(Of.VALUES, Comparison.CONTAINS, "3"), False),
        (made(Of.VALUES, Comparison.CONTAINS_ANY, ("x", "1")), True),
        (made(Of.VALUES, Comparison.CONTAINS_ALL, ("1", "x")), False),
        (made(Of.VALUES, Comparison.CONTAINS_ALL, (1, 3, Decimal("1.0"))), True),
    ],
)
def test_measure__of_mixed_values__is_made_of_those_that_it_can_be_made_of(ask, ada, source, now, rule, expected):
    for hours, value in enumerate([["a"], None, 1, 3, True, Decimal("1.0"), 3, 1, "1"]):
        happen(ada, source, "Order", now - hours * HOUR, {"amount": value})

    assert ask(rule, now) == (expected, None)


@pytest.mark.parametrize("of", [Of.AVERAGE, Of.MINIMUM, Of.MAXIMUM])
def test_measure__of_no_number__is_missing_and_no_comparison_holds(ask, ada, source, now, of):
    happen(ada, source, "Order", now, {"amount": "7"})

    assert ask(made(of, Comparison.NOT_EQUALS, 7), now) == (False, None)
    assert ask(Not(made(of, Comparison.LESS, 7)), now) == (True, None)
    assert ask(made(Of.SUM, Comparison.EQUALS, 0), now) == (True, None)
    assert ask(made(Of.MOST_FREQUENT, Comparison.NOT_IN, ("8",)), now) == (True, None)


def test_value__of_equal_times__is_decided_by_the_message(ask, ada, source, now):
    for value in ("a", "b", "c"):  # messages m0, m1, m2
        happen(ada, source, "Order", now, {"amount": value})

    assert ask(made(Of.FIRST, Comparison.EQUALS, "a"), now) == (True, None)
    assert ask(made(Of.LAST, Comparison.EQUALS, "c"), now) == (True, None)
    assert ask(made(Of.MOST_FREQUENT, Comparison.EQUALS, "a"), now) == (True, None)


def test_measure__in_a_window__is_looked_at_again_when_the_oldest_ends(ask, ada, source, now):
    window = Window(1, Unit.DAYS)
    happen(ada, source, "Order", now - 3 * HOUR, {"amount": 5})
    happen(ada, source, "Order", now - 2 * HOUR)
    happen(ada, source, "Order", now - HOUR, {"amount": 1})

    assert ask(made(Of.MAXIMUM, Comparison.EQUALS, 5, window), now) == (True, now + 21 * HOUR)
    assert ask(made(Of.MAXIMUM, Comparison.EQUALS, 5, window), now + 21 * HOUR) == (False, now + 23 * HOUR)
    assert ask(made(Of.VALUES, Comparison.CONTAINS, 1, window), now) == (True, now + 23 * HOUR)


def test_active__on_two_different_days__is_counted_by_the_clocks_of_the_zone(ask, ada, source):
    for hour in (20, 22):  # in Paris that is the next day
        happen(ada, source, "Order", datetime(2026, 7, 1, hour, 30, tzinfo=UTC))
    at = datetime(2026, 7, 2, tzinfo=UTC)

    days = {zone: Event(Measured("Order", Active(DAYS, zone)), Comparison.EQUALS, Decimal(2)) for zone in Zone}
    assert {zone: ask(rule, at)[0] for zone, rule in days.items()} == {
        Zone.PROFILE: True, Zone.WORKSPACE: True, Zone.UTC: False,
    }  # fmt: skip
    know(ada, source, timezone="America/Havana")
    assert ask(days[Zone.PROFILE], at) == (False, None)


def test_since__passes_whole_units_at_their_instants(ask, ada, source, now):
    happen(ada, source, "Order", now)
    happen(ada, source, "Order", now + DAY)

    def since(end: End, comparison: Comparison, units: int, unit: Unit = Unit.DAYS) -> Event:
        return Event(Measured("Order", Since(end, unit)), comparison, Decimal(units))

    assert ask(since(End.FIRST, Comparison.GREATER_OR_EQUAL, 3), now + DAY) == (False, now + 3 * DAY)
    assert ask(since(End.FIRST, Comparison.GREATER_OR_EQUAL, 3), now + 3 * DAY) == (True, None)
    assert ask(since(End.LAST, Comparison.EQUALS, 3), now + 2 * DAY) == (False, now + 4 * DAY)
    assert ask(since(End.LAST, Comparison.EQUALS, 3), now + 4 * DAY) == (True, now + 5 * DAY)
    assert ask(since(End.LAST, Comparison.LESS, 10**9, Unit.WEEKS), now + DAY) == (True, None)
    assert ask(since(End.LAST, Comparison.GREATER_OR_EQUAL, 0), now - MOMENT) == (False, now)


# -- sequences ------------------------------------------------------------------------------------------------------

CART, ORDER, HELP = Step("Cart"), Step("Order"), Step("Help")


def test_sequence__within_an_hour__ends_before_it_is_over(ask, ada, source, now):
    rule = Sequence((CART, ORDER), Window(1, Unit.HOURS))
    happen(ada, source, "Cart", now)
    happen(ada, source, "Order", now + HOUR)

    assert ask(rule, now) == (False, now + HOUR)
    assert ask(rule, now + HOUR) == (False, None)
    happen(ada, source, "Cart", now + MOMENT)
    assert ask(rule, now + HOUR) == (True, None)


def test_sequence__of_events_at_the_same_time__is_none(ask, ada, source, now):
    for name in ("Cart", "Order"):
        happen(ada, source, name, now)

    assert ask(Sequence((CART, ORDER)), now) == (False, None)
    assert ask(Sequence((CART, CART)), now) == (False, None)


def test_sequence__with_something_excluded_between__needs_a_start_after_it(ask, ada, source, now):
    rule = Sequence((CART, ORDER), without=(HELP,))
    happen(ada, source, "Cart", now)
    happen(ada, source, "Help", now + HOUR)
    happen(ada, source, "Order", now + 2 * HOUR)

    assert ask(rule, now + DAY) == (False, None)
    happen(ada, source, "Cart", now + HOUR)  # at the same time is not between
    assert ask(rule, now + DAY) == (True, None)


def test_sequence__then_not__waits_until_it_can_no_longer_come(ask, ada, source, now):
    rule = Sequence((CART,), Window(1, Unit.DAYS), then_not=ORDER)
    happen(ada, source, "Cart", now)

    assert ask(rule, now) == (False, now + DAY)
    assert ask(rule, now + DAY - MOMENT) == (False, now + DAY)
    assert ask(rule, now + DAY) == (True, None)
    happen(ada, source, "Order", now + DAY)  # just too late to count
    assert ask(rule, now + DAY) == (True, None)
    happen(ada, source, "Order", now + DAY - MOMENT)
    assert ask(rule, now + DAY) == (False, None)


def test_sequence__in_a_period__lasts_as_long_as_its_latest_start_counts(ask, ada, source, now):
    rule = Sequence((CART, HELP, ORDER), period=Window(2, Unit.DAYS))
    for hours, name in enumerate(["Cart", "Cart", "Help", "Cart", "Order"]):
        happen(ada, source, name, now + hours * HOUR)

    assert ask(rule, now + 4 * HOUR) == (True, now + HOUR + 2 * DAY)
    assert ask(rule, now + HOUR + 2 * DAY) == (False, None)
    past = Sequence((CART, HELP, ORDER), period=Past(Window(2, Unit.DAYS)))
    assert ask(past, now + 4 * HOUR) == (False, now + 2 * DAY)
    assert ask(past, now + 2 * DAY)[0] is True  # by the earlier start, while the later one does not count yet


# -- what is known of a profile -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Condition("v", Comparison.NOT_IN, ("fr",)), True),
        (Condition("v", Comparison.NOT_IN, ("fr", Decimal(1)), ignores_case=True), False),
        (Condition("v", Comparison.EQUALS, "éàÇ%", ignores_case=True), False),
        (Condition("v", Comparison.EQUALS, "fR", ignores_case=True), True),
        (Condition("v", Comparison.ENDS_WITH, "R"), True),
        (Condition("v", Comparison.ENDS_WITH, ""), True),
        (Condition("v", Comparison.MATCHES, "?R"), True),
        (Condition("v", Comparison.MATCHES, "f*", ignores_case=True), True),
        (Condition("v", Comparison.MATCHES, "F_"), False),
        (Condition("v", Comparison.BETWEEN, ("FR", "Fz")), True),
        (Condition("v", Comparison.CONTAINS_ANY, ("x", "R")), True),
        (Condition("v", Comparison.CONTAINS_ALL, ("F", "FR")), True),
        (Condition("v", Comparison.CONTAINS_ANY, ("F", Decimal(1))), False),
        (Condition("list", Comparison.CONTAINS_ANY, ("x", Decimal(1))), True),
        (Condition("list", Comparison.CONTAINS_ALL, ("a", Decimal(1), Decimal("1.0"))), True),
        (Condition("list", Comparison.CONTAINS_ALL, ("A", "b"), ignores_case=True), False),
        (Condition("list", Comparison.CONTAINS, "A", ignores_case=True), True),
        (Condition("list", Comparison.NOT_IN, ("x",)), False),
        (Condition("deep", Comparison.EQUALS, "x", ("a", "b")), True),
        (Condition("deep", Comparison.EXISTS, None, ("a", "b", "c")), False),
        (Condition("list", Comparison.EXISTS, None, ("0",)), False),
    ],
)
def test_condition__of_any_kind__means_what_the_tree_says(ask, ada, source, now, condition, expected):
    know(ada, source, v="FR", list=["a", 1], deep={"a": {"b": "x"}})
    happen(ada, source, "Order", now, {"v": "FR", "list": ["a", 1], "deep": {"a": {"b": "x"}}})

    assert ask(Trait(condition), now) == (expected, None)
    assert ask(Event(Measured("Order", where=(condition,))), now) == (expected, None)


@pytest.mark.parametrize(
    ("products", "expected"),
    [
        ([{"category": "shoes", "price": 120}], True),
        ([{"category": "shoes", "price": 80}, {"category": "bags", "price": 120}], False),  # no single one is both
        ([None, 3, "shoes", ["shoes"], {"category": "shoes", "price": 100}], True),
        ([{"category": "shoes", "price": "120"}], False),
        ({"category": "shoes", "price": 120}, False),
        ([], False),
    ],
)
def test_list__of_objects__has_one_that_meets_every_condition(ask, ada, source, products, expected, now):
    has = (
        Condition("category", Comparison.EQUALS, "shoes"),
        Condition("price", Comparison.GREATER_OR_EQUAL, Decimal(100)),
    )
    know(ada, source, bought=products)
    happen(ada, source, "Order", now, {"cart": {"products": products}})
    of_events = Condition("cart", Comparison.HAS, None, ("products",), has=has)

    asked = [
        Trait(Condition("bought", Comparison.HAS, has=has)), Event(Measured("Order", Count(), (of_events,))),
    ]  # fmt: skip

    assert [ask(rule, now)[0] for rule in asked] == [expected, expected]


def test_near__a_place__is_measured_along_the_earth(ask, ada, source, now):
    know(ada, source, place={"latitude": 48.8566, "longitude": 2.3522})  # Paris; Lyon is 391.5 km away
    lyon = (Decimal("45.764"), Decimal("4.8357"))

    assert ask(Near("place", *lyon, Decimal(392_000)), now) == (True, None)
    assert ask(Near("place", *lyon, Decimal(391_000)), now) == (False, None)
    know(ada, source, place={"latitude": "48.8566", "longitude": 2.3522})
    assert ask(Near("place", *lyon, Decimal(20_000_000)), now) == (False, None)


def test_dated__ahead_of_and_after_a_day__counts_from_its_midnight_utc(ask, ada, source):
    know(ada, source, renewal="2026-12-01")
    day = datetime(2026, 12, 1, tzinfo=UTC)

    ahead = Dated("renewal", Ahead(Window(2, Unit.DAYS)))
    assert ask(ahead, day - 3 * DAY) == (False, day - 2 * DAY)
    assert ask(ahead, day - 2 * DAY) == (True, day)
    assert ask(ahead, day) == (False, None)
    assert ask(Dated("renewal", Window(1, Unit.DAYS)), day) == (True, day + DAY)
    assert ask(Dated("renewal", Between(day, None)), day) == (True, None)
    assert ask(Dated("renewal", Past(Window(1, Unit.DAYS))), day) == (False, day + DAY)
    assert ask(Dated("renewal", Calendar(1, DAYS)), day) == (True, datetime(2026, 12, 1, 23, tzinfo=UTC))
    know(ada, source, renewal="9999-12-31")
    assert ask(Dated("renewal", Window(100, Unit.WEEKS)), day) == (False, None)
    know(ada, source, renewal="2026-13-01")
    assert ask(Not(Dated("renewal", Window(1, Unit.DAYS))), day) == (True, None)


def test_anniversary__waits_for_its_day_and_not_for_every_midnight(ask, ada, source):
    know(ada, source, born="1988-02-29", timezone="Asia/Kathmandu")
    begins = datetime(2026, 2, 28, 18, 15, tzinfo=UTC)  # the 1st of March, in Kathmandu

    assert ask(Anniversary("born"), begins - 200 * DAY) == (False, begins)
    assert ask(Anniversary("born"), begins) == (True, begins + DAY)
    assert ask(Anniversary("born"), begins + DAY) == (False, datetime(2027, 2, 28, 18, 15, tzinfo=UTC))
    assert ask(Anniversary("born", 7), begins - 7 * DAY) == (True, begins + DAY)
    assert ask(Anniversary("born"), datetime(2028, 2, 28, 18, 15, tzinfo=UTC))[0] is True  # that year has a 29th
    assert ask(Anniversary("unknown"), begins) == (False, None)


def test_score__and_group__are_of_the_latest_model(ask, ada, now, workspace):
    put_in_group(ada, "value", "gold")
    StoredScore.objects.filter(model_slug="value").update(value=Decimal("0.5"))

    assert ask(Score("value", Comparison.GREATER_OR_EQUAL, Decimal("0.5")), now) == (True, None)
    assert ask(Score("value", Comparison.BETWEEN, (Decimal("0.6"), Decimal(1))), now) == (False, None)
    assert ask(And((Learned("value", "gold"), Not(Learned("value", "silver")))), now) == (True, None)
    StoredScore.objects.update(value=None)
    assert ask(Score("value", Comparison.NOT_EQUALS, Decimal(1)), now) == (False, None)


def test_member__is_who_was_in_the_segment_at_that_instant(ask, ada, now, workspace):
    segment = Segment.objects.create(workspace=workspace, slug="other", name="other")
    version = SegmentVersion.objects.create(workspace=workspace, segment=segment, number=1, definition={})
    Membership.objects.create(
        workspace=workspace, segment=segment, version=version, profile_id=ada.pk, entered_at=now,
        entered_cause=Cause.EVENT, left_at=now + DAY, left_cause=Cause.EVENT,
    )  # fmt: skip

    answers = [ask(Member("other"), at) for at in (now - MOMENT, now, now + DAY - MOMENT, now + DAY)]
    assert answers == [(False, None), (True, None), (True, None), (False, None)]
    assert ask(Member("another"), now) == (False, None)


def test_consented__to_a_purpose__ends_with_the_permission(ask, ada, now):
    Profile.objects.filter(pk=ada.pk).update(permitted_until=datetime(2100, 1, 1, tzinfo=UTC))

    assert ask(Consented("analytics"), now) == (True, datetime(2100, 1, 1, tzinfo=UTC))
    assert ask(Consented("advertising"), now)[0] is False
    with pytest.raises(LanguageError) as refused:
        ask(Consented("advertisin"), now)
    assert (refused.value.code, refused.value.suggestion) == ("unknown_purpose", "advertising")


def test_sample__of_two_halves__has_everybody_once(ask, now):
    halves = [ask(Sample("salt", *map(Decimal, ends)), now)[0] for ends in ((0, 50), (50, 100))]

    assert sorted(halves) == [False, True]
    assert ask(Sample("salt", Decimal(0), Decimal(100)), now) == (True, None)


def test_rank__is_beyond_the_frozen_value_or_level_with_it_and_before(ask, ada, source, now):
    window = Window(1, Unit.DAYS)
    happen(ada, source, "Order", now, {"amount": Decimal("0.7")})
    spent = Rank(Measured("Order", Aggregate(Of.SUM, Property("amount")), (), window), Top(Decimal(10)))

    def at(value: str, profile: int | None) -> Answer:
        return ask(spent, now, {canonical(spent): Threshold(Decimal(value), profile, now)})

    assert at("0.6", 0) == (True, now + DAY)
    assert at("0.7", ada.pk) == (True, now + DAY)
    assert at("0.7", ada.pk - 1) == (False, now + DAY)
    assert at("0.7", None) == (True, now + DAY)
    assert at("0.8", None) == (False, now + DAY)
    assert ask(spent, now) == (False, None)
    assert ask(spent, now, {canonical(spent): Threshold(None, None, now)}) == (False, None)


def test_rank__of_the_lowest__leaves_out_who_has_no_event(ask, ada, source, now):
    rule = Rank(Measured("Order"), Top(Decimal(50), is_percent=True), is_lowest=True)
    frozen = {canonical(rule): Threshold(Decimal(2), None, now)}

    assert ask(rule, now, frozen) == (False, None)
    happen(ada, source, "Order", now)
    assert ask(rule, now, frozen) == (True, None)
    know(ada, source, age=Decimal("41.0000000004"))
    older = Rank(Property("age"), Top(Decimal(1)))
    assert ask(older, now, {canonical(older): Threshold(Decimal(41), ada.pk, now)}) == (True, None)


def test_rule__of_many_sequences__is_followed_in_several_passes(ask, ada, source, now, monkeypatch):
    monkeypatch.setattr(passes, "MOST_TOGETHER", 2)
    for hours, name in enumerate(["a0", "b0", "c0", "a4"]):
        happen(ada, source, name, now + hours * HOUR)
    chains = [Sequence((Step(f"a{n}"), Step(f"b{n}"), Step(f"c{n}"))) for n in range(5)]

    assert [ask(chain, now + DAY)[0] for chain in chains] == [True, False, False, False, False]
    assert ask(And(tuple(Not(chain) for chain in chains)), now) == (True, now + HOUR)

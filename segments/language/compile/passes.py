"""The profiles that are asked about, and one pass over each table of facts: a row for each profile."""

from collections.abc import Iterator, Sequence
from typing import Final

from sqlglot import exp

from segments.language.compile.draft import Asked, Draft, Facts, Reach
from segments.language.compile.expressions import (
    call,
    column,
    constant,
    eq,
    filtered,
    given,
    gt,
    is_one_of,
    least,
    minus,
    scalar,
)
from segments.language.compile.sequences import MOST_TOGETHER, Chain, followed
from segments.language.tree import Zone

EVENT_COLUMNS: Final = ("profile_id", "name", "occurred_at", "properties", "message_id", "source_id")
_ZONE_TRAIT: Final = "timezone"


# -- subjects -------------------------------------------------------------------------------------------------------


def subjects(draft: Draft) -> Iterator[tuple[str, exp.Query]]:
    """The live profiles that the purpose may see. Who is none of them has no row in the result."""
    if draft.asked is not Asked.EVERYBODY:
        yield "asked", _asked(draft)
    person = _person(draft)
    if not draft.starts:
        yield "subject", person
        return
    yield "person", person
    yield "local", _local(draft)
    query = exp.select("person.*").select(*(column(name, "local") for name in draft.starts.values())).from_("person")
    # Everybody is found there; by a left join Postgres knows so, and does not think that subjects are few.
    yield "subject", query.join("local", on="local.zone = person.zone AND local.at = person.at", join_type="left")


def _person(draft: Draft) -> exp.Select:
    if draft.asked is Asked.EVERYBODY:
        columns = [exp.alias_(column("id", "p"), "profile_id"), exp.alias_(given("now", "timestamptz"), "at")]
        source, profile = exp.to_table("profile", alias="p"), "p.id"
        query = exp.select(*columns).from_(source)
        permission = ("p.permitted", "p.permitted_until")
    else:
        query, profile = exp.select("a.profile_id", "a.at").from_("asked AS a").where("a.is_seen"), "a.profile_id"
        permission = ("a.permitted", "a.permitted_until")
    if draft.needs_permission:
        query = query.select(*permission)
    return _with_zone(query, profile, draft) if draft.needs_zone or draft.starts else query


def _with_zone(query: exp.Select, profile: str, draft: Draft) -> exp.Select:
    """That of the trait where it names one, else of the source, else of the workspace."""
    own = exp.select("t.profile_id", exp.alias_(call("core.zone_of", column("value", "t")), "zone")).from_("trait AS t")
    own, of_source = own.where(eq(column("name", "t"), constant(_ZONE_TRAIT))), _source_zones()
    if draft.asked is not Asked.EVERYBODY:
        own, of_source = own.where(_is_asked("t")), of_source.where(_is_asked("t"))
    zones = [column("zone", "z"), column("zone", "s"), draft.shared_zone(Zone.WORKSPACE)]
    zone = exp.alias_(exp.Coalesce(this=zones[0], expressions=zones[1:]), "zone")
    for name, found in (("z", own), ("s", of_source)):
        query = query.join(found.subquery(name), on=f"{name}.profile_id = {profile}", join_type="left")
    return query.select(zone)


def _source_zones() -> exp.Select:
    """Of each profile that of the first source that has one, of those that a trait of it comes from."""
    zone = call("core.zone_of", call("to_jsonb", column("time_zone", "s")))
    rows = exp.select("t.profile_id", exp.alias_(zone, "zone")).distinct("t.profile_id").from_("source AS s")
    rows = rows.join("trait AS t", on="t.source_id = s.id").where(
        exp.NEQ(this=column("time_zone", "s"), expression=constant(""))
    )
    return rows.order_by("t.profile_id", "s.id")


def _local(draft: Draft) -> exp.Select:
    """Calendars of the zones that there are, each as of the instants that there are: few, however many the profiles."""
    zones = exp.select("zone", "at").distinct().from_("person").subquery("d")
    starts = [
        exp.alias_(draft.local_start(column("at", "d"), unit, shift, _zone_here(zone, draft)), name)
        for (unit, shift, zone), name in draft.starts.items()
    ]
    return exp.select("d.zone", "d.at").select(*starts).from_(zones)


def _zone_here(zone: Zone, draft: Draft) -> exp.Expr:
    return column("zone", "d") if zone is Zone.PROFILE else draft.shared_zone(zone)


def _asked(draft: Draft) -> exp.Query:
    """Those that are asked about, whether they are seen or not: Postgres knows how many these are, whatever it takes the
    tables for. Of so many it never goes over the facts once for each.
    """
    at = _instants() if draft.asked is Asked.EACH_AT_ITS_INSTANT else exp.alias_(given("now", "timestamptz"), "at")
    each = exp.select(exp.alias_(call("unnest", given("profiles", "bigint[]")), "profile_id"), at)
    permission = ["p.permitted", "p.permitted_until"] if draft.needs_permission else []
    seen = exp.select("p.id", *permission).from_("profile AS p").where(_is_asked("p", "id"))
    query = exp.select("one.profile_id", "one.at", "p.id IS NOT NULL AS is_seen", *permission).from_(
        each.subquery("one")
    )
    return query.join(seen.subquery("p"), on="p.id = one.profile_id", join_type="left")


def _instants() -> exp.Expr:
    return exp.alias_(call("unnest", given("instants", "timestamptz[]")), "at")


def _is_asked(table: str, name: str = "profile_id") -> exp.Expr:
    """Said once more for every table: conditions reach its index through the view of the purpose, and joins do not.

    Events know no profile, hence the identifiers: else Postgres may read every event of a name.
    """
    return is_one_of(column(name, table), given("profiles", "bigint[]"))


# -- passes ---------------------------------------------------------------------------------------------------------


def facts(draft: Draft, chains: Sequence[Chain]) -> Iterator[tuple[str, exp.Query]]:
    """Of each table that a leaf needs."""
    yield from facts_of_events(draft, chains)
    yield from other_facts(draft)


def facts_of_events(draft: Draft, chains: Sequence[Chain]) -> Iterator[tuple[str, exp.Query]]:
    if draft.events.columns:
        events = _events(draft.events, draft)
        yield "of_event", _aggregated(events, draft.events) if draft.tells_changes else _counted(events, draft.events)
    for place in range(0, len(chains), MOST_TOGETHER):
        together = chains[place : place + MOST_TOGETHER]
        yield f"of_sequence{place}", followed(_events(draft.chained, draft), together, draft)


def other_facts(draft: Draft) -> Iterator[tuple[str, exp.Query]]:
    if draft.traits.columns:
        yield "of_trait", _aggregated(_narrowed(_table("trait", "t"), "name", draft.traits, draft), draft.traits)
    if draft.scores.columns:
        yield "of_score", _aggregated(_narrowed(_table("score", "s"), "model_slug", draft.scores, draft), draft.scores)
    if draft.members.columns:
        yield "of_membership", _periods("membership", "slug", draft.members, draft)
    if draft.lists.columns:
        yield "of_list", _periods("list_entry", "list_slug", draft.lists, draft)


def _table(table: str, alias: str) -> exp.Select:
    return exp.select(f"{alias}.*").from_(exp.to_table(table, alias=alias))


def _narrowed(rows: exp.Select, name: str, of: Facts, draft: Draft) -> exp.Select:
    """To the rows that matter. The others need not be grouped: without any row a leaf is false as well."""
    rows = rows.where(_named(name, of), copy=False)
    if draft.asked is not Asked.EVERYBODY:
        return rows.where(_is_asked(of.alias), copy=False)
    return rows.where(exp.or_(*(exp.and_(*each) for each in of.filters), copy=False), copy=False)


def _periods(table: str, name: str, of: Facts, draft: Draft) -> exp.Select:
    """Of memberships and entries, which are compared with the instant of each profile."""
    alias, rows = of.alias, _compared_with_now(table, of.alias)
    named = exp.In(this=column(name, "g" if table == "membership" else alias), expressions=list(of.names.values()))
    rows = rows.where(named)
    if draft.asked is not Asked.EVERYBODY:
        rows = rows.where(_is_asked(alias))
    if draft.asked is Asked.EACH_AT_ITS_INSTANT:
        rows.set("expressions", [each for each in rows.expressions if each.alias != "at"])
        both = exp.select(f"{alias}.*", "j.at").from_(rows.subquery(alias))
        rows = both.join("subject AS j", on=f"j.profile_id = {alias}.profile_id")
    return _aggregated(rows, of)


def _compared_with_now(table: str, alias: str) -> exp.Select:
    rows = _table(table, alias).select(exp.alias_(given("now", "timestamptz"), "at"))
    if table == "membership":
        rows = rows.select("g.slug").join("segment AS g", on=f"g.id = {alias}.segment_id")
    return rows


def whose_row(is_true: exp.Expr, draft: Draft) -> exp.Select | None:
    """The profiles that have a row by which a leaf is true, if that is all that it asks: none need be grouped."""
    of, rows = {
        "t": (draft.traits, _table("trait", "t")),
        "s": (draft.scores, _table("score", "s")),
        "m": (draft.members, _compared_with_now("membership", "m")),
        "i": (draft.lists, _compared_with_now("list_entry", "i")),
    }.get(is_true.name[:1], (draft.events, None))
    made = of.columns.get(is_true.name)
    if rows is None or not isinstance(made, exp.LogicalOr):
        return None
    return exp.select(f"{of.alias}.profile_id").from_(rows.subquery(of.alias)).where(made.this.copy())


def _aggregated(rows: exp.Select, of: Facts) -> exp.Select:
    columns = [exp.alias_(made, name, copy=False) for name, made in of.columns.items()]
    query = exp.select(f"{of.alias}.profile_id").select(*columns, copy=False)
    return query.from_(rows.subquery(of.alias, copy=False), copy=False).group_by(f"{of.alias}.profile_id", copy=False)


def _counted(rows: exp.Select, of: Facts) -> exp.Select:
    """What is asked of the rows of every column is asked before they are grouped. Whoever has none left has no row."""
    query = _aggregated(rows, of)
    filters = list(query.find_all(exp.Filter))
    asked = [set(_conditions(each)) for each in filters]
    shared = [condition for condition in _conditions(filters[0]) if all(condition in each for each in asked)]
    for each in filters:
        own = [condition for condition in _conditions(each) if condition not in shared]
        each.replace(filtered(each.this, own) if own else each.this)
    return query.where(*shared, copy=False)


def _conditions(of: exp.Filter) -> list[exp.Expr]:
    asked = of.expression.this
    return list(asked.flatten()) if isinstance(asked, exp.And) else [asked]


def _named(name: str, of: Facts) -> exp.Expr:
    names = list(of.names.values())
    if len(names) == 1:
        return eq(column(name, of.alias), names[0])
    return exp.In(this=column(name, of.alias), expressions=names)


# -- events ---------------------------------------------------------------------------------------------------------


def _events(of: Facts, draft: Draft) -> exp.Select:
    """The events that any leaf may count, each with the instant as of which its profile is evaluated.

    A message that came twice is one event: the table `message`, which storing goes through, refuses the second.
    """
    query = exp.select(*(column(name, "e") for name in EVENT_COLUMNS)).from_("event AS e")
    query = query.where(_named("name", of), *draft.of_event, copy=False)
    if draft.asked is not Asked.EVERYBODY:
        of_theirs = is_one_of(column("identifier_id", "e"), given("identifiers", "bigint[]"))
        query = query.where(_is_asked("e"), of_theirs)
    is_for_each = draft.asked is Asked.EACH_AT_ITS_INSTANT
    first = _earliest_instant() if is_for_each else given("now", "timestamptz")
    if not of.reach.is_endless:
        query = query.where(gt(column("occurred_at", "e"), _bound(of.reach, first, draft)), copy=False)
    return _of_subjects(query, draft) if draft.events_need_subject else query.select(exp.alias_(first, "at"))


def _bound(reach: Reach, first: exp.Expr, draft: Draft) -> exp.Expr:
    """What is given as an absolute instant counts from it on."""
    bounds = [minus(first, draft.parameters.seconds(reach.seconds))] if reach.seconds else []
    if reach.since is not None:
        bounds.append(minus(draft.parameters.instant(reach.since), draft.parameters.seconds(1)))
    return least(bounds)


def _earliest_instant() -> exp.Expr:
    return scalar(exp.select(exp.Min(this=column("at"))).from_(exp.select(_instants()).subquery("i")))


def _of_subjects(events: exp.Select, draft: Draft) -> exp.Select:
    """From the subjects on, of which it is known how many they are. Who has no event has a row that no leaf counts."""
    of_subject = ["at", *(["zone"] if draft.needs_zone else []), *draft.starts.values()]
    query = exp.select("j.profile_id", *(column(name, "e") for name in EVENT_COLUMNS if name != "profile_id"))
    query = query.select(*(column(name, "j") for name in of_subject)).from_("subject AS j")
    kind = "inner" if draft.asked is Asked.EVERYBODY else "left"
    return query.join(events.subquery("e"), on="e.profile_id = j.profile_id", join_type=kind)

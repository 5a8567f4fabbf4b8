"""The SQL of each kind of figure: all asked segments and all periods of a stretch in one statement, each table read once.

Every query gives a row for each (segment, place of the period) of which there is something to say: `value`, `numerator`,
`denominator`, and `people`, on how many of whom it rests. Segment 0 is everybody: whoever is known, since they are.

The periods lie side by side: `bounds` holds their beginnings and the end of the last one, or the present instant where
that one is running. So width_bucket(instant, bounds) is the place of the period of an instant.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from segments.kpis.definitions import (
    Average,
    Contacts,
    Conversion,
    Cycle,
    Entries,
    Exits,
    Figure,
    Kpi,
    Renewal,
    Retention,
    Revenue,
    Size,
    Who,
)

# Memberships that the stretch sees something of. One that ends as it begins was never one.
_STAY: Final = """
stay AS MATERIALIZED (
    SELECT segment_id, profile_id, entered_at, COALESCE(left_at, 'infinity') AS left_at FROM membership
    WHERE segment_id = ANY(%(segments)s::bigint[]) AND entered_at < %(last)s
    AND (left_at IS NULL OR left_at >= %(first)s AND left_at > entered_at)
    UNION ALL
    SELECT 0, id, created_at, 'infinity' FROM profile WHERE 0 = ANY(%(segments)s::bigint[]) AND created_at < %(last)s
)"""

# From which period until which a membership counts: the periods whose end, or beginning, it covers, or that it touches.
_ENTERED: Final = "width_bucket(entered_at, %(bounds)s::timestamptz[])"
_LEFT: Final = "width_bucket(left_at, %(bounds)s::timestamptz[])"
_LEAVES_ON_A_BOUND: Final = "(left_at = ANY(%(bounds)s::timestamptz[]))::integer"
_COVERED: Final[Mapping[Who, tuple[str, str]]] = {
    Who.END: (_ENTERED, f"{_LEFT} - 1"),
    Who.START: (f"{_ENTERED} + 1", _LEFT),
    Who.DURING: (_ENTERED, f"{_LEFT} - {_LEAVES_ON_A_BOUND}"),
}

# At an instant nobody has two memberships of one segment, in the course of a period somebody may have had several: a second
# one counts from the first period that the one before did not reach.
_REACH: Final = """
{name} AS (
    SELECT segment_id, profile_id, since, until FROM (
        SELECT segment_id, profile_id, least({until}, %(periods)s) AS until, greatest({since}, 1) AS since FROM stay
    ) AS covered WHERE since <= until
)"""
_REACH_ONCE: Final = """
{name} AS (
    SELECT segment_id, profile_id, since, until FROM (
        SELECT segment_id, profile_id, least(until, %(periods)s) AS until, greatest(since, 1, 1 + max(until) OVER (
            PARTITION BY segment_id, profile_id ORDER BY entered_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        )) AS since
        FROM (SELECT segment_id, profile_id, entered_at, {since} AS since, {until} AS until FROM stay) AS covered
    ) AS reaching WHERE since <= until
)"""


def _reach(who: Who, name: str = "reach") -> str:
    since, until = _COVERED[who]
    return (_REACH_ONCE if who is Who.DURING else _REACH).format(name=name, since=since, until=until)


# How many of a reach there are in each period: what comes and goes, added up.
_CROWD: Final = """
{name}_span AS MATERIALIZED (
    SELECT segment_id, since, until, count(*) AS people FROM {reach} GROUP BY segment_id, since, until
),
{name} AS (
    SELECT segment_id, n, COALESCE(sum(change) OVER (PARTITION BY segment_id ORDER BY n), 0)::bigint AS people
    FROM unnest(%(segments)s::bigint[]) AS segment_id CROSS JOIN generate_series(1, %(periods)s) AS n
    LEFT JOIN (
        SELECT segment_id, n, sum(change) AS change FROM (
            SELECT segment_id, since AS n, people AS change FROM {name}_span
            UNION ALL SELECT segment_id, until + 1, -people FROM {name}_span
        ) AS changes GROUP BY segment_id, n
    ) AS changed USING (segment_id, n)
)"""


def _crowd(reach: str = "reach", name: str = "crowd") -> str:
    return _CROWD.format(reach=reach, name=name)


_EVENTS: Final = """
SELECT profile_id, occurred_at, properties, width_bucket(occurred_at, %(bounds)s::timestamptz[]) AS n FROM event
WHERE occurred_at >= %(first)s AND occurred_at < %(last)s AND name = %(event)s AND properties @> %(where)s::jsonb
"""
_WITHIN: Final = "make_interval(days => %(within)s)"


def _filled(query: str) -> str:
    return query.format(events=_EVENTS, within=_WITHIN)


def _tables(*each: str) -> str:
    return ",".join(each)


# -- counts -----------------------------------------------------------------------------------------------------------

_HEADS: Final = """
figure AS (
    SELECT segment_id, n, people::float AS value, NULL::float AS numerator, NULL::float AS denominator, people FROM crowd
)"""
_FLOW: Final = """
figure AS (
    SELECT segment_id, width_bucket({at}, %(bounds)s::timestamptz[]) AS n, count(*)::float AS value,
           NULL::float AS numerator, NULL::float AS denominator, count(DISTINCT profile_id) AS people
    FROM stay WHERE {at} >= %(first)s AND {at} < %(last)s GROUP BY 1, 2
)"""
_SIZE: Final = _tables(_STAY, _reach(Who.END), _crowd(), _HEADS)
_ENTRIES: Final = _tables(_STAY, _FLOW.format(at="entered_at"))
_EXITS: Final = _tables(_STAY, _FLOW.format(at="left_at"))

# -- shares of people -------------------------------------------------------------------------------------------------

_SHARE: Final = """
figure AS (
    SELECT segment_id, n, COALESCE(did.people, 0) / NULLIF(crowd.people, 0)::float AS value,
           COALESCE(did.people, 0)::float AS numerator, crowd.people::float AS denominator, crowd.people
    FROM crowd LEFT JOIN did USING (segment_id, n)
)"""
_DID_AS_MEMBER: Final = """
did AS (
    SELECT segment_id, n, count(DISTINCT profile_id) AS people FROM ({events}) AS e JOIN stay USING (profile_id)
    WHERE occurred_at >= entered_at AND occurred_at < left_at GROUP BY segment_id, n
)"""
_DID: Final = """
did AS (
    SELECT segment_id, n, count(DISTINCT profile_id) AS people FROM ({events}) AS e JOIN reach USING (profile_id)
    WHERE n BETWEEN since AND until GROUP BY segment_id, n
)"""
_STAYED: Final = """
stayed AS (
    SELECT segment_id, profile_id, greatest(b.since, e.since) AS since, least(b.until, e.until) AS until
    FROM reach AS b JOIN at_end AS e USING (segment_id, profile_id) WHERE b.since <= e.until AND e.since <= b.until
)"""
_CONVERSION: Final[Mapping[Who, str]] = {
    who: _tables(_STAY, _reach(who), _crowd(), _filled(_DID_AS_MEMBER if who is Who.DURING else _DID), _SHARE)
    for who in Who
}
_RETENTION: Final = _tables(
    _STAY, _reach(Who.START), _crowd(), _reach(Who.END, "at_end"), _STAYED, _crowd("stayed", "did"), _SHARE
)

# -- money ------------------------------------------------------------------------------------------------------------

_SPENT: Final = """
spent AS (
    SELECT segment_id, n, sum(amount)::float AS total, count(*)::float AS times, count(DISTINCT profile_id) AS people
    FROM (
        SELECT profile_id, occurred_at, n, (properties ->> %(amount)s)::numeric AS amount FROM ({events}) AS happened
        WHERE jsonb_typeof(properties -> %(amount)s) = 'number'
    ) AS e JOIN stay USING (profile_id)
    WHERE occurred_at >= entered_at AND occurred_at < left_at GROUP BY segment_id, n
)"""
_BASKET: Final = """
figure AS (
    SELECT segment_id, n, total / times AS value, total AS numerator, times AS denominator, people FROM spent
)"""
_TOTAL: Final = """
figure AS (
    SELECT segment_id, n, total AS value, NULL::float AS numerator, times AS denominator, people FROM spent
)"""
_AVERAGE: Final = _tables(_STAY, _filled(_SPENT), _BASKET)
_REVENUE: Final = _tables(_STAY, _filled(_SPENT), _TOTAL)

# -- contracts and opportunities: events that belong together by a key ------------------------------------------------

# The first event of each key in a period, by people who were members.
_KEYED: Final = """
keyed AS MATERIALIZED (
    SELECT DISTINCT ON (segment_id, n, key) segment_id, n, key, profile_id, occurred_at AS at FROM (
        SELECT profile_id, occurred_at, n, properties ->> %(key)s AS key FROM ({events}) AS happened
    ) AS e JOIN stay USING (profile_id)
    WHERE key IS NOT NULL AND occurred_at >= entered_at AND occurred_at < left_at
    ORDER BY segment_id, n, key, occurred_at
)"""
_OUTCOMES: Final = """
renewal AS (
    SELECT properties ->> %(key)s AS key, occurred_at AS renewed_at FROM event WHERE name = %(renewed)s
    AND occurred_at >= %(first)s - {within} AND occurred_at < least(%(last)s + {within}, %(now)s)
),
outcome AS (
    SELECT segment_id, n, key, profile_id,
           count(*) FILTER (WHERE renewed_at >= at - {within} AND renewed_at < at + {within}) > 0 AS is_renewed
    FROM keyed LEFT JOIN renewal USING (key) GROUP BY segment_id, n, key, profile_id
),
figure AS (
    SELECT segment_id, n, count(*) FILTER (WHERE is_renewed) / count(*)::float AS value,
           (count(*) FILTER (WHERE is_renewed))::float AS numerator, count(*)::float AS denominator,
           count(DISTINCT profile_id) AS people
    FROM outcome GROUP BY segment_id, n
)"""
_DEALS: Final = """
opening AS (
    SELECT properties ->> %(key)s AS key, occurred_at AS began_at FROM event WHERE name = %(opened)s
    AND occurred_at >= %(first)s - {within} AND occurred_at < %(last)s
),
deal AS MATERIALIZED (
    SELECT segment_id, n, key, profile_id, at, min(began_at) AS opened_at FROM keyed JOIN opening USING (key)
    WHERE began_at <= at AND began_at >= at - {within} GROUP BY segment_id, n, key, profile_id, at
)"""
_LENGTHS: Final = """
figure AS (
    SELECT segment_id, n,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM at - opened_at) / 86400)::float AS value,
           NULL::float AS numerator, count(*)::float AS denominator, count(DISTINCT profile_id) AS people
    FROM deal GROUP BY segment_id, n
)"""
_MEETINGS: Final = """
contact AS (
    SELECT properties ->> %(key)s AS key, occurred_at AS met_at FROM event WHERE name = ANY(%(contacts)s)
    AND occurred_at >= %(first)s - {within} AND occurred_at < %(last)s
),
met AS (
    SELECT segment_id, n, key, count(*) AS times FROM deal JOIN contact USING (key)
    WHERE met_at >= opened_at AND met_at < at GROUP BY segment_id, n, key
),
figure AS (
    SELECT segment_id, n, COALESCE(sum(times), 0)::float / count(*) AS value,
           COALESCE(sum(times), 0)::float AS numerator, count(*)::float AS denominator,
           count(DISTINCT profile_id) AS people
    FROM deal LEFT JOIN met USING (segment_id, n, key) GROUP BY segment_id, n
)"""
_RENEWAL: Final = _tables(_STAY, *map(_filled, (_KEYED, _OUTCOMES)))
_CYCLE: Final = _tables(_STAY, *map(_filled, (_KEYED, _DEALS, _LENGTHS)))
_CONTACTS: Final = _tables(_STAY, *map(_filled, (_KEYED, _DEALS, _MEETINGS)))

_PLAIN: Final[Mapping[type[Figure], str]] = {
    Size: _SIZE,
    Entries: _ENTRIES,
    Exits: _EXITS,
    Average: _AVERAGE,
    Revenue: _REVENUE,
    Renewal: _RENEWAL,
    Cycle: _CYCLE,
    Contacts: _CONTACTS,
}


def figure_sql(kpi: Kpi) -> str:
    """What follows WITH: the last of its tables is `figure`."""
    match kpi:
        case Conversion(who=who):
            return _CONVERSION[who]
        case Retention(event=str()):
            return _CONVERSION[Who.START]
        case Retention():
            return _RETENTION
    return _PLAIN[type(kpi)]


def parameters_of(kpi: Kpi) -> dict[str, Any]:
    """The values of the definition, by the names that its query knows them by."""
    given = {name: getattr(kpi, name) for name in kpi.__struct_fields__}
    event = given.get("event") or given.get("due") or given.get("closed")
    where = msgspec.json.encode(given.get("where", {})).decode()
    return {**given, "event": event, "where": where, "within": given.get("within_days")}

"""Events one after the other, in passes over each person's events in order of time.

For every event that may be the last of a chain, the latest start of one is kept: of several that is the best, as it is
the nearest for `within`, and the least lies between for `without`. The start of a chain that ends with a step is the
greatest of those that end with the step before it, over strictly earlier events.
"""

from collections.abc import Sequence

from sqlglot import exp

from segments.columnar.dialects import allof, anyof, when, whole

_EARLIER = {"start": "UNBOUNDED", "start_side": "PRECEDING", "end": whole(1), "end_side": "PRECEDING"}
_LATER = {"start": whole(1), "start_side": "FOLLOWING", "end": "UNBOUNDED", "end_side": "FOLLOWING"}


def sequence(
    steps: Sequence[exp.Expr], without: Sequence[exp.Expr], then_not: exp.Expr | None, within: int | None, now: int
) -> exp.Select:
    """The profiles that have such a chain. Conditions are over `f`, a row of `happened`."""
    micros = exp.column("micros", "f")
    kinds = {f"m{place}": step for place, step in enumerate(steps)}
    kinds |= {"x": anyof(list(without))} if without else {}
    kinds |= {"n": then_not} if then_not is not None else {}
    columns = [exp.alias_(when(kind, micros.copy()), name) for name, kind in kinds.items()]
    query = exp.select("f.profile_id", "f.micros", *columns).from_("happened AS f")
    query = query.where(anyof([kind.copy() for kind in kinds.values()]))
    start = "m0"
    for place in range(1, len(steps)):
        found = when(_is_known(f"m{place}"), _window(exp.Max, start, _EARLIER))
        query = exp.select("s.*", exp.alias_(found, f"s{place}")).from_(query.subquery("s"))
        start = f"s{place}"
    return _left_alone(query, start, within, now, has_without=bool(without), has_then_not=then_not is not None)


def _left_alone(
    query: exp.Select, start: str, within: int | None, now: int, *, has_without: bool, has_then_not: bool
) -> exp.Select:
    """Nothing that is excluded lies between, and what must not follow can follow no longer."""
    between = [exp.alias_(_window(exp.Max, "x", _EARLIER), "excluded")] if has_without else []
    after = [exp.alias_(_window(exp.Min, "n", _LATER), "followed")] if has_then_not else []
    chains = exp.select("s.*", *between, *after).from_(query.subquery("s"))
    begins, micros = exp.column(start, "c"), exp.column("micros", "c")
    conditions = [_is_known(start, "c")]
    if within is not None:
        conditions.append(exp.LT(this=micros, expression=exp.Add(this=begins, expression=whole(within))))
    if has_without:
        conditions.append(_none_or(exp.LTE, "excluded", begins))
    if has_then_not:
        ends = exp.Add(this=micros.copy(), expression=whole(within or 0))
        conditions += [exp.LTE(this=ends, expression=whole(now)), _none_or(exp.GTE, "followed", ends.copy())]
    return exp.select("c.profile_id").distinct().from_(chains.subquery("c")).where(allof(conditions))


def _window(kind: type[exp.Expr], column: str, frame: dict[str, object]) -> exp.Expr:
    order = exp.Order(expressions=[exp.Ordered(this=exp.column("micros", "s"))])
    return exp.Window(
        this=kind(this=exp.column(column, "s")), partition_by=[exp.column("profile_id", "s")], order=order,
        spec=exp.WindowSpec(kind="RANGE", **frame),
    ).copy()  # fmt: skip


def _is_known(column: str, table: str = "s") -> exp.Expr:
    return exp.Not(this=exp.Is(this=exp.column(column, table), expression=exp.null()))


def _none_or(kind: type[exp.Expr], column: str, limit: exp.Expr) -> exp.Expr:
    found = exp.column(column, "c")
    return anyof([exp.Is(this=found, expression=exp.null()), kind(this=found.copy(), expression=limit.copy())])

"""What a ranking compares: everybody's value, as the leaf itself computes it of one profile."""

from decimal import Decimal

from sqlglot import exp

from segments.language.compile import Query, on_subject, passes, written
from segments.language.compile.draft import Asked, Draft
from segments.language.compile.expressions import call, whole
from segments.language.compile.people import trait_value
from segments.language.compile.ranked import measured_value
from segments.language.compile.values import as_number
from segments.language.ranks import DECIMALS
from segments.language.tree import Measured, Property


def compile_values(of: Measured | Property, asked: Asked) -> Query:
    """A row for each profile: profile_id and value, which is null where there is none. Takes what `asked` says."""
    draft = Draft(asked, {})
    value = exp.alias_(_value(of, draft), "value", copy=False)
    facts = dict(passes.facts(draft, []))
    query = on_subject(exp.select("subject.profile_id", value, copy=False), facts)
    return written(query, {**dict(passes.subjects(draft)), **facts}, draft)


def _value(of: Measured | Property, draft: Draft) -> exp.Expr:
    if isinstance(of, Measured):
        value, _ = measured_value(of, Decimal(0), draft)
        return value
    return call("round", as_number(trait_value(of.name, of.inside, draft)), whole(DECIMALS))

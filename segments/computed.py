"""Computed traits: a value made of what people did, under a name that rules can use and pages show.

Nothing is stored: a rule is compiled with the measure in place of the name, so it is exact at every moment. A version of a
segment keeps how its computed traits were measured. Who changes a computed trait publishes the segments that use it anew.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from django.db import transaction
from django.db.models import Max

from cdp.kernel.errors import TesseraError
from cdp.models import User
from cdp.models.tenancy import workspace_scope
from consent.gate import Permit
from segments import services
from segments.facts import Names, facts_of
from segments.language import (
    Aggregate,
    Count,
    End,
    Measured,
    Of,
    Property,
    Since,
    Unit,
    Window,
    measured_from_json,
    measured_to_json,
    parse_measured_text,
    reference,
)  # fmt: skip
from segments.language.ranks import rounded
from segments.language.reference import Facts
from segments.models import ComputedTrait, ComputedTraitVersion, Segment
from segments.queries import live_versions
from segments.references import needs_of_stored

Definition = object
"""The JSON of what is measured, or the text: `sum of "amount" of "Order Completed" in last 365 days`."""

YEAR: Final = Window(365, Unit.DAYS)


class ComputedTraitExistsError(TesseraError):
    """There is a computed trait with this slug already: choose another one, or change it."""

    code = "computed_trait_exists"


class UnknownComputedTraitError(TesseraError):
    """There is no such computed trait in this workspace."""

    code = "unknown_computed_trait"


class TooManyPeopleError(TesseraError):
    """Computed traits are shown of a thousand people at once, at most."""

    code = "too_many_people"


class ComputedTraitUsedError(TesseraError):
    """Segments use this computed trait: change or archive those first."""

    code = "computed_trait_used"


def read_measured(definition: Definition) -> Measured:
    """Either form. Raises `LanguageError` with the place of the mistake."""
    is_text = isinstance(definition, str) and not definition.lstrip().startswith("{")
    return parse_measured_text(str(definition)) if is_text else measured_from_json(definition)


def create_computed_trait(
    *, workspace_id: int, slug: str, name: str, definition: Definition, author: User | None
) -> ComputedTrait:
    measured = read_measured(definition)
    with workspace_scope(workspace_id):
        trait, is_new = ComputedTrait.objects.get_or_create(
            workspace_id=workspace_id, slug=slug, defaults={"name": name or slug}
        )
        if not is_new and trait.archived_at is None:
            raise ComputedTraitExistsError(slug=slug)
        ComputedTrait.objects.filter(pk=trait.pk).update(name=name or slug, archived_at=None)
        _add_version(trait, measured, author)
    return trait


def change_computed_trait(
    *, workspace_id: int, slug: str, definition: Definition, author: User | None, now: datetime
) -> Sequence[str]:
    """Measured so from now on. Returns the segments that use it: all are published anew, in the same transaction."""
    measured = read_measured(definition)
    with transaction.atomic():
        with workspace_scope(workspace_id):
            _add_version(_trait_of(workspace_id, slug), measured, author)
            users = _segments_with(workspace_id, slug)
        for segment in users:
            services.publish(segment=segment, definition=segment.live_version.definition, author=author, now=now)  # type: ignore[union-attr]  # it serves
    return [segment.slug for segment in users]


def archive_computed_trait(*, workspace_id: int, slug: str, now: datetime) -> None:
    """Rules can use it no longer. Raises `ComputedTraitUsedError` while one does."""
    with workspace_scope(workspace_id):
        trait = _trait_of(workspace_id, slug)
        if users := [segment.slug for segment in _segments_with(workspace_id, slug)]:
            raise ComputedTraitUsedError(f"Segments use {slug}: {', '.join(users)}", segments=users)
        ComputedTrait.objects.filter(pk=trait.pk).update(archived_at=now)


def make_rfm(*, workspace_id: int, event: str, amount: str, author: User | None) -> Sequence[ComputedTrait]:
    """Recency, frequency and monetary value of the last year, of this event and this property of it."""
    ready_made = {
        "recency": Measured(event, Since(End.LAST, Unit.DAYS)),
        "frequency": Measured(event, Count(), period=YEAR),
        "monetary": Measured(event, Aggregate(Of.SUM, Property(amount)), period=YEAR),
    }
    with transaction.atomic():
        return [
            create_computed_trait(
                workspace_id=workspace_id,
                slug=slug,
                name=slug.capitalize(),
                definition=measured_to_json(each),
                author=author,
            )
            for slug, each in ready_made.items()
        ]


# -- values ---------------------------------------------------------------------------------------------------------

MOST_PEOPLE: Final = 1_000
"""At once: all their events of the names that are measured are read."""


def values_of(permit: Permit[Any], profiles: Sequence[int], *, now: datetime) -> Mapping[int, Mapping[str, Any]]:
    """The computed traits of these people as of now, by slug, as JSON values: what is missing is left out.

    Made of what the purpose of the permit may see: of somebody whom it may not see there is nothing. They are measured by the evaluator that all engines are checked with.
    """
    if len(profiles) > MOST_PEOPLE:
        raise TooManyPeopleError(most=MOST_PEOPLE)
    measured = computed_traits_of(permit.workspace_id)
    names = Names(events=frozenset(each.event for each in measured.values()))
    facts = facts_of(permit, profiles, names) if measured else {}
    return {profile: _values(measured, facts[profile], now) if profile in facts else {} for profile in profiles}


def _values(measured: Mapping[str, Measured], facts: Facts, now: datetime) -> Mapping[str, Any]:
    found = {slug: reference.measured(each, facts, now) for slug, each in measured.items()}
    return {slug: _shown(value) for slug, value in found.items() if value is not None}


def _shown(value: object) -> object:
    """Numbers as JSON has them: whole ones whole, others to nine places."""
    if isinstance(value, list):
        return list({json.dumps(one): one for one in map(_shown, value)}.values())
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else float(rounded(value))
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


# -- what they are --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Defined:
    """A computed trait, how it is measured now, and the slugs of the segments that use it."""

    trait: ComputedTrait
    version: ComputedTraitVersion
    users: Sequence[str]

    @property
    def measured(self) -> Measured:
        return measured_from_json(self.version.definition)


def defined_in(workspace_id: int) -> Sequence[Defined]:
    """All of a workspace, with those that are archived, in order of slug."""
    with workspace_scope(workspace_id):
        versions = ComputedTraitVersion.objects.filter(workspace_id=workspace_id).select_related("trait", "author")
        newest = list(versions.order_by("trait__slug", "trait_id", "-number").distinct("trait__slug", "trait_id"))
        users = _users_by_slug(workspace_id)
    return [Defined(each.trait, each, users.get(each.trait.slug, [])) for each in newest]


def defined_as(*, workspace_id: int, slug: str) -> Defined:
    """Raises `UnknownComputedTraitError`; one that is archived is found."""
    found = [each for each in defined_in(workspace_id) if each.trait.slug == slug]
    if not found:
        raise UnknownComputedTraitError(slug=slug)
    return found[0]


def _users_by_slug(workspace_id: int) -> Mapping[str, Sequence[str]]:
    users = defaultdict(list)
    for version in live_versions(workspace_id).values():
        for slug in needs_of_stored(version.definition).computed:
            users[slug].append(version.slug)
    return {slug: sorted(them) for slug, them in users.items()}


def computed_traits_of(workspace_id: int) -> Mapping[str, Measured]:
    """How each is measured now, in order of slug."""
    versions = ComputedTraitVersion.objects.filter(workspace_id=workspace_id, trait__archived_at=None)
    newest = versions.order_by("trait_id", "-number").distinct("trait_id")
    rows = newest.values_list("trait__slug", "definition")
    return {slug: measured_from_json(definition) for slug, definition in sorted(rows)}


def _trait_of(workspace_id: int, slug: str) -> ComputedTrait:
    """Locked: two who change it at once change it one after the other."""
    found = (
        ComputedTrait.objects.select_for_update().filter(workspace_id=workspace_id, slug=slug, archived_at=None).first()
    )
    if found is None:
        raise UnknownComputedTraitError(slug=slug)
    return found


def _add_version(trait: ComputedTrait, measured: Measured, author: User | None) -> None:
    newest = ComputedTraitVersion.objects.filter(trait=trait).aggregate(newest=Max("number"))["newest"] or 0
    ComputedTraitVersion.objects.create(
        workspace_id=trait.workspace_id,
        trait=trait,
        number=newest + 1,
        definition=measured_to_json(measured),
        author=author,
    )


def _segments_with(workspace_id: int, slug: str) -> Sequence[Segment]:
    live = live_versions(workspace_id)
    users = [segment for segment, version in live.items() if slug in needs_of_stored(version.definition).computed]
    return list(Segment.objects.select_related("live_version").filter(pk__in=users).order_by("slug"))

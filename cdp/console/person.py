"""What the page of one person shows. Each function is one query, or two, whatever the person has."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from activation.models import AudienceMember
from cdp.ingestion import normalise
from cdp.kernel.identifiers import Identifier as Name
from cdp.kernel.identifiers import IdentifierSyntaxError
from cdp.kernel.purposes import Purpose
from cdp.models import Event, Identifier, IdentifierTrait, Profile, SourceKind, Trait
from consent import gate
from consent.models import ConsentRecord, PurposePolicy
from identity.models import Judgement, SurvivorshipRule
from identity.survival import Candidate, Order
from segments import computed
from segments.models import Membership, Score

MOST_IDENTIFIERS = 500
MOST_EVENTS = 100
MOST_ROWS = 200
SHOWN_PROPERTIES = 4
SHOWN_TEXT = 80


@dataclass(frozen=True)
class Value:
    """A trait of the golden record with the other values that were candidates for it."""

    chosen: Trait
    others: Sequence[tuple[IdentifierTrait, str]]  # the best first, each with what it lacked


@dataclass(frozen=True)
class Decision:
    """Whether a person permits a purpose now, and what they said about it, newest first."""

    policy: PurposePolicy
    is_allowed: bool
    said: Sequence[ConsentRecord] = field(default_factory=list)


def identifiers_of(profile: Profile) -> list[Identifier]:
    return list(Identifier.objects.filter(profile_id=profile.pk).order_by("pk")[:MOST_IDENTIFIERS])


def values_of(profile: Profile, identifiers: Iterable[Identifier]) -> list[Value]:
    chosen = Trait.objects.filter(profile=profile).select_related("source", "identifier").order_by("name")
    observed = defaultdict(list)
    for row in observed_on(identifiers):
        observed[row.name].append(row)
    trusted = dict(SurvivorshipRule.objects.filter(workspace=profile.workspace_id).values_list("trait", "sources"))
    return [Value(trait, _others(trait, observed[trait.name], trusted.get(trait.name, ()))) for trait in chosen]


def _others(
    trait: Trait, observed: Iterable[IdentifierTrait], trusted: Sequence[str]
) -> list[tuple[IdentifierTrait, str]]:
    rows = {_candidate_of(row): row for row in observed}
    order = Order.among(list(rows), trait.rule, trusted)
    ranked = order.sorted(list(rows))
    return [(rows[one], order.lost_by(one, ranked[0])) for one in ranked if not _is_chosen(rows[one], trait)]


def _candidate_of(row: IdentifierTrait) -> Candidate:
    return Candidate(
        value=row.value,
        source_id=row.source_id,
        source=row.source.name,
        trust=row.source.trust,
        is_said=row.source.kind == SourceKind.STEWARD,
        identifier_id=row.identifier_id,
        observed_at=row.observed_at,
        confidence=row.confidence,
    )


def _is_chosen(row: IdentifierTrait, trait: Trait) -> bool:
    return (row.identifier_id, row.source_id) == (trait.identifier_id, trait.source_id)


def observed_on(identifiers: Iterable[Identifier]) -> QuerySet[IdentifierTrait]:
    rows = IdentifierTrait.objects.filter(identifier__in=[one.pk for one in identifiers])
    return rows.select_related("source", "identifier").order_by("name", "-observed_at")


def events_of(identifiers: Iterable[Identifier]) -> list[Event]:
    rows = Event.objects.filter(identifier__in=[one.pk for one in identifiers]).select_related("source", "identifier")
    newest = list(rows.defer("context").order_by("-occurred_at", "-pk")[:MOST_EVENTS])
    for event in newest:
        event.summary = summary_of(event.properties)  # type: ignore[attr-defined]  # for the page alone
    return newest


def summary_of(properties: Mapping[str, Any]) -> str:
    """The first few properties in one line: the page of an event-rich person must stay readable."""
    shown = [f"{name}: {_short(value)}" for name, value in list(properties.items())[:SHOWN_PROPERTIES]]
    more = len(properties) - len(shown)
    return " · ".join([*shown, f"+{more}"] if more > 0 else shown)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_TEXT else text[:SHOWN_TEXT] + "…"


def memberships_of(profile: Profile) -> QuerySet[Membership]:
    rows = Membership.objects.filter(profile=profile).select_related("segment", "version")
    return rows.order_by("-left_at", "-entered_at")[:MOST_ROWS]  # NULL first: those that last


def computed_of(profile: Profile, now: datetime) -> Mapping[str, Any]:
    """Computed traits by name, of what segmentation may see: nothing of somebody who does not permit it."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=profile.workspace_id) as permit:
        return computed.values_of(permit, [profile.pk], now=now)[profile.pk]


def scores_of(profile: Profile) -> QuerySet[Score]:
    return Score.objects.filter(profile=profile).select_related("model").order_by("model_slug")


def decisions_for(profile: Profile, identifiers: Iterable[Identifier], now: datetime) -> list[Decision]:
    """Past `permitted_until` nothing is permitted: late means closed."""
    is_stale = profile.permitted_until is not None and profile.permitted_until <= now
    mask = 0 if is_stale else profile.permitted
    said = defaultdict(list)
    for record in records_about(identifiers):
        said[record.purpose].append(record)
    policies = PurposePolicy.objects.order_by("bit")
    return [Decision(policy, bool(mask & policy.bit), said[policy.purpose]) for policy in policies]


def records_about(identifiers: Iterable[Identifier]) -> QuerySet[ConsentRecord]:
    digests = defaultdict(list)
    for one in identifiers:
        digests[one.type].append(bytes(one.digest))
    which = Q(pk=None)
    for identifier_type, of_type in digests.items():
        which |= Q(identifier_type=identifier_type, identifier_digest__in=of_type)
    return ConsentRecord.objects.filter(which).select_related("source", "notice").order_by("-occurred_at")[:MOST_ROWS]


def judgements_on(identifiers: Iterable[Identifier]) -> list[Judgement]:
    """Those that stand and those that were retracted; the rows that retract are shown with what they retract."""
    ids = [one.pk for one in identifiers]
    rows = Judgement.objects.filter(Q(left__in=ids) | Q(right__in=ids), retracts=None)
    rows = rows.annotate(is_retracted=Exists(Judgement.objects.filter(retracts=OuterRef("pk"))))
    return list(rows.select_related("left", "right", "author", "model").order_by("is_retracted", "pk")[:MOST_ROWS])


def sent_about(profile: Profile) -> QuerySet[AudienceMember]:
    rows = AudienceMember.objects.filter(profile=profile).select_related("audience__destination", "audience__segment")
    return rows.order_by("-changed_at")[:MOST_ROWS]


def purposes_allowed(profile: Profile, now: datetime) -> list[str]:
    if profile.permitted_until is not None and profile.permitted_until <= now:
        return []
    return [purpose.value for purpose in Purpose if purpose.is_gated and profile.permitted & purpose.bit]


def profiles_named(words: str, *, region: str, corrections: normalise.Corrections) -> list[int]:
    """Profiles that `type:value`, an email address, or the number of a profile stands for, merged ones followed."""
    if words.isdigit():
        return list(Identifier.objects.filter(pk=int(words[:18])).values_list("profile_id", flat=True))
    try:
        name = Name.parse(words if ":" in words else f"email:{words}")
    except IdentifierSyntaxError:
        return []
    normal = normalise.identifier_value(name.type, name.value, region=region, corrections=corrections)
    values = {name.value, normal} - {None}
    found = Identifier.objects.filter(type=name.type, value__in=values)
    return list(found.values_list("profile_id", flat=True))

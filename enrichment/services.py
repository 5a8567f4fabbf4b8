"""Ask providers about the identifiers of people who permit it, once each, and keep what they say with its provenance.

A value hangs on the identifier that was asked about, with the provider as its source: so it moves with the identifier
through merges and their undoing, like any other value.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

import structlog

from cdp.models import Cause, IdentifierTrait, Source, SourceKind
from consent.gate import Enrichment, Permit
from enrichment import queries, registry
from enrichment.models import Lookup
from enrichment.provider import Answer, Provider, ProviderUnusableError
from enrichment.queries import OpenQuestion
from identity import golden

log = structlog.get_logger()

TRUST_IN_PROVIDERS = 30  # less than a source of the workspace's own: a provider fills blanks


def enrich(permit: Permit[Enrichment], subjects: Mapping[int, Cause], *, now: datetime) -> Mapping[int, Cause]:
    """Look up what is not known yet about these profiles. All of them go on, whatever the providers said."""
    golden.take_turn(permit)
    learnt: set[int] = set()
    for provider in registry.providers():
        learnt |= _consult(permit, provider, subjects.keys(), now)
    if learnt:
        golden.refresh_traits(permit, learnt)
    return subjects


def _consult(permit: Permit[Enrichment], provider: Provider, profile_ids: Collection[int], now: datetime) -> set[int]:
    """Returns the profiles that something was learnt about."""
    source = _source_of(provider, permit.workspace_id)
    if not source.is_enabled:
        return set()
    open_ = queries.open_questions(permit, profile_ids, provider=provider, source=source)
    answered = list(_answers(provider, open_))
    _keep_values(source, answered, now)
    _keep_lookups(source, provider, answered, now)
    return {question.profile_id for question, answer in answered if answer.traits}


def _source_of(provider: Provider, workspace_id: int) -> Source:
    source, _ = Source.objects.get_or_create(
        workspace_id=workspace_id,
        name=provider.slug,
        defaults={"kind": SourceKind.ENRICHMENT, "trust": TRUST_IN_PROVIDERS},
    )
    return source


def _answers(provider: Provider, open_: Sequence[OpenQuestion]) -> Iterator[tuple[OpenQuestion, Answer]]:
    """The answers that need not be asked for again, beside their questions.

    A provider that is unusable holds nobody up: what it left open is asked when the profile is next looked at.
    """
    by_identifier = {question.identifier: question for question in open_}
    try:
        for answer in provider.look_up(tuple(by_identifier)) if open_ else ():
            if answer.is_final:
                yield by_identifier[answer.question], answer
    except ProviderUnusableError as error:
        log.warning("provider.unusable", provider=provider.slug, code=error.code, is_permanent=error.is_permanent)


def _keep_values(source: Source, answered: Sequence[tuple[OpenQuestion, Answer]], now: datetime) -> None:
    IdentifierTrait.objects.bulk_create(
        [
            IdentifierTrait(
                workspace_id=source.workspace_id,
                identifier_id=question.identifier_id,
                source=source,
                name=name,
                value=value,
                observed_at=now,
                confidence=answer.confidence,
            )
            for question, answer in answered
            for name, value in answer.traits.items()
        ],
        update_conflicts=True,
        unique_fields=["identifier", "name", "source"],
        update_fields=["value", "observed_at", "confidence"],
    )


def _keep_lookups(
    source: Source, provider: Provider, answered: Sequence[tuple[OpenQuestion, Answer]], now: datetime
) -> None:
    Lookup.objects.bulk_create(
        [
            Lookup(
                workspace_id=source.workspace_id,
                source=source,
                identifier_id=question.identifier_id,
                provider_version=provider.version,
                is_found=bool(answer.traits),
                cost=answer.cost,
                looked_up_at=now,
            )
            for question, answer in answered
        ],
        update_conflicts=True,
        unique_fields=["source", "identifier"],
        update_fields=["provider_version", "is_found", "cost", "looked_up_at"],
    )

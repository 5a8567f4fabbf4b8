"""Explicit data for tests: nothing random, and every default is one that a test can name."""

from datetime import UTC, datetime

import factory
from factory.django import DjangoModelFactory

from cdp.kernel.purposes import Purpose
from cdp.models import Identifier, Source, SourceKind, Workspace
from cdp.models.digests import identifier_digest
from consent.models import ConsentRecord, ConsentState, LegalBasis, PurposePolicy

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class WorkspaceFactory(DjangoModelFactory[Workspace]):
    class Meta:
        model = Workspace
        skip_postgeneration_save = True

    slug = factory.Sequence(lambda n: f"workspace-{n}")
    name = factory.SelfAttribute("slug")

    @factory.post_generation
    def purposes(self, create: bool, extracted: object) -> None:
        """Advertising asks for consent; everything else rests on legitimate interest."""
        for purpose in Purpose:
            basis = LegalBasis.CONSENT if purpose is Purpose.ADVERTISING else LegalBasis.LEGITIMATE_INTEREST
            PurposePolicy.objects.create(workspace=self, purpose=purpose, bit=purpose.bit, legal_basis=basis)


class SourceFactory(DjangoModelFactory[Source]):
    class Meta:
        model = Source

    workspace = factory.SubFactory(WorkspaceFactory)
    name = factory.Sequence(lambda n: f"source-{n}")
    kind = SourceKind.HTTP


class IdentifierFactory(DjangoModelFactory[Identifier]):
    """Founds its own profile, as every new identifier does."""

    class Meta:
        model = Identifier

    workspace = factory.SubFactory(WorkspaceFactory)
    type = "email"
    value = factory.Sequence(lambda n: f"person{n}@example.com")
    digest = factory.LazyAttribute(lambda made: identifier_digest(made.type, made.value))

    @classmethod
    def _create(cls, model_class, *args: object, **kwargs: object) -> Identifier:
        made = super()._create(model_class, *args, **kwargs)
        made.refresh_from_db()  # profile_id and permitted are set by triggers
        return made


def say(identifier: Identifier, purpose: Purpose, state: ConsentState, at: datetime = LONG_AGO, **more: object) -> None:
    """The person behind `identifier` says something about a purpose."""
    ConsentRecord.objects.create(
        workspace_id=identifier.workspace_id,
        identifier_type=identifier.type,
        identifier_digest=identifier.digest,
        purpose=purpose,
        state=state,
        occurred_at=at,
        key=f"{identifier.pk}-{purpose}-{state}-{at.isoformat()}",
        **more,
    )

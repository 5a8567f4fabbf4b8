"""A workspace with one audience at a receiver, and short words for what may happen to its people."""

import hashlib
from datetime import datetime

from django.db import connection
from django.utils import timezone

from activation import services as activation
from activation.models import Audience, AudienceMember, Destination
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, Workspace
from consent import gate
from consent.models import ConsentState
from segments.models import Membership, Segment, SegmentVersion
from tests.factories import IdentifierFactory, say
from tests.fakes.receiver import FailingReceiver

SIGNING_KEY = "a key of the customer"
NAME = "loyal"


def key_of(identifier: Identifier) -> str:
    return hashlib.sha256(identifier.value.encode()).hexdigest()


def make_segment(workspace: Workspace, slug: str = NAME) -> Segment:
    made = Segment.objects.create(workspace=workspace, slug=slug, name=slug)
    made.live_version = SegmentVersion.objects.create(workspace=workspace, segment=made, number=1, definition={})
    made.save()
    return made


class Fair:
    """`now` is the time of all that happens, until `pass_time`."""

    def __init__(self, workspace: Workspace, receiver: FailingReceiver, now: datetime) -> None:
        self.workspace, self.receiver, self.now = workspace, receiver, now
        receiver.clock = lambda: self.now.timestamp()  # noqa: PLW0108  # `now` moves
        self.segment = make_segment(workspace)
        self.destination = self.connect("ads", receiver.url)
        self.audience = self.open(self.destination, self.segment, NAME)

    def connect(self, slug: str, url: str, signing_key: str = SIGNING_KEY) -> Destination:
        return activation.create_destination(
            workspace_id=self.workspace.pk,
            slug=slug,
            kind="webhook",
            config={"url": url},
            secrets={"signing_key": signing_key},
            now=self.now,
        )

    def open(self, destination: Destination, segment: Segment, name: str) -> Audience:
        return activation.create_audience(
            workspace_id=self.workspace.pk,
            destination=destination,
            segment=segment,
            external_id=name,
            identifier_types=["email", "user_id"],
            now=self.now,
        )

    # -- people -----------------------------------------------------------------------------------------------------

    def person(self, **more: object) -> Identifier:
        """Somebody who permits advertising."""
        made = IdentifierFactory(workspace=self.workspace, **more)
        say(made, Purpose.ADVERTISING, ConsentState.GIVEN)
        return made

    def member(self, **more: object) -> Identifier:
        made = self.person(**more)
        self.join(made)
        return made

    def members(self, count: int) -> list[Identifier]:
        made = [self.member() for _ in range(count)]
        self.reconcile(*made)
        return made

    def join(self, identifier: Identifier) -> None:
        Membership.objects.get_or_create(
            workspace=self.workspace,
            segment=self.segment,
            profile_id=identifier.profile_id,
            left_at=None,
            defaults={"version": self.segment.live_version, "entered_at": self.now, "entered_cause": Cause.EVENT},
        )

    def leave(self, identifier: Identifier) -> None:
        Membership.objects.filter(segment=self.segment, profile_id=identifier.profile_id, left_at=None).update(
            left_at=self.now, left_cause=Cause.DEADLINE
        )

    def withdraw(self, identifier: Identifier) -> None:
        say(identifier, Purpose.ADVERTISING, ConsentState.WITHDRAWN, at=timezone.now())

    def permit_again(self, identifier: Identifier) -> None:
        say(identifier, Purpose.ADVERTISING, ConsentState.GIVEN, at=timezone.now(), is_verified=True)

    def merge(self, into: Identifier, other: Identifier) -> None:
        """As identity does it: pointers of identifiers move, and the other profile redirects."""
        self._point(other, into.pk)
        self._redirect(other, into.pk)

    def split(self, other: Identifier) -> None:
        self._point(other, other.pk)
        self._redirect(other, None)

    @staticmethod
    def founder(identifier: Identifier) -> Identifier:
        """The profile that an identifier founded, wherever it points now."""
        return Identifier(pk=identifier.pk, profile_id=identifier.pk)

    def _point(self, identifier: Identifier, profile_id: int) -> None:
        Identifier.objects.filter(pk=identifier.pk).update(profile_id=profile_id)
        identifier.refresh_from_db()

    def _redirect(self, identifier: Identifier, profile_id: int | None) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE profile SET merged_into_id = %s WHERE id = %s", [profile_id, identifier.pk])

    # -- work -------------------------------------------------------------------------------------------------------

    def reconcile(self, *identifiers: Identifier, cause: Cause = Cause.EVENT) -> None:
        with gate.permit(Purpose.ADVERTISING, workspace_id=self.workspace.pk) as permit:
            activation.reconcile(permit, {one.profile_id: cause for one in identifiers}, now=self.now)

    def send(self) -> int:
        return activation.send_due(workspace_id=self.workspace.pk, now=self.now)

    def pass_time(self, **delta: float) -> None:
        self.now += timezone.timedelta(**delta)

    # -- what came of it --------------------------------------------------------------------------------------------

    def arrived(self, name: str = NAME) -> set[str]:
        return self.receiver.members(name)

    def states(self) -> dict[str, str]:
        return dict(AudienceMember.objects.filter(audience=self.audience).values_list("key", "state"))

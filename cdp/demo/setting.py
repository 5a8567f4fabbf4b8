"""The demo's workspace: sources, keys, segments, a receiver's destination, and a log-in that exists only here."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from django.utils import timezone

from activation import services as activation
from activation.models import Destination
from cdp.demo import state as states
from cdp.demo.purchases import EVENT_NAME
from cdp.demo.receiver import Receiver
from cdp.demo.state import State
from cdp.kernel.purposes import Purpose
from cdp.models import ApiKey, Member, Scope, Source, SourceKind, User, Workspace, WriteKey
from cdp.models.keys import digest_of, new_secret
from cdp.models.tenancy import workspace_scope
from consent import gate
from consent import services as consent
from segments import language
from segments import services as segments
from segments.models import LearnedModel, Segment

SLUG: Final = "demo"
LOGIN: Final = "demo"
DESTINATION: Final = "receiver"
AUDIENCES: Final = ("frequent", "lapsed")

SEGMENTS: Final = {
    "frequent": ("Frequent buyers", f'count of "{EVENT_NAME}" in last 90 days >= 3'),
    "lapsed": (
        "Lapsed customers",
        f'count of "{EVENT_NAME}" >= 1 and count of "{EVENT_NAME}" in last 60 days = 0',
    ),
    "mobile-nsw": ("Mobile numbers in New South Wales", 'trait "phone_type" = "mobile" and trait "region" = "nsw"'),
}
LEARNED: Final = "best-customers"


@dataclass
class Setting:
    directory: Path
    state: State
    workspace_id: int
    steward: User

    @property
    def day_before(self) -> datetime:
        """When people were asked for consent."""
        return datetime.combine(self.state.today, datetime.min.time(), UTC) - timedelta(days=1)

    def save(self) -> None:
        states.save(self.directory, self.state)

    def sentences(self) -> dict[str, str]:
        """Each segment in a sentence, in the order of the demo."""
        with gate.permit(Purpose.SEGMENTATION, workspace_id=self.workspace_id):
            live = Segment.objects.exclude(live_version=None).values_list("slug", "live_version__definition")
            definitions = dict(live)
        order = [slug for slug in (*SEGMENTS, LEARNED) if slug in definitions]
        return {slug: language.explain(language.parse_json(definitions[slug]), "en") for slug in order}

    def open_audiences(self, receiver: Receiver) -> None:
        with workspace_scope(self.workspace_id):
            destination = Destination.objects.filter(slug=DESTINATION).first()
        if destination is None:
            destination = activation.create_destination(
                workspace_id=self.workspace_id, slug=DESTINATION, kind="webhook", config={"url": receiver.url},
                secrets={"signing_key": self.state.signing_key}, now=timezone.now(),
            )  # fmt: skip
        for slug in AUDIENCES:
            with workspace_scope(self.workspace_id):
                segment = Segment.objects.get(slug=slug)
            activation.create_audience(
                workspace_id=self.workspace_id, destination=destination, segment=segment, external_id=slug,
                identifier_types=["email"], now=timezone.now(),
            )  # fmt: skip


def prepare(directory: Path, state: State) -> Setting:
    """Make what is not there yet: a demo that was killed finds its own things again."""
    workspace = Workspace.objects.filter(slug=SLUG).first()
    if workspace is None:
        workspace = consent.open_workspace(slug=SLUG, name="Demo", now=timezone.now())
        Workspace.objects.filter(pk=workspace.pk).update(default_region="AU", time_zone="Australia/Sydney")
    steward = _log_in_for(workspace, state.password)
    _open_sources(workspace, state)
    _open_key(workspace, state)
    setting = Setting(directory, state, workspace.pk, steward)
    setting.save()
    for slug, (name, rule) in SEGMENTS.items():
        _define(setting, slug, name, language.to_json(language.parse_text(rule)))
    return setting


def add_learned_segment(setting: Setting, group: str) -> str:
    """A segment of the best group of the newest model. Returns the model's picture as SVG."""
    with gate.permit(Purpose.LEARNING, workspace_id=setting.workspace_id):
        model = LearnedModel.objects.filter(slug="rfm").latest("version")
    tree = language.Learned(model="rfm", group=group)
    _define(setting, LEARNED, "Best customers, learned", language.to_json(tree))
    return model.plot


def _define(setting: Setting, slug: str, name: str, definition: object) -> None:
    with workspace_scope(setting.workspace_id):
        if Segment.objects.filter(slug=slug).exists():
            return
    segments.create_segment(
        workspace_id=setting.workspace_id, slug=slug, name=name, definition=definition, author=setting.steward,
        now=timezone.now(),
    )  # fmt: skip


def _log_in_for(workspace: Workspace, password: str) -> User:
    user, _ = User.objects.get_or_create(username=LOGIN, defaults={"is_staff": True, "is_superuser": True})
    user.set_password(password)
    user.save()
    Member.objects.get_or_create(user=user, workspace=workspace)
    return user


def _open_sources(workspace: Workspace, state: State) -> None:
    crm = {"kind": SourceKind.FILE, "has_unique_people": True, "default_region": "AU", "trust": 60}
    webshop = {"kind": SourceKind.HTTP, "has_unique_people": True, "default_region": "AU", "trust": 40}
    Source.objects.get_or_create(workspace=workspace, name="crm", defaults=crm)
    shop, _ = Source.objects.get_or_create(workspace=workspace, name="webshop", defaults=webshop)
    state.write_key = state.write_key or new_secret("wk")
    WriteKey.objects.get_or_create(
        digest=digest_of(state.write_key), defaults={"source": shop, "hint": state.write_key[:8]}
    )


def _open_key(workspace: Workspace, state: State) -> None:
    state.api_key = state.api_key or new_secret("ak")
    ApiKey.objects.get_or_create(
        digest=digest_of(state.api_key),
        defaults={
            "workspace": workspace, "name": "demo", "hint": state.api_key[:8], "scopes": list(Scope.values),
            "purpose": Purpose.ANALYTICS,
        },
    )  # fmt: skip

"""A workspace that has something on every page of the console."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from activation.models import Audience, AudienceMember, Destination, MemberState, SyncRun
from cdp.ingestion import quality_measuring
from cdp.ingestion.quality.profiles import Profiler
from cdp.kernel.identifiers import Identifier as Name
from cdp.kernel.purposes import Purpose
from cdp.models import (
    Cause,
    Connection,
    Correction,
    Event,
    Identifier,
    IdentifierTrait,
    Member,
    OutboxRow,
    PlanViolation,
    Profile,
    QualityThresholds,
    QuarantinedItem,
    QuarantineReading,
    Run,
    RunState,
    Source,
    SourceKind,
    Stage,
    TrackingPlanVersion,
    Trait,
    Upload,
    UploadKind,
    User,
    Workspace,
    WriteKey,
)  # fmt: skip
from cdp.models.keys import digest_of
from cdp.models.secrets import encrypted
from consent import requests, restriction, services, suppression
from consent.models import (
    Breach,
    BreachEvidence,
    ConsentState,
    ConsentString,
    ControllerDetails,
    Notice,
    RetentionEvidence,
    RetentionPeriod,
)
from consent.opendsr import controllers
from consent.rights import Right
from enrichment.models import Lookup
from identity.models import Judgement, JudgementKind, LinkageModel, Refusal, Relation, ReviewPair, Verdict
from segments.computed import create_computed_trait
from segments.kpis import editing as kpis
from segments.language import parse_text, to_json
from segments.models import (
    KpiAlert,
    KpiValue,
    LearnedModel,
    ListEntry,
    Membership,
    Score,
    Segment,
    SegmentList,
    SegmentVersion,
    SegmentWebhook,
)
from tests.factories import IdentifierFactory, SourceFactory, say

PLOT = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><circle cx="10" cy="10" r="6"/></svg>'
NAMES = (("Ada", "Lovelace", "London"), ("Émilie", "du Châtelet", "Lunéville"), ("Sophie", "Germain", "Paris"))


@dataclass(frozen=True)
class Filled:
    user: User
    source: Source
    people: list[Identifier]
    merged: Identifier
    judgement: Judgement
    pair: ReviewPair
    segment: Segment
    audience: Audience
    destination: Destination


def console_user(workspace: Workspace, name: str = "steward", **more: Any) -> User:
    user = User.objects.create_user(name, password="a long password", is_staff=True, **{"is_superuser": True, **more})
    Member.objects.create(user=user, workspace=workspace)
    return user


def fill(workspace: Workspace, user: User, now: datetime, people: int = 3) -> Filled:
    crm = SourceFactory(workspace=workspace, name="crm", kind=SourceKind.FILE, trust=80)
    shop = SourceFactory(workspace=workspace, name="shop")
    provider = SourceFactory(workspace=workspace, name="postcodes", kind=SourceKind.ENRICHMENT)
    WriteKey.objects.create(source=shop, digest=digest_of(f"secret of {workspace.pk}"), hint="wk_4711")
    persons = [_person(workspace, crm, shop, number, now) for number in range(people)]
    merged, judgement = _merge_into(persons[0], crm, user, now)
    model = LinkageModel.objects.create(
        workspace=workspace, version=1, settings={"comparisons": []}, frequencies={}, metadata={"seed": 7}
    )
    pair = ReviewPair.objects.create(
        workspace=workspace, left=persons[1], right=persons[2], weight=3.4, model=model,
        evidence={"given_name": 1.25, "city": -2.0},
    )  # fmt: skip
    _beside(workspace, persons, now)
    segment = _segment(workspace, persons, user, now)
    _kpis(workspace, segment, now)
    destination, audience = _audience(workspace, segment, persons, now)
    _machinery(workspace, shop, provider, persons, user, now)
    _consent(workspace, now)
    requests.receive_request(
        workspace_id=workspace.pk, kind=Right.ACCESS, identifiers=[Name("email", persons[0].value)], received_at=now,
        by=f"user:{user.pk}", now=now,
    )  # fmt: skip
    controllers.register_controller(workspace_id=workspace.pk, slug="acme", hosts=["acme.example"], now=now)
    return Filled(user, shop, persons, merged, judgement, pair, segment, audience, destination)


def _person(workspace: Workspace, crm: Source, shop: Source, number: int, now: datetime) -> Identifier:
    given_name, surname, city = NAMES[number % len(NAMES)]
    person = IdentifierFactory(workspace=workspace, value=f"{given_name.lower()}{number}@example.com")
    traits = {"given_name": given_name, "surname": surname, "city": city, "email": person.value}
    for name, value in traits.items():
        for source, told in ((crm, value), (shop, value.upper())):
            IdentifierTrait.objects.create(
                workspace=workspace, identifier=person, source=source, name=name, value=told, observed_at=now
            )
        Trait.objects.create(
            workspace=workspace, profile_id=person.profile_id, name=name, value=value, source=crm, identifier=person,
            observed_at=now, confidence=1.0, rule="most_recent",
        )  # fmt: skip
    for order in range(3):
        Event.objects.create(
            workspace=workspace, source=shop, identifier=person, message_id=f"{number}-{order}", kind="track",
            name="Order Completed", occurred_at=now - timedelta(days=order), received_at=now, seen_with=[],
            properties={"amount": 12.5 * (order + 1), "order_id": f"o-{number}-{order}"}, context={},
        )  # fmt: skip
    if number % 2 == 0:
        say(person, Purpose.ADVERTISING, ConsentState.GIVEN)
    return person


def _consent(workspace: Workspace, now: datetime) -> None:
    """How the workspace asks, and people whom it must leave alone and of whom it knows nothing else."""
    services.configure_consent(workspace_id=workspace.pk, vendor_id=755)
    services.map_signal(workspace_id=workspace.pk, kind="TCF", category="4", purpose=Purpose.ADVERTISING)
    suppression.suppress(workspace_id=workspace.pk, identifier=Name("email", "gone@example.org"), now=now)
    restriction.deny(workspace_id=workspace.pk, identifier=Name("email", "still@example.org"), now=now)
    ConsentString.objects.create(
        workspace=workspace, kind="tcString", digest=bytes(32), vendor_id=755, purposes={"1": True, "4": False},
        opt_outs={}, times_seen=3, first_seen_at=now, last_seen_at=now,
    )  # fmt: skip


def _merge_into(survivor: Identifier, crm: Source, user: User, now: datetime) -> tuple[Identifier, Judgement]:
    workspace = survivor.workspace
    merged = IdentifierFactory(workspace=workspace, type="crm:id", value="4711")
    judgement = Judgement.objects.create(
        workspace=workspace, left=survivor, right=merged, verdict=Verdict.SAME, kind=JudgementKind.STEWARD, weight=20,
        evidence={"said": "by telephone"}, author=user,
    )  # fmt: skip
    Profile.objects.filter(pk=merged.pk).update(merged_into=survivor.profile_id)
    Identifier.objects.filter(pk=merged.pk).update(profile_id=survivor.profile_id)
    merged.refresh_from_db()
    return merged, judgement


def _beside(workspace: Workspace, persons: list[Identifier], now: datetime) -> None:
    """The first two live behind one door, and are not one person."""
    for person in persons[:2]:
        Relation.objects.create(
            workspace=workspace, profile_id=person.profile_id, kind="HOUSEHOLD", rule="ADDRESS", key=bytes(32),
            confidence=0.5, shared=["street", "postcode"], since=now,
        )  # fmt: skip
    if len(persons) > 1:
        Refusal.objects.create(
            workspace=workspace, left_id=persons[0].pk, right_id=persons[1].pk, reason="BRIDGE",
            evidence={"links": 1, "pairs": 9, "within": 1.0},
        )  # fmt: skip


def _segment(workspace: Workspace, persons: list[Identifier], user: User, now: datetime) -> Segment:
    segment = Segment.objects.create(workspace=workspace, slug="buyers", name="Buyers", computed_at=now)
    definition = to_json(parse_text('done "Order Completed" in last 30 days'))
    version = SegmentVersion.objects.create(
        workspace=workspace, segment=segment, number=1, definition=definition, author=user
    )
    Segment.objects.filter(pk=segment.pk).update(live_version=version)
    for person in persons:
        Membership.objects.create(
            workspace=workspace, segment=segment, profile_id=person.profile_id, version=version, entered_at=now,
            entered_cause=Cause.EVENT,
        )  # fmt: skip
    segment.refresh_from_db()
    groups = [
        {
            "group": "loyal",
            "name": {"en": "Loyal", "fr": "Fidèles"},
            "words": {"en": "They buy often.", "fr": "Achats fréquents."},
            "size": 2,
        }
    ]
    model = LearnedModel.objects.create(
        workspace=workspace, slug="value-groups", version=1, specification={"k": [2, 3]}, result={"groups": groups},
        plot=PLOT,
    )  # fmt: skip
    Score.objects.create(
        workspace=workspace, model_slug=model.slug, profile_id=persons[0].profile_id, group="loyal", model=model,
        computed_at=now,
    )  # fmt: skip
    listed = SegmentList.objects.create(workspace=workspace, slug="vip", name="Very important")
    ListEntry.objects.create(
        workspace=workspace, list=listed, identifier=persons[0], author=user, reason="asked for", added_at=now
    )
    create_computed_trait(
        workspace_id=workspace.pk, slug="orders", name="Orders", definition='count of "Order Completed"', author=user
    )
    SegmentWebhook.objects.create(
        workspace=workspace, url="https://example.com/hooks", purpose="analytics", segments=[segment.slug],
        secret=encrypted({"secret": "whsec_"}), position_at=now, due_at=now, created_at=now, error="http_transient: 503",
        failing_since=now, attempts=1,
    )  # fmt: skip
    return segment


def _kpis(workspace: Workspace, segment: Segment, now: datetime) -> None:
    """Four months of a share, the second withheld and the last one running; a count; and a month that strayed."""
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    months = [month - timedelta(days=days) for days in (91, 60, 30, 0)]
    conversion, size = (
        kpis.create_kpi(workspace_id=workspace.pk, slug=slug, name=slug.title(), definition=definition, author=None)
        for slug, definition in (
            ("conversion", {"kind": "CONVERSION", "event": "Order Completed"}),
            ("size", {"kind": "SIZE"}),
        )
    )
    for start, share in zip(months, (25, 20, None, 12), strict=True):
        end = start + timedelta(days=32) if start == month else start + timedelta(days=30)
        about = {"workspace": workspace, "period_start": start, "period_end": end, "computed_at": min(now, end)}
        is_withheld = share is None
        KpiValue.objects.create(
            version=conversion.live_version, segment=segment, is_withheld=is_withheld, value=share and share / 100,
            numerator=share, denominator=None if is_withheld else 100, people=None if is_withheld else 100, **about,
        )  # fmt: skip
        KpiValue.objects.create(
            version=conversion.live_version, value=0.1, numerator=100, denominator=1_000, people=1_000, **about
        )
        KpiValue.objects.create(version=size.live_version, segment=segment, value=100, people=100, **about)
    watch = kpis.watch_kpi(kpi=conversion, segment=segment, settings={"email": "sales@acme.example"})
    KpiAlert.objects.create(
        workspace=workspace, watch=watch, version=conversion.live_version, segment=segment, period_start=months[1],
        value=0.2, expected=0.3, test="PROPORTIONS", p=0.004, created_at=now,
    )  # fmt: skip


def _audience(
    workspace: Workspace, segment: Segment, persons: list[Identifier], now: datetime
) -> tuple[Destination, Audience]:
    destination = Destination.objects.create(
        workspace=workspace, slug="newsletter", kind="webhook", config={"url": "https://hooks.example.com/x"},
        secrets=encrypted({"secret": "hidden-from-everybody"}),
    )  # fmt: skip
    audience = Audience.objects.create(
        workspace=workspace, destination=destination, segment=segment, external_id="buyers", identifier_types=["email"]
    )
    run = SyncRun.objects.create(
        workspace=workspace, audience=audience, operation="ADD", key=f"run-{workspace.pk}", members=len(persons),
        started_at=now, finished_at=now,
    )  # fmt: skip
    for number, person in enumerate(persons):
        AudienceMember.objects.create(
            workspace=workspace, audience=audience, profile_id=person.profile_id, identifier_type="email",
            key=digest_of(person.value), state=MemberState.REJECTED if number == 2 else MemberState.PRESENT,
            reason="unknown_member" if number == 2 else "", due_at=now, run=run, changed_at=now,
        )  # fmt: skip
    return destination, audience


def _machinery(
    workspace: Workspace, shop: Source, provider: Source, persons: list[Identifier], user: User, now: datetime
) -> None:
    reading = QuarantineReading.objects.create(workspace=workspace, digest=b"0" * 32, body={"call": "batch"})
    for number, code in enumerate(("missing_identity", "missing_event_name")):
        QuarantinedItem.objects.create(
            workspace=workspace, source=shop, received_at=now, place=f"batch[{number}]", code=code, reading=reading,
            message="It needs a name under `event`.", raw='{"event": "Order <b>Completed</b>", "user": "u1"}',
            digest=bytes([number]) * 32,
        )  # fmt: skip
    Correction.objects.create(
        workspace=workspace, kind="DOMAIN", wrong="gmal.example", key="gmal.example", right="gmail.com"
    )
    salesforce = SourceFactory(workspace=workspace, name="salesforce", kind=SourceKind.SALESFORCE)
    Connection.objects.create(
        workspace=workspace, source=salesforce, config={"domain": "acme.my"}, due_at=now,
        secrets=encrypted({"client_id": "acme", "client_secret": "hidden-from-everybody"}),
    )  # fmt: skip
    Run.objects.create(
        workspace=workspace, kind="load", subject="customers.csv", state=RunState.DONE, counts={"read": 400, "accepted": 398},
        asked_by=user, started_at=now, heartbeat_at=now, finished_at=now,
    )  # fmt: skip
    Upload.objects.create(
        workspace=workspace, source=shop, kind=UploadKind.RECORDS, name="customers.csv", stored_as="gone.csv", size=4711,
        mapping="key: id\n", uploaded_by=user, uploaded_at=now,
    )  # fmt: skip
    _plan(workspace, shop, user, now)
    _quality(workspace, shop, now)
    OutboxRow.objects.create(
        workspace=workspace, stage=Stage.IDENTITY, subjects=[one.pk for one in persons], cause=Cause.EVENT
    )
    OutboxRow.objects.create(
        workspace=workspace, stage=Stage.SEGMENTS, subject_id=persons[1].profile_id, cause=Cause.EVENT, failed_at=now,
        error="ZeroDivisionError",
    )  # fmt: skip
    Lookup.objects.create(
        workspace=workspace,
        source=provider,
        identifier=persons[0],
        provider_version="2026-01",
        is_found=True,
        looked_up_at=now,
    )
    _accountability(workspace, now)
    Notice.objects.create(
        workspace=workspace,
        key="newsletter",
        version=1,
        locale="en",
        text="May we write?",
        digest="0" * 64,
        valid_from=now,
    )


def _accountability(workspace: Workspace, now: datetime) -> None:
    ControllerDetails.objects.create(workspace=workspace, controller="Acme", contact="privacy@acme.example")
    RetentionPeriod.objects.create(workspace=workspace, schedule="scores", days=100, reason="as we promised")
    RetentionEvidence.objects.create(
        workspace=workspace, schedule="scores", table="score", purpose="learning", days=100, rows=7,
        cutoff=now - timedelta(days=100), reason="as we promised", deleted_at=now,
    )  # fmt: skip
    breach = Breach.objects.create(
        workspace=workspace,
        nature="CONFIDENTIALITY",
        facts="A laptop was lost.",
        noticed_at=now,
        untold_reason="encrypted",
    )
    BreachEvidence.objects.create(
        workspace=workspace, breach=breach, query={"source_id": None}, people=0, profile_ids=[], taken_at=now
    )


def _plan(workspace: Workspace, shop: Source, user: User, now: datetime) -> None:
    rule = {"kind": "track", "event": "Order Completed", "on_violation": "WARN", "schema": {"required": ["order_id"]}}
    version = TrackingPlanVersion.objects.create(
        workspace=workspace, source=shop, number=1, document={"rules": [rule]}, author=user, created_at=now
    )
    Source.objects.filter(pk=shop.pk).update(live_plan=version)
    for passed in range(3):
        PlanViolation.objects.create(
            workspace=workspace, version=version, day=(now - timedelta(days=passed)).date(), event="track Order Completed",
            path="/order_id", keyword="required", action="WARN", slot=passed, events=40 - 12 * passed,
        )  # fmt: skip


def _quality(workspace: Workspace, shop: Source, now: datetime) -> None:
    """Three days of orders; on the last one the amounts are higher, and the currency is often missing."""
    for passed in (2, 1, 0):
        profiler = Profiler(seed=7)
        profiler.see(
            [
                {
                    "order_id": f"o-{passed}-{n}", "amount": n * 37 % 200 + (90 if passed == 0 else 0.5), "tax": n * 37 % 200 / 5,
                    "currency": None if passed == 0 and n % 4 == 0 else ("EUR", "GBP", "EUR")[n % 3],
                }
                for n in range(200 - 30 * passed)
            ]
        )  # fmt: skip
        quality_measuring.keep_day(
            source=shop,
            day=(now - timedelta(days=passed + 1)).date(),
            profilers={"track Order Completed": profiler},
            now=now,
        )
    QualityThresholds.objects.create(workspace=workspace, source=shop, ks_p=0.05)

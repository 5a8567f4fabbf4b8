"""Households and organisations beside profiles: found from golden records, kept as a history, and merging nobody."""

from datetime import timedelta

import pytest
from django.utils import timezone

import cdp.celery
from cdp import tasks
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Event, Identifier, IdentifierTrait, Profile
from cdp.models.tenancy import workspace_scope
from consent import gate
from consent.models import ConsentState
from identity import households, relations
from identity import services as identity
from identity.models import Judgement, Refusal, Relation, Verdict
from tests.factories import IdentifierFactory, SourceFactory, say

DOOR = {"surname": "Byron", "street": "12 Piccadilly", "postcode": "W1J 7BW"}


@pytest.fixture
def crm(workspace):
    return SourceFactory(workspace=workspace, name="crm")


@pytest.fixture
def person(workspace, crm, now):
    """Somebody of whom the CRM says this."""

    def person(name, **traits):
        made = IdentifierFactory(workspace=workspace, type="crm:id", value=name)
        tell(made, crm, now, **traits)
        return made

    return person


def tell(identifier, source, now, **traits):
    for name, value in traits.items():
        IdentifierTrait.objects.update_or_create(
            identifier=identifier, source=source, name=name,
            defaults={"workspace_id": identifier.workspace_id, "value": value, "observed_at": now},
        )  # fmt: skip


@pytest.fixture
def link(workspace, now):
    def link(*identifiers, at=now):
        with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk) as permit:
            identity.link(permit, dict.fromkeys((one.pk for one in identifiers), Cause.LEARNT), now=at)

    return link


def belongs_with(identifier, at, purpose=Purpose.SEGMENTATION):
    with gate.permit(purpose, workspace_id=identifier.workspace_id):
        groups = relations.groups_of(identifier.profile_id, at=at)
    return [(group.rule, [member.profile for member in group.members]) for group in groups if group.until is None]


def test_household__one_door_and_surname__is_a_relation_and_no_merge(person, link, now):
    ada, george = person("ada", **DOOR), person("george", **DOOR)

    link(ada, george)

    assert belongs_with(ada, now) == [
        ("ADDRESS_AND_SURNAME", [george.pk]),
        ("ADDRESS", [george.pk]),
    ]
    assert not Judgement.objects.exists()
    assert Profile.objects.filter(merged_into=None).count() == 2


def test_household__of_somebody_who_comes_later__is_found_without_looking_at_the_others(person, link, now):
    ada = person("ada", **DOOR)
    link(ada)
    george = person("george", **DOOR)
    later = now + timedelta(days=3)

    link(george, at=later)

    assert belongs_with(ada, later)[0] == ("ADDRESS_AND_SURNAME", [george.pk])
    with gate.permit(Purpose.SEGMENTATION, workspace_id=ada.workspace_id):
        (member,) = relations.groups_of(ada.pk, at=later)[0].members
    assert member.since == later


def test_household__after_a_move__has_ended_and_is_kept(person, link, crm, now):
    ada, george = person("ada", **DOOR), person("george", **DOOR)
    link(ada, george)
    later = now + timedelta(days=30)
    tell(george, crm, later, street="1 Newstead Abbey", postcode="NG15 8NA")

    link(george, at=later)

    assert belongs_with(ada, later) == []
    ended = Relation.objects.filter(profile_id=george.pk).exclude(until=None)
    assert sorted(ended.values_list("rule", "until")) == [("ADDRESS", later), ("ADDRESS_AND_SURNAME", later)]
    with gate.permit(Purpose.SEGMENTATION, workspace_id=ada.workspace_id):
        before = relations.groups_of(ada.pk, at=now)
    assert (before[0].rule, before[0].until) == ("ADDRESS_AND_SURNAME", later)


def test_household__the_same_people_again__writes_nothing(person, link, now):
    ada, george = person("ada", **DOOR), person("george", **DOOR)
    link(ada, george)
    before = list(Relation.objects.order_by("pk").values())

    link(ada, george, at=now + timedelta(days=1))

    assert list(Relation.objects.order_by("pk").values()) == before


def test_household__too_many_names_on_one_door__is_none(person, link, now):
    tenants = [person(f"tenant {number}", **{**DOOR, "surname": f"Tenant{number}"}) for number in range(5)]

    link(*tenants)

    assert belongs_with(tenants[0], now) == []


def test_household__of_a_profile_that_was_merged_away__is_the_survivors(person, link, workspace, now):
    ada, lady, george = (person(name, **DOOR) for name in ("ada", "lady", "george"))
    link(ada, lady, george)
    identity.judge(
        workspace_id=workspace.pk, left_id=ada.pk, right_id=lady.pk, verdict=Verdict.SAME, author=None, evidence={},
        now=now,
    )  # fmt: skip

    link(ada, lady)

    assert belongs_with(george, now)[0] == ("ADDRESS_AND_SURNAME", [ada.pk])


def test_organisation__one_domain_of_mail__relates_and_a_public_mailbox_does_not(person, link, now):
    ada, charles = person("ada", email="ada@engine.example"), person("charles", email="charles@engine.example")
    mary, percy = person("mary", email="mary@gmail.com"), person("percy", email="percy@gmail.com")

    link(ada, charles, mary, percy)

    assert belongs_with(ada, now) == [("EMAIL_DOMAIN", [charles.pk])]
    assert belongs_with(mary, now) == []


def test_organisation__of_group_calls__is_the_newest_of_each_person(person, crm, workspace, now):
    ada, charles = person("ada"), person("charles")
    for one, group, days in ((ada, "engine", 1), (charles, "difference", 2), (charles, "engine", 1)):
        Event.objects.create(
            workspace=workspace, source=crm, identifier=one, message_id=f"{one.pk} {group}", kind="group", name="",
            occurred_at=now - timedelta(days=days), received_at=now, seen_with=[], properties={"groupId": group},
            context={},
        )  # fmt: skip

    told = households.relate_everybody(workspace_id=workspace.pk, now=now)

    assert told == {"people": 2, "begun": 2, "ended": 0}
    assert belongs_with(ada, now) == [("GROUP_CALL", [charles.pk])]


# -- consent --------------------------------------------------------------------------------------------------------


def test_household__that_one_of_permits_something__permits_nothing_for_another(person, link, now):
    ada, george = person("ada", **DOOR), person("george", **DOOR)
    link(ada, george)

    say(ada, Purpose.ADVERTISING, ConsentState.GIVEN)

    george.refresh_from_db()
    assert george.permitted & Purpose.ADVERTISING.bit == 0
    assert belongs_with(ada, now, Purpose.ADVERTISING) == []
    with gate.permit(Purpose.ADVERTISING, workspace_id=ada.workspace_id):
        assert list(Identifier.objects.values_list("pk", flat=True)) == [ada.pk]


def test_household__of_somebody_who_will_not_be_recognised__is_shown_to_nobody(person, link, workspace, now):
    ada, george = person("ada", **DOOR), person("george", **DOOR)
    link(ada, george)

    say(george, Purpose.IDENTITY, ConsentState.WITHDRAWN)

    assert belongs_with(ada, now) == []
    told = households.relate_everybody(workspace_id=workspace.pk, now=now)
    assert told == {"people": 1, "begun": 0, "ended": 2}
    assert not Relation.objects.filter(profile_id=george.pk, until=None).exists()


def test_household__of_another_workspace__has_other_keys(person, link, now):
    ada = person("ada", **DOOR)
    link(ada)
    elsewhere = SourceFactory()
    with workspace_scope(elsewhere.workspace_id):
        stranger = IdentifierFactory(workspace=elsewhere.workspace, type="crm:id", value="stranger")
        tell(stranger, elsewhere, now, **DOOR)
    with gate.permit(Purpose.IDENTITY, workspace_id=stranger.workspace_id) as permit:
        identity.link(permit, {stranger.pk: Cause.LEARNT}, now=now)

    keys = set()
    for one in (ada, stranger):
        with workspace_scope(one.workspace_id):
            keys.add(bytes(Relation.objects.get(rule="ADDRESS", profile_id=one.pk).key))
    assert len(keys) == 2
    assert belongs_with(ada, now) == []


# -- refusals -------------------------------------------------------------------------------------------------------


def test_refusal__of_a_guard__is_kept_until_it_holds_no_more(person, link, workspace, now):
    ada, george = person("ada"), person("george")
    lady = person("lady")
    for left, right, verdict in (
        (ada, george, Verdict.SAME),
        (george, lady, Verdict.SAME),
        (ada, lady, Verdict.NOT_SAME),
    ):
        judged = identity.judge(
            workspace_id=workspace.pk, left_id=left.pk, right_id=right.pk, verdict=verdict, author=None, evidence={},
            now=now,
        )  # fmt: skip
    link(ada, george, lady)

    with workspace_scope(workspace.pk):
        (refused,) = relations.refusals_about([lady.pk])
    assert (refused.left, refused.right) == ("crm:id:george", "crm:id:lady")
    assert (refused.reason, dict(refused.evidence)) == ("NOT_SAME", {"pair": [ada.pk, lady.pk]})

    identity.retract(workspace_id=workspace.pk, judgement_id=judged.pk, author=None, now=now)
    link(ada, lady)
    assert not Refusal.objects.exists()


def test_task__each_night__relates_by_group_calls_in_every_open_workspace(person, workspace, crm, now):
    ada, grace = person("ada"), person("grace")
    for number, one in enumerate((ada, grace)):
        Event.objects.create(
            workspace=workspace, source=crm, identifier=one, message_id=f"g{number}", kind="group", name="",
            occurred_at=now, received_at=now, seen_with=[], properties={"groupId": "acme"}, context={},
        )  # fmt: skip

    tasks.relate_people()

    assert belongs_with(ada, timezone.now()) == [("GROUP_CALL", [grace.pk])]
    assert cdp.celery.app.conf.beat_schedule["relate-people"]["task"] == tasks.relate_people.name

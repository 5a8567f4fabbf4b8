"""What the rules of a workspace do to people: role addresses, patterns, windows, priority, shared telephones."""

from datetime import UTC, datetime, timedelta

import pytest

from cdp.ingestion import storing
from cdp.ingestion.storing import Encounter
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, Sighting
from consent import gate
from identity import services as identity
from identity.models import IdentityRules
from tests.factories import IdentifierFactory, SourceFactory

DAY = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace, name="shop")


@pytest.fixture
def known(workspace):
    def known(name):
        kind, _, value = name.rpartition(":")
        return IdentifierFactory(workspace=workspace, type=kind, value=value).pk

    return known


@pytest.fixture
def sight(workspace, source):
    """An event arrives: its identifiers came together on a day. Returns who is new to whom."""

    def sight(*identifiers, day=0):
        encounter = Encounter(identifiers, source.pk, DAY + timedelta(days=day))
        with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
            return storing.sight(permit, [encounter], {one: one for one in identifiers})

    return sight


@pytest.fixture
def link(workspace):
    def link(*identifiers):
        with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk) as permit:
            identity.link(permit, dict.fromkeys(identifiers, Cause.LEARNT), now=DAY)

    return link


def are_together(*identifiers):
    return len(set(Identifier.objects.filter(pk__in=identifiers).values_list("profile_id", flat=True))) == 1


def test_shared_mailbox__seen_again_with_one_of_its_users__stays_nobodys(known, sight, link):
    first, second, mail = known("user_id:1"), known("user_id:2"), known("email:family@x.fr")
    sight(first, mail)
    sight(second, mail)
    link(first, second, mail)

    link(first, mail)

    assert not are_together(first, mail)


@pytest.mark.parametrize("address", ["info@x.fr", "Contact+paris@x.fr", "service-client@x.fr"])
def test_role_address__joins_nobody__unless_the_workspace_wants_it(address, workspace, known, sight, link):
    one, other, mail = known("crm:id:1"), known("crm:id:2"), known(f"email:{address}")
    sight(one, mail)
    sight(other, mail)
    link(one, other, mail)
    assert not are_together(one, other)

    IdentityRules.objects.create(workspace=workspace, has_role_addresses_blocked=False)
    link(one, other, mail)

    assert are_together(one, other, mail)


def test_address_of_a_person__that_only_begins_like_a_role__joins(known, sight, link):
    one, mail = known("crm:id:1"), known("email:info.lefevre@x.fr")
    sight(one, mail)

    link(one, mail)

    assert are_together(one, mail)


def test_pattern__blocks_the_type_that_it_names(workspace, known, sight, link):
    IdentityRules.objects.create(workspace=workspace, blocked_patterns=[r"^email:.*@test\.example$"])
    user, mail, own = known("user_id:1"), known("email:Qa7@test.example"), known("crm:id:qa7@test.example")
    sight(user, mail)
    sight(user, own)

    link(user, mail, own)

    assert are_together(user, own)
    assert not are_together(user, mail)


def test_telephone__seen_with_more_than_so_many__is_nobodys(workspace, known, sight, link):
    IdentityRules.objects.create(workspace=workspace, shared_after=2)
    phone, mails = known("phone:+33100000001"), [known(f"email:{n}@x.fr") for n in range(3)]
    for mail in mails[:2]:
        sight(phone, mail)
    link(phone, *mails)
    assert are_together(phone, *mails[:2])

    sight(phone, mails[2])
    link(mails[2])

    assert len(set(Identifier.objects.values_list("profile_id", flat=True))) == 4


def test_telephone__seen_with_many_devices__is_still_its_owners(workspace, known, sight, link):
    IdentityRules.objects.create(workspace=workspace, shared_after=2)
    phone, cookies = known("phone:+33100000001"), [known(f"anonymous_id:c{n}") for n in range(3)]
    for cookie in cookies:
        sight(phone, cookie)

    link(phone, *cookies)

    assert are_together(phone, *cookies)


def test_window__of_addresses__takes_the_earliest_and_lets_the_next_month_in(workspace, known, sight, link):
    IdentityRules.objects.create(workspace=workspace, windows={"email": {"most": 2, "days": 30}})
    user, mails = known("user_id:1"), [known(f"email:{n}@x.fr") for n in range(4)]
    for mail, day in zip(mails, (9, 0, 5, 60), strict=True):
        sight(user, mail, day=day)

    link(user, *mails)

    assert are_together(user, mails[1], mails[2], mails[3])
    assert not are_together(user, mails[0])


@pytest.mark.parametrize("trusted", ["phone", "email"])
def test_limit__when_it_is_hit__lets_go_what_the_workspace_trusts_less(trusted, workspace, known, sight, link):
    IdentityRules.objects.create(workspace=workspace, limits={"crm:id": 1}, priority=[trusted])
    first, second = known("crm:id:1"), known("crm:id:2")
    device, mail, phone = known("anonymous_id:c"), known("email:a@x.fr"), known("phone:+33100000001")
    sight(device, mail)
    sight(device, phone, day=-1)
    sight(first, mail)
    sight(second, phone)

    link(first, second, device, mail, phone)

    winner = {"email": first, "phone": second}[trusted]
    assert are_together(winner, {"email": mail, "phone": phone}[trusted])


def test_sighting__that_comes_late__is_kept_as_the_earlier_one(known, sight):
    one, other = known("user_id:1"), known("email:a@x.fr")

    heard = [sight(one, other, day=2), sight(one, other, day=3), sight(one, other, day=1)]

    assert heard == [{one, other}, set(), {one, other}]
    assert Sighting.objects.get().seen_at == DAY + timedelta(days=1)

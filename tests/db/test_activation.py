"""What audiences should hold: who permits advertising, under which keys, and for how long."""

import pytest

from activation import services as activation
from activation.destination import DestinationConfigError, sha256_hex
from activation.destinations.webhook.destination import Webhook
from activation.models import AudienceMember, Destination, MemberState
from activation.registry import UnknownKindError
from cdp import http
from cdp.kernel.logins import OPERATOR, WEB, WORKER_BY_QUEUE
from cdp.models import Cause, OutboxRow, Stage
from tests.factories import IdentifierFactory
from tests.fakes.audiences import SIGNING_KEY, Fair, key_of, make_segment
from tests.fakes.receiver import FailingReceiver


@pytest.fixture
def fair(workspace, now):
    http.forget_hosts()
    with FailingReceiver(SIGNING_KEY) as receiver:
        yield Fair(workspace, receiver, now)
    assert receiver.violations == []


@pytest.fixture
def coarse_keys(monkeypatch):
    """As on platforms that ignore what follows a plus: two addresses come to one key."""
    monkeypatch.setattr(Webhook, "format_key", lambda *given: sha256_hex(given[-1].replace("+2", "")))


# -- who ------------------------------------------------------------------------------------------------------------


def test_member__who_permits_advertising__is_sent_and_nobody_else(fair):
    willing, outside = fair.member(), fair.person()
    silent = IdentifierFactory(workspace=fair.workspace)
    fair.join(silent)

    fair.reconcile(willing, silent, outside)

    assert fair.send() == 1
    assert fair.arrived() == {key_of(willing)}
    assert fair.states() == {key_of(willing): MemberState.PRESENT}


def test_withdrawal__removes(fair):
    someone, other = fair.members(2)
    fair.send()

    fair.withdraw(someone)
    fair.reconcile(someone, cause=Cause.CONSENT)

    assert fair.send() == 1
    assert fair.arrived() == {key_of(other)}
    assert fair.states()[key_of(someone)] == MemberState.REMOVED


def test_withdrawal__between_wish_and_sending__sends_nothing(fair):
    (someone,) = fair.members(1)

    fair.withdraw(someone)  # and the pipeline has not come round yet

    assert fair.send() == 0
    assert fair.receiver.requests == 0
    assert fair.states() == {key_of(someone): MemberState.REMOVED}


def test_segment_exit__removes_and_entry_adds_again(fair):
    (someone,) = fair.members(1)
    fair.send()

    fair.leave(someone)
    fair.reconcile(someone)
    fair.send()
    assert fair.arrived() == set()
    fair.join(someone)
    fair.reconcile(someone)
    fair.send()

    assert fair.arrived() == {key_of(someone)}
    assert AudienceMember.objects.count() == 1


def test_exit__before_anything_was_sent__sends_nothing(fair):
    (someone,) = fair.members(1)

    fair.leave(someone)
    fair.reconcile(someone)

    assert fair.states() == {key_of(someone): MemberState.REMOVED}
    assert fair.send() == 0
    assert fair.receiver.requests == 0


# -- under which key ------------------------------------------------------------------------------------------------


def test_profile__with_two_addresses__has_two_keys(fair):
    one, other = fair.member(), fair.person()
    fair.merge(one, other)

    fair.reconcile(one, other)
    fair.send()

    assert fair.arrived() == {key_of(one), key_of(other)}


def test_changed_address__is_a_remove_and_an_add(fair):
    user = fair.member(type="anonymous_id", value="a1")
    old, new = fair.person(), fair.person()
    fair.merge(user, old)
    fair.reconcile(user)
    fair.send()

    fair.split(old)
    fair.merge(user, new)
    fair.reconcile(user, old)

    assert fair.send() == 2
    assert fair.arrived() == {key_of(new)}
    assert [b'"remove"' in body for body in fair.receiver.bodies[1:]] == [True, False]


def test_shared_key__leaves_with_the_last_profile(fair, coarse_keys):
    one = fair.member(value="shared@example.com")
    other = fair.member(value="shared+2@example.com")
    fair.reconcile(one, other)
    fair.send()
    assert fair.receiver.counts["loyal"].adds == 1

    fair.leave(one)
    fair.reconcile(one)
    assert fair.send() == 0
    assert fair.arrived() == {key_of(one)}
    fair.leave(other)
    fair.reconcile(other)

    assert fair.send() == 1
    assert fair.arrived() == set()


def test_shared_key__when_both_leave_at_once__is_removed(fair, coarse_keys):
    one = fair.member(value="shared@example.com")
    other = fair.member(value="shared+2@example.com")
    fair.reconcile(one, other)
    fair.send()

    for leaver in (one, other):
        fair.leave(leaver)
    fair.reconcile(one, other)

    assert fair.send() == 1
    assert fair.arrived() == set()


def test_shared_key__whose_heir_may_not_be_added__is_removed(fair, coarse_keys):
    """The heir's own row never was in a request, but its key was."""
    one = fair.member(value="shared@example.com")
    fair.reconcile(one)
    fair.send()
    heir = fair.member(value="shared+2@example.com")
    AudienceMember.objects.update(state=MemberState.REMOVING)
    fair.reconcile(heir)
    fair.leave(one)
    fair.reconcile(one)

    fair.withdraw(heir)

    assert fair.send() == 1
    assert fair.arrived() == set()


def test_merge_and_undo__of_members__send_nothing(fair):
    one, other = fair.members(2)
    fair.send()

    fair.leave(other)
    fair.merge(one, other)
    fair.reconcile(one, fair.founder(other), cause=Cause.MERGE)
    assert fair.send() == 0
    fair.split(other)
    fair.join(other)
    fair.reconcile(one, other, cause=Cause.SPLIT)

    assert fair.send() == 0
    assert fair.receiver.requests == 1
    held = AudienceMember.objects.filter(state=MemberState.PRESENT).values_list("profile_id", "key")
    assert set(held) == {(one.pk, key_of(one)), (other.pk, key_of(other))}


def test_identifier_of_another_type__is_not_sent(fair):
    someone = fair.member(type="phone", value="+33612345678")

    fair.reconcile(someone)

    assert AudienceMember.objects.count() == 0


# -- twice, and by whom ---------------------------------------------------------------------------------------------


def test_reconcile_and_send__again__send_nothing(fair):
    (someone,) = fair.members(1)
    fair.send()

    fair.reconcile(someone)

    assert fair.send() == 0
    assert fair.receiver.requests == 1


def test_disabled_destination__keeps_wishes_and_sends_nothing_until_enabled(fair):
    Destination.objects.update(is_enabled=False)
    (someone,) = fair.members(1)
    assert fair.send() == 0

    Destination.objects.update(is_enabled=True)

    assert fair.send() == 1
    assert fair.arrived() == {key_of(someone)}


def test_disabled_audience__still_loses_people_and_gains_none(fair):
    (someone,) = fair.members(1)
    fair.send()
    type(fair.audience).objects.update(is_enabled=False)
    fair.members(1)

    fair.withdraw(someone)
    fair.reconcile(someone)

    assert fair.send() == 1
    assert fair.arrived() == set()


def test_stage__under_the_workers_login__works(fair, as_login):
    someone, leaver = fair.member(), fair.member()
    fair.leave(leaver)
    as_login(WORKER_BY_QUEUE["activation"])

    fair.reconcile(someone, leaver)
    fair.receiver.fail(500)
    assert fair.send() == 1
    fair.pass_time(minutes=1)

    assert fair.send() == 1
    assert fair.arrived() == {key_of(someone)}


@pytest.mark.parametrize("login", [WEB, OPERATOR])
def test_new_audience__hands_its_members_to_the_stage(login, fair, as_login):
    member, _ = fair.member(), fair.person()
    segment = make_segment(fair.workspace, "other")
    OutboxRow.objects.all().delete()
    as_login(login)

    destination = fair.connect("more", "https://ads.example.com")
    fair.open(destination, fair.segment, "loyal")
    fair.open(destination, segment, "nobody")

    assert list(OutboxRow.objects.values_list("stage", "subject_id", "cause")) == [
        (Stage.ACTIVATION, member.profile_id, Cause.DEFINITION)
    ]


def test_audience__asked_for_again__is_changed(fair):
    again = activation.create_audience(
        workspace_id=fair.workspace.pk,
        destination=fair.destination,
        segment=fair.segment,
        external_id="renamed",
        identifier_types=["phone"],
        now=fair.now,
    )

    assert again.pk == fair.audience.pk
    assert (again.external_id, again.identifier_types) == ("renamed", ["phone"])


def test_destination__secrets_are_stored_encrypted(fair):
    assert SIGNING_KEY.encode() not in bytes(fair.destination.secrets)


@pytest.mark.parametrize(
    ("kind", "config", "refusal"),
    [("carrier-pigeon", {}, UnknownKindError), ("webhook", {"url": "ftp://example.com"}, DestinationConfigError)],
)
def test_destination__that_cannot_work__is_refused_and_not_stored(kind, config, refusal, workspace, now):
    with pytest.raises(refusal):
        activation.create_destination(
            workspace_id=workspace.pk, slug="ads", kind=kind, config=config, secrets={}, now=now
        )

    assert not Destination.objects.exists()

"""Consent to be advertised to is given to a recipient or to all, and by silence only where the law of a place says so."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import ProgrammingError, connection, transaction
from django.utils import timezone

from activation import services as activation
from activation.models import Audience, MemberState
from cdp import http
from cdp.kernel.identifiers import Identifier as Named
from cdp.kernel.logins import WORKER_BY_QUEUE
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, Stage, Trait
from consent import gate, services
from consent.models import ConsentState, PurposePolicy, RestrictionKind
from consent.restriction import deny
from tests.factories import IdentifierFactory, SourceFactory, say
from tests.fakes.audiences import SIGNING_KEY, Fair, key_of
from tests.fakes.receiver import FailingReceiver

ADVERTISING = Purpose.ADVERTISING


@pytest.fixture
def fair(workspace, now):
    """Its own audience is for a recipient of which nobody speaks."""
    http.forget_hosts()
    with FailingReceiver(SIGNING_KEY) as receiver:
        yield Fair(workspace, receiver, now)
    assert receiver.violations == []


@pytest.fixture
def meta(fair) -> Audience:
    """The same segment at a platform by that name."""
    destination = activation.create_destination(
        workspace_id=fair.workspace.pk, slug="meta-eu", kind="webhook", recipient="meta",
        config={"url": fair.receiver.url}, secrets={"signing_key": SIGNING_KEY}, now=fair.now,
    )  # fmt: skip
    return fair.open(destination, fair.segment, "loyal-meta")


def member(fair: Fair, *words: tuple[str, ConsentState], **more: object) -> Identifier:
    """Somebody in the segment who said this of each recipient; an empty one means all."""
    made = IdentifierFactory(workspace=fair.workspace)
    fair.join(made)
    for days, (recipient, state) in enumerate(words):
        tell(made, recipient, state, at=timezone.now() - timedelta(days=30 - days), **more)
    return made


def tell(someone: Identifier, recipient: str, state: ConsentState, **more: object) -> None:
    say(someone, ADVERTISING, state, recipient=recipient, **{"at": timezone.now(), **more})


def candidates(workspace) -> set[tuple[int, int]]:
    """(audience, profile) as the role of advertising sees them."""
    with gate.permit(ADVERTISING, workspace_id=workspace.pk), connection.cursor() as cursor:
        cursor.execute("SELECT audience_id, profile_id FROM candidate")
        return set(cursor.fetchall())


# -- each recipient -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "to_meta", "to_others"),
    [
        ([("meta", "GIVEN")], True, False),
        ([("", "GIVEN")], True, True),
        ([("email", "GIVEN")], False, False),
        ([("", "GIVEN"), ("meta", "REFUSED")], False, True),
        ([("", "GIVEN"), ("email", "REFUSED")], True, True),
        ([("meta", "REFUSED"), ("", "GIVEN")], False, True),
        ([("", "REFUSED"), ("meta", "GIVEN")], False, False),
        ([("meta", "WITHDRAWN"), ("meta", "RENEWED")], True, False),
    ],
)
def test_audience__of_a_recipient__has_who_permits_that_one(words, to_meta, to_others, fair, meta):
    someone = member(fair, *words)

    fair.reconcile(someone)

    wanted = {meta.pk: to_meta, fair.audience.pk: to_others}
    expected = {(audience, someone.profile_id) for audience, is_wanted in wanted.items() if is_wanted}
    assert candidates(fair.workspace) == expected
    assert fair.send() == len(expected)


def test_grant_for_one_recipient__after_a_refusal_of_all__opens_that_one_if_it_is_verified(fair, meta):
    someone = member(fair, ("", "REFUSED"), ("meta", "GIVEN"), is_verified=True)

    assert candidates(fair.workspace) == {(meta.pk, someone.profile_id)}


def test_person__who_permits_one_recipient__is_in_no_view_that_asks_for_all(fair, meta):
    member(fair, ("meta", "GIVEN"))

    with gate.permit(ADVERTISING, workspace_id=fair.workspace.pk), connection.cursor() as cursor:
        counts = {}
        for view in ("identifier", "profile", "membership", "candidate"):
            cursor.execute(f"SELECT count(*) FROM {view}")
            counts[view] = cursor.fetchone()[0]

    assert counts == {"identifier": 0, "profile": 0, "membership": 0, "candidate": 1}


@pytest.mark.parametrize("table", ["core.membership", "core.identifier", "core.profile"])
def test_sender__past_the_view__is_refused_by_the_database(table, fair, as_login):
    as_login(WORKER_BY_QUEUE["activation"])

    with (
        gate.permit(ADVERTISING, workspace_id=fair.workspace.pk),
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"SELECT * FROM {table}")


# -- what changes ---------------------------------------------------------------------------------------------------


def test_refusal_of_one_recipient__between_wish_and_sending__sends_that_one_nothing(fair, meta):
    someone = member(fair, ("", "GIVEN"))
    fair.reconcile(someone)

    tell(someone, "meta", ConsentState.REFUSED)  # and the pipeline has not come round yet

    assert fair.send() == 1
    assert dict(meta.members.values_list("key", "state")) == {key_of(someone): MemberState.REMOVED}
    assert dict(fair.audience.members.values_list("key", "state")) == {key_of(someone): MemberState.PRESENT}


def test_refusal_of_one_recipient__tells_the_audiences_at_once_and_leaves_that_one(fair, meta):
    someone = member(fair, ("", "GIVEN"))
    fair.reconcile(someone)
    fair.send()

    tell(someone, "meta", ConsentState.WITHDRAWN)

    with connection.cursor() as cursor:
        cursor.execute("SELECT stage FROM outbox WHERE subject_id = %s AND cause = 'CONSENT'", [someone.profile_id])
        assert (Stage.ACTIVATION,) in cursor.fetchall()
    fair.reconcile(someone, cause=Cause.CONSENT)
    assert fair.send() == 1
    assert candidates(fair.workspace) == {(fair.audience.pk, someone.profile_id)}


def test_grant_for_one_recipient__that_ran_out__closes_before_anybody_decides_anew(fair, meta):
    someone = member(fair, ("meta", "GIVEN"), expires_at=timezone.now() + timedelta(days=1))
    assert candidates(fair.workspace) == {(meta.pk, someone.profile_id)}

    with connection.cursor() as cursor:
        cursor.execute("UPDATE profile SET permitted_until = now() - interval '1 second'")

    assert candidates(fair.workspace) == set()


def test_objection__closes_every_recipient(fair, meta):
    someone = member(fair, ("meta", "GIVEN"), ("", "GIVEN"))

    denied = deny(
        workspace_id=fair.workspace.pk,
        identifier=Named("email", someone.value),
        purpose=ADVERTISING,
        now=timezone.now(),
    )

    assert denied.kind == RestrictionKind.OBJECTION
    assert candidates(fair.workspace) == set()


def test_merge_and_undo__of_who_refused_a_recipient__closes_and_opens_it_again(fair, meta):
    willing, unwilling = member(fair, ("", "GIVEN")), member(fair, ("", "GIVEN"), ("meta", "REFUSED"))
    apart = candidates(fair.workspace)

    fair.merge(willing, unwilling)
    together = candidates(fair.workspace)
    fair.split(unwilling)

    assert together == {(fair.audience.pk, willing.profile_id)}
    assert candidates(fair.workspace) == apart
    assert apart == {
        (meta.pk, willing.profile_id), (fair.audience.pk, willing.profile_id), (fair.audience.pk, unwilling.profile_id)
    }  # fmt: skip


# -- where people live ----------------------------------------------------------------------------------------------


@pytest.fixture
def regimes(workspace) -> None:
    PurposePolicy.objects.filter(workspace=workspace, purpose=ADVERTISING).update(
        regimes={"US": "OPT_OUT", "US-NY": "OPT_IN"}
    )
    services.configure_consent(workspace_id=workspace.pk, jurisdiction_trait="country")


def live(someone: Identifier, place: object) -> Trait:
    return Trait.objects.create(
        workspace=someone.workspace, profile_id=someone.profile_id, name="country", value=place, identifier=someone,
        source=SourceFactory(workspace=someone.workspace), observed_at=timezone.now(), confidence=1, rule="most_recent",
    )  # fmt: skip


def is_seen(workspace) -> bool:
    with gate.permit(ADVERTISING, workspace_id=workspace.pk):
        return Identifier.objects.only("pk").exists()


@pytest.mark.parametrize(
    ("place", "permits"),
    [
        ("US", True),
        ("us-ca", True),
        ("US-NY", False),
        ("FR", False),
        ("United States", False),
        ("US-", False),
        (1, False),
        (["US"], False),
    ],
)
def test_silence__of_who_lives_there__is_what_the_regime_of_the_place_says(place, permits, workspace, regimes):
    someone = IdentifierFactory(workspace=workspace)

    live(someone, place)

    assert is_seen(workspace) is permits


def test_silence__of_who_moves__follows(workspace, regimes):
    trait = live(IdentifierFactory(workspace=workspace), "US")
    assert is_seen(workspace)

    Trait.objects.filter(pk=trait.pk).update(value="DE")
    assert not is_seen(workspace)
    Trait.objects.filter(pk=trait.pk).update(value="US-CA")
    assert is_seen(workspace)
    trait.delete()

    assert not is_seen(workspace)


def test_refusal__where_silence_permits__is_a_refusal(workspace, regimes):
    someone = IdentifierFactory(workspace=workspace)
    live(someone, "US")

    say(someone, ADVERTISING, ConsentState.REFUSED)

    assert not is_seen(workspace)


def test_jurisdiction_trait__when_another_is_named_or_none__decides_for_everybody_anew(workspace, regimes):
    live(IdentifierFactory(workspace=workspace), "US")

    services.configure_consent(workspace_id=workspace.pk, jurisdiction_trait="residence")
    assert not is_seen(workspace)
    services.configure_consent(workspace_id=workspace.pk, jurisdiction_trait="country")
    assert is_seen(workspace)
    services.configure_consent(workspace_id=workspace.pk, jurisdiction_trait="")

    assert not is_seen(workspace)


def test_regime__when_it_changes__decides_for_everybody_anew(workspace, regimes):
    live(IdentifierFactory(workspace=workspace), "US")

    PurposePolicy.objects.filter(workspace=workspace, purpose=ADVERTISING).update(regimes={})

    assert not is_seen(workspace)


# -- explained ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("recipient", "is_allowed"), [("meta", True), ("email", False), ("", False)])
def test_explain__for_a_recipient__by_the_operator__says_what_the_gate_does(
    recipient, is_allowed, fair, as_login, capsys
):
    someone = member(fair, ("meta", "GIVEN"))
    as_login("operator")

    asked = ["--identifier", f"email:{someone.value}", "--purpose", "advertising", "--recipient", recipient]
    call_command("consent", "explain", *asked, "--workspace", fair.workspace.slug, "--json")

    assert f'"allowed": {str(is_allowed).lower()}' in capsys.readouterr().out

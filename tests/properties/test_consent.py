"""Laws of consent, on real Postgres: the masks that its triggers keep are what the pure rule decides."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.kernel.identifiers import DEVICE_TYPES
from cdp.kernel.identifiers import Identifier as Named
from cdp.kernel.purposes import Purpose
from cdp.models import Identifier, Profile, Trait, Workspace
from cdp.models.access import with_gate
from cdp.models.digests import identifier_digest
from consent import queries, services
from consent.models import ConsentRecord, ConsentState, PurposePolicy
from consent.policy import Policy, Statement, decide, regime_in
from tests.factories import IdentifierFactory, SourceFactory

PEOPLE = 3  # identifiers of one profile
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)  # for the pure laws; Postgres has a clock of its own
SPOKEN_OF = (Purpose.SEGMENTATION, Purpose.ADVERTISING)  # one rests on interest, one on consent

on_postgres = partial(
    settings, max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# Days from now. Few values, so that many words fall on one instant.
said = st.fixed_dictionaries(
    {
        "identifier": st.integers(0, PEOPLE - 1),
        "purpose": st.sampled_from(SPOKEN_OF),
        "state": st.sampled_from(ConsentState.values),
        "day": st.integers(-4, 2),
        "lasts": st.none() | st.integers(1, 6),
        "is_verified": st.booleans(),
        "recipient": st.sampled_from(["", "", "meta", "email"]),
    }
)
ledgers = st.lists(said, max_size=10)


@contextmanager
def example() -> Iterator[None]:
    """What one example writes is gone after it."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def statement_of(word: dict, now: datetime) -> Statement:
    occurred_at = now + timedelta(days=word["day"])
    expires_at = occurred_at + timedelta(days=word["lasts"], hours=1) if word["lasts"] else None
    return Statement(word["identifier"], word["state"], occurred_at, expires_at, word["is_verified"], word["recipient"])


def write(ledger: list[dict], identifiers: list[Identifier], now: datetime, first_key: int = 0) -> None:
    for key, word in enumerate(ledger, first_key):
        statement, identifier = statement_of(word, now), identifiers[word["identifier"]]
        ConsentRecord.objects.create(
            workspace_id=identifier.workspace_id,
            identifier_type=identifier.type,
            identifier_digest=identifier_digest(identifier.type, identifier.value),
            purpose=word["purpose"],
            state=statement.state,
            occurred_at=statement.occurred_at,
            expires_at=statement.expires_at,
            is_verified=statement.is_verified,
            recipient=statement.recipient,
            key=str(key),
        )


def merged(workspace: Workspace) -> list[Identifier]:
    identifiers = IdentifierFactory.create_batch(PEOPLE, workspace=workspace)
    move(identifiers, identifiers[0].pk)
    return identifiers


REGIMES = {"US": "OPT_OUT", "US-NY": "OPT_IN"}


def lives_by_a_trait(workspace: Workspace) -> None:
    PurposePolicy.objects.filter(workspace=workspace, purpose=Purpose.ADVERTISING).update(regimes=REGIMES)
    services.configure_consent(workspace_id=workspace.pk, jurisdiction_trait="country")


def live(identifier: Identifier, profile_id: int, home: str | None) -> None:
    """The golden record of the profile says where the person lives."""
    if home is not None:
        source = SourceFactory(workspace=identifier.workspace)
        Trait.objects.create(
            workspace=identifier.workspace, profile_id=profile_id, name="country", value=home, source=source,
            identifier=identifier, observed_at=NOON, confidence=1, rule="most_recent",
        )  # fmt: skip


def by_recipient(identifiers: list[Identifier]) -> list[tuple[int, dict[str, int] | None]]:
    found = Profile.objects.filter(pk__in=[each.pk for each in identifiers]).order_by("pk")
    return list(found.values_list("permitted", "permitted_by_recipient"))


def move(identifiers: list[Identifier], profile_id: int) -> None:
    Identifier.objects.filter(pk__in=[each.pk for each in identifiers]).update(profile_id=profile_id)


def gathered(identifiers: list[Identifier], cluster: list[int]) -> dict[int, list[int]]:
    """Merge the identifiers as `cluster` says, a number for each. Profile id → places of its identifiers."""
    people: dict[int, list[int]] = {}
    for place, number in enumerate(cluster):
        people.setdefault(number, []).append(place)
    for places in people.values():
        move([identifiers[place] for place in places], identifiers[places[0]].pk)
    return {identifiers[places[0]].pk: places for places in people.values()}


def permitted_to(profile_id: int, recipient: str, purpose: Purpose = Purpose.ADVERTISING) -> int:
    """As a view of what is sent reads it; without a recipient as every other view of profiles."""
    recipient = recipient.replace("'", "''")
    condition = with_gate(f"{{permitted:p:'{recipient}'}}" if recipient else "{permitted:p}", purpose)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM profile p WHERE p.id = %s AND {condition}", [profile_id])
        return int(cursor.fetchone()[0])


def masks(identifiers: list[Identifier]) -> list[tuple[int, datetime | None]]:
    found = Identifier.objects.filter(pk__in=[each.pk for each in identifiers]).order_by("pk")
    return list(found.values_list("permitted", "permitted_until"))


def expected(workspace: Workspace, ledger: list[dict], now: datetime) -> tuple[int, datetime | None]:
    mask, changes = 0, []
    for policy in PurposePolicy.objects.filter(workspace=workspace):
        statements = [statement_of(word, now) for word in ledger if word["purpose"] == policy.purpose]
        decision = decide(Policy(policy.legal_basis), statements, now)
        mask |= policy.bit if decision.allowed else 0
        changes += [decision.changes_at] if decision.changes_at else []
    return mask, min(changes, default=None)


@on_postgres()
@given(ledger=ledgers)
def test_masks__of_any_ledger__are_what_the_rule_decides(workspace, ledger):
    with example():
        now = timezone.now()
        identifiers = merged(workspace)

        write(ledger, identifiers, now)

        decided = expected(workspace, ledger, now)
        assert masks(identifiers) == [decided] * PEOPLE
        survivor = Profile.objects.get(pk=identifiers[0].pk)
        assert (survivor.permitted, survivor.permitted_until) == decided


RECIPIENTS = ("meta", "email", "unheard_of")


@pytest.mark.slow
@on_postgres(max_examples=60)
@given(
    ledger=st.lists(said, max_size=14),
    cluster=st.lists(st.integers(0, PEOPLE - 1), min_size=PEOPLE, max_size=PEOPLE),
    home=st.sampled_from([None, "FR", "us-ca", "US", "nowhere"]),
)
def test_gate__for_every_recipient__is_what_the_rule_decides_and_what_is_explained(workspace, ledger, cluster, home):
    with example():
        now = timezone.now()
        lives_by_a_trait(workspace)
        identifiers = IdentifierFactory.create_batch(PEOPLE, workspace=workspace)
        people = gathered(identifiers, cluster)
        for profile_id, places in people.items():
            live(identifiers[places[0]], profile_id, home)

        write(ledger, identifiers, now)

        policy = Policy("CONSENT", regime_in(REGIMES, (home or "").upper()))
        for (profile_id, places), recipient in product(people.items(), RECIPIENTS):
            words = [word for word in ledger if word["identifier"] in places and word["purpose"] == Purpose.ADVERTISING]
            allowed = decide(policy, [statement_of(word, now) for word in words], now, recipient).allowed
            changes = [statement_of(word, now) for word in ledger if word["identifier"] in places]
            lapses = [at for each in changes for at in (each.occurred_at, each.expires_at) if at and at > now]
            one = identifiers[places[-1]]
            asked = {"workspace_id": workspace.pk, "identifier": Named(one.type, one.value), "now": now}
            answer = queries.explain(purpose=Purpose.ADVERTISING, recipient=recipient, **asked)
            told = queries.effective(purpose=Purpose.ADVERTISING, recipient=recipient, at=now, **asked)
            assert permitted_to(profile_id, recipient) == allowed
            assert (answer.allowed, answer.decision.allowed) == (allowed, allowed)
            assert (told.gate, told.decision.allowed) == (allowed, allowed)
            assert Profile.objects.get(pk=profile_id).permitted_until == min(lapses, default=None)


# -- device by device -----------------------------------------------------------------------------------------------

kinds = st.lists(
    st.sampled_from(["anonymous_id", "ios_advertising_id", "email", "user_id"]), min_size=PEOPLE, max_size=PEOPLE
)
clusters = st.lists(st.integers(0, PEOPLE - 1), min_size=PEOPLE, max_size=PEOPLE)
of_devices = st.fixed_dictionaries(
    {
        "identifier": st.integers(0, PEOPLE - 1),
        "purpose": st.sampled_from([Purpose.ANALYTICS, Purpose.ANALYTICS, Purpose.ADVERTISING]),
        "state": st.sampled_from(["GIVEN", "GIVEN", "RENEWED", "REFUSED", "WITHDRAWN", "UNKNOWN", "EXPIRED"]),
        "day": st.integers(-4, 1),
        "lasts": st.none() | st.integers(1, 6),
        "is_verified": st.booleans(),
        "recipient": st.sampled_from(["", "", "", "meta"]),
    }
)
device_ledgers = st.lists(of_devices, max_size=8)


def judge_by_device(workspace: Workspace, basis: str = "CONSENT") -> None:
    policies = PurposePolicy.objects.filter(workspace=workspace, purpose=Purpose.ANALYTICS)
    policies.update(scope="DEVICE", legal_basis=basis, regimes=REGIMES)


def of_kinds(workspace: Workspace, types: list[str]) -> list[Identifier]:
    return [IdentifierFactory(workspace=workspace, type=kind) for kind in types]


def about_analytics(ledger: list[dict], places: Iterable[int], now: datetime) -> list[Statement]:
    words = [each for each in ledger if each["identifier"] in places and each["purpose"] == Purpose.ANALYTICS]
    return [statement_of(word, now) for word in words]


def bits(identifiers: list[Identifier], purpose: Purpose) -> list[bool]:
    return [bool(mask & purpose.bit) for mask, _ in masks(identifiers)]


@pytest.mark.slow
@on_postgres(max_examples=60)
@given(
    ledger=device_ledgers, cluster=clusters, types=kinds,
    basis=st.sampled_from(["CONSENT", "LEGITIMATE_INTEREST"]), home=st.sampled_from([None, "FR", "US"]),
)  # fmt: skip
def test_gate__of_what_is_judged_by_device__is_what_the_rule_decides_and_what_is_explained(
    workspace, ledger, cluster, types, basis, home
):
    with example():
        now = timezone.now()
        judge_by_device(workspace, basis)
        lives_by_a_trait(workspace)
        identifiers = of_kinds(workspace, types)
        people = gathered(identifiers, cluster)
        for profile_id, places in people.items():
            live(identifiers[places[0]], profile_id, home)

        write(ledger, identifiers, now)

        policy = Policy(basis, regime_in(REGIMES, home or ""), is_by_device=True)
        seen = bits(identifiers, Purpose.ANALYTICS)
        for (profile_id, places), recipient in product(people.items(), ("", "meta", "unheard_of")):
            devices = {place for place in places if types[place] in DEVICE_TYPES}
            whole = decide(policy, about_analytics(ledger, places, now), now, recipient, devices).allowed
            assert permitted_to(profile_id, recipient, Purpose.ANALYTICS) == whole
            for place in places:
                alone = place in devices and not recipient
                allowed = decide(policy, about_analytics(ledger, {place}, now), now, "", {place}).allowed
                allowed = allowed if alone else whole
                one = Named(identifiers[place].type, identifiers[place].value)
                asked = {"workspace_id": workspace.pk, "identifier": one, "now": now, "recipient": recipient}
                answer = queries.explain(purpose=Purpose.ANALYTICS, **asked)
                told = queries.effective(purpose=Purpose.ANALYTICS, at=now, **asked)
                assert (answer.allowed, answer.decision.allowed) == (allowed, allowed)
                assert (told.gate, told.decision.allowed) == (allowed, allowed)
                assert answer.rules[1][0] == ("on_this_device" if alone else "on_every_device")
                assert recipient or seen[place] == allowed


@on_postgres(max_examples=60)
@given(ledger=device_ledgers, once=clusters, again=clusters)
def test_device__whatever_is_merged_with_it__permits_what_its_own_rows_do(workspace, ledger, once, again):
    with example():
        now = timezone.now()
        judge_by_device(workspace)
        devices = of_kinds(workspace, ["anonymous_id", "android_id", "anonymous_id"])
        write(ledger, devices, now)
        apart = bits(devices, Purpose.ANALYTICS)

        for cluster in (once, again):
            gathered(devices, cluster)

            assert bits(devices, Purpose.ANALYTICS) == apart

    own = [about_analytics(ledger, {place}, now) for place in range(PEOPLE)]
    assert apart == [decide(Policy("CONSENT"), words, now).allowed for words in own]


@given(ledger=ledgers, basis=st.sampled_from(["CONSENT", "LEGITIMATE_INTEREST"]), asked=st.sampled_from(["", "meta"]))
def test_decide__device_by_device__permits_what_every_device_does_and_never_more_than_for_the_person(
    ledger, basis, asked
):
    statements = [statement_of(word, NOON) for word in ledger]
    policy = Policy(basis, is_by_device=True)
    devices = range(PEOPLE)

    whole = decide(policy, statements, NOON, asked, devices).allowed

    own = [[each for each in statements if each.identifier == one] for one in devices]
    assert whole == all(decide(policy, words, NOON, asked, {one}).allowed for one, words in enumerate(own))
    assert decide(Policy(basis), statements, NOON, asked).allowed or not whole


@on_postgres(max_examples=40)
@given(ledger=ledgers, order=st.randoms(use_true_random=False))
def test_merge_then_undo__of_any_ledger__restores_what_each_recipient_may(workspace, ledger, order):
    with example():
        now = timezone.now()
        identifiers = IdentifierFactory.create_batch(PEOPLE, workspace=workspace)
        write(ledger, identifiers, now)
        apart = by_recipient(identifiers)

        move(identifiers, order.choice(identifiers).pk)
        for identifier in order.sample(identifiers, PEOPLE):
            move([identifier], identifier.pk)

        assert by_recipient(identifiers) == apart


@on_postgres(max_examples=60)
@given(ledger=ledgers, cluster=st.lists(st.integers(0, PEOPLE - 1), min_size=PEOPLE, max_size=PEOPLE))
def test_masks__of_all_people_at_once__are_those_of_each_alone(workspace, ledger, cluster):
    """The ledger is asked type by type for everybody: each hears what was said of their own identifiers."""
    with example():
        now = timezone.now()
        identifiers = [IdentifierFactory(workspace=workspace, type=kind) for kind in ("email", "phone", "email")]
        people = gathered(identifiers, cluster)
        write(ledger, identifiers, now)
        one_by_one = masks(identifiers), by_recipient(identifiers)
        Identifier.objects.update(permitted=0, permitted_until=None)
        Profile.objects.filter(pk__in=people).update(permitted=0, permitted_until=None, permitted_by_recipient=None)

        PurposePolicy.objects.filter(workspace=workspace).update(retention_days=30)

        assert (masks(identifiers), by_recipient(identifiers)) == one_by_one


@on_postgres(max_examples=60)
@given(ledger=ledgers, order=st.randoms(use_true_random=False))
def test_masks__whatever_comes_first__are_the_same(workspace, ledger, order):
    """The ledger before the identifiers, after them, and in another order."""
    now = timezone.now()
    shuffled = order.sample(ledger, len(ledger))
    with example():
        identifiers = merged(workspace)
        write(ledger, identifiers, now)
        one_way = masks(identifiers)
    with example():
        strangers = IdentifierFactory.build_batch(PEOPLE, workspace=workspace)
        write(shuffled, strangers, now)
        for stranger in strangers:
            stranger.save()
        move(strangers, strangers[0].pk)
        other_way = masks(strangers)

    assert other_way == one_way


@on_postgres()
@given(ledger=ledgers, withdrawal=said, state=st.sampled_from(["WITHDRAWN", "REFUSED"]))
def test_withdrawal__added_to_any_ledger__never_permits_more(workspace, ledger, withdrawal, state):
    withdrawal = {**withdrawal, "state": state}
    with example():
        now = timezone.now()
        identifiers = merged(workspace)
        write(ledger, identifiers, now)
        (before, _), *_ = masks(identifiers)

        write([withdrawal], identifiers, now, first_key=len(ledger))

        (after, _), *_ = masks(identifiers)
        assert after & ~before == 0


@given(ledger=ledgers, withdrawal=said, days=st.integers(-5, 10))
def test_decide__with_one_withdrawal_more__never_permits_more_at_any_time(ledger, withdrawal, days):
    statements = [statement_of(word, NOON) for word in ledger]
    withdrawn = statement_of({**withdrawal, "state": "WITHDRAWN"}, NOON)
    at = NOON + timedelta(days=days)

    for basis, asked, by_device in product(("CONSENT", "LEGITIMATE_INTEREST"), ("", "meta"), (False, True)):
        policy = Policy(basis, is_by_device=by_device)
        if decide(policy, [*statements, withdrawn], at, asked, {0}).allowed:
            assert decide(policy, statements, at, asked, {0}).allowed


@given(ledger=ledgers, basis=st.sampled_from(["CONSENT", "LEGITIMATE_INTEREST"]))
def test_decide__for_all_recipients__is_what_each_of_them_is_permitted(ledger, basis):
    """Those who were named, and those who were not."""
    statements = [statement_of(word, NOON) for word in ledger]

    allowed = [decide(Policy(basis), statements, NOON, recipient).allowed for recipient in RECIPIENTS]

    assert decide(Policy(basis), statements, NOON).allowed == all(allowed)


@given(ledger=ledgers)
def test_decide__for_a_platform__is_never_moved_by_what_was_said_of_email(ledger):
    statements = [statement_of(word, NOON) for word in ledger]
    without = [each for each in statements if each.recipient != "email"]

    assert decide(Policy("CONSENT"), statements, NOON, "meta") == decide(Policy("CONSENT"), without, NOON, "meta")


@given(
    ledger=ledgers, order=st.randoms(use_true_random=False), recipient=st.sampled_from(["", "meta"]),
    by_device=st.booleans(),
)  # fmt: skip
def test_decide__in_any_order__is_the_same(ledger, order, recipient, by_device):
    statements = [statement_of(word, NOON) for word in ledger]
    policy = Policy("CONSENT", is_by_device=by_device)

    decided = decide(policy, order.sample(statements, len(statements)), NOON, recipient, {0, 1})

    assert decided == decide(policy, statements, NOON, recipient, {0, 1})


@given(ledger=ledgers, days=st.integers(0, 10))
def test_decide__before_it_says_it_may_change__does_not(ledger, days):
    statements = [statement_of(word, NOON) for word in ledger]
    policy = Policy("LEGITIMATE_INTEREST")
    decision = decide(policy, statements, NOON)
    later = NOON + timedelta(days=days)

    if decision.changes_at is None or later < decision.changes_at:
        assert decide(policy, statements, later).allowed == decision.allowed


@on_postgres(max_examples=60)
@given(ledger=ledgers)
def test_merge_then_undo__of_any_ledger__restores_the_masks(workspace, ledger):
    with example():
        now = timezone.now()
        identifiers = IdentifierFactory.create_batch(PEOPLE, workspace=workspace)
        write(ledger, identifiers, now)
        apart = masks(identifiers)

        move(identifiers, identifiers[0].pk)
        together = masks(identifiers)
        for identifier in identifiers:
            move([identifier], identifier.pk)

        assert together == [expected(workspace, ledger, now)] * PEOPLE
        assert masks(identifiers) == apart


@pytest.mark.parametrize("purpose", SPOKEN_OF)
def test_expired_grant__when_it_is_decided_anew__permits_nothing(workspace, purpose):
    """A consent that has run out is not silence, which would permit under legitimate interest."""
    person = IdentifierFactory(workspace=workspace)
    now = timezone.now()
    word = {
        "identifier": 0,
        "purpose": purpose,
        "state": "GIVEN",
        "day": -4,
        "lasts": 1,
        "is_verified": False,
        "recipient": "",
    }

    write([word], [person], now)
    with connection.cursor() as cursor:
        cursor.execute("SELECT core.refresh_expired_permissions(10)")

    ((mask, until),) = masks([person])
    assert mask & purpose.bit == 0
    assert until is None

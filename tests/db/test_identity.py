"""Who is one person: sightings, stewards, undo, and what a merge does to the golden record and to consent."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, IdentifierTrait, OutboxRow, Profile, Sighting, SourceKind, Stage, Trait, User
from cdp.models.tenancy import workspace_scope
from consent import gate
from consent.models import ConsentState
from identity import services as identity
from identity.models import IdentityRules, Judgement, JudgementKind, LinkageModel, ReviewPair, Verdict
from tests.factories import LONG_AGO, IdentifierFactory, SourceFactory, say
from tests.outbox import subjects_waiting


@pytest.fixture
def shop(workspace):
    return SourceFactory(workspace=workspace, name="shop")


@pytest.fixture
def meet(workspace, shop, now):
    """Two identifiers come together in an event."""

    def meet(one, other, source=shop):
        left, right = sorted((one, other), key=lambda each: each.pk)
        Sighting.objects.create(workspace=workspace, left=left, right=right, source=source, seen_at=now)

    return meet


@pytest.fixture
def known(workspace):
    def known(kind, value):
        return IdentifierFactory(workspace=workspace, type=kind, value=value)

    return known


@pytest.fixture
def link(workspace, now):
    """What the pipeline does with these identifiers."""

    def link(*identifiers, cause=Cause.LEARNT):
        subjects = dict.fromkeys((each.pk for each in identifiers), cause)
        with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk) as permit:
            return identity.link(permit, subjects, now=now)

    return link


@pytest.fixture
def work_off(workspace, link):
    """Resolve what waits in the outbox, as the worker of the stage would."""

    def work_off():
        subjects = list(Identifier.objects.filter(pk__in=subjects_waiting(stage=Stage.IDENTITY)))
        OutboxRow.objects.filter(stage=Stage.IDENTITY).delete()
        return link(*subjects)

    return work_off


@pytest.fixture
def remember(workspace, shop):
    def remember(identifier, name, value, observed_at, source=shop, confidence=1.0):
        IdentifierTrait.objects.create(
            workspace=workspace, identifier=identifier, source=source, name=name, value=value,
            observed_at=observed_at, confidence=confidence,
        )  # fmt: skip

    return remember


def people():
    """Identifier → profile."""
    return dict(Identifier.objects.values_list("pk", "profile_id"))


def redirects():
    return dict(Profile.objects.exclude(merged_into=None).values_list("pk", "merged_into_id"))


def traits():
    rows = Trait.objects.values_list(
        "profile_id", "name", "value", "source__name", "identifier_id", "observed_at", "confidence", "rule"
    )
    return sorted(rows)


def masks():
    return dict(Identifier.objects.values_list("pk", "permitted"))


def test_link__identifiers_seen_together__are_one_person_under_the_oldest_id(known, meet, link):
    cookie, user, mail, stranger = (
        known("anonymous_id", "c"),
        known("user_id", "u"),
        known("email", "a@x.fr"),
        known("user_id", "z"),
    )
    meet(cookie, user)
    meet(user, mail)

    touched = link(cookie, user, mail, stranger)

    assert people() == {cookie.pk: cookie.pk, user.pk: cookie.pk, mail.pk: cookie.pk, stranger.pk: stranger.pk}
    assert redirects() == {user.pk: cookie.pk, mail.pk: cookie.pk}
    assert touched == {cookie.pk: Cause.MERGE, user.pk: Cause.MERGE, mail.pk: Cause.MERGE, stranger.pk: Cause.LEARNT}


def test_link__judgement__names_its_source(known, meet, link, now):
    left, right = known("user_id", "u"), known("email", "a@x.fr")
    meet(left, right)

    link(left)

    judgement = Judgement.objects.get()
    assert (judgement.left_id, judgement.right_id, judgement.verdict) == (left.pk, right.pk, Verdict.SAME)
    assert (judgement.kind, judgement.weight, judgement.created_at) == (JudgementKind.DETERMINISTIC, 30.0, now)
    assert judgement.evidence["source"] == "shop"


def test_link__twice__changes_nothing(known, meet, link, remember, now):
    left, right = known("user_id", "u"), known("email", "a@x.fr")
    meet(left, right)
    remember(right, "city", "Lyon", now)
    link(left, right)
    before = people(), redirects(), traits(), list(Judgement.objects.values_list("pk")), Trait.objects.get().pk

    touched = link(left, right)

    assert (
        people(),
        redirects(),
        traits(),
        list(Judgement.objects.values_list("pk")),
        Trait.objects.get().pk,
    ) == before
    assert touched == {left.pk: Cause.LEARNT}


def test_link__one_end_is_touched__reaches_the_whole_person(known, meet, link):
    first, second, third = known("anonymous_id", "1"), known("user_id", "2"), known("email", "3@x.fr")
    meet(second, third)
    link(second, third)
    meet(first, third)

    touched = link(first)

    assert set(people().values()) == {first.pk}
    assert touched == {first.pk: Cause.MERGE, second.pk: Cause.MERGE}


def test_link__mailbox_of_a_second_user__leaves_the_first(known, meet, link):
    first, mail, second = known("user_id", "1"), known("email", "family@x.fr"), known("user_id", "2")
    meet(first, mail)
    link(first, mail)
    meet(second, mail)

    touched = link(second, mail)

    assert people() == {first.pk: first.pk, mail.pk: mail.pk, second.pk: second.pk}
    assert redirects() == {}
    assert touched == {first.pk: Cause.SPLIT, mail.pk: Cause.SPLIT, second.pk: Cause.LEARNT}


def test_link__records_of_a_source_with_unique_people__do_not_meet_over_a_mailbox(workspace, known, meet, link):
    crm = SourceFactory(workspace=workspace, name="crm", has_unique_people=True)
    mail, first, second = known("email", "family@x.fr"), known("crm:id", "1"), known("crm:id", "2")
    meet(mail, first, crm)
    meet(mail, second, crm)

    link(mail, first, second)

    assert people() == {each.pk: each.pk for each in (mail, first, second)}


def test_link__rules_of_the_workspace__stand_over_the_defaults(workspace, known, meet, link):
    IdentityRules.objects.create(workspace=workspace, limits={"user_id": 2}, blocked_values=["Shared@x.fr"])
    first, mail, second = known("user_id", "1"), known("email", "a@x.fr"), known("user_id", "2")
    blocked = known("email", "shared@x.fr")
    meet(first, mail)
    meet(second, mail)
    meet(first, blocked)

    link(first, mail, second, blocked)

    assert people() == {first.pk: first.pk, mail.pk: first.pk, second.pk: first.pk, blocked.pk: blocked.pk}


def test_link__value_blocked_later__is_let_go(workspace, known, meet, link):
    user, mail = known("user_id", "1"), known("email", "shared@x.fr")
    meet(user, mail)
    link(user, mail)
    IdentityRules.objects.create(workspace=workspace, blocked_values=["shared@x.fr"])

    link(mail)

    assert people() == {user.pk: user.pk, mail.pk: mail.pk}


def test_link__person_who_objects_to_identity__is_not_linked(known, meet, link, now):
    objector, mail = known("user_id", "1"), known("email", "a@x.fr")
    say(objector, Purpose.IDENTITY, ConsentState.REFUSED)
    meet(objector, mail)

    touched = link(objector, mail)

    assert people() == {objector.pk: objector.pk, mail.pk: mail.pk}
    assert not Judgement.objects.exists()
    assert touched == {objector.pk: Cause.LEARNT, mail.pk: Cause.LEARNT}  # other purposes may be permitted


def test_consent_to_identity__given_later__is_heard_without_an_event(known, meet, link, work_off):
    person, mail = known("user_id", "1"), known("email", "a@x.fr")
    say(person, Purpose.IDENTITY, ConsentState.REFUSED)
    meet(person, mail)
    link(person, mail)
    OutboxRow.objects.all().delete()

    say(person, Purpose.IDENTITY, ConsentState.GIVEN, LONG_AGO + timedelta(days=1))
    work_off()

    assert people() == {person.pk: person.pk, mail.pk: person.pk}


def test_link__identifier_that_was_only_seen_again__stays_whose_it_was(known, meet, link):
    user, mail = known("user_id", "1"), known("email", "a@x.fr")
    meet(user, mail)
    link(user, mail)

    touched = link(mail, cause=Cause.EVENT)

    assert touched == {user.pk: Cause.EVENT}
    assert people() == {user.pk: user.pk, mail.pk: user.pk}


def test_rules__once_changed__are_applied_to_everybody(workspace, known, meet, link, work_off):
    user, mail = known("user_id", "1"), known("email", "shared@x.fr")
    meet(user, mail)
    link(user, mail)
    IdentityRules.objects.create(workspace=workspace, blocked_values=["shared@x.fr"])

    assert identity.resolve_all_anew(workspace_id=workspace.pk) == 2
    work_off()

    assert people() == {user.pk: user.pk, mail.pk: mail.pk}


def test_link__other_workspace__is_out_of_reach(known, link):
    mine = known("user_id", "1")

    link(mine)

    with workspace_scope(mine.workspace_id):
        assert people() == {mine.pk: mine.pk}


# -- the golden record --------------------------------------------------------------------------------------------------


def test_traits__of_a_merge__are_the_most_recent_ones(known, meet, link, remember, now):
    user, mail = known("user_id", "u"), known("email", "a@x.fr")
    remember(user, "city", "Lyon", now - timedelta(days=2))
    remember(mail, "city", "Nice", now - timedelta(days=1))
    remember(user, "surname", "Noether", now, confidence=0.8)
    meet(user, mail)

    link(user, mail)

    assert traits() == [
        (user.pk, "city", "Nice", "shop", mail.pk, now - timedelta(days=1), 1.0, "most_recent"),
        (user.pk, "surname", "Noether", "shop", user.pk, now, 0.8, "most_recent"),
    ]


def test_traits__of_the_same_moment__come_from_the_trusted_source(workspace, known, link, remember, now):
    user = known("user_id", "u")
    remember(user, "city", "Nice", now)
    remember(user, "city", "Lyon", now, SourceFactory(workspace=workspace, name="erp", trust=90))

    link(user)

    assert [row[2:4] for row in traits()] == [("Lyon", "erp")]


def test_traits__of_a_steward__stand_over_newer_ones(workspace, known, link, remember, now):
    user = known("user_id", "u")
    steward = SourceFactory(workspace=workspace, name="desk", kind=SourceKind.STEWARD)
    remember(user, "city", "Lyon", now - timedelta(days=9), steward)
    remember(user, "city", "Nice", now)

    link(user)

    assert [(row[2], row[7]) for row in traits()] == [("Lyon", "steward")]


def test_traits__whose_value_vanished__go(known, link, remember, now):
    user = known("user_id", "u")
    remember(user, "city", "Lyon", now)
    link(user)
    IdentifierTrait.objects.all().delete()

    link(user)

    assert traits() == []


# -- the stewards' word -------------------------------------------------------------------------------------------------


@pytest.fixture
def two_people(known, meet, link, remember, now):
    """Each with a user id, a mailbox and traits; nothing joins them."""
    first, first_mail = known("user_id", "1"), known("email", "1@x.fr")
    second, second_mail = known("crm:id", "2"), known("email", "2@x.fr")
    for user, mail, city in ((first, first_mail, "Lyon"), (second, second_mail, "Nice")):
        meet(user, mail)
        remember(user, "city", city, now - timedelta(days=user.pk % 7))
        remember(mail, "surname", f"of {city}", now)
    link(first, first_mail, second, second_mail)
    return first, first_mail, second, second_mail


def picture():
    return people(), redirects(), traits(), masks()


@pytest.fixture
def steward(db):
    return User.objects.create(username="steward")


@pytest.fixture
def judge(workspace, now, steward):
    def judge(one, other, verdict):
        return identity.judge(
            workspace_id=workspace.pk, left_id=one.pk, right_id=other.pk, verdict=verdict, author=steward,
            evidence={"said": "by telephone"}, now=now,
        )  # fmt: skip

    return judge


def test_judge__same__merges_and_a_retraction_restores_everything(workspace, two_people, judge, work_off, steward, now):
    first, first_mail, second, second_mail = two_people
    before = picture()

    judgement = judge(first_mail, second_mail, Verdict.SAME)
    merged = work_off()
    assert set(people().values()) == {first.pk}
    assert merged == {first.pk: Cause.MERGE, second.pk: Cause.MERGE}
    assert {row[0] for row in traits()} == {first.pk}
    retraction = identity.retract(workspace_id=workspace.pk, judgement_id=judgement.pk, author=steward, now=now)
    parted = work_off()

    assert picture() == before
    assert parted == {first.pk: Cause.SPLIT, second.pk: Cause.SPLIT}
    assert (retraction.retracts_id, retraction.author_id) == (judgement.pk, steward.pk)


def test_judge__the_same_word_again__writes_nothing(two_people, judge):
    first, _, second, _ = two_people
    made = judge(second, first, Verdict.SAME)

    again = judge(first, second, Verdict.SAME)

    assert again == made
    assert Judgement.objects.filter(kind=JudgementKind.STEWARD).count() == 1
    assert OutboxRow.objects.filter(stage=Stage.IDENTITY).count() == 2


def test_judge__the_opposite_word__retracts_the_former(two_people, judge, work_off):
    first, _, second, _ = two_people
    before = people()
    judge(first, second, Verdict.SAME)
    work_off()

    judge(first, second, Verdict.NOT_SAME)
    work_off()

    assert people() == before
    verdicts = Judgement.objects.filter(kind=JudgementKind.STEWARD, retracts=None, retraction=None)
    assert list(verdicts.values_list("verdict", flat=True)) == [Verdict.NOT_SAME]


def test_judge__of_a_pair_under_review__marks_it(workspace, two_people, judge):
    first, _, second, _ = two_people
    model = identity_model(workspace)
    pair = ReviewPair.objects.create(workspace=workspace, left=first, right=second, weight=2.0, model=model)

    judgement = judge(first, second, Verdict.NOT_SAME)

    pair.refresh_from_db()
    assert pair.judgement == judgement


def identity_model(workspace):
    return LinkageModel.objects.create(workspace=workspace, version=1, settings={}, frequencies={}, metadata={})


def test_not_same__against_a_sighting__is_not_crossed_and_no_replay_brings_it_back(known, meet, link, judge, work_off):
    user, mail = known("user_id", "1"), known("email", "1@x.fr")
    meet(user, mail)
    link(user, mail)

    judge(user, mail, Verdict.NOT_SAME)
    work_off()
    link(user, mail)

    assert people() == {user.pk: user.pk, mail.pk: mail.pk}
    assert Judgement.objects.filter(kind=JudgementKind.DETERMINISTIC).count() == 1


def test_not_same__before_anything_was_seen__keeps_a_later_sighting_out(known, meet, link, judge):
    user, mail = known("user_id", "1"), known("email", "1@x.fr")
    judge(user, mail, Verdict.NOT_SAME)
    meet(user, mail)

    link(user, mail)

    assert people() == {user.pk: user.pk, mail.pk: mail.pk}
    assert not Judgement.objects.filter(kind=JudgementKind.DETERMINISTIC).exists()


def test_retract__a_sightings_judgement__is_not_resurrected_by_a_replay(workspace, known, meet, link, work_off, now):
    user, mail = known("user_id", "1"), known("email", "1@x.fr")
    meet(user, mail)
    link(user, mail)

    identity.retract(workspace_id=workspace.pk, judgement_id=Judgement.objects.get().pk, author=None, now=now)
    work_off()
    link(user, mail)

    assert people() == {user.pk: user.pk, mail.pk: mail.pk}


def test_retract__twice__gives_the_first_retraction(workspace, two_people, judge, now):
    first, _, second, _ = two_people
    judgement = judge(first, second, Verdict.SAME)
    made = identity.retract(workspace_id=workspace.pk, judgement_id=judgement.pk, author=None, now=now)

    again = identity.retract(workspace_id=workspace.pk, judgement_id=judgement.pk, author=None, now=now)

    assert again == made
    assert OutboxRow.objects.filter(stage=Stage.IDENTITY).count() == 4


def test_retract__a_retraction__is_refused(workspace, two_people, judge, now):
    first, _, second, _ = two_people
    judgement = judge(first, second, Verdict.SAME)
    retraction = identity.retract(workspace_id=workspace.pk, judgement_id=judgement.pk, author=None, now=now)

    with pytest.raises(identity.NotRetractableError):
        identity.retract(workspace_id=workspace.pk, judgement_id=retraction.pk, author=None, now=now)


@pytest.mark.parametrize("by_steward", [True, False])
def test_undo_merge__of_two_people__restores_both_exactly(
    by_steward, workspace, two_people, judge, meet, link, work_off, now
):
    first, first_mail, second, second_mail = two_people
    before = picture()
    if by_steward:
        judge(first_mail, second_mail, Verdict.SAME)
        work_off()
    else:
        meet(first_mail, second_mail)
        link(first_mail)
    assert set(people().values()) == {first.pk}

    undone = identity.undo_merge(workspace_id=workspace.pk, left_id=second.pk, right_id=first.pk, author=None, now=now)
    work_off()

    assert picture() == before
    assert len(undone.retracted) == 1
    assert undone.judgement.verdict == Verdict.NOT_SAME
    link(first, first_mail, second, second_mail)
    assert picture() == before


def test_undo_merge__over_two_ways__retracts_both(workspace, two_people, meet, link, work_off, now):
    first, first_mail, second, second_mail = two_people
    before = picture()
    meet(first_mail, second_mail)
    link(first_mail)
    meet(first, second_mail)
    link(first)

    undone = identity.undo_merge(workspace_id=workspace.pk, left_id=first.pk, right_id=second.pk, author=None, now=now)
    work_off()

    assert len(undone.retracted) == 2
    assert picture() == before


def test_undo_merge__twice__writes_nothing_more(workspace, two_people, judge, work_off, now):
    first, _, second, _ = two_people
    judge(first, second, Verdict.SAME)
    identity.undo_merge(workspace_id=workspace.pk, left_id=first.pk, right_id=second.pk, author=None, now=now)
    written = Judgement.objects.count()

    undone = identity.undo_merge(workspace_id=workspace.pk, left_id=first.pk, right_id=second.pk, author=None, now=now)

    assert undone.retracted == ()
    assert Judgement.objects.count() == written


@pytest.mark.parametrize("same", [True, False])
def test_judge__identifiers_that_make_no_pair__are_refused(same, workspace, known, now):
    user = known("user_id", "1")
    error = identity.SameIdentifierError if same else identity.UnknownIdentifierError

    with pytest.raises(error):
        identity.judge(
            workspace_id=workspace.pk, left_id=user.pk, right_id=user.pk if same else 10**12, verdict=Verdict.SAME,
            author=None, evidence={}, now=now,
        )  # fmt: skip

    assert not Judgement.objects.exists()


def test_stewards_word__has_only_the_rights_of_the_web_login(workspace, two_people, judge, as_login, now):
    first, _, second, _ = two_people
    as_login("web")

    judge(first, second, Verdict.SAME)
    identity.undo_merge(workspace_id=workspace.pk, left_id=first.pk, right_id=second.pk, author=None, now=now)

    as_login("none")
    assert OutboxRow.objects.filter(stage=Stage.IDENTITY).count() == 6


# -- consent ------------------------------------------------------------------------------------------------------------


def test_withdrawal_on_one_identifier__closes_the_person_and_after_undo_only_that_one(
    workspace, two_people, judge, work_off, now
):
    first, _, second, second_mail = two_people
    for each in two_people:
        say(each, Purpose.ADVERTISING, ConsentState.GIVEN)
    judge(first, second, Verdict.SAME)
    work_off()

    say(second_mail, Purpose.ADVERTISING, ConsentState.WITHDRAWN, at=timezone.now())
    closed = {one for one, mask in masks().items() if not mask & Purpose.ADVERTISING.bit}
    identity.undo_merge(workspace_id=workspace.pk, left_id=first.pk, right_id=second.pk, author=None, now=now)
    work_off()
    still_closed = {one for one, mask in masks().items() if not mask & Purpose.ADVERTISING.bit}

    assert closed == {each.pk for each in two_people}
    assert still_closed == {second.pk, second_mail.pk}


def test_merge__of_profiles_where_identity_rests_on_consent__leaves_no_traits_behind(
    workspace, known, meet, link, remember, now
):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE purpose SET legal_basis = 'CONSENT' WHERE purpose = 'identity'")
    user, mail = known("user_id", "1"), known("email", "1@x.fr")
    for each, city in ((user, "Lyon"), (mail, "Nice")):
        say(each, Purpose.IDENTITY, ConsentState.GIVEN)
        remember(each, "city", city, now - timedelta(days=each.pk == user.pk))
    link(user, mail)
    assert [row[:3] for row in traits()] == [(user.pk, "city", "Lyon"), (mail.pk, "city", "Nice")]
    meet(user, mail)

    link(user, mail)

    assert [row[:3] for row in traits()] == [(user.pk, "city", "Nice")]

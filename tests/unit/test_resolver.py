"""The resolver's guards, one by one."""

import pytest

from identity.resolver import ANY_TYPE, Judgement, Kind, Reason, Refusal, resolve

USER_1, USER_2, MAIL, PHONE, CRM_1, CRM_2 = 1, 2, 3, 4, 5, 6
TYPES = {USER_1: "user_id", USER_2: "user_id", MAIL: "email", PHONE: "phone", CRM_1: "crm:id", CRM_2: "crm:id"}


def seen(left, right, weight=30.0):
    return Judgement(left, right, is_same=True, kind=Kind.DETERMINISTIC, weight=weight)


def alike(left, right, weight):
    return Judgement(left, right, is_same=True, kind=Kind.PROBABILISTIC, weight=weight)


def said(left, right, *, is_same):
    return Judgement(left, right, is_same=is_same, kind=Kind.STEWARD, weight=40.0)


def shared_with(one, mailbox):
    return Refusal(one, mailbox, Reason.SHARED, (("identifiers", (mailbox,)),))


def people(resolution):
    """Only those of more than one identifier."""
    members = {}
    for one, person in resolution.clusters.items():
        members.setdefault(person, set()).add(one)
    return {person: found for person, found in members.items() if len(found) > 1}


def test_resolve__chain_of_sightings__is_one_person_named_after_the_oldest():
    resolution = resolve(TYPES, [seen(USER_2, PHONE), seen(MAIL, PHONE)])

    assert people(resolution) == {USER_2: {USER_2, MAIL, PHONE}}
    assert resolution.refusals == ()


def test_resolve__nothing_judged__leaves_everybody_alone():
    assert resolve(TYPES, []).clusters == {one: one for one in TYPES}


def test_resolve__mailbox_of_two_users__stays_alone():
    resolution = resolve(TYPES, [seen(USER_1, MAIL), seen(USER_2, MAIL), seen(USER_1, PHONE)])

    assert people(resolution) == {USER_1: {USER_1, PHONE}}
    assert resolution.refusals == (shared_with(USER_1, MAIL), shared_with(USER_2, MAIL))


def test_resolve__mailbox_that_a_steward_gave_to_one__belongs_to_that_one():
    resolution = resolve(TYPES, [seen(USER_1, MAIL), seen(USER_2, MAIL), said(USER_1, MAIL, is_same=True)])

    assert people(resolution) == {USER_1: {USER_1, MAIL}}


def test_resolve__mailbox_that_a_steward_took_from_one__is_not_shared():
    resolution = resolve(TYPES, [seen(USER_1, MAIL), seen(USER_2, MAIL), said(USER_2, MAIL, is_same=False)])

    assert people(resolution) == {USER_1: {USER_1, MAIL}}
    assert resolution.refusals == ()


def test_resolve__two_users_over_a_chain__are_kept_apart_where_it_is_contested():
    resolution = resolve(TYPES, [seen(USER_1, MAIL, 31), seen(MAIL, PHONE, 31), seen(USER_2, PHONE)])

    assert people(resolution) == {USER_1: {USER_1, MAIL}}
    assert resolution.refusals == (
        shared_with(USER_2, PHONE),
        Refusal(MAIL, PHONE, Reason.SHARED, (("identifiers", (PHONE,)),)),
    )


def test_resolve__limit_of_the_workspace__replaces_the_default():
    resolution = resolve(TYPES, [seen(USER_1, MAIL), seen(USER_2, MAIL)], {"user_id": 2})

    assert people(resolution) == {USER_1: {USER_1, USER_2, MAIL}}


def test_resolve__limit_of_all_types_together__stops_growth():
    resolution = resolve(TYPES, [seen(MAIL, PHONE), seen(PHONE, CRM_1)], {ANY_TYPE: 2})

    assert people(resolution) == {MAIL: {MAIL, PHONE}}
    assert resolution.refusals == (Refusal(PHONE, CRM_1, Reason.SIZE, (("count", 3), ("limit", 2))),)


def test_resolve__not_same__is_not_crossed_over_others_either():
    resolution = resolve(TYPES, [alike(CRM_1, CRM_2, 9), seen(MAIL, CRM_1), said(MAIL, CRM_2, is_same=False)])

    assert people(resolution) == {MAIL: {MAIL, CRM_1}}
    assert resolution.refusals == (Refusal(CRM_1, CRM_2, Reason.NOT_SAME, (("pair", (MAIL, CRM_2)),)),)


def test_resolve__not_same_inherited_by_a_growing_cluster__still_stands():
    judgements = [
        said(USER_1, CRM_2, is_same=False), seen(USER_1, MAIL, 33), seen(MAIL, PHONE, 32), seen(PHONE, CRM_1, 31),
        alike(CRM_1, CRM_2, 5),
    ]  # fmt: skip

    resolution = resolve(TYPES, judgements)

    assert people(resolution) == {USER_1: {USER_1, MAIL, PHONE, CRM_1}}
    assert resolution.refusals == (Refusal(CRM_1, CRM_2, Reason.NOT_SAME, (("pair", (USER_1, CRM_2)),)),)


def test_resolve__steward_against_a_sighting_of_the_same_pair__prevails():
    assert people(resolve(TYPES, [seen(MAIL, PHONE), said(MAIL, PHONE, is_same=False)])) == {}


def test_resolve__stronger_link__is_taken_before_a_weaker_one_that_excludes_it():
    resolution = resolve(TYPES, [alike(USER_1, CRM_1, 5), alike(USER_2, CRM_1, 9)])

    assert people(resolution) == {USER_2: {USER_2, CRM_1}}
    assert resolution.refusals == (
        Refusal(USER_1, CRM_1, Reason.LIMIT, (("type", "user_id"), ("count", 2), ("limit", 1))),
    )


@pytest.mark.parametrize(("links", "is_united"), [(1, False), (2, False), (4, True)])
def test_resolve__two_groups_of_records__need_more_than_a_thread(links, is_united):
    """Three records and three records, each of which resembles the others of its side: nine pairs lie between."""
    types = dict.fromkeys(range(1, 7), "crm:id")
    within = [alike(a, b, 10) for a, b in ((1, 2), (1, 3), (2, 3), (4, 5), (4, 6), (5, 6))]
    between = [alike(3, 4, 5), alike(2, 5, 5), alike(1, 6, 5), alike(1, 4, 5)][:links]

    resolution = resolve(types, [*within, *between])

    why = (("links", links), ("pairs", 9), ("within", 1.0))
    assert (resolution.clusters[6] == 1) is is_united
    assert (Refusal(3, 4, Reason.BRIDGE, why) in resolution.refusals) is not is_united


def test_resolve__sighting_over_a_bridge__is_heard_all_the_same():
    types = dict.fromkeys(range(1, 7), "crm:id")
    within = [alike(a, b, 10) for a, b in ((1, 2), (1, 3), (2, 3), (4, 5), (4, 6), (5, 6))]

    resolution = resolve(types, [*within, alike(3, 4, 5), seen(1, 6)])

    assert set(resolution.clusters.values()) == {1}
    assert resolution.refusals == ()


def test_resolve__too_many_records_for_one_person__part_at_the_weaker_ties():
    types = dict.fromkeys(range(1, 9), "crm:id")
    cliques = [alike(a, b, 10 + a) for side in (range(1, 5), range(5, 9)) for a in side for b in side if a < b]
    ties = [alike(a, b, 0.5) for a in range(1, 5) for b in range(5, 9)]

    together = resolve(types, [*cliques, *ties])
    apart = resolve(types, [*cliques, *ties], {ANY_TYPE: 5})

    assert set(together.clusters.values()) == {1}
    assert people(apart) == {1: {1, 2, 3, 4}, 5: {5, 6, 7, 8}}


def test_resolve__judgement_on_somebody_unknown__is_left_out():
    resolution = resolve({MAIL: "email"}, [seen(MAIL, 99)])

    assert resolution.clusters == {MAIL: MAIL}


def test_resolve__two_accounts_that_a_steward_calls_one__may_have_what_both_had():
    types = {1: "user_id", 2: "email", 3: "user_id", 4: "email"}
    apart = [seen(1, 2), seen(3, 4)]

    together = resolve(types, [*apart, said(2, 4, is_same=True)])

    assert together.clusters == {1: 1, 2: 1, 3: 1, 4: 1}
    assert resolve(types, apart).clusters == {1: 1, 2: 1, 3: 3, 4: 3}


def test_resolve__mailbox_that_two_people_turn_out_to_claim__belongs_to_neither():
    types = {1: "user_id", 2: "user_id", 3: "email", 4: "crm:id"}
    the_mailbox_of_a_relative = [seen(2, 3), seen(3, 4)]

    resolution = resolve(types, [*the_mailbox_of_a_relative, alike(1, 4, 80.0)])

    assert resolution.clusters == {1: 1, 2: 2, 3: 3, 4: 1}
    assert resolution.refusals == (shared_with(2, 3), Refusal(3, 4, Reason.SHARED, (("identifiers", (3,)),)))

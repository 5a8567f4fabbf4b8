"""What a person asked for is done from the request itself: once, for all of their identifiers, by the login `rights`."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction

from cdp import pipeline, tasks
from cdp.kernel.identifiers import Identifier as Named
from cdp.kernel.purposes import Purpose
from cdp.models import Identifier, IdentifierTrait, Source, SourceKind, Trait
from consent import answers, erasure, erasure_ledger, execution, packaging, requests
from consent.execution import WorkState
from consent.models import (
    ConsentRecord,
    ConsentState,
    DataPackage,
    DataRequest,
    Erasure,
    LegalBasis,
    PurposePolicy,
    RequestWork,
    Restriction,
    Suppression,
)
from consent.request_details import InvalidDetailsError
from consent.rights import Right
from tests.factories import IdentifierFactory, SourceFactory, say

BY = "user:1"
DAY = timedelta(days=1)
ADA, PHONE, NOBODY = Named("email", "ada@example.com"), Named("phone", "+33612345678"), Named("email", "no@example.com")
ALL_GATED = sum(purpose.bit for purpose in Purpose if purpose.is_gated)


@pytest.fixture
def ada(workspace):
    """Known by an address and by a number that nobody has linked to it; she permits advertising."""
    made = [IdentifierFactory(workspace=workspace, type=one.type, value=one.value) for one in (ADA, PHONE)]
    for one in made:
        say(one, Purpose.ADVERTISING, ConsentState.GIVEN)
        one.refresh_from_db()
    return made


@pytest.fixture
def bob(workspace):
    return IdentifierFactory(workspace=workspace, value="bob@example.com")


@pytest.fixture
def desk(workspace, now, as_login):
    return Desk(workspace, now, as_login)


class Desk:
    """The officer works as `web`, and the worker as `rights`."""

    def __init__(self, workspace, now, as_login):
        self.workspace, self.now, self.as_login = workspace, now, as_login

    def receive(self, kind, *named, is_logged_in=True, **more):
        self.as_login("web")
        return requests.receive_request(
            workspace_id=self.workspace.pk, kind=kind, identifiers=named or (ADA, PHONE), received_at=self.now - DAY,
            by=BY, now=self.now, is_logged_in=is_logged_in, **more,
        )  # fmt: skip

    def begin(self, kind, *named, corrections=None, **more):
        made = self.receive(kind, *named, **more)
        self.step(requests.start_request, made, corrections=corrections)
        return made

    def step(self, service, made, **more):
        self.as_login("web")
        return service(workspace_id=self.workspace.pk, request_id=made.pk, by=BY, **{"now": self.now, **more})

    def work(self):
        self.as_login("rights")
        worked = execution.carry_out_next(workspace_id=self.workspace.pk, now=self.now)
        self.as_login("none")
        return worked

    def carry_out(self, kind, *named, **more):
        made = self.begin(kind, *named, **more)
        assert self.work() == made.pk
        return made

    def state_of(self, made):
        return execution.work_of(workspace_id=self.workspace.pk, request_id=made.pk, now=self.now).state


def masks():
    return dict(Identifier.objects.values_list("value", "permitted"))


def policies(workspace, **bases):
    for name, basis in bases.items():
        PurposePolicy.objects.filter(workspace=workspace, purpose=name).update(legal_basis=basis)


# -- erasure --------------------------------------------------------------------------------------------------------


def test_erasure__erases_by_all_identifiers_and_links_its_certificate(desk, ada, bob):
    made = desk.carry_out(Right.ERASURE, ADA, PHONE, NOBODY)
    done = desk.step(requests.complete_request, made)

    desk.as_login("none")
    assert set(Identifier.objects.values_list("value", flat=True)) == {bob.value}
    assert Suppression.objects.count() == 3
    erased = Erasure.objects.get()
    assert (erased.key, erased.rows["identifier"], erased.number) == (f"request-{made.pk}", 2, 1)
    assert made.work.erasure == erased
    assert done.state == "COMPLETED"
    assert [step.step for step in made.steps.order_by("pk")][-2:] == ["request.carried_out", "request.completed"]
    assert [len(line.digests) for line in erasure_ledger.lines()] == [3]


def test_erasure__verified_by_a_code__reaches_the_first_identifier_alone(desk, ada, bob):
    made = desk.receive(Right.ERASURE, is_logged_in=False)
    with requests.changing(desk.workspace.pk, made.pk) as request:
        requests.mark_verified(request, requests.Verification.CODE, by=BY, now=desk.now)
    desk.step(requests.start_request, made)

    desk.work()

    assert set(Identifier.objects.values_list("value", flat=True)) == {PHONE.value, bob.value}


@pytest.mark.parametrize(
    "kind", [Right.ERASURE, Right.RESTRICTION, Right.OBJECTION, Right.WITHDRAWAL, Right.RECTIFICATION]
)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_worker__killed_anywhere__leaves_what_the_next_one_does_once(kind, moment, desk, ada, bob, monkeypatch):
    corrections = {"city": "Paris"} if kind is Right.RECTIFICATION else None
    made = desk.begin(kind, corrections=corrections)
    does = dict(execution._DOING)

    def killed(request, now):
        if moment == "after":
            does[kind](request, now)
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "_DOING", {kind: killed})
    with pytest.raises(KeyboardInterrupt):
        desk.work()
    monkeypatch.setattr(execution, "_DOING", does)
    at_once = desk.work()
    desk.now += execution.LEASE
    later = desk.work()

    assert (at_once, later, desk.work()) == (None, made.pk, None)
    assert [step.step for step in made.steps.order_by("pk")].count("request.carried_out") == 1
    counts = (
        Erasure.objects.count(), Restriction.objects.count(), IdentifierTrait.objects.count(),
        ConsentRecord.objects.filter(state="WITHDRAWN").count(),
    )  # fmt: skip
    assert counts == {
        Right.ERASURE: (1, 0, 0, 0), Right.RESTRICTION: (0, 2, 0, 0), Right.RECTIFICATION: (0, 0, 2, 0),
        Right.OBJECTION: (0, 12, 0, 0), Right.WITHDRAWAL: (0, 0, 0, 2),
    }[kind]  # fmt: skip


def test_erasure__in_a_workspace_that_is_busy__is_tried_again_later(desk, ada, monkeypatch):
    made = desk.begin(Right.ERASURE)

    def busy(*_):
        raise erasure.BusyWorkspaceError

    with monkeypatch.context() as patched:
        patched.setattr(erasure, "_take_turn", busy)
        desk.work()
    failed = made.work
    at_once = desk.work()
    desk.step(requests.carry_out_again, made)
    again = desk.work()

    assert (failed.error, failed.failures, failed.done_at) == ("BusyWorkspaceError", 1, None)
    assert failed.due_at == desk.now + execution.SOONEST_AGAIN
    assert (at_once, again) == (None, made.pk)
    assert desk.state_of(made) is WorkState.DONE
    assert not Identifier.objects.exists()


# -- restriction, objection, withdrawal -----------------------------------------------------------------------------


def test_restriction__hides_the_person_from_every_purpose(desk, ada, bob):
    desk.carry_out(Right.RESTRICTION)

    assert masks()[ADA.value] & ALL_GATED == masks()[PHONE.value] & ALL_GATED == 0
    assert masks()[bob.value] & Purpose.ANALYTICS.bit


def test_objection__denies_legitimate_interests_and_advertising_and_no_contract(desk, ada, workspace):
    policies(workspace, analytics=LegalBasis.CONTRACT, learning=LegalBasis.PUBLIC_INTEREST)

    made = desk.carry_out(Right.OBJECTION)

    assert masks()[ADA.value] & ALL_GATED == masks()[PHONE.value] & ALL_GATED == Purpose.ANALYTICS.bit
    assert made.work.counts == {"identifiers": 2, "purposes": 5}
    assert not Suppression.objects.exists()


def test_objection__to_named_purposes__denies_these_alone(desk, ada):
    before = masks()

    desk.carry_out(Right.OBJECTION, purposes=[Purpose.ADVERTISING])

    assert masks() == {value: mask & ~Purpose.ADVERTISING.bit for value, mask in before.items()}


def test_objection__to_collection__stores_nothing_more_of_the_person(desk, ada):
    Identifier.objects.filter(pk=ada[1].pk).update(profile_id=ada[0].pk)

    desk.carry_out(Right.OBJECTION, ADA, purposes=[Purpose.COLLECTION])

    assert set(Suppression.objects.values_list("identifier_type", "reason")) == {
        ("email", "REQUEST"), ("phone", "REQUEST")
    }  # fmt: skip
    assert Identifier.objects.count() == 2


def test_withdrawal__is_in_the_ledger_for_what_rests_on_consent(desk, ada, workspace):
    policies(workspace, analytics=LegalBasis.CONSENT)
    for one in ada:
        say(one, Purpose.ANALYTICS, ConsentState.GIVEN)

    desk.carry_out(Right.WITHDRAWAL)

    withdrawn = Purpose.ADVERTISING.bit | Purpose.ANALYTICS.bit
    assert all(mask & withdrawn == 0 and mask & Purpose.IDENTITY.bit for mask in masks().values())
    said = ConsentRecord.objects.filter(state="WITHDRAWN")
    assert said.count() == 4
    assert set(said.values_list("occurred_at", flat=True)) == {desk.now - DAY}


def test_withdrawal__of_what_is_judged_by_device__reaches_every_device_of_the_person(desk, ada, workspace):
    PurposePolicy.objects.filter(purpose=Purpose.ADVERTISING).update(scope="DEVICE")
    browser, stranger = (IdentifierFactory(workspace=workspace, type="anonymous_id", value=name) for name in "ab")
    Identifier.objects.filter(pk=browser.pk).update(profile_id=ada[0].profile_id)
    for one in (browser, stranger):
        say(one, Purpose.ADVERTISING, ConsentState.GIVEN)
    before = masks()

    desk.carry_out(Right.WITHDRAWAL)
    desk.work()

    permitting = {value for value, mask in masks().items() if mask & Purpose.ADVERTISING.bit}
    assert before["a"] & Purpose.ADVERTISING.bit
    assert permitting == {"b"}
    withdrawn = ConsentRecord.objects.filter(state="WITHDRAWN").values_list("identifier_type", flat=True)
    assert sorted(withdrawn) == ["anonymous_id", "email", "phone"]


def test_withdrawal__of_before_the_last_grant__leaves_that_grant(desk, ada):
    say(ada[0], Purpose.ADVERTISING, ConsentState.GIVEN, at=desk.now - DAY / 2, is_verified=True)

    desk.carry_out(Right.WITHDRAWAL)

    assert masks()[ADA.value] & Purpose.ADVERTISING.bit
    assert masks()[PHONE.value] & Purpose.ADVERTISING.bit == 0


@pytest.mark.parametrize(
    ("kind", "given", "fault"),
    [
        (Right.WITHDRAWAL, {"purposes": [Purpose.ANALYTICS]}, "purpose_on_another_basis"),
        (Right.OBJECTION, {"purposes": [Purpose.LEARNING]}, "purpose_on_another_basis"),
        (Right.ERASURE, {"purposes": [Purpose.ANALYTICS]}, "purposes_of_another_right"),
        (Right.OBJECTION, {"corrections": {"city": "Paris"}}, "corrections_of_another_right"),
        (Right.RECTIFICATION, {"corrections": {"": "Paris"}}, "not_a_value"),
        (Right.RECTIFICATION, {"corrections": {"city": ["Paris"]}}, "not_a_value"),
        (Right.RECTIFICATION, {"corrections": {"city": ""}}, "not_a_value"),
    ],
)
def test_details__that_do_not_fit__are_refused(kind, given, fault, desk, workspace):
    policies(workspace, learning=LegalBasis.CONTRACT)

    with pytest.raises(InvalidDetailsError) as refused:
        desk.receive(kind, **given)

    assert refused.value.details["fault"] == fault
    assert not DataRequest.objects.exists()


def test_key__with_other_details__stands_for_another_request(desk):
    first = desk.receive(Right.RECTIFICATION, key="form-1", corrections={"city": "Paris"})

    assert desk.receive(Right.RECTIFICATION, key="form-1", corrections={"city": "Paris"}).pk == first.pk
    with pytest.raises(requests.RequestKeyReusedError):
        desk.receive(Right.RECTIFICATION, key="form-1", corrections={"city": "Lyon"})
    assert b"Paris" not in bytes(first.details)


# -- rectification, and what humans do ------------------------------------------------------------------------------


def test_rectification__wins_in_the_profile_whatever_arrives_later(desk, ada, workspace):
    crm = SourceFactory(workspace=workspace, name="crm", kind=SourceKind.FILE, trust=100)

    desk.carry_out(Right.RECTIFICATION, ADA, NOBODY, corrections={"city": "Paris", "orders": 3})
    IdentifierTrait.objects.create(
        workspace=workspace, identifier=ada[0], source=crm, name="city", value="Pairs", observed_at=desk.now + DAY
    )
    pipeline.drain(workspace_id=workspace.pk, now=lambda: desk.now, timeout=30)

    assert list(Trait.objects.order_by("name").values_list("name", "value", "rule", "source__name")) == [
        ("city", "Paris", "steward", "rights"), ("orders", 3, "steward", "rights")
    ]  # fmt: skip
    assert Identifier.objects.count() == 2


def test_rectification__again__replaces_the_value(desk, ada):
    desk.carry_out(Right.RECTIFICATION, ADA, corrections={"city": "Paris"})
    desk.now += DAY
    desk.carry_out(Right.RECTIFICATION, ADA, corrections={"city": "Lyon"})

    assert [each.value for each in IdentifierTrait.objects.all()] == ["Lyon"]
    assert Source.objects.filter(kind=SourceKind.STEWARD).count() == 1


def test_rectification__where_somebody_has_a_source_of_that_name__has_a_steward_of_its_own(desk, ada, workspace):
    SourceFactory(workspace=workspace, name="rights")

    desk.carry_out(Right.RECTIFICATION, ADA, corrections={"city": "Paris"})

    assert list(IdentifierTrait.objects.values_list("source__name", "source__kind")) == [
        ("rights-corrections", "STEWARD")
    ]


@pytest.mark.parametrize("kind", [Right.HUMAN_REVIEW, Right.RECTIFICATION])
def test_work_by_hand__is_done_when_its_outcome_is_noted(kind, desk, ada):
    made = desk.begin(kind)
    state, worked = desk.state_of(made), desk.work()

    with pytest.raises(requests.NotDoneError):
        desk.step(requests.complete_request, made)
    with pytest.raises(requests.ReasonMissingError):
        desk.step(requests.note_outcome, made, outcome=" ")
    desk.step(requests.note_outcome, made, outcome="A clerk granted the loan.")
    with pytest.raises(requests.NothingByHandError):
        desk.step(requests.note_outcome, made, outcome="Or not.")
    done = desk.step(requests.complete_request, made)

    assert (state, worked) == (WorkState.BY_HAND, None)
    assert (done.state, made.work.outcome) == ("COMPLETED", "A clerk granted the loan.")


# -- what cannot be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in Right if kind not in requests.ANSWERED_BY_PACKAGE])
def test_completion__before_the_work_is_done__is_refused_by_service_and_database(kind, desk, ada):
    made = desk.begin(kind)

    with pytest.raises(requests.NotDoneError):
        desk.step(requests.complete_request, made)
    with pytest.raises(IntegrityError, match="what was asked for is not done"), transaction.atomic():
        DataRequest.objects.filter(pk=made.pk).update(state="COMPLETED", step="forged", closed_at=desk.now)

    made.refresh_from_db()
    assert (made.state, made.step) == ("IN_PROGRESS", "request.started")


@pytest.mark.parametrize("service", [requests.refuse_request, requests.take_back, requests.mark_duplicate])
def test_what_is_done__cannot_be_refused_any_more(service, desk, ada):
    earlier = desk.receive(Right.RESTRICTION)
    more = {requests.refuse_request: {"reason": "no"}, requests.mark_duplicate: {"of": earlier.pk}}.get(service, {})
    made = desk.carry_out(Right.RESTRICTION)

    with pytest.raises(requests.DoneAlreadyError):
        desk.step(service, made, **more)
    with pytest.raises(IntegrityError, match="what was asked for is done"), transaction.atomic():
        DataRequest.objects.filter(pk=made.pk).update(state="TAKEN_BACK", step="forged", closed_at=desk.now)

    made.refresh_from_db()
    assert made.state == "IN_PROGRESS"


def test_what_is_being_done__cannot_be_taken_back_and_what_was_taken_back_is_not_done(desk, ada):
    claimed, waiting = desk.begin(Right.RESTRICTION), desk.begin(Right.ERASURE)
    desk.as_login("rights")
    execution._claim(desk.workspace.pk, desk.now)

    with pytest.raises(requests.DoneAlreadyError):
        desk.step(requests.take_back, claimed)
    desk.step(requests.take_back, waiting)

    assert desk.work() is None
    assert Identifier.objects.count() == 2
    assert desk.state_of(claimed) is WorkState.UNDER_WAY


@pytest.mark.parametrize(
    ("login", "change"),
    [
        ("web", "claimed_until = now()"),
        ("web", "erasure_id = 1"),
        ("web", "is_by_hand = true"),
        ("rights", "outcome = 'x'"),
        ("rights", "kind = 'RESTRICTION'"),
        ("operator", "claimed_until = now()"),
    ],
)
def test_work__is_changed_by_nobody_whose_work_it_is_not(login, change, desk):
    desk.begin(Right.ERASURE)
    desk.as_login(login)

    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"UPDATE request_work SET {change}")

    desk.as_login("none")
    assert RequestWork.objects.values_list("done_at", "is_by_hand").get() == (None, False)


@pytest.mark.parametrize("kind", [Right.ERASURE, Right.HUMAN_REVIEW])
def test_work__said_to_be_done_without_its_proof__is_refused_by_the_database(kind, desk):
    made = desk.begin(kind)

    with pytest.raises(IntegrityError, match="request_work_"), transaction.atomic():
        RequestWork.objects.filter(request=made).update(done_at=desk.now)

    assert made.work.done_at is None


def test_request__begun_before_there_was_work__is_given_its_work(desk, ada):
    made = desk.begin(Right.RESTRICTION)
    desk.as_login("none")
    RequestWork.objects.all().delete()
    with pytest.raises(execution.NoWorkError):
        desk.state_of(made)

    desk.step(requests.carry_out_again, made)

    assert desk.work() == made.pk
    assert Restriction.objects.count() == 2


def test_package__that_failed_too_often__is_built_again_when_somebody_says_so(desk, ada):
    made = desk.begin(Right.ACCESS)
    desk.as_login("none")
    DataPackage.objects.update(failures=packaging.MOST_FAILURES)

    desk.step(requests.carry_out_again, made)

    assert [package.request_id for package in packaging.waiting_packages(desk.workspace.pk)] == [made.pk]


# -- the worker, and what the person is told ------------------------------------------------------------------------


def test_task__carries_out_all_that_waits_and_wakes_those_who_feel_it(desk, ada, monkeypatch):
    made = [desk.begin(kind) for kind in (Right.WITHDRAWAL, Right.RESTRICTION)]
    woken = []
    monkeypatch.setattr(tasks, "wake", lambda stage, *, workspace_id: woken.append((stage, workspace_id)))
    monkeypatch.setattr("django.utils.timezone.now", lambda: desk.now)
    desk.as_login("rights")

    tasks.carry_out_requests()

    assert all(desk.state_of(one) is WorkState.DONE for one in made)
    assert set(woken) == {(stage, desk.workspace.pk) for stage in tasks.FELT_BY}


@pytest.mark.parametrize(("locale", "words"), [("en", "31 October 2026"), ("fr", "31 octobre 2026")])
def test_answer__is_in_the_language_of_the_person_and_names_where_to_complain(locale, words, desk, ada):
    desk.now = desk.now.replace(month=11, day=1)
    made = desk.carry_out(Right.ERASURE, ADA, locale=locale)

    told = answers.answer_to(workspace_id=desk.workspace.pk, request_id=made.pk)

    assert told.locale == locale
    assert words in told.text
    assert "CNIL" in told.text
    assert "ada" not in told.text.lower()
    assert told.recipients == []


@pytest.mark.parametrize("kind", list(Right))
def test_answer__at_every_stage__says_until_when_what_was_done_or_why_not(kind, desk, ada):
    made = desk.receive(kind)
    told = [answers.answer_to(workspace_id=desk.workspace.pk, request_id=made.pk).text]
    desk.step(requests.extend_request, made, reason="there are so many")
    told.append(answers.answer_to(workspace_id=desk.workspace.pk, request_id=made.pk).text)
    desk.step(requests.refuse_request, made, reason="it is unfounded")
    told.append(answers.answer_to(workspace_id=desk.workspace.pk, request_id=made.pk).text)

    assert "there are so many" not in told[0]
    assert "there are so many" in told[1]
    assert "it is unfounded" in told[2]
    assert all("Art. 77" in text for text in told)

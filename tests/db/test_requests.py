"""A request of a person: what the database holds, and what the services say before it has to."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction

from cdp.kernel.identifiers import Identifier
from cdp.models.digests import identifier_digest
from consent import requests, verifying
from consent.models import DataPackage, DataRequest, LegalBasis, PurposePolicy, RequestStep, VerificationCode
from consent.request_states import WITHOUT_VERIFICATION, RequestState, may_follow
from consent.rights import Right
from tests.factories import IdentifierFactory

ADA = Identifier("email", "ada@example.com")
DAY = timedelta(days=1)
RECEIVED = datetime(2026, 10, 31, 9, tzinfo=UTC)
BY = "user:1"


@pytest.fixture
def receive(workspace, as_login, now):
    """`receive(Right.ERASURE)`: a request that came on the last of October. The test goes on as `web`."""
    as_login("web")

    def make(kind=Right.ACCESS, *identifiers, **more):
        given = {"received_at": RECEIVED, "by": BY, "now": now, **more}
        return requests.receive_request(
            workspace_id=workspace.pk, kind=kind, identifiers=identifiers or (ADA,), **given
        )

    return make


@pytest.fixture
def step(workspace, now):
    """`step(requests.start_request, request)`: one service call, said shortly."""

    def call(service, request, **more):
        return service(workspace_id=workspace.pk, request_id=request.pk, **{"by": BY, "now": now, **more})

    return call


def state_of(request):
    return DataRequest.objects.values_list("state", "verification").get(pk=request.pk)


def run(statement, *values):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)


# -- received -------------------------------------------------------------------------------------------------------


def test_receive__is_due_at_the_end_of_the_next_month_and_names_nobody(receive):
    made = receive()

    assert made.due_at == made.first_due_at == datetime(2026, 11, 30, 9, tzinfo=UTC)
    assert requests.identifiers_of(made) == [ADA]
    assert b"ada" not in bytes(made.identifiers)
    assert [bytes(each) for each in made.digests] == [identifier_digest("email", "ada@example.com")]
    assert [(each.step, each.from_state, each.to_state) for each in made.steps.all()] == [
        ("request.received", "", "RECEIVED")
    ]


def test_receive__the_same_key_again__is_the_same_request(receive):
    first = receive(key="form-1")

    assert receive(key="form-1").pk == first.pk
    with pytest.raises(requests.RequestKeyReusedError):
        receive(Right.ERASURE, key="form-1")
    assert DataRequest.objects.count() == 1


def test_receive__a_right_that_no_basis_gives__is_refused_with_the_reason(receive, workspace, as_login):
    as_login("none")
    PurposePolicy.objects.filter(workspace=workspace).update(legal_basis=LegalBasis.LEGITIMATE_INTEREST)
    as_login("web")

    with pytest.raises(requests.RightNotOfferedError) as refused:
        receive(Right.PORTABILITY)

    assert refused.value.details == {"kind": "PORTABILITY", "reason": "neither_consent_nor_contract"}
    assert DataRequest.objects.count() == 0


@pytest.mark.parametrize("fault", [{"received_at": datetime(2027, 1, 1, tzinfo=UTC)}, {"key": "x", "many": 21}])
def test_receive__without_sense__is_refused(fault, receive):
    many = [ADA] * fault.pop("many", 1)

    with pytest.raises(requests.InvalidRequestError):
        receive(Right.ACCESS, *many, **fault)

    assert DataRequest.objects.count() == 0


# -- what the database holds, whoever writes ------------------------------------------------------------------------

WORK = sorted(set(RequestState) - WITHOUT_VERIFICATION)


def test_database__as_web__states_without_a_verification_are_few():
    assert set(WORK) == {"IN_PROGRESS", "COMPLETED", "DUPLICATE"}


def test_database__as_web_without_a_verification__refuses_to_complete(receive):
    made = receive()

    with pytest.raises(IntegrityError, match="cannot become COMPLETED"):
        run("UPDATE data_request SET state = 'COMPLETED', step = 'x', closed_at = now() WHERE id = %s", made.pk)

    assert state_of(made) == ("RECEIVED", "")


@pytest.mark.parametrize("state", ["IN_PROGRESS", "DUPLICATE"])
def test_database__states_that_may_follow_reception__are_held_by_the_constraint(state, receive):
    made, other = receive(), receive()
    is_duplicate = state == "DUPLICATE"

    with pytest.raises(IntegrityError, match="data_request_is_verified_first"):
        run(
            "UPDATE data_request SET state = %s, step = 'forged', duplicate_of_id = %s,"
            " closed_at = CASE WHEN %s THEN now() END WHERE id = %s",
            state, other.pk if is_duplicate else None, is_duplicate, made.pk,
        )  # fmt: skip

    assert state_of(made) == ("RECEIVED", "")


def test_database__every_pair_of_states__keeps_to_the_table(receive):
    """The trigger and `FOLLOWING` are one table."""
    for start, end in itertools.permutations(RequestState, 2):
        made = receive(is_logged_in=True)
        other = receive()
        DataPackage.objects.create(
            workspace_id=made.workspace_id, request=made, secrets=b"", ordered_at=RECEIVED, built_at=RECEIVED
        )
        if start is not RequestState.RECEIVED:
            path = [RequestState.IN_PROGRESS, start] if start is not RequestState.IN_PROGRESS else [start]
            for place in path:
                run(*_moving(made, place, other))
        try:
            run(*_moving(made, end, other))
            moved = True
        except IntegrityError:
            moved = False
        assert moved is may_follow(start, end), (start, end)


def _moving(made, state, other):
    statement = (
        "UPDATE data_request SET state = %s, step = 'to ' || %s, refusal_reason = 'unfounded', duplicate_of_id = %s,"
        " closed_at = CASE WHEN %s THEN first_due_at END WHERE id = %s"
    )
    duplicate = other.pk if state == "DUPLICATE" else None
    return statement, state, state, duplicate, state not in {"RECEIVED", "IN_PROGRESS"}, made.pk


@pytest.mark.parametrize(
    "change",
    [
        "verification = '', verified_at = NULL",
        "verification = 'MANUAL'",
        "received_at = received_at + interval '1 day'",
        "kind = 'ERASURE'",
        "digests = '{}'",
        "due_at = due_at + interval '1 day'",
        "notified_at = first_due_at + interval '1 second', extension_reason = 'many'",
        "notified_at = first_due_at",
        "state = 'REFUSED', step = 'x', refusal_reason = 'no', closed_at = first_due_at + interval '1 second'",
        "state = 'REFUSED', step = 'x', closed_at = first_due_at",
        "state = 'IN_PROGRESS'",
        "state = 'TAKEN_BACK', step = 'x'",
    ],
)
def test_database__as_web__refuses_what_the_law_forbids(change, receive):
    made = receive(is_logged_in=True)

    with pytest.raises(IntegrityError):
        run(f"UPDATE data_request SET {change} WHERE id = %s", made.pk)

    assert state_of(made) == ("RECEIVED", "LOGGED_IN")
    assert made.steps.count() == 1


def test_database__a_request_that_begins_later__is_refused(receive):
    made = receive(is_logged_in=True)
    made.pk, made.state = None, "IN_PROGRESS"

    with pytest.raises(IntegrityError, match="begins as RECEIVED"), transaction.atomic():
        made.save(force_insert=True)

    assert DataRequest.objects.count() == 1


def test_steps__are_never_changed(receive, as_login):
    made = receive()
    as_login("none")

    with pytest.raises(IntegrityError):
        run("UPDATE data_request_step SET note = 'nothing'")

    assert made.steps.get().note == ""


def test_request__of_another_workspace__does_not_exist(receive):
    made = receive()

    with pytest.raises(requests.UnknownRequestError):
        requests.take_back(workspace_id=made.workspace_id + 1, request_id=made.pk, by=BY, now=RECEIVED)

    assert state_of(made) == ("RECEIVED", "")


# -- the clock ------------------------------------------------------------------------------------------------------


def test_doubt__moves_both_dates_by_as_long_as_it_lasted(receive, step, now):
    made = receive()
    step(requests.doubt_identity, made, reason="two people share the address")

    settled = step(requests.settle_doubt, made, now=now + 5 * DAY)

    assert settled.due_at == settled.first_due_at == datetime(2026, 12, 5, 9, tzinfo=UTC)
    assert [each.step for each in made.steps.order_by("pk")] == [
        "request.received", "request.doubted", "request.doubt_settled",
    ]  # fmt: skip


def test_doubt__of_somebody_verified_or_doubted_already__is_refused(receive, step):
    known, doubted = receive(is_logged_in=True), receive()
    step(requests.doubt_identity, doubted, reason="shared")

    for made in (known, doubted):
        with pytest.raises(requests.WrongStateError):
            step(requests.doubt_identity, made, reason="shared")

    assert [made.doubts.count() for made in (known, doubted)] == [0, 1]


def test_extend__in_time__has_two_more_months_and_is_done_once(receive, step):
    made = receive()

    extended = step(requests.extend_request, made, reason="many requests")

    assert extended.due_at == datetime(2027, 1, 31, 9, tzinfo=UTC)
    assert extended.first_due_at == datetime(2026, 11, 30, 9, tzinfo=UTC)
    with pytest.raises(requests.WrongStateError):
        step(requests.extend_request, made, reason="again")


@pytest.mark.parametrize("service", [requests.extend_request, requests.refuse_request])
@pytest.mark.parametrize(
    ("late", "reason", "error"),
    [
        (timedelta(seconds=1), "unfounded", requests.TooLateError),
        (timedelta(), "  ", requests.ReasonMissingError),
    ],
)
def test_extend_and_refuse__too_late_or_without_a_reason__change_nothing(service, late, reason, error, receive, step):
    made = receive()

    with pytest.raises(error):
        step(service, made, reason=reason, now=made.first_due_at + late)

    made.refresh_from_db()
    assert (made.state, made.notified_at, made.step) == ("RECEIVED", None, "request.received")


def test_refuse__on_the_last_moment_and_unverified__is_closed_with_its_reason(receive, step):
    made = receive()

    refused = step(requests.refuse_request, made, reason="unfounded", now=made.first_due_at)

    assert (refused.state, refused.refusal_reason, refused.closed_at) == ("REFUSED", "unfounded", made.first_due_at)


def test_refuse__while_doubted_past_the_month__is_in_time(receive, step, now):
    made = receive()
    step(requests.doubt_identity, made, reason="shared")

    refused = step(requests.refuse_request, made, reason="no proof came", now=now + 60 * DAY)

    assert refused.state == "REFUSED"
    assert refused.first_due_at == datetime(2026, 11, 30, 9, tzinfo=UTC) + 60 * DAY


# -- verified -------------------------------------------------------------------------------------------------------


def test_start__without_a_verification__is_refused(receive, step):
    made = receive()

    with pytest.raises(requests.NotVerifiedError):
        step(requests.start_request, made)

    assert DataPackage.objects.count() == 0


def test_duplicate__without_a_verification__is_refused(receive, step):
    first, again = receive(is_logged_in=True), receive()

    with pytest.raises(requests.NotVerifiedError):
        step(requests.mark_duplicate, again, of=first.pk)

    assert state_of(again) == ("RECEIVED", "")


def test_duplicate__of_itself_or_of_another_kind__is_refused(receive, step):
    made, other = receive(is_logged_in=True), receive(Right.ERASURE)

    for of in (made.pk, other.pk):
        with pytest.raises(requests.UnknownRequestError):
            step(requests.mark_duplicate, made, of=of)

    assert state_of(made) == ("RECEIVED", "LOGGED_IN")


def test_verify__by_hand__keeps_how_and_ends_the_doubt(receive, step, now):
    made = receive(Right.RECTIFICATION)
    step(requests.doubt_identity, made, reason="shared")

    step(requests.verify_by_hand, made, how="came to the counter", now=now + DAY)
    step(requests.start_request, made, now=now + DAY)
    step(requests.note_outcome, made, outcome="mended at the counter", now=now + DAY)
    done = step(requests.complete_request, made, now=now + 2 * DAY)

    assert (done.state, done.verification) == ("COMPLETED", "MANUAL")
    assert made.doubts.get().ended_at == now + DAY
    assert RequestStep.objects.get(step="request.verified").note == "came to the counter"
    with pytest.raises(requests.WrongStateError):
        step(requests.take_back, made)


def test_code__that_is_right__verifies_and_is_stored_nowhere(receive, step):
    made = receive()
    code = step(verifying.issue_code, made)

    step(verifying.verify_by_code, made, code=code)

    assert len(code) == 8
    assert state_of(made) == ("RECEIVED", "CODE")
    assert code.encode() not in bytes(VerificationCode.objects.get().digest)
    with pytest.raises(requests.VerifiedAlreadyError):
        step(verifying.verify_by_code, made, code=code)


def wrong(code):
    return f"{(int(code) + 1) % 10**8:08}"


def test_code__after_five_wrong_tries__is_locked_even_for_the_right_one(receive, step):
    made = receive()
    code = step(verifying.issue_code, made)

    for _ in range(5):
        with pytest.raises(verifying.WrongCodeError):
            step(verifying.verify_by_code, made, code=wrong(code))
    with pytest.raises(verifying.CodeLockedError):
        step(verifying.verify_by_code, made, code=code)

    assert state_of(made) == ("RECEIVED", "")
    assert VerificationCode.objects.get().tries == 5


def test_code__too_old_or_replaced_or_never_sent__is_wrong(receive, step, now):
    made, other = receive(), receive()
    old = step(verifying.issue_code, made)
    new = step(verifying.issue_code, made)

    with pytest.raises(verifying.WrongCodeError):
        step(verifying.verify_by_code, made, code=old if old != new else wrong(new))
    with pytest.raises(verifying.WrongCodeError):
        step(verifying.verify_by_code, made, code=new, now=now + verifying.VALID)
    with pytest.raises(verifying.WrongCodeError):
        step(verifying.verify_by_code, other, code=new)

    assert state_of(made) == state_of(other) == ("RECEIVED", "")


def test_code__a_sixth_one__is_not_sent(receive, step):
    made = receive()
    for _ in range(5):
        step(verifying.issue_code, made)

    with pytest.raises(verifying.CodeLockedError):
        step(verifying.issue_code, made)

    assert VerificationCode.objects.get().codes_sent == 5


def test_code__with_a_second_identifier__must_be_of_the_same_person(workspace, receive, step, as_login):
    as_login("none")
    ada = IdentifierFactory(workspace=workspace, value="ada@example.com")
    crm = IdentifierFactory(workspace=workspace, type="crm:id", value="7")
    type(crm).objects.filter(pk=crm.pk).update(profile_id=ada.pk)
    IdentifierFactory(workspace=workspace, type="crm:id", value="8")
    as_login("web")
    made = receive()
    code = step(verifying.issue_code, made)

    for second in (Identifier("crm:id", "8"), Identifier("crm:id", "unknown"), ADA):
        with pytest.raises(verifying.WrongCodeError):
            step(verifying.verify_by_code, made, code=code, second=second)
    step(verifying.verify_by_code, made, code=code, second=Identifier("crm:id", "7"))

    assert state_of(made) == ("RECEIVED", "CODE_AND_IDENTIFIER")


def test_unknown_person__is_answered_just_like_a_known_one(workspace, receive, step, as_login):
    as_login("none")
    IdentifierFactory(workspace=workspace, value="ada@example.com")
    as_login("web")
    answers = []
    for who in (ADA, Identifier("email", "nobody@example.com")):
        made = receive(Right.ACCESS, who)
        code = step(verifying.issue_code, made)
        with pytest.raises(verifying.WrongCodeError) as refused:
            step(verifying.verify_by_code, made, code=wrong(code))
        verified = step(verifying.verify_by_code, made, code=code)
        started = step(requests.start_request, made)
        answers.append((len(code), refused.value.message, verified.verification, started.state, started.due_at))

    assert answers[0] == answers[1]


def test_worker__of_another_stage__reads_no_request(receive, as_login):
    receive()
    as_login("worker_segments")

    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        DataRequest.objects.count()

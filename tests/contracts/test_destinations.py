"""What every destination keeps to, whatever platform it speaks to."""

import json
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation import registry
from activation.destination import (
    Answer,
    Erases,
    ErasureNotice,
    ErasureOutcome,
    ErasureReply,
    Failure,
    MemberKey,
    Operation,
    sha256_hex,
)
from cdp.kernel.identifiers import Identifier

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECRETS = {"webhook": {"signing_key": "hidden-4711"}, "opendsr": {"token": "hidden-4711"}}

keys_of_people = st.lists(
    st.integers(0, 10**6).map(lambda n: MemberKey("email", sha256_hex(str(n)))), min_size=1, max_size=30, unique=True
)


def destination(kind):
    return registry.destination(kind, registry.example(kind), SECRETS[kind])


EVERY_KIND = pytest.mark.parametrize("kind", registry.KINDS)
# One that takes no rows keeps no audiences: it is told of erasures alone.
EVERY_KEEPER = pytest.mark.parametrize("kind", [kind for kind in registry.KINDS if destination(kind).limits.rows])


def one_request(kind):
    return destination(kind).build_requests(Operation.ADD, "loyal", [MemberKey("email", sha256_hex("a@example.com"))])[
        0
    ]


@EVERY_KIND
def test_kind__is_the_name_that_it_is_registered_under(kind):
    assert destination(kind).kind == kind


@EVERY_KIND
@given(value=st.text())
def test_key__is_a_digest_or_nothing(kind, value):
    key = destination(kind).format_key("email", value)

    assert key is None or (len(key) <= 64 and value not in {key, ""})
    assert key == destination(kind).format_key("email", value)


@EVERY_KIND
@pytest.mark.parametrize("nothing", ["", " ", "\t\n"])
def test_key__of_nothing__is_none(kind, nothing):
    assert destination(kind).format_key("email", nothing) is None


@EVERY_KEEPER
@given(keys=keys_of_people)
@pytest.mark.parametrize("operation", Operation)
def test_requests__carry_every_key_once_within_the_limits(kind, operation, keys):
    requests = destination(kind).build_requests(operation, "loyal", keys)

    assert sorted(row for request in requests for row in request.rows) == list(range(len(keys)))
    assert all(len(request.rows) <= destination(kind).limits.rows for request in requests)
    assert all(len(request.body) <= destination(kind).limits.bytes for request in requests)
    for request in requests:
        assert all(keys[row].key.encode() in request.body for row in request.rows)


@EVERY_KEEPER
def test_requests__of_a_full_batch__keep_to_the_limits(kind):
    limits = destination(kind).limits
    keys = [MemberKey("email", sha256_hex(str(number))) for number in range(limits.rows + 1)]

    requests = destination(kind).build_requests(Operation.ADD, "a" * 200, keys)

    assert [len(request.rows) for request in requests] == [limits.rows, 1]
    assert all(len(request.body) <= limits.bytes for request in requests)


@EVERY_KEEPER
@given(keys=keys_of_people)
def test_requests__for_the_same_keys__are_the_same(kind, keys):
    first, again = (destination(kind).build_requests(Operation.ADD, "loyal", keys) for _ in range(2))

    assert first == again


@EVERY_KEEPER
def test_adding_and_removing__are_told_apart(kind):
    keys = [MemberKey("email", sha256_hex("a@example.com"))]
    add, remove = (destination(kind).build_requests(operation, "loyal", keys)[0] for operation in Operation)

    assert (add.method, add.url, add.body) != (remove.method, remove.url, remove.body)


@EVERY_KEEPER
def test_request__holds_no_secret_until_it_is_authorised(kind):
    request = one_request(kind)
    proof = destination(kind).authorise(request, idempotency_key="k", now=NOW)

    assert proof
    assert "hidden-4711" not in f"{request.url}{request.headers}{request.body!r}"


@EVERY_KEEPER
@pytest.mark.parametrize(
    ("status", "failures"),
    [
        (429, {Failure.RETRY}),
        (500, {Failure.RETRY}),
        (503, {Failure.RETRY}),
        (401, {Failure.REFRESH, Failure.ABORT_DESTINATION}),
        (403, {Failure.ABORT_DESTINATION, Failure.REFRESH}),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", b"{}"])
def test_failure__is_of_a_class_whatever_the_body(kind, status, failures, body):
    outcome = destination(kind).parse(one_request(kind), Answer(status, {}, body))

    assert outcome.failure in failures
    assert outcome.code


@EVERY_KEEPER
@given(
    status=st.integers(200, 599), body=st.binary(max_size=50) | st.from_type(type(None)).map(json.dumps).map(str.encode)
)
def test_answer__whatever_it_is__is_a_failure_or_a_result_for_every_row(kind, status, body):
    request = one_request(kind)

    outcome = destination(kind).parse(request, Answer(status, {}, body))

    assert outcome.failure or len(outcome.rows) == len(request.rows)
    assert len(outcome.code) <= 64
    assert all(len(result.code) <= 64 for result in outcome.rows)


# -- erasing --------------------------------------------------------------------------------------------------------


class Partner:
    """Gives what it is told to, or dies, and remembers what it was sent."""

    def __init__(self, status=200, body=b"{}", *, dies=False):
        self.answer, self.dies, self.sent = Answer(status, {}, body), dies, []

    def __call__(self, request):
        self.sent.append(request)
        if self.dies:
            raise ConnectionError
        return self.answer


def notice(*values):
    named = [Identifier("email", value) for value in values or ("ada@example.com",)]
    return ErasureNotice(uuid.UUID("9f1b5c9e-6f2c-4a6e-9d6e-1f7f0a3d2b11"), named, NOW)


@EVERY_KIND
@given(status=st.integers(200, 499), body=st.binary(max_size=50))
def test_erasing__whatever_the_answer__is_a_reply_with_a_code_that_fits(kind, status, body):
    outcome = destination(kind).erase(notice(), Partner(status, body))

    assert isinstance(outcome, ErasureOutcome)
    assert outcome.reply in ErasureReply
    assert len(outcome.code) <= 64
    assert "ada" not in outcome.code
    assert outcome.reply is not ErasureReply.ACKNOWLEDGED or 200 <= status < 300


@EVERY_KIND
def test_erasing__the_same_notice__asks_for_the_same(kind):
    first, again = Partner(), Partner()

    destination(kind).erase(notice(), first)
    destination(kind).erase(notice(), again)

    assert first.sent == again.sent


@EVERY_KIND
def test_erasing__what_may_pass__is_left_to_whoever_sends(kind):
    if destination(kind).erases is Erases.NOBODY:
        pytest.skip("it sends nothing")

    with pytest.raises(ConnectionError):
        destination(kind).erase(notice(), Partner(dies=True))

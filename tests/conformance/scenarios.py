"""What each SDK is made to do, and what must come of it.

A scenario is a column of the table in docs/conformance.md: the calls that are made, what happens on the road, and a
check that returns what its cell says. Checks are exact: these events, each once, and nothing else.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conformance.road import LET_THROUGH, Answer, Road, Seen
from tests.conformance.sdks import Report, Sdk
from tests.conformance.server import Origin, Server

Call = Mapping[str, Any]
NOT_APPLICABLE = "–"

PERSON, DEVICE, EARLIER = "ada", "device-of-ada", "earlier-ada"
BOUGHT_AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
AHEAD = timedelta(hours=2)
CLOSE = timedelta(seconds=30)  # one machine, however busy


@dataclass(frozen=True)
class Run:
    """One SDK in one scenario, when it is over."""

    sdk: Sdk
    server: Server
    origin: Origin
    road: Road
    report: Report
    began_at: datetime
    ended_at: datetime

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.server.events_of(self.origin)

    @property
    def names(self) -> list[str]:
        return [event["name"] for event in self.events]

    @property
    def refusals(self) -> list[str]:
        return self.server.refusals_of(self.origin)

    @property
    def requests(self) -> list[Seen]:
        return self.road.posts

    def has_no_complaint(self) -> bool:
        return self.report == {"refused": 0, "failed": 0, "reasons": []} and self.refusals == []


@dataclass(frozen=True)
class Scenario:
    """`turns` and `drops` are what happens on the road; the rest is what the driver is told."""

    title: str
    story: str
    calls: Callable[[Sdk], Sequence[Call]]
    check: Callable[[Run], str]
    turns: Sequence[Answer | None] = ()
    drops: Sequence[str] = ()
    has_other_encoding: bool = False
    has_wrong_key: bool = False
    is_about_pauses: bool = False
    clock_ahead: timedelta = timedelta()
    fits: Callable[[Sdk], bool] = field(default=lambda _: True)

    def __str__(self) -> str:
        return self.title.replace(" ", "-")


def requests(run: Run) -> str:
    """The cell of a run in which everything arrived."""
    return f"✓ {len(run.requests)}"


def purchase(number: int = 1, **properties: Any) -> Call:
    return {"type": "track", "userId": PERSON, "event": "Order Completed", "properties": {"n": number, **properties}}


# -- each call ------------------------------------------------------------------------------------------------------


def one_of_each(_: Sdk) -> list[Call]:
    beside = {"userId": PERSON, "anonymousId": DEVICE}
    return [
        {"type": "identify", **beside, "traits": {"email": "ada@example.com", "plan": "pro"}},
        {**purchase(total=9.5), "timestamp": BOUGHT_AT.isoformat()},
        {"type": "page", "userId": PERSON, "category": "Docs", "name": "Home", "properties": {"url": "/"}},
        {"type": "screen", "userId": PERSON, "category": "Docs", "name": "Start", "properties": {"dark": True}},
        {"type": "group", "userId": PERSON, "groupId": "acme", "traits": {"seats": 3}},
        {"type": "alias", "previousId": EARLIER, "userId": PERSON},
    ]


EACH_STORED = {
    ("alias", "alias"): {"previousId": EARLIER},
    ("group", "group"): {"seats": 3, "groupId": "acme"},
    ("identify", "identify"): {},  # some send traits in the context alone
    ("page", "Home"): {"name": "Home", "category": "Docs", "url": "/"},
    ("screen", "Start"): {"name": "Start", "category": "Docs", "dark": True},
    ("track", "Order Completed"): {"n": 1, "total": 9.5},
}


def is_each_stored_once(run: Run) -> str:
    assert run.has_no_complaint(), run.report
    assert [(event["kind"], event["name"]) for event in run.events] == list(EACH_STORED)
    for event in run.events:
        assert event["identifier"] == f"user_id:{PERSON}"
        assert EACH_STORED[event["kind"], event["name"]].items() <= event["properties"].items()
        has_its_four_times(event, run)
    assert run.server.traits_of(run.origin) == {"email": "ada@example.com", "plan": "pro"}
    by_kind = {event["kind"]: event["seen_with"] for event in run.events}
    assert {f"anonymous_id:{DEVICE}", "email:ada@example.com"} <= set(by_kind["identify"])
    assert f"anonymous_id:{EARLIER}" in by_kind["alias"]
    return requests(run)


def has_its_four_times(event: Mapping[str, Any], run: Run) -> None:
    """When it happened by the sender's clock, when it was sent by the same, when it came, and what follows from them."""
    began, ended = run.began_at - CLOSE, run.ended_at + CLOSE
    assert began < event["received_at"] < ended
    assert began < event["sent_at"] < ended
    if event["kind"] == "track":
        assert abs(event["occurred_at"] - BOUGHT_AT) < CLOSE
    else:
        assert began < event["original_at"] <= event["sent_at"]
        assert event["occurred_at"] == event["received_at"] - (event["sent_at"] - event["original_at"])


# -- what is sent ---------------------------------------------------------------------------------------------------


def is_stored_in_the_other_encoding(run: Run) -> str:
    arrived = is_each_stored_once(run)
    (is_gzip,) = {seen.is_gzip for seen in run.requests}
    assert is_gzip is not run.sdk.gzip
    return f"{arrived} {'gzip' if is_gzip else 'plain'}"


MANY = 250


def are_all_stored_once(run: Run) -> str:
    assert run.has_no_complaint(), run.report
    assert sorted(event["properties"]["n"] for event in run.events) == list(range(MANY))
    return requests(run)


LARGE, TOO_LARGE = 20, "x" * 60_000


def large_ones_and_a_small_one(_: Sdk) -> list[Call]:
    return [*(purchase(number, note=TOO_LARGE) for number in range(LARGE)), purchase(LARGE)]


def costs_none_but_the_large_ones(run: Run) -> str:
    assert [event["properties"]["n"] for event in run.events] == [LARGE]
    assert run.report["failed"] == 0
    assert {seen.status for seen in run.requests} == {200}
    if run.report["refused"]:
        assert (run.report["refused"], run.refusals) == (LARGE, [])
        return f"{requests(run)}, SDK drops {LARGE}"
    assert Counter(run.refusals) == {"event_too_large": LARGE}
    return f"{requests(run)}, {LARGE} set aside"


ODD = {
    "text": "Zoë 😀 \u4e2d\u6587",
    "nul": "a\x00b",
    "half": "a\ud83db",
    "none": None,
    "nested": {"list": [1, {"none": None}, []], "empty": {}},
    "nan": {"$number": "NaN"},
    "infinite": {"$number": "Infinity"},
    "large": 2**53 - 1,
    "tiny": -1.5e-300,
}
ODD_STORED = {**ODD, "nul": "a\ufffdb", "half": "a\ufffdb", "nan": None, "infinite": None, "n": 1}


def are_mended_and_stored(run: Run) -> str:
    assert run.has_no_complaint(), run.report
    (event,) = run.events
    assert event["properties"] == ODD_STORED
    return requests(run)


def is_corrected(run: Run) -> str:
    assert run.has_no_complaint(), run.report
    (event,) = run.events
    for by_their_clock in (event["original_at"], event["sent_at"]):
        assert run.began_at - CLOSE < by_their_clock - AHEAD < run.ended_at + CLOSE
    assert run.began_at - CLOSE < event["occurred_at"] < run.ended_at + CLOSE
    return requests(run)


# -- what happens on the road ---------------------------------------------------------------------------------------

BUSY = Answer(503, {"code": "append_failed", "message": "Send it again."})
WAIT = Answer(429, {"code": "too_many_requests", "message": "Come again later."}, {"Retry-After": "2"})
IN_DOUBT = Answer(500, {"code": "error", "message": "Something went wrong."}, after_delivery=True)


def one_purchase(_: Sdk) -> list[Call]:
    return [purchase()]


def comes_again(run: Run) -> str:
    if len(run.requests) == 1:  # this SDK does not look at its answers
        assert (run.events, run.report["failed"]) == ([], 0)
        return "lost by the SDK"
    assert run.names == ["Order Completed"]
    assert run.has_no_complaint(), run.report
    return requests(run)


def comes_again_in_time(run: Run) -> str:
    arrived = comes_again(run)
    if len(run.requests) == 1:
        return arrived
    first, second = run.requests
    return f"{arrived}, {'waits' if second.at - first.at >= 1.9 else 'at once'}"


DELIVERIES = 11  # ten retries are the habit of the SDKs


def has_one_copy(run: Run) -> str:
    sent = list(run.requests)
    again = [run.road.deliver_again(sent[-1]) for _ in range(DELIVERIES - len(sent))]
    run.server.store_all()
    assert set(again) == {200}
    assert sorted(event["properties"]["n"] for event in run.events) == list(range(len(sent[-1].events)))
    assert run.has_no_complaint(), run.report
    return requests(run)


def is_dropped_and_reported(run: Run) -> str:
    """The browser's SDK asks for its settings first, and sends nothing when it gets none."""
    assert run.events == []
    assert {seen.status for seen in run.requests} <= {401}
    assert all(b"unknown_write_key" in seen.said for seen in run.requests or run.road.requests)
    if run.report["failed"]:
        return f"{len(run.requests)}, reported"
    return f"{len(run.requests)}, not reported"


def is_known_by_its_body(run: Run) -> str:
    has_key = all("writeKey" in seen.body for seen in run.requests)
    if not has_key:
        assert (run.events, {seen.status for seen in run.requests}) == ([], {401})
        return NOT_APPLICABLE
    assert run.names == ["Order Completed"]
    return requests(run)


SCENARIOS = (
    Scenario(
        "each call",
        "identify, track, page, screen, group and alias; each is stored once, with its kind, name, ids, traits and four"
        " times.",
        one_of_each, is_each_stored_once,
    ),
    Scenario(
        "other encoding",
        "The same, gzipped where the SDK sends plain JSON by habit, and plain where it sends gzip.",
        one_of_each, is_stored_in_the_other_encoding, has_other_encoding=True, fits=lambda sdk: sdk.gzip is not None,
    ),
    Scenario(
        "250 events",
        "250 events at once; all are stored once.",
        lambda _: [purchase(number) for number in range(MANY)], are_all_stored_once,
    ),
    Scenario(
        "20 too large",
        "20 events of 60 KB and a small one. An event may have 32 KB: the large ones are set aside with their reason, the"
        " small one is stored, and the request is answered with 200.",
        large_ones_and_a_small_one, costs_none_but_the_large_ones,
    ),
    Scenario(
        "odd values",
        "Emoji, a NUL, half a surrogate pair, nulls, nesting, NaN, infinity, numbers at the edge: what JSON or Postgres"
        " cannot hold is mended, everything else is kept as it is.",
        lambda _: [{**purchase(), "properties": {**ODD, "n": 1}}], are_mended_and_stored,
    ),
    Scenario(
        "clock 2 h fast",
        "The clock of the sender is two hours fast: the event is stored at the time when it happened.",
        one_purchase, is_corrected, clock_ahead=AHEAD,
    ),
    Scenario(
        "503 once",
        "The first answer is 503: the SDK comes again.",
        one_purchase, comes_again, turns=(BUSY, LET_THROUGH),
    ),
    Scenario(
        "429 once",
        "The first answer is 429 with `Retry-After: 2`: the SDK comes again. Some wait for two seconds, some do not.",
        one_purchase, comes_again_in_time, turns=(WAIT, LET_THROUGH), is_about_pauses=True,
    ),
    Scenario(
        "11 deliveries",
        "The server stores, but the SDK is told of a failure, twice; then the network delivers the same request until it"
        " was delivered 11 times. One copy is stored.",
        lambda sdk: [purchase(number) for number in range(5 if sdk.is_batching else 1)], has_one_copy,
        turns=(IN_DOUBT, IN_DOUBT, LET_THROUGH),
    ),
    Scenario(
        "wrong key",
        "A write key that nobody has: 401 and nothing stored. Does the SDK come again, and does it tell its user?",
        one_purchase, is_dropped_and_reported, has_wrong_key=True,
    ),
    Scenario(
        "key in body",
        "The `Authorization` header gets lost on the road: the key in the body is enough, where the SDK puts one there.",
        one_purchase, is_known_by_its_body, drops=("Authorization",),
    ),
)  # fmt: skip

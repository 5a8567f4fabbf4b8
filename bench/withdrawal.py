"""From a withdrawal over HTTP until the person is in no queue of an audience any more, while events keep arriving.

Everything runs as `make serve` runs it: web server, a worker for each stage, scheduler; the destination is a receiver on
this machine. Everybody has consented and lies in the audience. Then one after the other withdraws, and the clock of each
runs from the request until the ledger of the audience neither holds nor will add them: what is left is the removal, which
goes out by itself. Nothing is sent of them from the first moment: the gate sees to that before any queue does. The
baseline is the same without any events.
"""

import hashlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from statistics import quantiles
from typing import Any, Final

from bench import events, harness, serving

PEOPLE: Final = 2_000
WITHDRAWALS: Final = 100
PAUSE_SECONDS: Final = 0.1
EVENTS_PER_SECOND: Final = 1_000
PATIENCE_SECONDS: Final = 60
SIGNING_KEY: Final = "a key of the benchmark"

_LEFT = "SELECT key FROM core.audience_member WHERE key = ANY(%s) AND state IN ('ADDING', 'PRESENT')"
_PRESENT = "SELECT count(*) FROM core.audience_member WHERE state = 'PRESENT'"


def run() -> dict[str, Any]:
    import os

    from cdp.demo.receiver import Receiver

    os.environ["PRIVATE_ADDRESSES_ALLOWED"] = "yes"
    port = serving.free_port()
    with Receiver(SIGNING_KEY) as receiver:
        source, key, secret = _audience(receiver.url)
        with serving.tessera(port):
            _fill(source, key, port)
            quiet = _withdraw(range(WITHDRAWALS), secret, port)
            with _arriving(key, port):
                busy = _withdraw(range(WITHDRAWALS, 2 * WITHDRAWALS), secret, port)
        assert not receiver.violations, receiver.violations
    return {
        "name": "withdrawal",
        "what": (
            f"{WITHDRAWALS} withdrawals over HTTP, each until no queue of the audience has the person, of {PEOPLE} people"
            f" with {EVENTS_PER_SECOND} events a second arriving; baseline: without events"
        ),
        "figures": busy,
        "baseline": quiet,
        "ratio": busy["p95_ms"] / quiet["p95_ms"],
    }


def _audience(url: str) -> tuple[Any, str, str]:
    """The source, its write key, and a key that may withdraw."""
    from activation import services as activation
    from cdp.models import ApiKey, Scope
    from cdp.models.keys import digest_of, new_secret
    from segments import services as segments

    source, key = events.source("withdrawal")
    workspace_id, now = source.workspace_id, harness.NOW
    segment = segments.create_segment(
        workspace_id=workspace_id, slug="all", name="all", definition='trait "city" = "Lyon"', author=None, now=now
    )
    destination = activation.create_destination(
        workspace_id=workspace_id, slug="receiver", kind="webhook", config={"url": url},
        secrets={"signing_key": SIGNING_KEY}, now=now,
    )  # fmt: skip
    activation.create_audience(
        workspace_id=workspace_id, destination=destination, segment=segment, external_id="all",
        identifier_types=["email"], now=now,
    )  # fmt: skip
    secret = new_secret("key")
    scopes = [Scope.CONSENTS_WRITE]
    ApiKey.objects.create(
        workspace_id=workspace_id, purpose="analytics", name="bench", hint="", digest=digest_of(secret), scopes=scopes
    )
    return source, key, secret


def _fill(source: Any, key: str, port: int) -> None:  # noqa: ANN401  # Django is loaded later
    """Everybody consents, comes, and is at the receiver."""
    from cdp.kernel.identifiers import Identifier
    from cdp.kernel.purposes import Purpose
    from consent.services import ConsentStatement, record_consents

    long_ago = harness.NOW - timedelta(days=1)
    said = [
        ConsentStatement(Identifier("email", _email(number)), Purpose.ADVERTISING, "GIVEN", long_ago)
        for number in range(PEOPLE)
    ]
    record_consents(workspace_id=source.workspace_id, statements=said, now=harness.NOW)
    bodies = [_identifying(range(start, start + 100)) for start in range(0, PEOPLE, 100)]
    serving.send_all(port, [serving.post("/v1/batch", body, key=key, port=port) for body in bodies], connections=2)
    deadline = time.monotonic() + PATIENCE_SECONDS
    with _watching() as ask:
        while ask(_PRESENT, [])[0][0] < PEOPLE:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{ask(_PRESENT, [])} of {PEOPLE} are at the receiver")
            time.sleep(0.1)


def _identifying(numbers: range) -> bytes:
    calls = [
        {
            "type": "identify", "messageId": f"i{number}", "userId": f"u{number}",
            "traits": {"email": _email(number), "city": "Lyon"},
        }
        for number in numbers
    ]  # fmt: skip
    return json.dumps({"batch": calls}).encode()


def _email(number: int) -> str:
    return f"person{number}@example.com"


def _withdraw(numbers: range, secret: str, port: int) -> dict[str, float]:
    """One after the other, so many a second; seconds of each until it is felt."""
    began: dict[str, float] = {}
    felt: dict[str, float] = {}
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(began, felt, done, len(numbers)))
    watcher.start()
    web = http.client.HTTPConnection("127.0.0.1", port, timeout=serving.PATIENCE_SECONDS)
    for number in numbers:
        body = json.dumps({"identifier": f"email:{_email(number)}", "purpose": "advertising"})
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        began[hashlib.sha256(_email(number).encode()).hexdigest()] = time.perf_counter()
        web.request("POST", "/api/v1/consents/withdrawals", body, headers)
        answer = web.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the withdrawal was answered {answer.status}")
        time.sleep(PAUSE_SECONDS)
    done.wait(PATIENCE_SECONDS)
    watcher.join()
    milliseconds = sorted(1000 * (felt[key] - began[key]) for key in began)
    hundredths = quantiles(milliseconds, n=100)
    return {"median_ms": hundredths[49], "p95_ms": hundredths[94], "longest_ms": milliseconds[-1]}


def _watch(began: dict[str, float], felt: dict[str, float], done: threading.Event, wanted: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    with _watching() as ask:
        while len(felt) < wanted and time.monotonic() < deadline:
            waiting = [key for key in list(began) if key not in felt]
            left = {key for (key,) in ask(_LEFT, [waiting])} if waiting else set()
            moment = time.perf_counter()
            felt.update({key: moment for key in waiting if key not in left})
            time.sleep(0.005)
    done.set()


@contextmanager
def _watching() -> Iterator[Any]:
    """Ask the database as its superuser."""
    import psycopg

    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as connection:
        yield lambda question, values: connection.execute(question, values).fetchall()


@contextmanager
def _arriving(key: str, port: int) -> Iterator[None]:
    """Events of the same people, until the block is done."""
    is_over = threading.Event()
    pause = events.EVENTS_A_BATCH / EVENTS_PER_SECOND

    def send() -> None:
        with serving.connected(port) as web:
            for place in range(1_000_000):
                body = events.batch(place, people=PEOPLE, tag="w")
                web.sendall(serving.post("/v1/batch", body, key=key, port=port))
                serving.read_answer(web)
                if is_over.wait(pause):
                    return

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        is_over.set()
        sender.join()

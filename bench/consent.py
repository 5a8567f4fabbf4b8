"""How fast consent is recorded, decided and answered for; each on its baseline, which does the same without the promises.

Records in bulk and one by one are chained, decided on and durable; CONSENT_PEOPLE are decided anew when the legal basis of
a purpose changes; the package of a person with CONSENT_EVENTS is read, written three times over, zipped and encrypted.
CONSENT_ONLY names the parts to measure.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psycopg

from bench import events, harness, serving
from cdp.embedded import CHECKOUT

if TYPE_CHECKING:  # models need the settings that the harness gives
    from consent.services import ConsentStatement

PEOPLE = int(os.environ.get("CONSENT_PEOPLE", "1000000"))
EVENTS = int(os.environ.get("CONSENT_EVENTS", "100000"))
KNOWN, RECORDS, RECORDS_AT_ONCE = 100_000, 100_000, 10_000
BATCHES, RECORDS_A_BATCH, BATCH_CONNECTIONS = 100, 1_000, 4
SINGLES, SINGLE_CONNECTIONS, ROUNDS = 4_000, 16, 3


@dataclass
class Measured:
    figures: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, Any] = field(default_factory=dict)


def run() -> dict[str, Any]:
    parts: dict[str, Callable[[Measured], None]] = {
        "bulk": _bulk, "requests": _requests, "decisions": _decisions, "package": _package,
    }  # fmt: skip
    measured = Measured()
    for name in os.environ.get("CONSENT_ONLY", ",".join(parts)).split(","):
        parts[name](measured)
    return {
        "name": "consent",
        "what": (
            f"{RECORDS} records about known people by the service, {RECORDS_AT_ONCE} at once, and over HTTP, {RECORDS_A_BATCH} a"
            f" request and one by one over {SINGLE_CONNECTIONS} connections; baseline: COPY of the same records into a plain"
            f" table, in commits of as many. {PEOPLE} people decided anew; baseline: one UPDATE that writes the same rows."
            f" The package of a person with {EVENTS} events; baseline: COPY of the same events to a file"
        ),
        "figures": measured.figures,
        "baseline": measured.baseline,
        "ratio": _ratio(measured),
    }


def _ratio(measured: Measured) -> float | None:
    """Of what is asked for most: records in bulk."""
    ours, plain = (side.get("bulk_records_per_second") for side in (measured.figures, measured.baseline))
    return ours / plain if ours and plain else None


# -- records ----------------------------------------------------------------------------------------------------------


def _bulk(measured: Measured) -> None:
    from consent import services as consent

    workspace_id = _workspace("bench-bulk")
    _fill(workspace_id)
    batches = [
        [_statement(number) for number in range(start, start + RECORDS_AT_ONCE)]
        for start in range(0, RECORDS, RECORDS_AT_ONCE)
    ]
    with harness.stopwatch() as watch:
        for statements in batches:
            consent.record_consents(workspace_id=workspace_id, statements=statements, now=harness.NOW)
    measured.figures["bulk_records_per_second"] = RECORDS / watch.seconds
    copied = harness.best_seconds(lambda: _copy(batches))
    measured.baseline["bulk_records_per_second"] = RECORDS / copied
    _check(workspace_id, RECORDS)


def _requests(measured: Measured) -> None:
    workspace_id = _workspace("bench-requests")
    _fill(workspace_id)
    key, port = _key(workspace_id), serving.free_port()
    with serving.tessera(port, only=["web"]):
        _send(key, port, range(-500, 0), 1, SINGLE_CONNECTIONS)  # warm
        batched = _send(key, port, range(BATCHES * RECORDS_A_BATCH), RECORDS_A_BATCH, BATCH_CONNECTIONS)
        start = BATCHES * RECORDS_A_BATCH
        singles = [
            _send(key, port, range(start + lap * SINGLES, start + (lap + 1) * SINGLES), 1, SINGLE_CONNECTIONS)
            for lap in range(ROUNDS)
        ]
    best = max(singles, key=lambda one: one["requests_per_second"])
    measured.figures |= {
        "records_per_second_over_http_in_bulk": batched["requests_per_second"] * RECORDS_A_BATCH,
        "single_records_per_second": best["requests_per_second"],
        "single_record_median_ms": best["median_ms"],
        "single_record_p99_ms": best["p99_ms"],
    }
    _check(workspace_id, start + ROUNDS * SINGLES + 500)


def _send(key: str, port: int, numbers: range, at_once: int, connections: int) -> dict[str, float]:
    requests = []
    for start in range(numbers.start, numbers.stop, at_once):
        body = json.dumps({"consents": [_said(number) for number in range(start, start + at_once)]}).encode()
        requests.append(serving.post("/api/v1/consents", body, key=key, port=port, is_api=True))
    return serving.send_all(port, requests, connections=connections)


def _said(number: int) -> dict[str, Any]:
    return {
        "identifier": f"email:{_address(number)}", "purpose": "advertising", "state": _state(number),
        "occurred_at": _moment(number).isoformat(), "key": f"form-{number}",
    }  # fmt: skip


def _statement(number: int) -> "ConsentStatement":
    from cdp.kernel.identifiers import Identifier
    from consent.services import ConsentStatement

    named = Identifier("email", _address(number))
    return ConsentStatement(named, "advertising", _state(number), _moment(number), key=f"form-{number}")


def _address(number: int) -> str:
    return f"person{number % KNOWN}@example.com"


def _state(number: int) -> str:
    return "WITHDRAWN" if number % 5 == 0 else "GIVEN"


def _moment(number: int) -> datetime:
    return harness.NOW - timedelta(seconds=number % 86_400)


PLAIN_TABLE = """
CREATE TABLE public.plain_consent (
    identifier_type text, digest bytea, purpose text, state text, occurred_at timestamptz, key text
)
"""


def _copy(batches: Sequence[Sequence["ConsentStatement"]]) -> None:
    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as plain, plain.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS public.plain_consent")
        cursor.execute(PLAIN_TABLE)
        for statements in batches:
            with cursor.copy("COPY public.plain_consent FROM STDIN") as copy:
                for each in statements:
                    copy.write_row(("email", each.digest, each.purpose, each.state, each.occurred_at, each.key))
        cursor.execute("DROP TABLE public.plain_consent")


def _check(workspace_id: int, expected: int) -> None:
    """All is recorded, and the chain is whole."""
    from cdp.models.tenancy import workspace_scope
    from consent import chain

    with workspace_scope(workspace_id):
        found = chain.verify(workspace_id)
    if found.records != expected or not found.is_whole:
        raise AssertionError(f"{found.records} records of {expected}, findings: {found.findings}")


# -- people who are known -----------------------------------------------------------------------------------------------

COLUMNS = "COPY core.identifier (id, workspace_id, type, value, digest, profile_id, permitted) FROM STDIN"
PROFILES = """
INSERT INTO core.profile (id, workspace_id, permitted)
SELECT id, workspace_id, permitted FROM core.identifier WHERE workspace_id = %(workspace)s AND id = profile_id
"""


def _workspace(slug: str) -> int:
    from consent import services as consent

    return int(consent.open_workspace(slug=slug, name=slug, now=harness.NOW).pk)


def _fill(workspace_id: int) -> None:
    from cdp.models.digests import identifier_digest

    first = workspace_id * 10_000_000
    with _superuser() as admin:
        with admin.cursor() as cursor, cursor.copy(COLUMNS) as copy:
            for number in range(KNOWN):
                address = _address(number)
                digest = identifier_digest("email", address)
                copy.write_row((first + number, workspace_id, "email", address, digest, first + number, 95))
        admin.execute(PROFILES, {"workspace": workspace_id})
        admin.execute("VACUUM ANALYZE core.identifier, core.profile")


def _superuser() -> psycopg.Connection[Any]:
    admin = psycopg.connect(harness.address_of("postgres"), autocommit=True)
    admin.execute("SET session_replication_role = replica")
    admin.execute("SET synchronous_commit = off")
    return admin


def _key(workspace_id: int) -> str:
    from cdp.models import ApiKey, Scope
    from cdp.models.keys import digest_of, new_secret

    secret = new_secret("key")
    about = {"name": "bench", "hint": secret[:8], "digest": digest_of(secret), "purpose": "analytics"}
    ApiKey.objects.create(workspace_id=workspace_id, scopes=[Scope.CONSENTS_WRITE], **about)
    return secret


# -- decisions --------------------------------------------------------------------------------------------------------

# One person in five has a second identifier, and every second one said something about advertising.
POPULATION = """
INSERT INTO core.identifier (id, workspace_id, type, value, digest, profile_id, permitted)
SELECT %(first)s + n, %(workspace)s, CASE WHEN n > %(people)s THEN 'anonymous_id' ELSE 'user_id' END, 'u' || n,
       sha256(convert_to('d' || n, 'UTF8')), %(first)s + CASE WHEN n > %(people)s THEN (n - %(people)s) * 5 ELSE n END,
       CASE WHEN n %% 2 = 0 AND n %% 10 <> 0 OR n > %(people)s AND n %% 2 = 0 THEN 127 ELSE 95 END
FROM generate_series(1, %(people)s + %(people)s / 5) AS n
"""
SAYINGS = """
INSERT INTO core.consent_record (workspace_id, identifier_type, identifier_digest, purpose, state, occurred_at, is_verified, key)
SELECT %(workspace)s, 'user_id', sha256(convert_to('d' || n, 'UTF8')), 'advertising',
       CASE WHEN n %% 10 = 0 THEN 'WITHDRAWN' ELSE 'GIVEN' END, %(now)s - interval '1 day', false, 'k' || n
FROM generate_series(2, %(people)s, 2) AS n
"""
PLAIN_UPDATE = """
WITH on_identifiers AS (UPDATE core.identifier SET permitted = 0 WHERE workspace_id = %(workspace)s)
UPDATE core.profile SET permitted = 0 WHERE workspace_id = %(workspace)s
"""


def _decisions(measured: Measured) -> None:
    """A purpose that rested on an interest rests on consent from now on: everybody's mask changes."""
    from cdp.models.tenancy import workspace_scope
    from consent.models import LegalBasis, PurposePolicy

    workspace_id = _workspace("bench-decisions")
    given = {"workspace": workspace_id, "people": PEOPLE, "first": workspace_id * 10_000_000, "now": harness.NOW}
    with _superuser() as admin:
        for statement in (POPULATION, PROFILES, SAYINGS):
            admin.execute(statement, given)
        admin.execute("VACUUM ANALYZE core.identifier, core.profile, core.consent_record")
        admin.execute("CHECKPOINT")
    with harness.stopwatch() as watch, workspace_scope(workspace_id):
        PurposePolicy.objects.filter(workspace=workspace_id, purpose="learning").update(legal_basis=LegalBasis.CONSENT)
    measured.figures["people_decided_anew_seconds"] = watch.seconds
    with _superuser() as admin:
        admin.execute("VACUUM core.identifier, core.profile")
        admin.execute("CHECKPOINT")
        with harness.stopwatch() as plain:
            admin.execute(PLAIN_UPDATE, given)
    measured.baseline["people_decided_anew_seconds"] = plain.seconds


# -- the package of a person --------------------------------------------------------------------------------------------

HAPPENINGS = """
INSERT INTO core.event (workspace_id, source_id, identifier_id, message_id, kind, name, occurred_at, received_at, seen_with,
                        properties, context)
SELECT %(workspace)s, %(source)s, %(person)s, 'm' || n, 'track', 'Product Viewed', at, at, '{}',
       jsonb_build_object('sku', n %% 997, 'price', 9.5, 'category', 'category ' || n %% 23),
       jsonb_build_object('library', jsonb_build_object('name', 'bench', 'version', '1'), 'page',
                          jsonb_build_object('path', '/p/' || n %% 97))
FROM generate_series(1, %(events)s) AS n, LATERAL (SELECT %(now)s - interval '14 days' * random() AS at) AS came
"""
# Each under the login that does it in production: the web server takes the request, the worker of rights answers it.
ORDER = """
import sys, django
django.setup()
from django.utils import timezone
from cdp.kernel.identifiers import Identifier
from consent import requests
from consent.rights import Right
asked = {"workspace_id": int(sys.argv[1]), "by": "bench", "now": timezone.now()}
person = [Identifier("email", sys.argv[2])]
made = requests.receive_request(
    kind=Right.ACCESS, identifiers=person, received_at=asked["now"], is_logged_in=True, **asked
)
requests.start_request(request_id=made.pk, **asked)
"""
BUILD = """
import resource, sys, time, django
django.setup()
from django.utils import timezone
from consent import packaging
packaging.build_next(workspace_id=0, now=timezone.now())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.perf_counter()
assert packaging.build_next(workspace_id=int(sys.argv[1]), now=timezone.now())
print(time.perf_counter() - began, before / 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
PLAIN_EVENTS = "COPY (SELECT * FROM core.event WHERE identifier_id = {}) TO STDOUT"


def _package(measured: Measured) -> None:
    workspace_id, person = _busy_person()
    with TemporaryDirectory() as directory:
        _as_login("web", ORDER, workspace_id, _address(0))
        told = _as_login("rights", BUILD, workspace_id, PACKAGE_DIR=directory)
        size = sum(file.stat().st_size for file in Path(directory).iterdir())
        with harness.stopwatch() as plain:
            _copy_out(person, Path(directory) / "events")
    seconds, before, peak = (float(figure) for figure in told.split())
    measured.figures |= {
        "package_seconds": seconds, "package_mib": size / 2**20, "package_peak_mib": peak,
        "package_peak_mib_above_idle": peak - before,
    }  # fmt: skip
    measured.baseline["package_seconds"] = plain.seconds


def _busy_person() -> tuple[int, int]:
    source, _ = events.source("bench-package")
    workspace_id, person = source.workspace_id, source.workspace_id * 10_000_000
    given = {"workspace": workspace_id, "source": source.pk, "person": person, "events": EVENTS, "now": harness.NOW}
    _fill(workspace_id)
    with _superuser() as admin:
        admin.execute("SELECT core.ensure_event_partition(%s)", [harness.NOW.date().replace(day=1)])
        admin.execute(HAPPENINGS, given)
        admin.execute("VACUUM ANALYZE core.event")
    return workspace_id, person


def _as_login(login: str, program: str, *arguments: object, **more: str) -> str:
    """What a program prints that runs in a process of its own."""
    environment = {**os.environ, "DATABASE_URL": harness.address_of(login), "LOG_LEVEL": "WARNING", **more}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout


def _copy_out(person: int, path: Path) -> None:
    with _superuser() as admin, path.open("wb") as file, admin.cursor().copy(PLAIN_EVENTS.format(person)) as copy:
        for data in copy:
            file.write(data)

"""How long a steward waits for the desk: 10,000 pairs wait, each of people with a dozen traits.

Measured is what the keyboard asks of the server: an answer, and the pair after the next one, which is fetched meanwhile.
Baseline: the list of the same pairs, fifty on a page, as Django's admin makes it.
"""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from typing import Any

import psycopg
import requests

from bench import harness, serving
from cdp.kernel.logins import WEB
from cdp.supervisor import Program

PAIRS, ROUNDS, WARM_UP, TRAITS = 10_000, 100, 5, 12
SLUG, PASSWORD = "bench-review", "a long password"

FILL = (
    """
INSERT INTO core.identifier (workspace_id, type, value, digest, created_at)
SELECT %(workspace)s, 'crm:id', 'r' || n, decode(md5(n::text), 'hex'), now() FROM generate_series(1, 2 * %(pairs)s) AS n
""",
    """
INSERT INTO core.identifier_trait (workspace_id, identifier_id, source_id, name, value, observed_at)
SELECT %(workspace)s, i.id, (SELECT id FROM core.source WHERE workspace_id = %(workspace)s AND name = 'crm'),
       'trait_' || t, to_jsonb('value ' || i.id / 2 || ' of trait ' || t || repeat('x', (i.id %% 3)::integer)), now()
FROM core.identifier i, generate_series(1, %(traits)s) AS t WHERE i.workspace_id = %(workspace)s
""",
    """
INSERT INTO core.linkage_model (workspace_id, version, settings, frequencies, metadata)
VALUES (%(workspace)s, 1, '{}', '{}', '{}')
""",
    """
INSERT INTO core.review_pair (workspace_id, left_id, right_id, weight, evidence, model_id, priority, opinion)
SELECT %(workspace)s, i.id, lead, 2.5, '{"trait_1": 3.0, "trait_2": -1.5, "trait_3": 4.0}',
       (SELECT id FROM core.linkage_model WHERE workspace_id = %(workspace)s), random(), 0.5
FROM (SELECT id, lead(id) OVER (ORDER BY id), row_number() OVER (ORDER BY id) AS n FROM core.identifier
      WHERE workspace_id = %(workspace)s) AS i
WHERE n %% 2 = 1
""",
)


def run() -> dict[str, Any]:
    _fill()
    port = serving.free_port()
    command = (str(Path(sys.executable).with_name("granian")), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--blocking-threads", "2",
               "--no-ws", "--log-level", "warning", "cdp.wsgi:application")  # fmt: skip
    with serving.running([Program("review", command, WEB)], port), requests.Session() as session:
        desk = Desk(session, f"http://127.0.0.1:{port}/console/")
        for _ in range(WARM_UP):
            desk.work()
            desk.list()
        desk.times.clear()
        for _ in range(ROUNDS):
            desk.work()
            desk.list()
    answered, fetched, listed = (_spread(desk.times[name]) for name in ("answer", "next", "list"))
    return {
        "name": "review",
        "what": f"the desk of a steward while {PAIRS:,} pairs wait; baseline: the list of the pairs",
        "figures": {
            "answer_median_ms": answered[0], "answer_p95_ms": answered[1],
            "next_median_ms": fetched[0], "next_p95_ms": fetched[1],
        },
        "baseline": {"list_median_ms": listed[0], "list_p95_ms": listed[1]},
        "ratio": fetched[1] / listed[1],
    }  # fmt: skip


class Desk:
    """A steward who judges one pair after the other; `times` are seconds by what was asked."""

    def __init__(self, session: requests.Session, console: str) -> None:
        self.session, self.console = session, console
        self.times: dict[str, list[float]] = {}
        page = session.get(f"{console}login/").text
        form = {"username": "bench", "password": PASSWORD, "csrfmiddlewaretoken": _token(page)}
        session.post(f"{console}login/", form, headers={"Referer": console}).raise_for_status()
        page = session.get(f"{console}identity/reviewpair/desk/").text
        self.token, self.pair = _token(page), _pair(page)

    def work(self) -> None:
        pair = self.pair
        following = self._timed("next", lambda: self._post("desk/next/", besides=pair))
        self._timed("answer", lambda: self._post(f"{pair}/judge/", answer="NOT_SAME"))
        self.pair = _pair(following)

    def list(self) -> None:
        self._timed("list", lambda: self.session.get(f"{self.console}identity/reviewpair/"))

    def _post(self, path: str, **fields: str) -> requests.Response:
        headers = {"X-CSRFToken": self.token, "X-Requested-With": "desk", "Referer": self.console}
        return self.session.post(f"{self.console}identity/reviewpair/{path}", fields, headers=headers)

    def _timed(self, name: str, ask: Callable[[], requests.Response]) -> str:
        began = time.perf_counter()
        answer = ask()
        self.times.setdefault(name, []).append(time.perf_counter() - began)
        answer.raise_for_status()
        return answer.text


def _token(page: str) -> str:
    return re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[0]


def _pair(page: str) -> str:
    return re.findall(r'data-pair="(\d+)"', page)[0]


def _spread(seconds: list[float]) -> tuple[float, float]:
    hundredths = quantiles(seconds, n=100)
    return round(hundredths[49] * 1000, 1), round(hundredths[94] * 1000, 1)


def _fill() -> None:
    from cdp.models import Member, Source, SourceKind, User, Workspace  # these need the settings of the harness
    from cdp.models.tenancy import workspace_scope

    workspace = Workspace.objects.create(slug=SLUG, name=SLUG)
    with workspace_scope(workspace.pk):
        Source.objects.create(workspace=workspace, name="crm", kind=SourceKind.FILE)
    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as superuser:
        superuser.execute("SELECT set_config('tessera.workspace', %s, false)", [str(workspace.pk)])
        for statement in FILL:
            superuser.execute(statement, {"workspace": workspace.pk, "pairs": PAIRS, "traits": TRAITS})
        superuser.execute("ANALYZE")
    user = User.objects.create_superuser("bench", password=PASSWORD)
    Member.objects.create(user=user, workspace=workspace)

"""The preview of rules over a million people and ten million events: what somebody waits for who types a rule.

The baseline is the exact count, computed by the same rule without a limit of time.
"""

from typing import Any

import psycopg

from bench import harness, segments

PROFILES = 1_000_000
EVENTS = 10_000_000
SLUG = "bench-preview"
TIMES = 3

RULES = {
    "three_orders_in_30_days": 'count of "Order" in last 30 days >= 3',
    "spent_300_in_90_days": 'sum of "amount" of "Order" in last 90 days > 300',
    "viewed_in_7_days": 'done "View" in last 7 days',
    "five_views_never_bought": 'count of "View" >= 5 and not done "Order"',
    "in_france": 'trait "country" = "FR"',
    "spent_1000_ever_in_france": 'sum of "amount" of "Order" > 1000 and trait "country" = "FR"',
    "nobody": 'done "Refund"',
}


def run() -> dict[str, Any]:
    from cdp.models import Workspace  # needs the settings that the harness gives

    workspace_id = Workspace.objects.create(slug=SLUG, name=SLUG).pk
    fill(workspace_id)
    return measure(workspace_id)


def fill(workspace_id: int) -> None:
    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as admin:
        segments.fill(admin, workspace_id, people=PROFILES, events=EVENTS)


def measure(workspace_id: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"profiles": PROFILES, "events": EVENTS}
    baseline: dict[str, Any] = {}
    slowest = 0.0
    for name, rule in RULES.items():
        found, seconds = _previewed(workspace_id, rule)
        with harness.stopwatch() as exactly:
            true = _count(workspace_id, rule)
        baseline |= {f"{name}_seconds": round(exactly.seconds, 3), f"{name}_count": true}
        figures |= {f"{name}_seconds": round(seconds, 3), f"{name}_count": found.count}
        figures[f"{name}_is_exact"] = int(found.is_exact)
        figures[f"{name}_interval"] = f"{found.low}-{found.high}"
        if found.is_exact and found.count != true:
            raise AssertionError(f"{name}: {found.count} is said to be exact, {true} is")
        slowest = max(slowest, seconds)
    total = sum(value for name, value in baseline.items() if name.endswith("_seconds"))
    mean = sum(figures[f"{name}_seconds"] for name in RULES)
    figures["slowest_seconds"] = round(slowest, 3)
    return {"name": "preview", "figures": figures, "baseline": baseline, "ratio": round(mean / total, 2)}


def _previewed(workspace_id: int, rule: str) -> tuple[Any, float]:
    """The slowest of some: people wait for that one too."""
    from segments import services

    slowest = 0.0
    for _ in range(TIMES):
        with harness.stopwatch() as watch:
            found = services.preview(workspace_id=workspace_id, definition=rule, now=harness.NOW)
        slowest = max(slowest, watch.seconds)
    return found, slowest


def _count(workspace_id: int, rule: str) -> int:
    from cdp.kernel.purposes import Purpose
    from consent import gate
    from segments import queries
    from segments.language import parse_text

    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        return len(queries.matching(permit, parse_text(rule), now=harness.NOW).members)

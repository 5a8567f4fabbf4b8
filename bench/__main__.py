"""`python -m bench [--only NAME]`: run the benchmarks, print a table, write bench/results.json.

Every module of NAMES has `run()`, which returns {"name", "figures", "baseline", "ratio"}: figures and baseline are
measured alike, and the ratio says how they compare. Beside them stands what share of its time others took of the machine.
"""

import argparse
import importlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import harness

NAMES = (
    "accuracy",
    "arrival",
    "columnar",
    "consent",
    "door",
    "files",
    "gate",
    "ingest",
    "kpis",
    "stream",
    "linkage",
    "live",
    "migrations",
    "normalise",
    "plans",
    "preview",
    "review",
    "segments",
    "undo",
    "webserver",
    "withdrawal",
)
RESULTS = Path(__file__).with_name("results.json")


def main() -> int:
    arguments = parse()
    harness.prepare()
    try:
        results = [run(name) for name in ([arguments.only] if arguments.only else NAMES)]
    finally:
        harness.finish()
    write(results, arguments.date)
    print(harness.table(results))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Each benchmark beside its baseline.")
    parser.add_argument("--only", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--date", default=datetime.now(tz=UTC).date().isoformat(), help="written beside the results")  # noqa: TID251  # an edge
    return parser.parse_args()


def run(name: str) -> dict[str, Any]:
    print(f"{name} ...", file=sys.stderr)
    with harness.stolen_time() as share:
        result: dict[str, Any] = importlib.import_module(f"bench.{name}").run()
    return {**result, **share}


def write(results: list[dict[str, Any]], date: str) -> None:
    """One benchmark replaces its own entry and leaves the others as they were measured."""
    known = json.loads(RESULTS.read_text())["results"] if RESULTS.exists() else []
    machine = harness.machine()
    fresh = {result["name"]: {**result, "date": date, "machine": machine} for result in results}
    merged = {**{result["name"]: result for result in known}, **fresh}
    RESULTS.write_text(json.dumps({"results": list(merged.values())}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())

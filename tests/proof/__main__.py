"""`python -m tests.proof --minutes 60`: the laws of segments, with new rules, people and stories every round.

It has an embedded Postgres of its own, prints every counterexample as small as it could be made, and writes what it
tried, counted by kind, to `--out` after each round. Ends with 1 if anything was found.
"""

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def main(words: list[str]) -> int:
    asked = _arguments(words)
    os.environ.setdefault("DATA_DIR", str(CHECKOUT / ".data" / "proof"))
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from tests import databases
    from tests.proof.trials import Trials

    name = "proof_of_segments"
    databases.create(name)
    try:
        trials = Trials(name, set(asked.laws), asked.kinds)
        for seed in _seeds(asked.seed, time.monotonic() + 60 * asked.minutes):
            trials.round(seed, examples=asked.examples)
            _write(asked.out, trials.summary())
    finally:
        databases.drop(name)
    print(json.dumps(trials.summary(), indent=2))  # noqa: T201  # to whoever asked
    return 1 if trials.found else 0


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="no round begins after that")
    parser.add_argument("--seed", type=int, help="one round alone, with the seed that a counterexample names")
    parser.add_argument("--examples", type=int, default=50, help="of each law in a round")
    parser.add_argument("--laws", nargs="*", default=[], help="by name; all if none is given")
    parser.add_argument("--kinds", nargs="*", default=[], help="of conditions, as tests/factories/rules.py names them")
    parser.add_argument("--out", type=Path, default=CHECKOUT / ".data" / "proof.json")
    return parser.parse_args(words)


def _seeds(only: int | None, until: float) -> Iterator[int]:
    if only is not None:
        yield only
        return
    while time.monotonic() < until:
        yield secrets.randbits(64)


def _write(path: Path, summary: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".new").write_text(json.dumps(summary, indent=2) + "\n")
    path.with_suffix(".new").replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What every benchmark needs: a database of its own, a stopwatch, and the machine that it ran on."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import django
import psutil
import redis

from cdp import embedded
from tests import databases

DATABASE = "tessera_bench"
BROKER_DATABASE = 9  # wake-ups of a benchmark must not reach the workers of the checkout
NOW = datetime(2026, 1, 16, tzinfo=UTC)  # of all benchmarks, so that their data is the same every day


def prepare() -> None:
    """Before anything of Django is imported: the embedded servers, and a fresh, migrated, empty database.

    The process logs in as `operator`, as `manage.py` does, so that row-level security and the gate cost what they cost.
    """
    os.environ["DJANGO_SETTINGS_MODULE"] = "cdp.settings"
    stack = embedded.default_stack()
    stack.start()
    databases.create(DATABASE)
    os.environ["DATABASE_URL"] = stack.database_url("operator", DATABASE)
    os.environ["BROKER_URL"] = f"{stack.broker_url}?virtual_host={BROKER_DATABASE}"
    for name in ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS"):
        os.environ[name] = stack.credentials[name]
    django.setup()


def finish() -> None:
    from django.db import connection  # needs the settings that `prepare` gives

    connection.close()
    databases.drop(DATABASE)
    socket = embedded.default_stack().valkey_socket
    with redis.Redis(unix_socket_path=str(socket), db=BROKER_DATABASE) as valkey:
        valkey.flushdb()


def address_of(login: str) -> str:
    """Of the benchmark's database, for a process of its own; `postgres` is the superuser, for setting the table."""
    return embedded.default_stack().database_url(login, DATABASE)


@dataclass
class Stopwatch:
    seconds: float = 0.0


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Its `seconds` are known when the block is done."""
    watch = Stopwatch()
    started = time.perf_counter()
    yield watch
    watch.seconds = time.perf_counter() - started


def best_seconds(work: Callable[[], object], *, times: int = 3) -> float:
    """The shortest of several runs: what disturbs only ever adds."""
    measured = []
    for _ in range(times):
        with stopwatch() as watch:
            work()
        measured.append(watch.seconds)
    return min(measured)


@contextmanager
def stolen_time() -> Iterator[dict[str, float]]:
    """What others took of this machine while the block ran, as a share of its processors' time; nothing where none tells."""
    share: dict[str, float] = {}
    before = psutil.cpu_times()
    yield share
    after = psutil.cpu_times()
    if hasattr(after, "steal"):
        share["stolen"] = round((after.steal - before.steal) / max(sum(after) - sum(before), 1), 3)


def machine() -> dict[str, Any]:
    with embedded.default_stack().connect_as_superuser() as admin:
        row = admin.execute("SHOW server_version").fetchone()
    return {
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "postgres": str(row[0]) if row else "",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123  # no path is built
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """One block a benchmark: its figures beside the baseline's, and the ratio of the two."""
    return "\n\n".join(_block(result) for result in results)


def _block(result: Mapping[str, Any]) -> str:
    figures, baseline = result["figures"], result["baseline"]
    rows = [("", "Tessera", "baseline")]
    rows += [
        (name, _number(figures.get(name)), _number(baseline.get(name))) for name in dict.fromkeys([*figures, *baseline])
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}" for row in rows]
    return "\n".join([f"{result['name']}: ratio {_number(result['ratio'])}", *lines])


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"  # three digits are enough
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value)

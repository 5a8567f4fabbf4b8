"""Which SDKs, and how each is installed and run.

Every version has a place of its own under `.data/sdks`, from lock files with hashes; nothing of it touches the
environment of Tessera itself.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdp.embedded import CHECKOUT
from tests.conformance.browser import driver as browser

HERE = Path(__file__).parent
CACHE = CHECKOUT / ".data" / "sdks"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_SECONDS = 240

Report = dict[str, Any]  # `refused` by the SDK itself, `failed` in its own view, and the `reasons` that it gave


@dataclass(frozen=True)
class Sdk:
    """`gzip` is its habit, and None where it has no choice."""

    package: str
    version: str
    language: str
    gzip: bool | None = None
    is_batching: bool = True  # whether a few calls leave in one request

    @property
    def name(self) -> str:
        return f"{self.package} {self.version}"

    def __str__(self) -> str:
        return f"{self.package.rpartition('/')[2]}-{self.version}"

    def drive(self, settings: Mapping[str, Any], calls: Sequence[Mapping[str, Any]]) -> Report:
        """Make these calls with it, wait until it has sent them or given up, and return what it told its user."""
        directory = install(self)
        if self.language == "browser":
            return browser.drive(directory / "node_modules" / str(self), settings, calls)
        return _run(_COMMANDS[self.language](self, directory), settings, calls)


SDKS = (
    Sdk("segment-analytics-python", "2.2.3", "python", gzip=False),
    Sdk("segment-analytics-python", "2.3.4", "python", gzip=False),
    Sdk("segment-analytics-python", "2.4.0", "python", gzip=False),
    Sdk("rudder-sdk-python", "2.0.2", "python", gzip=True),
    Sdk("rudder-sdk-python", "2.1.9", "python", gzip=True),
    Sdk("@segment/analytics-node", "2.3.0", "node"),
    Sdk("@segment/analytics-node", "3.1.0", "node"),
    Sdk("@rudderstack/rudder-sdk-node", "2.1.11", "node", gzip=True, is_batching=False),
    Sdk("@rudderstack/rudder-sdk-node", "3.0.13", "node", gzip=True, is_batching=False),
    Sdk("@segment/analytics-next", "1.70.0", "browser", is_batching=False),
    Sdk("@segment/analytics-next", "1.84.3", "browser", is_batching=False),
)


def _run(command: Sequence[str], settings: Mapping[str, Any], calls: Sequence[Mapping[str, Any]]) -> Report:
    lines = "\n".join(json.dumps(line) for line in (settings, *calls))
    done = subprocess.run(
        command, input=lines, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report: Report = json.loads(done.stdout)
    return report


def _python(sdk: Sdk, directory: Path) -> list[str]:
    module = "segment.analytics.client" if sdk.package.startswith("segment") else "rudderstack.analytics.client"
    return [sys.executable, "-I", "-S", str(HERE / "python" / "driver.py"), str(directory), module]


def _node(sdk: Sdk, directory: Path) -> list[str]:
    return ["node", str(HERE / "node" / "driver.mjs"), str(directory), str(sdk)]


_COMMANDS: Mapping[str, Callable[[Sdk, Path], list[str]]] = {"python": _python, "node": _node}


# -- installing -----------------------------------------------------------------------------------------------------


def missing_for(sdk: Sdk) -> str | None:
    """What this machine lacks to run it, in words for whoever can install it."""
    if sdk.language == "python":
        return None
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "Node and npm (Debian: apt-get install nodejs npm)"
    if sdk.language == "browser" and not any(map(shutil.which, CHROMIUM)):
        return "Chromium (Debian: apt-get install chromium)"
    return None


def install(sdk: Sdk) -> Path:
    """Where it lies, after installing it if it does not lie there yet."""
    if sdk.language != "python":
        return installed_by_npm(HERE / "node")
    lock = HERE / "python" / f"{sdk}.lock"
    return _kept(str(sdk), lock, lambda fresh: _install_by_pip(lock, fresh))


def installed_by_npm(folder: Path) -> Path:
    """Where the packages lie that the lock file of `folder` names."""
    return _kept(folder.name, folder / "package-lock.json", lambda fresh: _install_by_npm(folder, fresh))


def _kept(name: str, lock: Path, install_into: Callable[[Path], None]) -> Path:
    """Installed beside, then renamed: a half-installed one is never taken for a whole one."""
    target = CACHE / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:10]}"
    if not target.exists():
        with _alone():
            if not target.exists():
                fresh = target.with_suffix(".new")
                shutil.rmtree(fresh, ignore_errors=True)
                fresh.mkdir()
                install_into(fresh)
                fresh.rename(target)
    return target


def _install_by_pip(lock: Path, fresh: Path) -> None:
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _done([*pip, "--require-hashes", "--no-deps", "--target", str(fresh), "--requirement", str(lock)], CHECKOUT)


def _install_by_npm(folder: Path, fresh: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(folder / name, fresh)
    _done(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], fresh)


def _done(command: Sequence[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


@contextmanager
def _alone() -> Iterator[None]:
    CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"true", "1"}

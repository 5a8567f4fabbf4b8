"""Drives the SDK for browsers in a real Chromium, on a page of another origin than the server's, as on every web site.

Chromium is started once, in a process of its own: conversations go in on standard input and reports come out, one JSON
object a line.
"""

import atexit
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).parent
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]
CLOCK = """
const Real = Date;
globalThis.Date = class extends Real {
  constructor(...given) { given.length ? super(...given) : super(Real.now() + AHEAD); }
  static now() { return Real.now() + AHEAD; }
};
"""


def drive(library: Path, settings: Mapping[str, Any], calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    process = _chromium()
    process.stdin.write(json.dumps({"library": str(library), "settings": settings, "calls": calls}) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line, "the browser did not answer"
    report: dict[str, Any] = json.loads(line)
    return report


@cache
def _chromium() -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.browser.driver"], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    atexit.register(_end, process)
    return process


def _end(process: "subprocess.Popen[str]") -> None:
    process.stdin.close()
    process.wait(timeout=20)
    process.stdout.close()


# -- in the process of the browser ----------------------------------------------------------------------------------


def main() -> None:
    path = next(filter(None, map(shutil.which, CHROMIUM)))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=QUIET)
        for line in sys.stdin:
            print(json.dumps(_converse(chromium, **json.loads(line))), flush=True)  # noqa: T201  # the protocol
        chromium.close()


def _converse(chromium: Browser, library: str, settings: dict[str, Any], calls: list[dict[str, Any]]) -> dict[str, Any]:
    with _shop(Path(library) / "dist" / "umd") as address:
        context = chromium.new_context()
        page = context.new_page()
        if ahead := settings["clock_ahead_seconds"]:
            page.add_init_script(CLOCK.replace("AHEAD", str(1000 * ahead)))
        page.goto(f"{address}/page.html")
        report: dict[str, Any] = page.evaluate("([settings, calls]) => drive(settings, calls)", [settings, calls])
        context.close()
        return report


@contextmanager
def _shop(library: Path) -> Iterator[str]:
    """A web site with the SDK on it."""

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            name = Path(path.partition("?")[0]).name
            return str(HERE / name if name.startswith("page.") else library / name)

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


if __name__ == "__main__":
    main()

"""`python -m tests.conformance`: every SDK in every scenario, and docs/conformance.md written from what was seen.

With `install`: only put the SDKs in their places, so that a later run needs no registry.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conformance import page, sdks


def main(*words: str) -> int:
    if words == ("install",):
        return install()
    with tempfile.TemporaryDirectory() as directory:
        seen = Path(directory) / "seen"
        seen.touch()
        os.environ[page.SEEN] = str(seen)
        status = pytest.main([str(Path(__file__).parent), "-n", "2", *words])
        rows = map(json.loads, seen.read_text().splitlines())
        page.write({(table, sdk, column): cell for table, sdk, column, cell in rows})
    return int(status)


def install() -> int:
    for sdk in sdks.SDKS:
        missing = sdks.missing_for(sdk)
        where = f"left out: it needs {missing}" if missing else sdks.install(sdk)
        print(f"{sdk.name}: {where}")  # noqa: T201  # to whoever asked
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""`python -m tests.conformance`: every SDK in every scenario, and docs/conformance.md written from what was seen.

With `install` it only puts the SDKs in their places, so that a later run needs no registry.
"""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conformance import sdks

HERE = Path(__file__).parent


def main(*words: str) -> int:
    if words == ("install",):
        return install()
    with tempfile.TemporaryDirectory() as directory:
        os.environ["CONFORMANCE_SEEN"] = str(Path(directory) / "seen")
        return int(pytest.main([str(HERE), "-n", "2", *words]))


def install() -> int:
    for sdk in sdks.SDKS:
        missing = sdks.missing_for(sdk)
        where = f"left out, for it needs {missing}" if missing else sdks.install(sdk)
        print(f"{sdk.name}: {where}")  # noqa: T201  # to whoever asked
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

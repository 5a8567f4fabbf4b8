"""docs/conformance.md: three tables with a row for each SDK. Tests compare them with what they see.

`python -m tests.conformance` runs the suite with `CONFORMANCE_SEEN` in the environment; then cells are noted in that file
instead of compared, and the page is written from them.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from cdp.embedded import CHECKOUT
from tests.conformance.answers import ANSWERS, SPEECH
from tests.conformance.scenarios import SCENARIOS
from tests.conformance.sdks import SDKS, Sdk

FILE = CHECKOUT / "docs" / "conformance.md"
SEEN = "CONFORMANCE_SEEN"
ARRIVES, SPEAKS, BELIEVES = "What arrives", "How they speak", "What they make of an answer"
COLUMNS: Mapping[str, Sequence[str]] = {
    ARRIVES: [scenario.title for scenario in SCENARIOS],
    SPEAKS: SPEECH,
    BELIEVES: [always.title for always in ANSWERS],
}

Cells = Mapping[tuple[str, str, str], str]  # by table, SDK and column

TEXT = f"""\
# Conformance

The SDKs that Segment and RudderStack publish, unchanged, against a running server. The tables are what was seen: a test compares each cell, and `make conformance` writes this page anew.

{{versions}}

Give any of them the address of Tessera as host and a write key; [Ingestion](ingestion.md) shows how.

## {ARRIVES}
*✓ 3* means: all was stored once, nothing else was, the SDK had no complaint, and it took 3 requests. *–* means that the SDK has no such thing.

{{arrives}}

{{stories}}

## {SPEAKS}
{{speaks}}

A key in the header is HTTP Basic; *time* is the field with the time of the event; *sent* is whether the time of sending stands in each event or once in the request; *absent id* is what becomes of an anonymous id that nobody gave.

## {BELIEVES}
A server that has one answer for every POST, and SDKs that may retry three times. After the 301 a GET gets 200. *4 failed* means: after 4 requests the SDK told its user that it failed; *1 ok* means that it believes the events to be stored.

{{believes}}

* So success is exactly **200 with JSON**: some take any other 2xx for a failure and send again.
* So an error is **`code` and `message`** at the top level: some send a bad request again when it is not.
* So Tessera **never redirects**: a redirected POST becomes a GET without a body, and the SDK believes that all went well. Every path is served with and without a slash at its end.
* Tessera gives the answers 200, 400, 401, 413, 429 and 503 of this page, and no 2xx other than 200.
* Version 1.70.0 of the browser's SDK does not look at its answers: what meets a 429 or 503 is lost. Use a newer one.

## Run it
```console
$ make conformance                 # everything, and write this page
$ .venv/bin/python -m pytest tests/conformance -k analytics-node-3.1.0
```

It needs Node, npm and Chromium besides Python (Debian: `apt-get install nodejs npm chromium`); without them it says what it left out. The SDKs are installed under `.data/sdks`, from lock files with hashes in `tests/conformance`. To add a version: a line in `tests/conformance/sdks.py` and a lock file; to add a scenario: an entry in `tests/conformance/scenarios.py`.
"""


def says(table: str, sdk: Sdk, column: str, seen: str) -> str:
    """The cell as it stands on the page, or as it is about to be written."""
    if file := os.environ.get(SEEN):
        with Path(file).open("a") as lines:
            lines.write(json.dumps([table, sdk.name, column, seen]) + "\n")
        return seen
    return written()[table, sdk.name, column]


@cache
def written() -> Cells:
    return {key: cell for table in COLUMNS for key, cell in _read(table)}


def write() -> None:
    """From what was seen; cells that were not seen this time stay as they were."""
    FILE.write_text(rendered({**(written() if FILE.exists() else {}), **dict(_seen(Path(os.environ[SEEN])))}))


def rendered(cells: Cells) -> str:
    tables = {name: _table(table, cells) for name, table in _PLACES.items()}
    return TEXT.format(**tables, versions=_versions(), stories=_stories())


def _seen(file: Path) -> Iterator[tuple[tuple[str, str, str], str]]:
    for table, sdk, column, cell in map(json.loads, file.read_text().splitlines() if file.exists() else ()):
        yield (table, sdk, column), cell


_PLACES = {"arrives": ARRIVES, "speaks": SPEAKS, "believes": BELIEVES}


def _read(table: str) -> Iterator[tuple[tuple[str, str, str], str]]:
    section = FILE.read_text().split(f"## {table}\n")[1].split("\n## ")[0]
    head, _, *rows = [_cells_of(line) for line in section.splitlines() if line.startswith("|")]
    for name, *cells in rows:
        for column, cell in zip(head[1:], cells, strict=True):
            yield (table, name, column), cell


def _cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _table(table: str, cells: Cells) -> str:
    columns = COLUMNS[table]
    rows = [[sdk.name, *(cells[table, sdk.name, column] for column in columns)] for sdk in SDKS]
    lines = [["SDK", *columns], ["---"] * (len(columns) + 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _versions() -> str:
    lines = [["SDK", "versions", "runs in"], ["---"] * 3]
    for package in dict.fromkeys(sdk.package for sdk in SDKS):
        ours = [sdk for sdk in SDKS if sdk.package == package]
        lines.append([f"`{package}`", ", ".join(sdk.version for sdk in ours), _PLACE_OF[ours[0].language]])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_PLACE_OF = {"python": "Python", "node": "Node", "browser": "Chromium, on a page of another origin"}


def _stories() -> str:
    return "\n".join(f"* **{scenario.title}:** {scenario.story}" for scenario in SCENARIOS)

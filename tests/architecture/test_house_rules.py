"""Rules that no linter knows. Each message says what to do instead."""

import ast
import io
import os
import re
import subprocess
import sys
import tokenize

import pytest

from cdp.embedded import CHECKOUT
from tests.architecture.sources import all_files, dotted, imported_modules, product_files

EMPTY_NAMES = {"utils", "helpers", "common", "misc", "base", "manager", "managers", "util", "helper", "shared"}
LONGEST_SETTINGS = 300
CLIENTS = {"requests", "httpx", "aiohttp", "urllib3", "http.client"}

CLOCKS = {
    "timezone.now",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.time_ns",
}
CLOCK_IN_SQL = re.compile(r"\b(now\(\)|current_timestamp|clock_timestamp\(\)|current_date)", re.IGNORECASE)
EDGES = re.compile(r"^cdp/(api|console|demo)/|/management/|^cdp/(tasks|supervisor)\.py$|/admin\.py$")


def places(is_guilty, *, except_in=r"^$"):
    """Where in the product a node is guilty."""
    return [
        file.place(node)
        for file in product_files()
        if not re.search(except_in, file.name)
        for node in file.nodes()
        if is_guilty(node)
    ]


def test_permit__is_made_by_the_gate_alone():
    def makes_a_permit(node):
        return isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] == "Permit"

    assert len(places(makes_a_permit)) == 1
    assert places(makes_a_permit, except_in="^consent/gate.py$") == [], "ask consent.gate.permit() for it"


def test_signals__are_not_used():
    def imports_signals(node):
        return any(
            name.startswith("django.dispatch")
            or (".signals" in name and not name.startswith(("consent.signals", "cdp.api.signals")))
            for name in imported_modules(node)
        )

    assert places(imports_signals) == [], "write an outbox row in the transaction of the change (docs/adr/0004)"


def test_clock__is_read_at_the_edges_only():
    def reads_a_clock(node):
        return (isinstance(node, ast.Attribute) and dotted(node) in CLOCKS) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and is_sql_with_a_clock(node.value)
        )

    assert places(reads_a_clock, except_in=EDGES) == [], "take a `now` parameter"


def is_sql_with_a_clock(text):
    return bool(re.search(r"\b(SELECT|INSERT|UPDATE|DELETE)\b", text) and CLOCK_IN_SQL.search(text))


def test_outbound_http__goes_through_one_client():
    def imports_a_client(node):
        return bool(CLIENTS & set(imported_modules(node)))

    assert places(imports_a_client, except_in="^cdp/http.py$") == [], "cdp.http keeps to time limits and addresses"


def test_models__are_imported_and_not_looked_up():
    def looks_up(node):
        return isinstance(node, ast.Call) and dotted(node.func).endswith("get_model")

    assert places(looks_up) == [], "import the model: get_model hides the direction from import-linter"


def test_modules__are_named_for_their_content():
    named = {file.name: {file.path.stem, *file.path.relative_to(CHECKOUT).parts[:-1]} for file in product_files()}

    assert len(named) > 50
    assert [name for name, words in named.items() if words & EMPTY_NAMES] == []


def test_root_package__is_empty():
    assert (CHECKOUT / "cdp" / "__init__.py").read_text() == "", "load Celery in AppConfig.ready()"


def test_settings__fit_on_a_few_screens():
    lines = (CHECKOUT / "cdp" / "settings.py").read_text().splitlines()

    assert len(lines) <= LONGEST_SETTINGS


def test_migrations__are_named_by_hand():
    names = [file.stem for file in CHECKOUT.glob("*/migrations/[0-9]*.py")]

    assert len(names) > 10
    assert [name for name in names if re.search(r"_auto_|_and_more$|_merge_|_initial$", name)] == []


def test_exemptions__say_their_code_and_their_reason():
    bare = [f"{file.name}:{line}" for file in all_files() for line, comment in comments(file.text) if is_bare(comment)]

    assert bare == [], "write `noqa: CODE  # why` or `type: ignore[code]  # why`"


def comments(text):
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]


def is_bare(comment):
    """An exemption without its code, or without the words after it that say why."""
    exemption = r"# (?:noqa: [A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)*|type: ignore\[[a-z-]+(?:, ?[a-z-]+)*\])"
    is_exemption = re.match(r"#\s*(noqa|type:\s*ignore)", comment)
    return bool(is_exemption) and not re.match(rf"(?:{exemption}\s+)+(?:#|—) ?\S", comment)


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("# noqa: PLC0415  # settings need the stack", False),
        ("# type: ignore[attr-defined, misc]  # read by pages", False),
        ("# type: ignore[misc]  # noqa: ANN401  # both for Django's sake", False),
        ("# why not", False),
        ("# noqa: PLC0415", True),
        ("# noqa", True),
        ("# type: ignore  # because", True),
        ("# type: ignore[misc]", True),
    ],
)
def test_exemption__is_bare_without_code_or_reason(comment, expected):
    assert is_bare(comment) is expected


HEAVY = ("duckdb", "graspologic_native", "numpy", "pandas", "pyarrow", "scipy", "sklearn", "splink")
LOADED = f"""
import sys, django
django.setup()
import cdp.urls
print(*sorted(set({HEAVY}) & set(sys.modules)))
"""


READ = """
import sys, django
django.setup()
import cdp.ingestion.columnar, pyarrow
pyarrow.array(["a value"])
print(*{"pandas"} & set(sys.modules))
"""


@pytest.mark.parametrize("work", [LOADED, READ])
def test_process__of_web_or_that_reads_a_file__loads_nothing_that_only_the_work_with_many_records_needs(work):
    """Each process of each kind would carry it: 50 MiB and more."""
    done = subprocess.run(
        [sys.executable, "-c", work], cwd=CHECKOUT, env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.split() == []

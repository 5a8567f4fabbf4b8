"""How fast an empty database is migrated: `manage.py migrate` on its baseline, Django's own. Both make the same schema."""

import os
import re
import subprocess
import sys
from typing import Any

from bench import harness
from cdp import embedded
from cdp.embedded import CHECKOUT
from cdp.provision import provision
from tests import databases

DATABASE = "tessera_bench_migrations"
OURS = ("manage.py", "migrate", "--verbosity", "0")
DJANGOS = (
    "-c",
    """
import django
from django.core.management import call_command
from django.core.management.commands import migrate

django.setup()
call_command(migrate.Command(), verbosity=0)
""",
)


def run() -> dict[str, Any]:
    seconds, schema = _migrated_by(OURS)
    seconds_of_django, schema_of_django = _migrated_by(DJANGOS)
    return {
        "name": "migrations",
        "what": "an empty database migrated by `manage.py migrate`; baseline: by Django's own command",
        "figures": {"seconds": seconds, "same_schema": schema == schema_of_django},
        "baseline": {"seconds": seconds_of_django},
        "ratio": seconds / seconds_of_django,
    }


def _migrated_by(command: tuple[str, ...]) -> tuple[float, str]:
    """Seconds, and the schema that came of it."""
    stack = embedded.default_stack()
    with stack.connect_as_superuser() as admin:
        provision(admin, database=DATABASE, passwords=stack.credentials)
    try:
        address = {"DATABASE_URL": stack.database_url("owner", DATABASE)}
        with harness.stopwatch() as watch:
            subprocess.run([sys.executable, *command], env={**os.environ, **address}, cwd=CHECKOUT, check=True)
        return watch.seconds, _schema(stack)
    finally:
        databases.drop(DATABASE)


def _schema(stack: embedded.Stack) -> str:
    dumped = subprocess.run(
        [stack.binaries / "pg_dump", "--schema-only", stack.database_url("postgres", DATABASE)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return re.sub(r"(?m)^\\(un)?restrict .*$", "", dumped)  # a word that is new in every dump

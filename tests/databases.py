"""Test databases: migrated once as `owner` into a template, then copied, which takes a fraction of a second."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from cdp import embedded
from cdp.embedded import CHECKOUT
from cdp.provision import close_database, provision

ONE_BUILDER = 4711  # advisory lock: xdist workers start together
KEPT_TEMPLATES = 3


def fingerprint() -> str:
    """Of all that shapes the schema."""
    files = [
        *sorted(CHECKOUT.glob("*/migrations/*.py")), *sorted((CHECKOUT / "cdp" / "kernel").glob("*.py")),
        CHECKOUT / "cdp" / "provision.py", CHECKOUT / "cdp" / "models" / "access.py",
    ]  # fmt: skip
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:10]


def create(name: str) -> None:
    """Make the database `name` anew, migrated."""
    stack = embedded.default_stack()
    with stack.connect_as_superuser() as admin:
        admin.execute("SELECT pg_advisory_lock(%s)", (ONE_BUILDER,))
        template = _template(stack, admin)
        _drop(admin, name)
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy OWNER owner").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        close_database(admin, name)


def row_counts() -> dict[str, int]:
    """Of every table, in the database that Django is connected to."""
    from django.db import connection  # whoever makes databases does so before there are settings

    tables = connection.introspection.django_table_names()
    counts = (f"SELECT '{table}', count(*) FROM {connection.ops.quote_name(table)}" for table in tables)
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(counts))
        return dict(cursor.fetchall())


def drop(name: str) -> None:
    with embedded.default_stack().connect_as_superuser() as admin:
        _drop(admin, name)


@contextmanager
def fresh_database(name: str) -> Iterator[str]:
    """For a test whose workers and web server are processes of their own."""
    create(name)
    try:
        yield name
    finally:
        drop(name)


def _template(stack: embedded.Stack, admin: psycopg.Connection[tuple[object, ...]]) -> str:
    name = f"tessera_template_{fingerprint()}"
    if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
        return name
    building = f"{name}_building"
    _drop(admin, building)
    provision(admin, database=building, passwords=stack.credentials)
    subprocess.run(
        [sys.executable, CHECKOUT / "manage.py", "migrate", "--verbosity", "0"],
        env={**os.environ, "DATABASE_URL": stack.database_url("owner", building), "DJANGO_SETTINGS_MODULE": "cdp.settings"},
        cwd=CHECKOUT, check=True,
    )  # fmt: skip
    admin.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(building), sql.Identifier(name)))
    _forget_old_templates(admin, name)
    return name


def _forget_old_templates(admin: psycopg.Connection[tuple[object, ...]], current: str) -> None:
    rows = admin.execute(
        "SELECT datname FROM pg_database WHERE datname LIKE 'tessera_template_%%' AND datname <> %s ORDER BY oid DESC",
        (current,),
    ).fetchall()
    for (old,) in rows[KEPT_TEMPLATES:]:
        _drop(admin, str(old))


def _drop(admin: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def default_name() -> str:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return f"{os.environ.get('TEST_DATABASE', 'test_tessera')}_{worker}_{hashlib.sha256(str(Path.cwd()).encode()).hexdigest()[:6]}"

"""Somebody is stored, erased, and brought back in every way there is: by file, by event, by replay, by a restored backup."""

import json
import os
import subprocess
import sys

import psycopg
import pytest
from psycopg import sql

from cdp import embedded
from cdp.embedded import CHECKOUT
from cdp.provision import close_database
from tests import databases

pytestmark = pytest.mark.slow

# Whatever of Ada must be nowhere. Bob shows that the search finds what is there.
ADA = ("ada.lovelace@example.com", "612345678", "Ada Augusta", "Lovelace-King", "ada-in-the-shop")
PEOPLE = """id,given_name,surname,email,phone,shop_id
1,Ada Augusta,Lovelace-King,Ada.Lovelace@example.com,06 12 34 56 78,ada-in-the-shop
2,Bob,Builder,bob@example.com,06 99 99 99 99,bob-in-the-shop
"""
EVENTS = """email,event,timestamp,total
ada.lovelace@example.com,Order Completed,2026-11-20T10:00:00Z,30
bob@example.com,Order Completed,2026-11-20T10:00:00Z,40
"""
CALLS = [
    {
        "type": "track", "messageId": f"m-{user}", "userId": user, "event": "Order Completed",
        "timestamp": "2026-11-20T10:00:00Z", "properties": {"email": email, "total": 3},
    }
    for user, email in (("ada-in-the-shop", "ada.lovelace@example.com"), ("bob-in-the-shop", "bob@example.com"))
]  # fmt: skip
# What Bob wrote of her in words of his own: an erasure does not look for that, and its certificate says so.
WRITTEN = {
    "type": "track", "messageId": "m-note", "userId": "bob-in-the-shop", "event": "Note Written",
    "timestamp": "2026-11-20T10:00:00Z", "properties": {"text": "a present for Ada Augusta"},
}  # fmt: skip
LEFT = {("event_2026_11", "Ada Augusta")}


@pytest.fixture
def database():
    with databases.fresh_database(f"{databases.default_name()}_erasure") as name:
        yield name


@pytest.fixture
def run(database, tmp_path):
    """`run("consent", "erase", …)`: manage.py as the operator, with a ledger of its own. Returns what it printed."""
    environment = {
        **os.environ, "DATABASE_URL": embedded.default_stack().database_url("operator", database),
        "DJANGO_SETTINGS_MODULE": "tests.settings", "ERASURE_LEDGER": str(tmp_path / "erasures.jsonl"), "LOG_LEVEL": "ERROR",
    }  # fmt: skip

    def manage(*arguments, fails_with=""):
        command = [sys.executable, "-m", "django", *map(str, arguments)]
        done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode != 0) is bool(fails_with), done.stderr
        assert fails_with in done.stderr
        return done.stdout

    return manage


def found(database, texts):
    """(table, text) for every table of every schema that has one of the texts in any column, as a superuser sees it."""
    tables = (
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
    )
    with psycopg.connect(embedded.default_stack().database_url("postgres", database)) as admin:
        hits = set()
        for schema, table in admin.execute(tables).fetchall():
            query = sql.SQL("SELECT t::text, row_to_json(t)::text FROM {} AS t").format(sql.Identifier(schema, table))
            rows = " ".join(f"{row} {as_json} {bytes_in(row)}" for row, as_json in admin.execute(query)).lower()
            hits |= {(table, text) for text in texts if text.lower() in rows}
        return hits


def bytes_in(row):
    """What lies in columns of bytes, which are printed in hex."""
    words = row.replace(",", " ").replace('"', " ").replace("\\", " ").split()
    raw = (word[1:].rstrip(")") for word in words if word.startswith("x"))
    return " ".join(bytes.fromhex(text).decode(errors="replace") for text in raw if is_hex(text))


def is_hex(text):
    return len(text) % 2 == 0 and all(letter in "0123456789abcdef" for letter in text)


def dump(database, copy):
    with embedded.default_stack().connect_as_superuser() as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy OWNER owner").format(
                sql.Identifier(copy), sql.Identifier(database)
            )
        )


def restore(database, copy):
    databases.drop(database)
    dump(copy, database)
    with embedded.default_stack().connect_as_superuser() as admin:
        close_database(admin, database)


SEND = """
import json, sys, django; django.setup()
from django.utils import timezone
from cdp.ingestion import services as ingestion
from cdp.ingestion.sources import source_of
from cdp.models import Source
source = Source.objects.get(name="shop")
for body in ({"batch": json.loads(sys.argv[1])}, {"batch": [{"type": "?", "email": "ada.lovelace@example.com"}]}):
    ingestion.accept(source=source, body=json.dumps(body).encode(), path_kind="batch", received_at=timezone.now())
"""


def send(database, tmp_path):
    environment = {
        **os.environ, "DATABASE_URL": embedded.default_stack().database_url("web", database),
        "DJANGO_SETTINGS_MODULE": "tests.settings", "ERASURE_LEDGER": str(tmp_path / "erasures.jsonl"), "LOG_LEVEL": "ERROR",
    }  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", SEND, json.dumps([*CALLS, WRITTEN])], cwd=CHECKOUT, env=environment, check=True
    )


def bring(run, database, tmp_path):
    """Files of records and events, and calls of an SDK."""
    people, events = tmp_path / "people.csv", tmp_path / "events.csv"
    people.write_text(PEOPLE)
    events.write_text(EVENTS)
    run("load", "records", people, "--source", "crm", "--quiet")
    run("load", "events", events, "--source", "orders", "--quiet")
    send(database, tmp_path)
    run("pipeline", "drain", "--timeout", "60")


def test_person__erased__is_in_no_table_whatever_brings_them_back(database, run, tmp_path):
    backup = f"{database}_backup"
    run("workspaces", "create", "default")
    for name, kind in (("crm", "file"), ("orders", "file"), ("shop", "http")):
        run("sources", "create", name, "--kind", kind, "--region", "FR")
    bring(run, database, tmp_path)
    assert {text for _, text in found(database, ADA)} >= {ADA[0], ADA[1], ADA[2], ADA[3]}
    dump(database, backup)

    try:
        certificate = json.loads(run("consent", "erase", "--identifier", "email:ada.lovelace@example.com", "--json"))
        assert found(database, ADA) == LEFT
        assert certificate["rows"]["event"] >= 1
        assert "event" in certificate["not_searched"]

        (tmp_path / "people.csv").unlink()
        bring_again(run, database, tmp_path)
        assert found(database, ADA) == LEFT
        assert found(database, ["bob@example.com"])

        restore(database, backup)
        assert found(database, ADA)
        run("reapply_erasures", "--check", fails_with="restored_database")
        run("reapply_erasures")
        run("reapply_erasures", "--check")
        assert found(database, ADA) == LEFT
    finally:
        databases.drop(backup)


def bring_again(run, database, tmp_path):
    """As before, and under names that no load has seen, so that no row counts as known."""
    (tmp_path / "again").mkdir()
    bring(run, database, tmp_path / "again")

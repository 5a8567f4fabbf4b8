"""Create the database, the roles and their memberships. Run once by a superuser; running it again changes nothing."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg import sql

from cdp.kernel.logins import DUTIES, DUTIES_BY_LOGIN, OWNER, PURPOSES_BY_LOGIN
from cdp.kernel.purposes import Purpose

LOGINS = (OWNER, *PURPOSES_BY_LOGIN)


def new_passwords() -> dict[str, str]:
    return {login: secrets.token_urlsafe(24) for login in LOGINS}


def provision(admin: psycopg.Connection[tuple[object, ...]], *, database: str, passwords: Mapping[str, str]) -> None:
    """Make all roles and the database in the cluster of `admin`, in autocommit mode: a superuser, or CREATEROLE and CREATEDB."""
    for role in (*Purpose, *sorted(DUTIES)):
        _ensure_role(admin, str(role), "NOLOGIN")
    for login in LOGINS:
        _ensure_role(admin, login, "LOGIN NOINHERIT")
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(login), sql.Literal(passwords[login])))
    for login, purposes in PURPOSES_BY_LOGIN.items():
        for role in (*purposes, *DUTIES_BY_LOGIN.get(login, ())):
            admin.execute(
                sql.SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE, ADMIN FALSE").format(
                    sql.Identifier(str(role)), sql.Identifier(login)
                )
            )
    _take_back_what_is_no_longer_declared(admin)
    with _as_good_as_owner(admin):
        _ensure_database(admin, database)


_HELD = """
SELECT member.rolname, granted.rolname FROM pg_auth_members m
JOIN pg_roles member ON member.oid = m.member JOIN pg_roles granted ON granted.oid = m.roleid
WHERE member.rolname = ANY(%s) AND granted.rolname = ANY(%s)
"""


def _take_back_what_is_no_longer_declared(admin: psycopg.Connection[tuple[object, ...]]) -> None:
    """A purpose or duty that a login had in an earlier version is no longer its own after the upgrade."""
    ours = [str(role) for role in (*Purpose, *DUTIES)]
    for login, role in admin.execute(_HELD, (list(PURPOSES_BY_LOGIN), ours)).fetchall():
        if role not in {*PURPOSES_BY_LOGIN[str(login)], *DUTIES_BY_LOGIN.get(str(login), ())}:
            names = (sql.Identifier(str(role)), sql.Identifier(str(login)))
            admin.execute(sql.SQL("REVOKE {} FROM {}").format(*names))


@contextmanager
def _as_good_as_owner(admin: psycopg.Connection[tuple[object, ...]]) -> Iterator[None]:
    """Where the cloud gives no superuser, its administrator becomes a member of `owner` for as long as it takes."""
    me, owner = sql.SQL("CURRENT_USER"), sql.Identifier(OWNER)
    row = admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    if row and row[0]:
        yield
        return
    admin.execute(sql.SQL("GRANT {} TO {} WITH INHERIT TRUE, SET TRUE").format(owner, me))
    try:
        yield
    finally:
        admin.execute(sql.SQL("REVOKE {} FROM {} GRANTED BY {}").format(owner, me, me))


def _ensure_role(admin: psycopg.Connection[tuple[object, ...]], name: str, options: LiteralString) -> None:
    if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is None:
        admin.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(name), sql.SQL(options)))


def _ensure_database(admin: psycopg.Connection[tuple[object, ...]], database: str) -> None:
    name = sql.Identifier(database)
    if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone() is None:
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, sql.Identifier(OWNER)))
    with psycopg.connect(admin.info.dsn, password=admin.info.password, dbname=database, autocommit=True) as inside:
        inside.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS core AUTHORIZATION {}").format(sql.Identifier(OWNER)))
    close_database(admin, database)


def close_database(admin: psycopg.Connection[tuple[object, ...]], database: str) -> None:
    """Nobody may make objects here but `owner`; temporary tables, by which views could be outwitted, included."""
    name = sql.Identifier(database)
    admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    for login in LOGINS:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.Identifier(login)))
    admin.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(name, sql.Identifier(Purpose.COLLECTION)))
    admin.execute(sql.SQL("ALTER DATABASE {} SET search_path = core").format(name))

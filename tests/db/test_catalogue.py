"""The wall around personal data has no hole, and the check that says so finds the holes that we drill."""

from collections.abc import Iterator

import pytest
from django.db import connection

from cdp import embedded
from consent import catalogue
from tests import databases

PLANTED = [
    (
        "copies",
        "CREATE MATERIALIZED VIEW segmentation.everybody AS SELECT * FROM core.profile",
        "segmentation.everybody",
    ),
    (
        "definer_functions",
        "CREATE FUNCTION core.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM core.profile'",
        "core.peek",
    ),
    ("definer_functions", "ALTER FUNCTION core.refresh_permissions RESET search_path", "no fixed search_path"),
    ("definer_functions", "GRANT EXECUTE ON FUNCTION core.refresh_permissions TO PUBLIC", "by everybody"),
    ("readers", "GRANT SELECT ON core.identifier TO advertising", "advertising may read core.identifier"),
    ("readers", "GRANT SELECT (value) ON core.trait TO worker_activation", "worker_activation may read core.trait"),
    ("readers", "GRANT SELECT ON core.event TO PUBLIC", "PUBLIC may read core.event"),
    ("partitions", "GRANT SELECT ON core.event_other TO web", "web may reach partition event_other"),
    ("row_security", "ALTER TABLE core.trait NO FORCE ROW LEVEL SECURITY", "trait"),
    ("row_security", "ALTER TABLE core.trait DISABLE ROW LEVEL SECURITY", "trait"),
    ("row_security", "CREATE POLICY everything ON core.trait USING (true)", "trait"),
    ("row_security", "CREATE TABLE core.fresh (workspace_id bigint)", "fresh"),
    ("views", "ALTER VIEW advertising.event SET (security_barrier = false)", "advertising.event"),
    ("views", "ALTER VIEW advertising.event SET (security_invoker = true)", "advertising.event"),
    ("views", "CREATE VIEW core.all_people WITH (security_barrier) AS SELECT * FROM core.profile", "core.all_people"),
    ("ownership", "ALTER VIEW advertising.event OWNER TO postgres", "advertising.event belongs to postgres"),
    ("ownership", "ALTER TABLE core.trait OWNER TO web", "core.trait belongs to web"),
    ("creators", "GRANT CREATE ON SCHEMA segmentation TO segmentation", "may create in schema segmentation"),
    ("creators", "GRANT CREATE ON SCHEMA public TO PUBLIC", "PUBLIC may create in schema public"),
]
PLANTED_ROLES = [
    ("roles", "ALTER ROLE worker_activation BYPASSRLS", "worker_activation is BYPASSRLS"),
    ("roles", "ALTER ROLE web SUPERUSER", "web is SUPERUSER"),
    ("roles", "ALTER ROLE advertising LOGIN", "advertising may log in"),
    ("roles", "ALTER ROLE web INHERIT", "web is INHERIT"),
    ("memberships", "GRANT owner TO web", "web is a member of owner"),
    ("memberships", "GRANT pg_read_all_data TO worker_segments", "worker_segments is a member of pg_read_all_data"),
    ("memberships", "GRANT advertising TO worker_segments", "worker_segments is a member of advertising"),
    ("memberships", "GRANT advertising TO worker_activation WITH ADMIN TRUE", "holds advertising with ADMIN"),
    ("memberships", "REVOKE advertising FROM worker_activation", "worker_activation is no member of advertising"),
]


@pytest.fixture
def alone_with_roles() -> Iterator[None]:
    """Roles belong to the whole cluster: another database's tests or set-up must not change them meanwhile."""
    with embedded.default_stack().connect_as_superuser() as admin:
        admin.execute("SELECT pg_advisory_lock(%s)", (databases.ONE_BUILDER,))
        yield


def findings() -> dict[str, str]:
    return {check.name: check.detail for check in catalogue.inspect() if not check.ok}


@pytest.mark.parametrize("login", ["none", "operator"])
def test_catalogue__as_migrated__has_no_hole(login, db, as_login):
    as_login(login)

    assert findings() == {}


@pytest.mark.parametrize(("check", "hole", "named"), PLANTED)
def test_catalogue__with_a_hole__names_it(check, hole, named, db):
    with connection.cursor() as cursor:
        cursor.execute(hole)

    assert named in findings().get(check, "")


@pytest.mark.parametrize(("check", "hole", "named"), PLANTED_ROLES)
def test_catalogue__with_a_role_too_strong__names_it(check, hole, named, alone_with_roles, db):
    with connection.cursor() as cursor:
        cursor.execute(hole)

    assert named in findings().get(check, "")


def test_catalogue__when_temporary_tables_are_for_everybody__says_so(db):
    with connection.cursor() as cursor:
        cursor.execute(f'GRANT TEMPORARY ON DATABASE "{connection.settings_dict["NAME"]}" TO PUBLIC')

    assert findings()["creators"] == "PUBLIC may make temporary tables"


def test_every_exemption__has_its_reason_and_its_thing(db):
    """An exemption whose table or function is gone would cover the next one of that name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relnamespace = 'core'::regnamespace")
        tables = {name for (name,) in cursor.fetchall()}
        cursor.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'core'::regnamespace AND prosecdef")
        functions = {name for (name,) in cursor.fetchall()}

    assert catalogue.TABLES_ACROSS_WORKSPACES.keys() <= tables
    assert tables >= catalogue.PERSONAL_TABLES
    assert functions == catalogue.DEFINER_FUNCTIONS.keys()
    assert {table for _, table in catalogue.READERS} <= catalogue.PERSONAL_TABLES
    for reasons in (catalogue.TABLES_ACROSS_WORKSPACES, catalogue.DEFINER_FUNCTIONS, catalogue.READERS):
        assert all(reasons.values())

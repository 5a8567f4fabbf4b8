"""The wall around personal data has no hole, and the check that says so finds the holes that we drill."""

from collections.abc import Iterator

import pytest
from django.db import connection

from cdp import embedded
from consent import catalogue, side_doors
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
    ("rights", "GRANT TRUNCATE ON core.consent_record TO operator", "operator has TRUNCATE on core.consent_record"),
    ("rights", "GRANT REFERENCES ON core.identifier TO advertising", "advertising has REFERENCES on core.identifier"),
    ("rights", "GRANT TRIGGER ON advertising.event TO advertising", "advertising has TRIGGER on advertising.event"),
    (
        "rights",
        "ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA core GRANT SELECT ON TABLES TO analytics",
        "analytics would get SELECT on every new table",
    ),
    ("sequences", "GRANT SELECT ON SEQUENCE core.identifier_id_seq TO web", "web may read core.identifier_id_seq"),
    ("sequences", "GRANT USAGE ON SEQUENCE core.event_id_seq TO PUBLIC", "PUBLIC may read core.event_id_seq"),
    (
        "oracles",
        "GRANT INSERT ON core.review_pair TO advertising",
        "advertising may probe core.identifier by writing core.review_pair",
    ),
    (
        "oracles",
        "GRANT INSERT ON segmentation.trait TO segmentation",
        "segmentation may probe core.profile by writing core.trait",
    ),
    (
        "oracles",
        "ALTER VIEW enrichment.trait RESET (check_option)",
        "enrichment may probe core.profile by writing core.trait",
    ),
    (
        "oracles",
        "ALTER VIEW enrichment.trait SET (check_option = local)",
        "enrichment may probe core.profile by writing core.trait",
    ),
    ("statistics", "GRANT SELECT ON pg_catalog.pg_statistic TO analytics", "analytics may read pg_statistic"),
    (
        "statistics",
        "CREATE TABLE core.visits (workspace_id bigint, country text) PARTITION BY LIST (country)",
        "visits is partitioned by country",
    ),
    ("replication", "CREATE PUBLICATION everything FOR ALL TABLES", "publication everything"),
    ("replication", "CREATE PUBLICATION people FOR TABLE core.profile", "publication people"),
    ("tables", "CREATE TABLE core.fresh (id bigint)", "table fresh is declared neither"),
    ("tables", "CREATE TABLE advertising.hoard AS SELECT 1 AS profile_id", "table hoard is declared neither"),
    (
        "gated_views",
        "CREATE VIEW segmentation.everybody WITH (security_barrier) AS SELECT * FROM core.profile",
        "segmentation.everybody",
    ),
    (
        "gated_views",
        "CREATE VIEW analytics.another AS SELECT id FROM core.profile WHERE permitted & 32 <> 0 AND permitted_until > now()",
        "analytics.another",
    ),
    (
        "gated_views",
        "CREATE VIEW analytics.for_ever AS SELECT id FROM core.profile WHERE permitted & 64 <> 0",
        "analytics.for_ever",
    ),
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
    (
        "session_settings",
        "ALTER ROLE worker_segments SET role = 'learning'",
        "worker_segments begins with role=learning",
    ),
    ("session_settings", "ALTER ROLE web SET row_security = off", "web begins with row_security=off"),
    ("session_settings", "ALTER ROLE operator SET tessera.workspace = '1'", "operator begins with tessera.workspace=1"),
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


def test_catalogue__with_a_slot_that_nobody_reads__names_it(db):
    """It keeps the changes of the whole cluster. No transaction takes it back, so the test does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_create_physical_replication_slot('forgotten')")
        try:
            found = findings()
        finally:
            cursor.execute("SELECT pg_drop_replication_slot('forgotten')")

    assert found == {"replication": "replication slot forgotten"}


def test_catalogue__when_the_database_begins_elsewhere__says_so(db):
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER DATABASE "{connection.settings_dict["NAME"]}" SET search_path = public, core')

    assert findings()["session_settings"] == "the database begins with search_path=public, core"


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
    assert tables >= side_doors.IMPERSONAL_TABLES.keys()
    assert not side_doors.IMPERSONAL_TABLES.keys() & catalogue.PERSONAL_TABLES
    assert {table for _, *pair in side_doors.ORACLES for table in pair} <= tables
    declared = (catalogue.TABLES_ACROSS_WORKSPACES, catalogue.DEFINER_FUNCTIONS, catalogue.READERS)
    for reasons in (*declared, side_doors.ORACLES, side_doors.IMPERSONAL_TABLES):
        assert all(reasons.values())

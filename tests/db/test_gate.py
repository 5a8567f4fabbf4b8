"""Promise 2: no purpose, no rows."""

from datetime import timedelta

import pytest
from django.db import ProgrammingError, connection, transaction
from django.utils import timezone

from cdp.kernel.logins import PURPOSES_BY_LOGIN, WORKER_BY_QUEUE
from cdp.kernel.purposes import Purpose
from cdp.models import Identifier, Profile
from cdp.models.tenancy import workspace_scope
from consent import gate
from consent.models import ConsentState
from tests.factories import IdentifierFactory, WorkspaceFactory, say

PERSONAL_TABLES = ("identifier", "identifier_trait", "profile", "trait", "event", "record", "membership", "score")


@pytest.mark.parametrize("login", WORKER_BY_QUEUE.values())
@pytest.mark.parametrize("table", PERSONAL_TABLES)
def test_worker__without_a_purpose__is_refused_by_the_database(login, table, workspace, as_login):
    as_login(login)

    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"SELECT * FROM {table}")


def test_purpose__sees_only_who_permits_it(workspace):
    silent, willing = IdentifierFactory.create_batch(2, workspace=workspace)
    say(willing, Purpose.ADVERTISING, ConsentState.GIVEN)

    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace.pk):
        assert [found.pk for found in Identifier.objects.only("pk")] == [willing.pk]
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk):
        assert {found.pk for found in Identifier.objects.only("pk")} == {silent.pk, willing.pk}


def test_withdrawal__is_felt_by_the_next_statement(workspace):
    person = IdentifierFactory(workspace=workspace)
    say(person, Purpose.ADVERTISING, ConsentState.GIVEN)

    say(person, Purpose.ADVERTISING, ConsentState.WITHDRAWN, at=timezone.now())

    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace.pk):
        assert not Identifier.objects.only("pk").exists()


def test_expiry__without_anybody_recomputing__closes(workspace):
    person = IdentifierFactory(workspace=workspace)
    say(person, Purpose.ADVERTISING, ConsentState.GIVEN, expires_at=timezone.now() + timedelta(days=1))
    Identifier.objects.filter(pk=person.pk).update(permitted_until=timezone.now() - timedelta(seconds=1))

    for purpose in (Purpose.ADVERTISING, Purpose.SEGMENTATION):
        with gate.permit(purpose, workspace_id=workspace.pk):
            assert not Identifier.objects.only("pk").exists()


def test_every_view__when_everybody_has_withdrawn__is_empty(gated_purpose, workspace):
    person = IdentifierFactory(workspace=workspace)
    for purpose in Purpose:
        say(person, purpose, ConsentState.WITHDRAWN)

    with gate.permit(gated_purpose, workspace_id=workspace.pk), connection.cursor() as cursor:
        cursor.execute("SELECT viewname FROM pg_views WHERE schemaname = %s", [gated_purpose])
        views = [name for (name,) in cursor.fetchall()]
        counts = {}
        for view in views:
            cursor.execute(f"SELECT count(*) FROM {gated_purpose}.{view}")
            counts[view] = cursor.fetchone()[0]
    assert views
    assert counts == dict.fromkeys(views, 0)


def test_newcomer__whose_statement_forges_the_mask_of_the_silent__has_the_true_one(workspace):
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO identifier (workspace_id, type, value, digest)"
            " SELECT %s, 'email', set_config('tessera.silent', '32767', true), 'digest'",
            [workspace.pk],
        )

    IdentifierFactory(workspace=workspace)  # in a statement of its own
    for people in (Identifier, Profile):
        forged, honest = people.objects.order_by("pk").values_list("permitted", flat=True)
        assert forged == honest


def test_other_workspace__has_no_rows(workspace):
    stranger = WorkspaceFactory()
    with workspace_scope(stranger.pk):
        IdentifierFactory(workspace=stranger)

    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk):
        assert not Identifier.objects.only("pk").exists()


def test_permit__for_a_purpose_that_is_not_the_queues__is_refused(workspace, as_login):
    """Memberships are read from the catalogue: a test session is a superuser and might take up any role."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT member.rolname, role.rolname FROM pg_auth_members m JOIN pg_roles member ON member.oid = m.member"
            " JOIN pg_roles role ON role.oid = m.roleid WHERE role.rolname = ANY(%s)",
            [[purpose.value for purpose in Purpose]],
        )
        granted = set(cursor.fetchall())
    assert granted == {(login, purpose) for login, purposes in PURPOSES_BY_LOGIN.items() for purpose in purposes}


def test_permit__inside_another__is_refused(workspace):
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk), pytest.raises(gate.NestedPermitError):
        with gate.permit(Purpose.ADVERTISING, workspace_id=workspace.pk):
            pytest.fail("two purposes at once")


def test_permit__when_it_ends__gives_the_role_back(workspace):
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk):
        pass

    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('role'), current_setting('tessera.workspace')")
        assert cursor.fetchone() == ("none", str(workspace.pk))


def held():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('role'), current_setting('search_path'), session_user = current_user")
        return cursor.fetchone()


def test_permit__that_is_the_whole_transaction__leaves_no_role_to_the_next(committed):
    before = held()

    for purpose in Purpose:
        with gate.permit(purpose, workspace_id=committed.pk):
            assert held() == (purpose.value, f"{purpose.value}, core", False)

        assert held() == before == ("none", before[1], True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('tessera.workspace', true)")
            assert cursor.fetchone()[0] in {None, ""}


def test_permit__that_fails__leaves_no_role_to_the_next(committed):
    before = held()

    with pytest.raises(ZeroDivisionError), gate.permit(Purpose.IDENTITY, workspace_id=committed.pk):
        raise ZeroDivisionError

    assert held() == before


def test_permit__within_a_transaction__gives_the_role_back_before_that_ends(committed):
    with transaction.atomic():
        before = held()
        with gate.permit(Purpose.IDENTITY, workspace_id=committed.pk):
            pass
        assert held() == before


def test_permit__where_transactions_are_begun_by_hand__gives_the_role_back(committed):
    before = held()
    transaction.set_autocommit(False)
    try:
        with gate.permit(Purpose.IDENTITY, workspace_id=committed.pk):
            pass

        assert held() == before
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


def test_permit__inside_another__changes_nothing_of_the_first(workspace):
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk):
        before = held()
        with pytest.raises(gate.NestedPermitError):
            gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk).__enter__()

        assert held() == before == ("identity", "identity, core", False)


@pytest.mark.parametrize("login", WORKER_BY_QUEUE.values())
@pytest.mark.parametrize(
    "statement",
    [
        "COPY core.identifier TO STDOUT",
        "COPY (SELECT value FROM core.identifier) TO STDOUT",
        "COPY core.identifier TO '/tmp/everybody'",
        "COPY core.identifier TO PROGRAM 'cat'",
        "SELECT last_value FROM core.identifier_id_seq",
        "SELECT stavalues1 FROM pg_statistic",
        "SELECT pg_read_file('PG_VERSION')",
        "TRUNCATE core.event",
    ],
)
def test_worker__by_a_side_door__is_refused_by_the_database(login, statement, workspace, as_login):
    as_login(login)

    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_copy__through_the_gate__has_only_who_permits_it(workspace):
    silent, willing = IdentifierFactory.create_batch(2, workspace=workspace)
    say(willing, Purpose.ADVERTISING, ConsentState.GIVEN)

    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace.pk), connection.cursor() as cursor:
        with cursor.copy("COPY (SELECT value FROM identifier) TO STDOUT") as copied:
            lines = b"".join(copied).decode().splitlines()

    assert lines == [willing.value]
    assert silent.value not in lines


def test_statistics__under_a_purpose__show_no_column_of_people(gated_purpose, workspace):
    IdentifierFactory.create_batch(3, workspace=workspace)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE core.identifier, core.profile, core.event")
        cursor.execute("SELECT count(*) > 0 FROM pg_stats WHERE schemaname = 'core' AND tablename = 'identifier'")
        assert cursor.fetchone() == (True,)

    with gate.permit(gated_purpose, workspace_id=workspace.pk), connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_stats WHERE tablename = ANY(%s)", [list(PERSONAL_TABLES)])
        assert cursor.fetchall() == []
        cursor.execute("SELECT sequencename FROM pg_sequences WHERE last_value IS NOT NULL")
        assert cursor.fetchall() == []

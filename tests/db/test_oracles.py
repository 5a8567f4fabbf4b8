"""What the check of a foreign key tells: that a number was given to somebody. Who that is, or where, it never tells."""

import re

import pytest
from django.db import DatabaseError, connection, transaction

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Profile, Stage
from cdp.models.outbox import hand_over
from cdp.models.tenancy import workspace_scope
from consent import gate, side_doors
from consent.models import ConsentState
from tests.factories import IdentifierFactory, SourceFactory, WorkspaceFactory, say

NOBODY = 2**40
VALUES = "%(workspace)s, %(known)s, 'probe', '1', %(source)s, %(asked)s, now(), 1, 'probe'"
TRAIT = f"INSERT INTO trait (workspace_id, profile_id, name, value, source_id, identifier_id, observed_at, confidence, rule) VALUES ({VALUES})"
PROBES = {
    (Purpose.ENRICHMENT, "lookup", "identifier"): "INSERT INTO lookup (workspace_id, source_id, identifier_id,"
    " provider_version, is_found, cost, looked_up_at) VALUES (%(workspace)s, %(source)s, %(asked)s, '', false, 0, now())",
    (Purpose.ENRICHMENT, "identifier_trait", "identifier"): "INSERT INTO identifier_trait (workspace_id, identifier_id,"
    " source_id, name, value, observed_at) VALUES (%(workspace)s, %(asked)s, %(source)s, 'probe', '1', now())",
    (Purpose.ENRICHMENT, "trait", "identifier"): TRAIT,
    (Purpose.IDENTITY, "judgement", "identifier"): "INSERT INTO judgement (workspace_id, left_id, right_id, verdict,"
    " kind, weight, evidence, created_at) VALUES (%(workspace)s, least(%(known)s, %(asked)s::bigint),"
    " greatest(%(known)s, %(asked)s::bigint), 'SAME', 'DETERMINISTIC', 1, '{}', now())",
    (Purpose.IDENTITY, "review_pair", "identifier"): "INSERT INTO review_pair (workspace_id, left_id, right_id, weight,"
    " evidence, model_id, created_at) VALUES (%(workspace)s, least(%(known)s, %(asked)s::bigint),"
    " greatest(%(known)s, %(asked)s::bigint), 1, '{}', 1, now())",
    (Purpose.IDENTITY, "trait", "identifier"): TRAIT,
}


@pytest.fixture
def people(workspace):
    """Somebody who is seen, somebody who refused everything, and somebody of another workspace."""
    stranger = WorkspaceFactory()
    with workspace_scope(stranger.pk):
        elsewhere = IdentifierFactory(workspace=stranger)
    seen, hidden = IdentifierFactory.create_batch(2, workspace=workspace)
    for purpose in Purpose:
        say(hidden, purpose, ConsentState.REFUSED)
    return {"seen": seen.pk, "hidden": hidden.pk, "elsewhere": elsewhere.pk, "nobody": NOBODY}


def answer(workspace, purpose: Purpose, probe: str, people: dict[str, int], asked: int) -> str:
    """What the database says when the role writes, with numbers left out: the one that was asked about is known."""
    source = SourceFactory(workspace=workspace).pk
    given = {"workspace": workspace.pk, "source": source, "known": people["seen"], "asked": asked}
    try:
        with gate.permit(purpose, workspace_id=workspace.pk), connection.cursor() as cursor, transaction.atomic():
            cursor.execute(probe, given)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            transaction.set_rollback(True)
    except DatabaseError as error:
        return re.sub(r"\d+", "N", str(error))
    return "written"


def test_every_oracle_that_is_kept__has_its_probe():
    assert PROBES.keys() == side_doors.ORACLES.keys()


@pytest.mark.parametrize(("purpose", "table", "parent"), PROBES)
def test_foreign_key__of_whoever_is_hidden_or_elsewhere__tells_that_the_number_was_given_and_no_more(
    purpose, table, parent, workspace, people
):
    said = {who: answer(workspace, purpose, PROBES[purpose, table, parent], people, pk) for who, pk in people.items()}

    assert said["hidden"] == said["elsewhere"]
    assert (
        f"Key ({'left_id' if 'left' in said['nobody'] else ''}" in said["nobody"] or "is not present" in said["nobody"]
    )
    assert "@example.com" not in "".join(said.values())


def test_identity__reads_the_number_of_everybody_of_its_workspace_anyway(workspace, people):
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk), connection.cursor() as cursor:
        cursor.execute("SELECT id FROM core.profile")
        read = {number for (number,) in cursor.fetchall()}

    assert read == {people["seen"], people["hidden"]}


def test_enrichment__reads_the_numbers_of_whoever_comes_in_any_workspace_anyway(workspace, people):
    came = {people["hidden"]: Cause.EVENT, people["elsewhere"]: Cause.EVENT}
    hand_over(came, stage=Stage.IDENTITY, workspace_id=workspace.pk)

    with gate.permit(Purpose.ENRICHMENT, workspace_id=workspace.pk), connection.cursor() as cursor:
        cursor.execute("SELECT unnest(subjects) FROM outbox WHERE stage = 'IDENTITY'")
        read = {number for (number,) in cursor.fetchall()}

    assert read >= came.keys()


@pytest.mark.parametrize("who", ["hidden", "elsewhere", "nobody"])
def test_trait__of_whom_enrichment_may_not_see__is_refused_as_that_of_nobody(who, workspace, people):
    said = answer(workspace, Purpose.ENRICHMENT, TRAIT, {"seen": people[who]}, people["seen"])

    assert 'new row violates check option for view "trait"' in said
    assert not Profile.objects.filter(traits__name="probe").exists()

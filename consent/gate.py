"""The gate: the only way to people's data, and the only maker of a `Permit`.

    with gate.permit(Purpose.ADVERTISING, workspace_id=7) as permit:
        audience.reconcile(permit, ...)

Inside, the transaction has the role and the search path of the purpose: the same models and the same SQL read the
people who permit it now, and nobody else. Python cannot forget the check, because Postgres makes it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar, overload

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from cdp.kernel.arrays import texts
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose

P_co = TypeVar("P_co", bound=Purpose, covariant=True)

Collection = Literal[Purpose.COLLECTION]
Identity = Literal[Purpose.IDENTITY]
Enrichment = Literal[Purpose.ENRICHMENT]
Segmentation = Literal[Purpose.SEGMENTATION]
Learning = Literal[Purpose.LEARNING]
Advertising = Literal[Purpose.ADVERTISING]
Analytics = Literal[Purpose.ANALYTICS]


class NestedPermitError(TesseraError):
    """A purpose was asked for inside another one: finish the first transaction, then open the second."""

    code = "nested_permit"


@dataclass(frozen=True, slots=True)
class Permit(Generic[P_co]):
    """Proof that the current transaction works under this purpose. A stage demands one of its own purpose."""

    purpose: P_co
    workspace_id: int


# mypy infers `Permit[Purpose]` from a plain type variable, which would satisfy nobody: hence a signature each.
@overload
def permit(purpose: Collection, *, workspace_id: int) -> AbstractContextManager[Permit[Collection]]: ...
@overload
def permit(purpose: Identity, *, workspace_id: int) -> AbstractContextManager[Permit[Identity]]: ...
@overload
def permit(purpose: Enrichment, *, workspace_id: int) -> AbstractContextManager[Permit[Enrichment]]: ...
@overload
def permit(purpose: Segmentation, *, workspace_id: int) -> AbstractContextManager[Permit[Segmentation]]: ...
@overload
def permit(purpose: Learning, *, workspace_id: int) -> AbstractContextManager[Permit[Learning]]: ...
@overload
def permit(purpose: Advertising, *, workspace_id: int) -> AbstractContextManager[Permit[Advertising]]: ...
@overload
def permit(purpose: Analytics, *, workspace_id: int) -> AbstractContextManager[Permit[Analytics]]: ...
@overload
def permit(purpose: Purpose, *, workspace_id: int) -> AbstractContextManager[Permit[Purpose]]: ...


def permit(purpose: Purpose, *, workspace_id: int) -> AbstractContextManager[Permit[Purpose]]:
    """Open a transaction under the role of `purpose`.

    Raises `ProgrammingError` ("permission denied to set role") where the process's login is no member of the purpose,
    and `NestedPermitError` inside another permit.
    """
    return _transaction_of(purpose, workspace_id)


# Where a purpose holds already nothing is set, so that the error is the same whoever asks. What was before is known
# before anything is set: a function in a list is promised no order, a CTE that is materialised is.
_ENTER = """
WITH before AS MATERIALIZED (
    SELECT current_setting('role') AS role, current_setting('search_path') AS search_path,
           current_setting('tessera.workspace', true) AS workspace
)
SELECT role, search_path, workspace, CASE WHEN role <> ALL(%s::text[]) THEN
    ARRAY[set_config('role', %s, true), set_config('search_path', %s, true), set_config('tessera.workspace', %s, true)]
END FROM before
"""
_LEAVE = """
SELECT set_config('role', %s, true), set_config('search_path', %s, true), set_config('tessera.workspace', %s, true)
"""
_PURPOSES = texts(Purpose)
# Whoever stores people and whoever erases one take turns: what is stored is looked up in the list of suppressed people
# before and not again after, and events have no foreign key that would tell. Those who store share the turn.
ERASING: Final = 4712
_SHARE_TURN = "SELECT pg_advisory_xact_lock_shared(4712, %s)"


@contextmanager
def _transaction_of(purpose: Purpose, workspace_id: int) -> Iterator[Permit[Purpose]]:
    # Settings of a transaction end with it; within a savepoint they would outlive it. A rollback restores them by itself.
    is_outermost = connection.get_autocommit()
    with transaction.atomic(), connection.cursor() as cursor:
        before = _enter(cursor, purpose, workspace_id)
        if not purpose.is_gated:
            cursor.execute(_SHARE_TURN, [workspace_id])
        yield Permit(purpose, workspace_id)
        if not is_outermost:
            cursor.execute(_LEAVE, before)


def _enter(cursor: CursorWrapper, purpose: Purpose, workspace_id: int) -> tuple[str, str, str]:
    """Returns the settings that were before."""
    cursor.execute(_ENTER, [_PURPOSES, purpose.value, f"{purpose.value}, core", str(workspace_id)])
    role, search_path, workspace, entered = cursor.fetchone()
    if entered is None:
        raise NestedPermitError(held=role, asked=purpose.value)
    return role, search_path, workspace or ""

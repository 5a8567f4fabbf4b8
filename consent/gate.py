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


_READ = "SELECT current_setting('role'), current_setting('search_path'), current_setting('tessera.workspace', true)"
_SET = """
SELECT set_config('role', %s, true), set_config('search_path', %s, true), set_config('tessera.workspace', %s, true)
"""
# Whoever stores people and whoever erases one take turns: what is stored is looked up in the list of suppressed people
# before and not again after, and events have no foreign key that would tell. Those who store share the turn.
ERASING: Final = 4712
_SHARE_TURN = """
SELECT set_config('role', %s, true), set_config('search_path', %s, true), set_config('tessera.workspace', %s, true),
       pg_advisory_xact_lock_shared(4712, %s)
"""


@contextmanager
def _transaction_of(purpose: Purpose, workspace_id: int) -> Iterator[Permit[Purpose]]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_READ)
        role, search_path, workspace = cursor.fetchone()
        if role in set(Purpose):
            raise NestedPermitError(held=role, asked=purpose.value)
        settings: list[str] = [purpose.value, f"{purpose.value}, core", str(workspace_id)]
        if purpose.is_gated:
            cursor.execute(_SET, settings)
        else:
            cursor.execute(_SHARE_TURN, (*settings, workspace_id))
        yield Permit(purpose, workspace_id)
        # Within a savepoint the settings would outlive it; a rollback restores them by itself.
        cursor.execute(_SET, [role, search_path, workspace or ""])

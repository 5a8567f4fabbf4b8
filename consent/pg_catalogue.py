"""Questions to Postgres's own catalogue, which is open to every login."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.db import connection

from cdp.kernel.logins import DUTIES, OWNER, PURPOSES_BY_LOGIN
from cdp.kernel.purposes import Purpose

CORE: Final = "core"
PURPOSE_ROLES: Final = tuple(purpose.value for purpose in Purpose)
OUR_ROLES: Final = (OWNER, *PURPOSES_BY_LOGIN, *PURPOSE_ROLES, *sorted(DUTIES))


def our_schemas() -> list[str]:
    return [CORE, *PURPOSE_ROLES]


def rows(query: str, parameters: Sequence[list[str]] | Mapping[str, list[str] | str] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found

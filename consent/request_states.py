"""The life of a request: which state follows which. The database keeps to the same table by a trigger."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class RequestState(StrEnum):
    RECEIVED = "RECEIVED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    REFUSED = "REFUSED"
    DUPLICATE = "DUPLICATE"
    TAKEN_BACK = "TAKEN_BACK"


class Verification(StrEnum):
    """How sure it is that the person asks themselves."""

    NONE = ""
    MANUAL = "MANUAL"
    CODE = "CODE"
    CODE_AND_IDENTIFIER = "CODE_AND_IDENTIFIER"
    LOGGED_IN = "LOGGED_IN"


S = RequestState
FOLLOWING: Final[Mapping[RequestState, frozenset[RequestState]]] = MappingProxyType(
    {
        S.RECEIVED: frozenset({S.IN_PROGRESS, S.REFUSED, S.DUPLICATE, S.TAKEN_BACK}),
        S.IN_PROGRESS: frozenset({S.COMPLETED, S.REFUSED, S.DUPLICATE, S.TAKEN_BACK}),
        S.COMPLETED: frozenset(),
        S.REFUSED: frozenset(),
        S.DUPLICATE: frozenset(),
        S.TAKEN_BACK: frozenset(),
    }
)

OPEN: Final = frozenset({S.RECEIVED, S.IN_PROGRESS})

# Nothing is done for somebody of whom nobody knows who they are. To refuse them, or to let them go, needs no proof.
WITHOUT_VERIFICATION: Final = frozenset({S.RECEIVED, S.REFUSED, S.TAKEN_BACK})


def may_follow(state: str, following: str) -> bool:
    return RequestState(following) in FOLLOWING[RequestState(state)]

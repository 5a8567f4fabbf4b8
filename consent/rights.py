"""Which rights a person has, by the legal bases on which their data are used (CNIL's guide for developers, as data)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Right(StrEnum):
    """What a person may ask for; the number is the article of the GDPR."""

    ACCESS = "ACCESS"  # 15
    RECTIFICATION = "RECTIFICATION"  # 16
    ERASURE = "ERASURE"  # 17
    RESTRICTION = "RESTRICTION"  # 18
    PORTABILITY = "PORTABILITY"  # 20
    OBJECTION = "OBJECTION"  # 21
    HUMAN_REVIEW = "HUMAN_REVIEW"  # 22
    WITHDRAWAL = "WITHDRAWAL"  # 7(3)


ARTICLES: Final[Mapping[Right, str]] = MappingProxyType(
    {
        Right.ACCESS: "15",
        Right.RECTIFICATION: "16",
        Right.ERASURE: "17",
        Right.RESTRICTION: "18",
        Right.PORTABILITY: "20",
        Right.OBJECTION: "21",
        Right.HUMAN_REVIEW: "22",
        Right.WITHDRAWAL: "7(3)",
    }
)

_ALWAYS: Final = frozenset({Right.ACCESS, Right.RECTIFICATION, Right.RESTRICTION, Right.HUMAN_REVIEW})

# HUMAN_REVIEW is about decisions that machines make alone, whatever they rest on.
RIGHTS_BY_BASIS: Final[Mapping[str, frozenset[Right]]] = MappingProxyType(
    {
        "CONSENT": _ALWAYS | {Right.ERASURE, Right.PORTABILITY, Right.WITHDRAWAL},
        "CONTRACT": _ALWAYS | {Right.ERASURE, Right.PORTABILITY},
        "LEGITIMATE_INTEREST": _ALWAYS | {Right.ERASURE, Right.OBJECTION},
        "LEGAL_OBLIGATION": _ALWAYS | {Right.ERASURE},
        "PUBLIC_INTEREST": _ALWAYS | {Right.OBJECTION},
        "VITAL_INTERESTS": _ALWAYS | {Right.ERASURE},
    }
)

# What the law makes people keep is not erased before its time.
LIMITED: Final = frozenset({("LEGAL_OBLIGATION", Right.ERASURE)})

WHY_NOT: Final[Mapping[Right, str]] = MappingProxyType(
    {
        Right.ERASURE: "no_basis_for_erasure",
        Right.PORTABILITY: "neither_consent_nor_contract",
        Right.OBJECTION: "withdraw_instead_or_bound",
        Right.WITHDRAWAL: "nothing_rests_on_consent",
    }
)


@dataclass(frozen=True, slots=True)
class Offer:
    """Whether a right is offered; `bases` are those that give it, `reason` is a code where none does."""

    right: Right
    is_offered: bool
    is_limited: bool
    bases: tuple[str, ...]
    reason: str


def offers(bases: Collection[str]) -> dict[Right, Offer]:
    """All rights, for a workspace that uses data on these bases. One basis that gives a right suffices."""
    return {right: _offer(right, bases) for right in Right}


def _offer(right: Right, bases: Collection[str]) -> Offer:
    giving = tuple(sorted(basis for basis in set(bases) if right in RIGHTS_BY_BASIS.get(basis, frozenset())))
    # Whether anything is used at all, and on what ground, may be asked of anybody.
    if giving or right in _ALWAYS:
        is_limited = bool(giving) and all((basis, right) in LIMITED for basis in giving)
        return Offer(right, is_offered=True, is_limited=is_limited, bases=giving, reason="")
    return Offer(right, is_offered=False, is_limited=False, bases=(), reason=WHY_NOT[right])

"""What a TC string of the Transparency and Consent Framework says (TCF 2.2 and 2.3). Pure.

It is read and never written: only a registered CMP may make or alter one. Whoever passes it on passes on the text.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final

from consent.signals.bits import Bits, Ids, MalformedSignalError, refuse_long, segments

VERSION: Final = 2
OLDEST_POLICY: Final = 4  # earlier ones ended on 30 September 2023
DISCLOSURE_FROM: Final = datetime(2026, 3, 1, tzinfo=UTC)  # strings made from here on name the vendors that were shown
NEVER_BY_INTEREST: Final = (3, 4, 5, 6)
STORAGE: Final = 1  # purpose 1, store and access information on a device, rests on consent alone
PURPOSES: Final = range(1, 25)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCKS_DIFFER: Final = timedelta(days=1)


class Fault(StrEnum):
    """Why a string that can be read is worth nothing."""

    POLICY_ENDED = "policy_ended"
    NOT_SERVICE_SPECIFIC = "not_service_specific"
    DATES_DIFFER = "dates_differ"
    NOT_A_DAY = "not_a_day"
    FORBIDDEN_INTEREST = "forbidden_interest"
    DISCLOSED_VENDORS_MISSING = "disclosed_vendors_missing"
    MADE_IN_THE_FUTURE = "made_in_the_future"


class Basis(StrEnum):
    CONSENT = "consent"
    INTEREST = "legitimate_interest"


class Restriction(IntEnum):
    """What a publisher asks of vendors for a purpose."""

    FORBIDDEN = 0
    ONLY_CONSENT = 1
    ONLY_INTEREST = 2


class Ground(StrEnum):
    """Why a vendor may pursue a purpose, or why not."""

    PERMITTED = "permitted"
    INVALID = "invalid"
    NOT_DISCLOSED = "not_disclosed"
    FORBIDDEN_BY_PUBLISHER = "forbidden_by_publisher"
    BASIS_EXCLUDED = "basis_excluded"
    SEE_PUBLISHER_COUNTRY = "see_publisher_country"
    PURPOSE_REFUSED = "purpose_refused"
    VENDOR_REFUSED = "vendor_refused"


@dataclass(frozen=True, slots=True)
class PublisherRestriction:
    purpose: int
    kind: Restriction
    vendors: Ids


@dataclass(frozen=True, slots=True)
class PublisherPurposes:
    """What the publisher was permitted itself; custom purposes count from 1 and mean what it says they do."""

    consents: tuple[int, ...]
    interests: tuple[int, ...]
    custom_purposes: int
    custom_consents: tuple[int, ...]
    custom_interests: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TcString:
    """Purposes and features are numbers that are set. `text` is the string as it came."""

    text: str
    created_at: datetime
    updated_at: datetime
    cmp_id: int
    cmp_version: int
    consent_screen: int
    consent_language: str
    vendor_list_version: int
    policy_version: int
    is_service_specific: bool
    has_own_texts: bool
    special_features: tuple[int, ...]
    purpose_consents: tuple[int, ...]
    purpose_interests: tuple[int, ...]
    is_purpose_one_undisclosed: bool
    publisher_country: str
    vendor_consents: Ids
    vendor_interests: Ids
    restrictions: tuple[PublisherRestriction, ...]
    disclosed_vendors: Ids | None = None
    allowed_vendors: Ids | None = None
    publisher: PublisherPurposes | None = None


@dataclass(frozen=True, slots=True)
class VendorPurpose:
    """How the vendor list declares what one vendor does: on which basis, and whether a publisher may change it."""

    vendor: int
    purpose: int
    basis: Basis = Basis.CONSENT
    is_flexible: bool = False


@dataclass(frozen=True, slots=True)
class Permission:
    allowed: bool
    ground: Ground
    basis: Basis


# -- reading --------------------------------------------------------------------------------------------------------


def decode(text: str, *, start: int = 0) -> TcString:
    """Raises `MalformedSignalError`. `start` is where the text begins within a longer signal."""
    refuse_long(text)
    core, *others = text.split(".")
    said = _core(Bits(core, start))
    said |= segments(others, start + len(core) + 1, _segment, besides=said)
    return TcString(text=text, **said)  # type: ignore[arg-type]  # each name is read with its type below


def _core(bits: Bits) -> dict[str, object]:
    if bits.number(6) != VERSION:
        raise MalformedSignalError("it is no TC string of version 2", bits.start)
    return {
        **head(bits),
        "is_service_specific": bits.flag(),
        "has_own_texts": bits.flag(),
        "special_features": bits.set_among(12),
        "purpose_consents": bits.set_among(24),
        "purpose_interests": bits.set_among(24),
        "is_purpose_one_undisclosed": bits.flag(),
        "publisher_country": bits.letters(2),
        "vendor_consents": bits.ids(),
        "vendor_interests": bits.ids(),
        "restrictions": tuple(_restriction(bits) for _ in range(bits.number(12))),
    }


def head(bits: Bits) -> dict[str, object]:
    """What every string of the framework begins with, behind its version."""
    return {
        "created_at": _moment(bits),
        "updated_at": _moment(bits),
        "cmp_id": bits.number(12),
        "cmp_version": bits.number(12),
        "consent_screen": bits.number(6),
        "consent_language": bits.letters(2),
        "vendor_list_version": bits.number(12),
        "policy_version": bits.number(6),
    }


def _moment(bits: Bits) -> datetime:
    """Tenths of seconds in 36 bits, which end in 2187."""
    return _EPOCH + timedelta(milliseconds=100 * bits.number(36))


def _restriction(bits: Bits) -> PublisherRestriction:
    purpose, kind = bits.number(6), bits.number(2)
    if kind not in set(Restriction):
        raise bits.refuse("no such kind of restriction")
    return PublisherRestriction(purpose, Restriction(kind), bits.ranges())


def _segment(bits: Bits) -> tuple[str, object]:
    match bits.number(3):
        case 1:
            return "disclosed_vendors", bits.ids()
        case 2:
            return "allowed_vendors", bits.ids()
        case 3:
            return "publisher", publisher_purposes(bits)
        case _:
            raise MalformedSignalError("no such segment", bits.start)


def publisher_purposes(bits: Bits) -> PublisherPurposes:
    consents, interests, custom = bits.set_among(24), bits.set_among(24), bits.number(6)
    return PublisherPurposes(consents, interests, custom, bits.set_among(custom), bits.set_among(custom))


# -- judging --------------------------------------------------------------------------------------------------------


def faults_of(said: TcString, *, now: datetime) -> tuple[Fault, ...]:
    """Why the string is not valid; nothing where it is."""
    faults = {
        Fault.POLICY_ENDED: said.policy_version < OLDEST_POLICY,
        Fault.NOT_SERVICE_SPECIFIC: not said.is_service_specific,
        Fault.DATES_DIFFER: said.created_at != said.updated_at,
        Fault.NOT_A_DAY: bool((said.created_at - _EPOCH) % timedelta(days=1)),
        Fault.FORBIDDEN_INTEREST: any(purpose in said.purpose_interests for purpose in NEVER_BY_INTEREST),
        Fault.DISCLOSED_VENDORS_MISSING: said.created_at >= DISCLOSURE_FROM and said.disclosed_vendors is None,
        Fault.MADE_IN_THE_FUTURE: max(said.created_at, said.updated_at) > now + _CLOCKS_DIFFER,
    }
    return tuple(fault for fault, is_so in faults.items() if is_so)


def permission(said: TcString, asked: VendorPurpose, *, now: datetime) -> Permission:
    """Whether the string permits this vendor this purpose, on the basis that the publisher leaves it."""
    basis = Basis.CONSENT if asked.purpose == STORAGE else asked.basis
    restrictions = {
        each.kind for each in said.restrictions if each.purpose == asked.purpose and asked.vendor in each.vendors
    }
    ground = _obstacle(said, asked, restrictions, now)
    if ground is None:
        basis, is_excluded = _basis_left(basis, restrictions, may_change=asked.is_flexible and asked.purpose != STORAGE)
        ground = Ground.BASIS_EXCLUDED if is_excluded else _answer(said, asked, basis)
    return Permission(ground is Ground.PERMITTED, ground, basis)


def _obstacle(said: TcString, asked: VendorPurpose, restrictions: set[Restriction], now: datetime) -> Ground | None:
    if faults_of(said, now=now):
        return Ground.INVALID
    if said.disclosed_vendors is not None and asked.vendor not in said.disclosed_vendors:
        return Ground.NOT_DISCLOSED
    if Restriction.FORBIDDEN in restrictions:
        return Ground.FORBIDDEN_BY_PUBLISHER
    if asked.purpose == STORAGE and said.is_purpose_one_undisclosed:
        return Ground.SEE_PUBLISHER_COUNTRY
    return None


def _basis_left(basis: Basis, restrictions: set[Restriction], *, may_change: bool) -> tuple[Basis, bool]:
    """The basis after the publisher's wishes, and whether they leave the vendor none."""
    wished = {
        wish
        for kind, wish in ((Restriction.ONLY_CONSENT, Basis.CONSENT), (Restriction.ONLY_INTEREST, Basis.INTEREST))
        if kind in restrictions
    }
    if not wished or wished == {basis}:
        return basis, False
    if may_change and len(wished) == 1:
        return wished.pop(), False
    return basis, True


def _answer(said: TcString, asked: VendorPurpose, basis: Basis) -> Ground:
    by_consent = basis is Basis.CONSENT
    if asked.purpose not in (said.purpose_consents if by_consent else said.purpose_interests):
        return Ground.PURPOSE_REFUSED
    if asked.vendor not in (said.vendor_consents if by_consent else said.vendor_interests):
        return Ground.VENDOR_REFUSED
    return Ground.PERMITTED

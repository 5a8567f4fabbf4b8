"""What a string of the Global Privacy Platform says: its header, and those of its sections whose layout is known. Pure.

It is read and never written. A section without a layout stays as it came, and so does the whole.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from consent.signals import gpp_layouts as layouts
from consent.signals import tc_string
from consent.signals.bits import Bits, Ids, MalformedSignalError, refuse_long, segments
from consent.signals.tc_string import PublisherPurposes, TcString

VERSION: Final = 1
US_PRIVACY: Final = re.compile(r"1[YN-]{3}")

Fields = Mapping[str, int | bool | str | tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class CanadianRestriction:
    purpose: int
    kind: int
    vendors: Ids


@dataclass(frozen=True, slots=True)
class CanadianString:
    """TCF Canada: consent is express or implied."""

    created_at: datetime
    updated_at: datetime
    cmp_id: int
    cmp_version: int
    consent_screen: int
    consent_language: str
    vendor_list_version: int
    policy_version: int
    has_own_texts: bool
    special_features: tuple[int, ...]
    express_consents: tuple[int, ...]
    implied_consents: tuple[int, ...]
    express_vendors: Ids
    implied_vendors: Ids
    restrictions: tuple[CanadianRestriction, ...]
    disclosed_vendors: Ids | None = None
    publisher: PublisherPurposes | None = None


@dataclass(frozen=True, slots=True)
class GppSection:
    """`said` is None where no layout of its version is known. `name` is empty for a number that we do not know."""

    id: int
    name: str
    text: str
    said: TcString | CanadianString | Fields | None


@dataclass(frozen=True, slots=True)
class GppString:
    text: str
    sections: tuple[GppSection, ...]

    def section(self, number: int) -> GppSection | None:
        return next((each for each in self.sections if each.id == number), None)


def decode(text: str) -> GppString:
    """Raises `MalformedSignalError`."""
    refuse_long(text)
    header, *parts = text.split("~")
    numbers = section_ids(header)
    if len(numbers) != len(parts):
        raise MalformedSignalError(f"the header names {len(numbers)} sections, and there are {len(parts)}", 0)
    sections = []
    start = len(header) + 1
    for number, part in zip(numbers, parts, strict=True):
        sections.append(GppSection(number, layouts.NAMES.get(number, ""), part, _said(number, part, start)))
        start += len(part) + 1
    return GppString(text, tuple(sections))


def section_ids(header: str) -> list[int]:
    """Which sections follow, in their order."""
    bits = Bits(header)
    if bits.number(6) != layouts.HEADER:
        raise MalformedSignalError("it does not begin with the header of a GPP string", 0)
    if bits.number(6) != VERSION:
        raise MalformedSignalError("its version is not known", 1)
    return [number for first, last in bits.fibonacci_ranges().ranges for number in range(first, last + 1)]


def us_privacy(text: str, *, start: int = 0) -> Fields:
    """The four characters that came before GPP, such as `1YNN`."""
    if not US_PRIVACY.fullmatch(text):
        raise MalformedSignalError("US Privacy is 1 and three of Y, N and -", start)
    return {"version": 1, "notice": text[1], "opt_out_sale": text[2], "lspa_covered": text[3]}


def _said(number: int, part: str, start: int) -> TcString | CanadianString | Fields | None:
    match number:
        case layouts.EU_TCF:
            return tc_string.decode(part, start=start)
        case layouts.CANADA:
            return _canadian(part, start)
        case layouts.US_PRIVACY:
            return us_privacy(part, start=start)
        case _:
            return _of_states(layouts.SECTIONS.get(number, ()), part, start)


# -- the United States ----------------------------------------------------------------------------------------------


def _of_states(versions: tuple[layouts.Section, ...], part: str, start: int) -> Fields | None:
    if not versions:
        return None
    core, *others = part.split(".")
    bits = Bits(core, start)
    version = bits.number(6)
    section = next((each for each in versions if each.version == version), None)
    if section is None:
        return None
    said: dict[str, int | bool | str | tuple[int, ...]] = {"version": version, **_fields(bits, section.core)}
    return said | segments(others, start + len(core) + 1, partial(_behind, section), besides=said)


def _fields(bits: Bits, layout: layouts.Layout) -> dict[str, int | tuple[int, ...]]:
    return {name: _numbers(bits, count) if count else bits.number(2) for name, count in layout}


def _numbers(bits: Bits, count: int) -> tuple[int, ...]:
    return tuple(bits.number(2) for _ in range(count))


def _behind(section: layouts.Section, bits: Bits) -> tuple[str, bool | tuple[int, ...]]:
    if section.sensitive:
        return "sensitive_data_processing", _numbers(bits, section.sensitive)
    if section.has_gpc and bits.number(2) == 1:
        return "gpc", bits.flag()
    raise MalformedSignalError("no such segment", bits.start)


# -- Canada ---------------------------------------------------------------------------------------------------------


def _canadian(part: str, start: int) -> CanadianString:
    core, *others = part.split(".")
    said = _canadian_core(Bits(core, start))
    said |= segments(others, start + len(core) + 1, _canadian_segment, besides=said)
    return CanadianString(**said)  # type: ignore[arg-type]  # each name is read with its type below


def _canadian_core(bits: Bits) -> dict[str, object]:
    if bits.number(6) != VERSION:
        raise MalformedSignalError("it is no Canadian TC string of version 1", bits.start)
    return {
        **tc_string.head(bits),
        "has_own_texts": bits.flag(),
        "special_features": bits.set_among(12),
        "express_consents": bits.set_among(24),
        "implied_consents": bits.set_among(24),
        "express_vendors": bits.fibonacci_ids(),
        "implied_vendors": bits.fibonacci_ids(),
        "restrictions": tuple(_canadian_restriction(bits) for _ in range(bits.number(12))),
    }


def _canadian_restriction(bits: Bits) -> CanadianRestriction:
    return CanadianRestriction(bits.number(6), bits.number(2), bits.fibonacci_ids())


def _canadian_segment(bits: Bits) -> tuple[str, object]:
    match bits.number(3):
        case 1:
            return "disclosed_vendors", bits.fibonacci_ids()
        case 3:
            return "publisher", tc_string.publisher_purposes(bits)
        case _:
            raise MalformedSignalError("no such segment", bits.start)

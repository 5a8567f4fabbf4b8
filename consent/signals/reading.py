"""Any signal, as JSON that says what it says. Pure."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from consent.signals import gpp, tc_string
from consent.signals.bits import Ids
from consent.signals.tc_string import TcString, VendorPurpose

_BASES = {"consent": tc_string.Basis.CONSENT, "interest": tc_string.Basis.INTEREST}


def read(text: str, *, now: datetime, vendor: int | None = None) -> dict[str, Any]:
    """Tells a TC string, a GPP string and US Privacy apart. Raises `MalformedSignalError`.

    With a `vendor`, also what the vendor may do under TCF: each purpose on each of the two bases.
    """
    if gpp.US_PRIVACY.fullmatch(text):
        return {"kind": "us_privacy", "said": plain(gpp.us_privacy(text))}
    if not text.startswith("D"):  # the first six bits of a GPP string are its type, 3
        return {"kind": "tcf", **_judged(tc_string.decode(text), now, vendor)}
    sections = [_section(each, now, vendor) for each in gpp.decode(text).sections]
    return {"kind": "gpp", "sections": sections}


def _section(section: gpp.GppSection, now: datetime, vendor: int | None) -> dict[str, Any]:
    about = {"id": section.id, "name": section.name, "text": section.text}
    if isinstance(section.said, TcString):
        return {**about, **_judged(section.said, now, vendor)}
    return {**about, "said": plain(section.said)}


def _judged(said: TcString, now: datetime, vendor: int | None) -> dict[str, Any]:
    faults = tc_string.faults_of(said, now=now)
    told = {"is_valid": not faults, "faults": plain(faults), "said": plain(said)}
    return told if vendor is None else {**told, "vendor": _permissions(said, vendor, now)}


def _permissions(said: TcString, vendor: int, now: datetime) -> dict[str, Any]:
    return {
        "id": vendor,
        **{
            basis: [
                purpose
                for purpose in tc_string.PURPOSES
                if tc_string.permission(said, VendorPurpose(vendor, purpose, by), now=now) == _granted(by)
            ]
            for basis, by in _BASES.items()
        },
    }


def _granted(by: tc_string.Basis) -> tc_string.Permission:
    return tc_string.Permission(allowed=True, ground=tc_string.Ground.PERMITTED, basis=by)


def plain(value: object) -> object:
    """As JSON has it; ids of vendors are ranges, both ends included."""
    if isinstance(value, Ids):
        return [list(ends) for ends in value.ranges]
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    return value

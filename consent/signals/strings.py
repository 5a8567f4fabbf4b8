"""The consent strings that an event carries in `context.consent`, and what they answer. Pure.

They are named as the interfaces of CMPs name them: `tcString`, `gppString`, and `applicableSections` for the sections of
the GPP string that are in force. A yes counts only from a string without faults, a no from every one that can be read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from consent.signals import gpp, gpp_layouts, tc_string
from consent.signals.tc_string import TcString, VendorPurpose

TC_STRING, GPP_STRING, IN_FORCE = "tcString", "gppString", "applicableSections"
TCF_PURPOSES: Final = range(1, 12)
SALE, SHARING, TARGETED_ADVERTISING, GPC = "sale", "sharing", "targeted_advertising", "gpc"
OPT_OUTS: Final = (SALE, SHARING, TARGETED_ADVERTISING, GPC)

_OPTED_OUT: Final = 1
_OPT_OUT_FIELDS: Final = {f"{name}_opt_out": name for name in (SALE, SHARING, TARGETED_ADVERTISING)}


@dataclass(frozen=True, slots=True)
class Carried:
    """A string as it came. `sections` are those of a GPP string that are in force; None: it was not said."""

    name: str
    text: str
    sections: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """`purposes` says whether the vendor may pursue each purpose of TCF by consent, `opt_outs` whether somebody opted out
    under a law of the United States. What the string does not speak of is in neither.
    """

    purposes: Mapping[int, bool]
    opt_outs: Mapping[str, bool]
    faults: tuple[str, ...]

    @property
    def answers(self) -> Mapping[tuple[str, str], bool]:
        """By kind and category of a signal, for what counts: that nobody opted out is no consent."""
        of_purposes = {("TCF", str(purpose)): is_yes for purpose, is_yes in self.purposes.items()}
        return {**of_purposes, **{("OPT_OUT", name): False for name, is_out in self.opt_outs.items() if is_out}}


NOTHING: Final = Heard({}, {}, ())


def carried(consent: object) -> Iterator[Carried]:
    """The strings in `context.consent`."""
    if not isinstance(consent, dict):
        return
    if isinstance(text := consent.get(TC_STRING), str) and text:
        yield Carried(TC_STRING, text)
    if isinstance(text := consent.get(GPP_STRING), str) and text:
        yield Carried(GPP_STRING, text, _in_force(consent.get(IN_FORCE)))


def _in_force(given: object) -> frozenset[int] | None:
    return frozenset(each for each in given if isinstance(each, int)) if isinstance(given, list) else None


def hear(string: Carried, *, vendor: int | None, now: datetime) -> Heard:
    """What it answers for this vendor of the Global Vendor List; without one, nothing of TCF.

    Raises `MalformedSignalError`.
    """
    if string.name == TC_STRING:
        return _of_tcf(tc_string.decode(string.text), vendor, now)
    heard = NOTHING
    for section in gpp.decode(string.text).sections:
        if string.sections is None or section.id in string.sections:
            heard = _together(heard, _of_section(section, vendor, now))
    return heard


def _of_section(section: gpp.GppSection, vendor: int | None, now: datetime) -> Heard:
    if isinstance(section.said, TcString):
        return _of_tcf(section.said, vendor, now)
    if section.id == gpp_layouts.US_PRIVACY and isinstance(section.said, Mapping):
        return Heard({}, {SALE: section.said["opt_out_sale"] == "Y"}, ())
    if section.id in gpp_layouts.SECTIONS and isinstance(section.said, Mapping):
        return Heard({}, _opt_outs(section.said), ())
    return NOTHING


def _opt_outs(said: gpp.Fields) -> Mapping[str, bool]:
    """0 is not applicable, 1 opted out, 2 did not."""
    opt_outs = {name: said[field] == _OPTED_OUT for field, name in _OPT_OUT_FIELDS.items() if said.get(field)}
    return {**opt_outs, GPC: True} if said.get("gpc") is True else opt_outs


def _of_tcf(said: TcString, vendor: int | None, now: datetime) -> Heard:
    faults = tuple(fault.value for fault in tc_string.faults_of(said, now=now))
    if vendor is None:
        return Heard({}, {}, faults)
    answers = {purpose: _permits(said, vendor, purpose, now) for purpose in TCF_PURPOSES}
    if faults:
        answers = {purpose: False for purpose in TCF_PURPOSES if not _is_granted(said, vendor, purpose)}
    return Heard(answers, {}, faults)


def _permits(said: TcString, vendor: int, purpose: int, now: datetime) -> bool:
    return tc_string.permission(said, VendorPurpose(vendor, purpose), now=now).allowed


def _is_granted(said: TcString, vendor: int, purpose: int) -> bool:
    """By its bits alone, whatever else is wrong with the string."""
    return purpose in said.purpose_consents and vendor in said.vendor_consents


def _together(one: Heard, other: Heard) -> Heard:
    """Of two sections that speak of one thing the one that permits less counts."""
    purposes = {
        purpose: one.purposes.get(purpose, True) and other.purposes.get(purpose, True)
        for purpose in {*one.purposes, *other.purposes}
    }
    opt_outs = {name: one.opt_outs.get(name, False) or other.opt_outs.get(name, False) for name in OPT_OUTS}
    known = {name: is_out for name, is_out in opt_outs.items() if name in {*one.opt_outs, *other.opt_outs}}
    return Heard(purposes, known, (*one.faults, *other.faults))

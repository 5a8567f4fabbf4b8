"""Which fields the sections of a GPP string have, in the order of their bits. Pure data.

A number has two bits unless said otherwise; `field*n` is a list of n numbers. A version that is not here has no layout, and its
section stays as it came.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

EU_TCF: Final = 2
HEADER: Final = 3
CANADA: Final = 5
US_PRIVACY: Final = 6

Layout = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """`version` is the number in its first six bits. Behind its core a section may have a segment with `gpc`, or one with
    what the person says of sensitive data.
    """

    name: str
    version: int
    core: Layout
    has_gpc: bool = False
    sensitive: int = 0


def _layout(fields: str) -> Layout:
    """A count of 0 is a single number and not a list."""
    return tuple((name, int(count or 0)) for name, _, count in (each.partition("*") for each in fields.split()))


_MSPA = "mspa_covered_transaction mspa_opt_out_option_mode mspa_service_provider_mode"
_SALE_AND_ADS = "sale_opt_out_notice targeted_advertising_opt_out_notice sale_opt_out targeted_advertising_opt_out"


def _state(
    name: str, sensitive: int, children: str, *, first: str = "processing_notice", has_gpc: bool = True
) -> Section:
    """As most states have it from 2024 on."""
    children = f"known_child_sensitive_data_consents{children}"
    core = f"{first} {_SALE_AND_ADS} sensitive_data_processing*{sensitive} {children} additional_data_processing_consent {_MSPA}"
    return Section(name, 1, _layout(core), has_gpc)


def _early_state(name: str, sensitive: int, children: str = "", *, has_gpc: bool = True) -> Section:
    """Without a consent to additional processing."""
    core = f"sharing_notice {_SALE_AND_ADS} sensitive_data_processing*{sensitive} known_child_sensitive_data_consents{children}"
    return Section(name, 1, _layout(f"{core} {_MSPA}"), has_gpc)


def _late_state(name: str, *, children: bool = True, has_gpc: bool = False, sensitive: int = 0) -> Section:
    """The agreement comes first, and sensitive data has a segment of its own."""
    core = f"mspa_covered_transaction mspa_mode processing_notice {_SALE_AND_ADS}"
    core += " known_child_sensitive_data_consents" if children else ""
    return Section(name, 1, _layout(f"{core} additional_data_processing_consent"), has_gpc, sensitive)


def _national(version: int, sensitive: int, children: int) -> Section:
    core = (
        "sharing_notice sale_opt_out_notice sharing_opt_out_notice targeted_advertising_opt_out_notice"
        " sensitive_data_processing_opt_out_notice sensitive_data_limit_use_notice sale_opt_out sharing_opt_out"
        f" targeted_advertising_opt_out sensitive_data_processing*{sensitive}"
        f" known_child_sensitive_data_consents*{children} personal_data_consents {_MSPA}"
    )
    return Section("usnat", version, _layout(core), has_gpc=True)


_CALIFORNIA = (
    "sale_opt_out_notice sharing_opt_out_notice sensitive_data_limit_use_notice sale_opt_out sharing_opt_out"
    f" sensitive_data_processing*9 known_child_sensitive_data_consents*2 personal_data_consents {_MSPA}"
)
_UTAH = (
    "sharing_notice sale_opt_out_notice targeted_advertising_opt_out_notice sensitive_data_processing_opt_out_notice"
    " sale_opt_out targeted_advertising_opt_out sensitive_data_processing*8 known_child_sensitive_data_consents"
    f" {_MSPA}"
)
_IOWA = (
    "processing_notice sale_opt_out_notice targeted_advertising_opt_out_notice sensitive_data_opt_out_notice"
    " sale_opt_out targeted_advertising_opt_out sensitive_data_processing*8 known_child_sensitive_data_consents"
    f" {_MSPA}"
)

SECTIONS: Final[Mapping[int, tuple[Section, ...]]] = {
    7: (_national(1, 12, 2), _national(2, 16, 3)),
    8: (Section("usca", 1, _layout(_CALIFORNIA), has_gpc=True),),
    9: (_early_state("usva", 8, has_gpc=False),),
    10: (_early_state("usco", 7),),
    11: (Section("usut", 1, _layout(_UTAH)),),
    12: (_early_state("usct", 8, "*3"),),
    13: (_state("usfl", 8, "*3", has_gpc=False),),
    14: (_state("usmt", 8, "*3", first="sharing_notice"),),
    15: (_state("usor", 11, "*3"),),
    16: (_state("ustx", 8, ""),),
    17: (_state("usde", 9, "*5"),),
    18: (Section("usia", 1, _layout(_IOWA), has_gpc=True),),
    19: (_state("usne", 8, ""),),
    20: (_state("usnh", 8, "*3"),),
    21: (_state("usnj", 10, "*5"),),
    22: (_state("ustn", 8, ""),),
    23: (_state("usmn", 8, ""),),
    24: (_late_state("usmd", children=False, has_gpc=True),),
    25: (_late_state("usin", sensitive=8),),
    26: (_late_state("usky", sensitive=8),),
    27: (_late_state("usri", sensitive=8),),
}
NAMES: Final[Mapping[int, str]] = {
    EU_TCF: "tcfeuv2",
    CANADA: "tcfcav1",
    US_PRIVACY: "uspv1",
    **{number: versions[0].name for number, versions in SECTIONS.items()},
}

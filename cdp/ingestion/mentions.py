"""Whom a text names that could not be understood: addresses, telephone numbers and the ids of SDKs are found as they stand.

What is refused is kept whole, for people to mend; but not where it names somebody who is not to be stored.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from cdp.ingestion.normalise import identifier_value
from cdp.ingestion.sources import regions_of
from consent import suppression

T = TypeVar("T")
Node = tuple[str, str]

_ADDRESS: Final = re.compile(r"[\w.!#$%&*+/=?^`{|}~-]+@[\w.-]+\w")
_NUMBER: Final = re.compile(r"\+?\d[\d ./()-]{6,18}\d")
_SDK_ID: Final = re.compile(r'"(userId|anonymousId)"\s*:\s*"([^"\\]+)"')
_TYPES: Final = {"userId": "user_id", "anonymousId": "anonymous_id"}


def without_suppressed(
    refused: Sequence[T], text_of: Callable[[T], str], *, source_id: int, workspace_id: int
) -> Sequence[T]:
    """Those that name nobody who is suppressed; the others are counted. In the transaction that keeps them."""
    if not refused or not suppression.is_in_use(workspace_id):
        return refused
    suppression.share_turn(workspace_id)
    region = regions_of([source_id])[source_id]
    named = [set(_named_in(text_of(one), region)) for one in refused]
    suppressed = suppression.suppressed_in(workspace_id, set().union(*named))
    kept = [one for one, names in zip(refused, named, strict=True) if suppressed.isdisjoint(names)]
    if dropped := len(refused) - len(kept):
        suppression.count_dropped(workspace_id, dropped)
    return kept


def _named_in(text: str, region: str) -> Iterator[Node]:
    for kind, pattern in (("email", _ADDRESS), ("phone", _NUMBER)):
        for found in pattern.findall(text):
            if value := identifier_value(kind, found, region=region):
                yield kind, value
    for name, value in _SDK_ID.findall(text):
        yield _TYPES[name], value

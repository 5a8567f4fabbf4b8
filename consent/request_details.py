"""What a request is about besides the person: purposes that are objected to or withdrawn, values that are corrected."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models.secrets import decrypted, encrypted
from consent.models import DataRequest, LegalBasis, PurposePolicy, Scope
from consent.rights import Right

MOST_CORRECTIONS: Final = 100
LONGEST_NAME: Final = 128
LONGEST_VALUE: Final = 2_000

# On which legal bases a purpose must rest for the right to reach it. Direct marketing may be objected to whatever it
# rests on (Art. 21(2)), and that is never balanced.
BASES: Final[Mapping[Right, frozenset[str]]] = {
    Right.OBJECTION: frozenset({LegalBasis.LEGITIMATE_INTEREST, LegalBasis.PUBLIC_INTEREST}),
    Right.WITHDRAWAL: frozenset({LegalBasis.CONSENT}),
}
MARKETING: Final = frozenset({Purpose.ADVERTISING})


class InvalidDetailsError(TesseraError):
    """Purposes belong to an objection or a withdrawal, and corrected values to a rectification: `details` says what is wrong."""

    code = "invalid_request_details"


@dataclass(frozen=True, slots=True)
class Details:
    """Without `purposes` all are meant that the right reaches. `corrections` are values by the name of their trait."""

    purposes: tuple[Purpose, ...] = ()
    corrections: Mapping[str, Any] = field(default_factory=dict)

    def sealed(self) -> bytes | None:
        if not self.purposes and not self.corrections:
            return None
        return encrypted({"purposes": json.dumps(self.purposes), "corrections": json.dumps(dict(self.corrections))})


def details_of(request: DataRequest) -> Details:
    if request.details is None:
        return Details()
    kept = decrypted(request.details)
    purposes = tuple(Purpose(purpose) for purpose in json.loads(kept["purposes"]))
    return Details(purposes, json.loads(kept["corrections"]))


def checked_details(
    kind: Right, *, workspace_id: int, purposes: Sequence[Purpose], corrections: Mapping[str, Any]
) -> Details:
    """In the scope of the workspace. Raises `InvalidDetailsError`."""
    if purposes and kind not in BASES:
        raise InvalidDetailsError(fault="purposes_of_another_right")
    if corrections and kind is not Right.RECTIFICATION:
        raise InvalidDetailsError(fault="corrections_of_another_right")
    out_of_reach = set(purposes) - purposes_reached(kind, workspace_id=workspace_id)
    if out_of_reach:
        raise InvalidDetailsError(fault="purpose_on_another_basis", purposes=sorted(out_of_reach))
    if len(corrections) > MOST_CORRECTIONS or not all(map(_is_correction, corrections, corrections.values())):
        raise InvalidDetailsError(fault="not_a_value")
    return Details(tuple(dict.fromkeys(purposes)), corrections)


def purposes_reached(kind: Right, *, workspace_id: int) -> frozenset[Purpose]:
    """All purposes that an objection or a withdrawal may name, in the scope of the workspace."""
    bases = BASES.get(kind, frozenset())
    rows = PurposePolicy.objects.filter(workspace=workspace_id, legal_basis__in=bases).values_list("purpose", flat=True)
    resting = frozenset(Purpose(purpose) for purpose in rows)
    return resting | MARKETING if kind is Right.OBJECTION else resting


def by_device(workspace_id: int) -> frozenset[Purpose]:
    """The purposes that are judged device by device, in the scope of the workspace."""
    rows = PurposePolicy.objects.filter(workspace=workspace_id, scope=Scope.DEVICE).values_list("purpose", flat=True)
    return frozenset(Purpose(purpose) for purpose in rows)


def _is_correction(name: str, value: object) -> bool:
    """A plain value, as sources give them: whoever corrects a thing with parts corrects the parts."""
    if not 0 < len(name) <= LONGEST_NAME:
        return False
    return isinstance(value, bool | int | float) or (isinstance(value, str) and 0 < len(value) <= LONGEST_VALUE)

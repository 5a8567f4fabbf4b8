"""Numbers of companies: SIREN, SIRET and VAT numbers, without their spaces and with their check digits checked."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from stdnum.eu import vat
from stdnum.exceptions import ValidationError
from stdnum.fr import siren as stdnum_siren
from stdnum.fr import siret as stdnum_siret

from cdp.ingestion.normalise.values import MOST_CACHED, text

LONGEST: Final = 40


def siren(raw: object) -> str | None:
    return _checked(stdnum_siren.validate, text(raw))


def siret(raw: object) -> str | None:
    return _checked(stdnum_siret.validate, text(raw))


def vat_number(raw: object, *, region: str = "") -> str | None:
    """With the sign of its country in front, as the Union writes it; where it lacks, that of the region."""
    written = text(raw).upper()
    return _checked(vat.validate, written) or (_checked(vat.validate, f"{region.upper()}{written}") if region else None)


@lru_cache(MOST_CACHED)
def _checked(validate: Callable[[str], str], written: str) -> str | None:
    if not written or len(written) > LONGEST:
        return None
    try:
        found = str(validate(written.replace("\u00a0", " ").replace("\u202f", " ")))
    except ValidationError:
        return None
    return found if found.isascii() else None

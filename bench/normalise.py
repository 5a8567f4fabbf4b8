"""Normalising values one by one, beside what the libraries alone cost: `phonenumbers.parse` with its check, and
`validate_email` without DNS. All values are different, so that no cache helps; what repeats is measured besides.
"""

from collections.abc import Callable, Sequence
from random import Random

import phonenumbers
from email_validator import validate_email

from bench import harness
from cdp.ingestion.normalise import BUILT_IN, NORMALISERS, identifier_value

VALUES = 5_000
REGION = "FR"
MONTHS = ("janvier", "mars", "juillet", "novembre")
EXAMPLES: dict[str, Callable[[int], str]] = {
    "email": lambda n: f"Ada.Byron{n}@example.com",
    "phone": lambda n: f"06 {n // 10_000 + 12:02} {n // 100 % 100:02} {n % 100:02} 78",
    "name": lambda n: f"JEAN-{_word(n)} DE LA {_word(n + 1)}",
    "date_of_birth": lambda n: f"{n % 28 + 1} {MONTHS[n % 4]} {1900 + n // 60}",
    "postcode": lambda n: f"{n + 10_000:05}"[:2] + " " + f"{n + 10_000:05}"[2:],
    "town": lambda n: f"ST {_word(n)} EN MER CEDEX",
    "money": lambda n: f"1 {n % 900 + 100},{n // 100:02} €",
    "siren": lambda n: f"{n + 552_100_000}",
}
BASELINES: dict[str, Callable[[str], object]] = {
    "phone": lambda written: phonenumbers.is_valid_number(phonenumbers.parse(written, REGION)),
    "email": lambda written: validate_email(written, check_deliverability=False),
}


def run() -> dict[str, object]:
    figures = {f"{kind}_per_second": _per_second(_of_kind(kind), _values(kind)) for kind in EXAMPLES}
    repeated = ["ada@example.com"] * VALUES
    figures["repeated_email_per_second"] = _per_second(_identifier, repeated)
    baseline = {f"{kind}_per_second": _per_second(library, _values(kind)) for kind, library in BASELINES.items()}
    return {
        "name": "normalise",
        "figures": figures,
        "baseline": baseline,
        "ratio": round(figures["phone_per_second"] / baseline["phone_per_second"], 3),
    }


def _values(kind: str) -> list[str]:
    """Each time others, so that the second run of a measurement finds nothing in a cache either."""
    numbers = Random(kind).sample(range(60_000), VALUES)
    return [EXAMPLES[kind](number) for number in numbers]


def _of_kind(kind: str) -> Callable[[str], object]:
    normaliser = NORMALISERS[kind]
    return lambda written: normaliser(written, region=REGION, corrections=BUILT_IN)


def _identifier(written: str) -> object:
    return identifier_value("email", written, region=REGION)


def _per_second(work: Callable[[str], object], values: Sequence[str]) -> int:
    with harness.stopwatch() as watch:
        for value in values:
            work(value)
    return round(len(values) / watch.seconds)


def _word(number: int) -> str:
    return "".join("BCDFGLMNPR"[int(digit)] + "A" for digit in f"{number:04}")

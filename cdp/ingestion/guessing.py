"""A mapping to begin with: columns are recognised by what they are called and by what is in them. Pure.

A name that its contents contradict does not count: a column `mail` full of streets is no e-mail address. What is not
sure is said beside each line, and everything may be changed before anything is loaded.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import yaml

from cdp.ingestion import column_names as names
from cdp.ingestion import messages
from cdp.ingestion.column_contents import Contents, contents_of
from cdp.ingestion.dialects import Dialect

SAMPLED_ROWS: Final = 1_000
_ENOUGH: Final = 0.8  # of the values must be what the name says
_NEARLY_ALL: Final = 0.95  # of them, where the name says nothing
_ORDER: Final = ("key", "identifiers", "event", "type", "observed_at", "traits", "properties")


@dataclass(frozen=True, slots=True)
class Sample:
    """The first rows of a file, and what is known of where they come from."""

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    region: str
    name: str
    dialect: Dialect | None = None  # of CSV
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a column is taken for: `entry` of the mapping, and there the name `inner`; without an entry, left out."""

    column: str
    entry: str
    inner: str
    sure: float
    why: str


@dataclass(frozen=True, slots=True)
class Guess:
    """`mapping` is what `yaml` says; `columns` has column, entry, inner, sure and why of each."""

    mapping: Mapping[str, Any]
    columns: Sequence[Mapping[str, Any]]
    yaml: str


def guess(sample: Sample, *, of_events: bool) -> Guess:
    seen = {column: contents_of([row.get(column) for row in sample.rows]) for column in sample.columns}
    region = _region(seen, sample.region)
    finder = _Finder(seen, region)
    found = finder.of_event() if of_events else finder.of_record()
    mapping = _mapping(found, region if region != sample.region else "")
    return Guess(mapping, [asdict(one) for one in found], _written(mapping, found, sample, of_events=of_events))


def _region(seen: Mapping[str, Contents], region: str) -> str:
    """The region under which telephone numbers are numbers; dates with the month first speak for the United States."""
    is_american = any(contents.date_order == "month" for contents in seen.values())
    likely = [region, "US"] if region or is_american else []
    for column, contents in seen.items():
        if names.likeness(column, names.IDENTIFIERS["phone"]) and (best := contents.best_region(likely)):
            return best
    return "US" if is_american and not region else region


class _Finder:
    """Takes each column once: what is surest first, and what is left last, under its own name."""

    def __init__(self, seen: Mapping[str, Contents], region: str) -> None:
        self.left = dict(seen)
        self.region = region
        self.found: list[Meaning] = []

    def of_record(self) -> list[Meaning]:
        self._leave_out()
        self._take_identifiers(("email", "phone"))
        self._take_key(names.KEYS)
        self._take_identifiers(("user_id", "anonymous_id"))
        self._take_traits()
        self._take_time("observed_at", names.OBSERVED)
        self._take_by_contents()
        self._take_rest("traits")
        return self._sorted()

    def of_event(self) -> list[Meaning]:
        self._take_name()
        self._leave_out()
        self._take_time("observed_at", names.EVENT_TIMES)
        self._take_message_key()
        self._take_identifiers(tuple(names.IDENTIFIERS))
        self._take_person()
        self._take_rest("properties")
        return self._sorted()

    def _sorted(self) -> list[Meaning]:
        return sorted(self.found, key=lambda one: _ORDER.index(one.entry) if one.entry else len(_ORDER))

    def _take(self, column: str, entry: str, inner: str, sure: float, why: str) -> None:
        self.found.append(Meaning(column, entry, inner, round(sure, 2), why))
        del self.left[column]

    def _named(self, known: str) -> Iterator[tuple[str, Contents, float]]:
        """Columns of these names, the likeliest first."""
        rated = [(column, seen, names.likeness(column, known)) for column, seen in self.left.items()]
        yield from sorted((one for one in rated if one[2]), key=lambda one: -one[2])

    def _leave_out(self) -> None:
        for column, seen in list(self.left.items()):
            if not seen.values and seen.is_plain:
                self._take(column, "", "", 0.9, "it is empty")
            elif seen.is_constant and seen.rows >= 5:
                self._take(column, "", "", 0.6, f"all of the sample have {seen.values[0][:40]!r}")

    # -- who --------------------------------------------------------------------------------------------------------

    def _take_identifiers(self, kinds: Sequence[str]) -> None:
        for kind in kinds:
            for column, seen, sure in self._named(names.IDENTIFIERS[kind]):
                share = self._fits(kind, seen)
                if share >= _ENOUGH or not seen.values:
                    self._take(
                        column, "identifiers", kind, min(sure, share or 0.5), _because(kind, share, is_named=True)
                    )
                    break
            else:
                self._take_unnamed(kind)

    def _take_unnamed(self, kind: str) -> None:
        for column, seen in self.left.items():
            is_one = kind == "email" and seen.emails >= _NEARLY_ALL
            is_one = is_one or (kind == "phone" and self._must_be_phone(seen))
            if is_one:
                share = self._fits(kind, seen)
                self._take(column, "identifiers", kind, 0.9 * share, _because(kind, share, is_named=False))
                return

    def _must_be_phone(self, seen: Contents) -> bool:
        """Numbers that are written as telephone numbers are: digits alone might be a key."""
        written_so = seen.share(lambda value: value.startswith(("+", "0", "(")) or " " in value)
        return written_so >= _NEARLY_ALL and seen.distinct > 1 and seen.phones(self.region) >= _NEARLY_ALL

    def _fits(self, kind: str, seen: Contents) -> float:
        if kind == "email":
            return seen.emails
        if kind == "phone":
            return seen.phones(self.region)
        return 1.0 if seen.is_plain else 0.0

    def _take_key(self, known: str) -> None:
        for column, seen, sure in self._named(known):
            if seen.is_unique:
                self._take(column, "key", "", sure, "it is called so, and every row has another value")
                return
        unique = [(column, seen) for column, seen in self.left.items() if seen.is_unique and not seen.emails]
        likely = [one for one in unique if one[1].uuids == 1 or "id" in names.words_of(one[0])]
        ruled_out = [*names.TRAITS.values(), names.OBSERVED]
        unnamed = [one for one in unique if not any(names.likeness(one[0], known) for known in ruled_out)]
        for column, seen in likely or (unnamed if unnamed and unnamed[0][1].rows >= 5 else []):
            sure, what = (0.8, "UUIDs") if seen.uuids == 1 else (0.5, "values")
            self._take(column, "key", "", sure, f"every row of the sample has another of these {what}")
            return

    def _take_message_key(self) -> None:
        """Of events only what is called so or is a UUID: an order's number may come again with its next line."""
        for column, seen, sure in self._named(names.MESSAGE_KEYS):
            if seen.is_unique:
                self._take(column, "key", "", sure, "it is called so, and every row has another value")
                return
        for column, seen in self.left.items():
            if seen.is_unique and seen.uuids == 1 and seen.rows >= 5:
                self._take(column, "key", "", 0.7, "every row of the sample has another UUID")
                return

    def _take_person(self) -> None:
        if any(one.inner == "user_id" for one in self.found):
            return
        for column, seen, sure in self._named(names.OF_EVENTS["user_id"]):
            if seen.is_plain and seen.values:
                self._take(
                    column, "identifiers", "user_id", sure - 0.1, "it names a customer; perhaps SOURCE:id is meant"
                )
                return

    # -- when and what ----------------------------------------------------------------------------------------------

    def _take_time(self, entry: str, known: str) -> None:
        for column, seen, sure in self._named(known):
            if seen.times >= _NEARLY_ALL:
                why = f"it is called so, and {seen.times:.0%} are times"
                self._take(column, entry, "", sure * seen.times, why)
                return

    def _take_name(self) -> None:
        for column, seen in list(self.left.items()):
            if names.words_of(column) == ["type"] and seen.values and seen.share(_is_kind) == 1:
                self._take(column, "type", "", 0.95, "it holds the kinds of calls")
        for column, seen, sure in self._named(names.EVENT_NAMES):
            if seen.values and seen.numbers < 0.5 and seen.is_plain:
                self._take(column, "event", "", sure, f"it is called so, and has {seen.distinct} values")
                return
        for column, seen in self.left.items():
            if seen.is_category and seen.is_filled and not seen.with_digits and not seen.emails and seen.is_plain:
                self._take(column, "event", "", 0.3, f"it has {seen.distinct} values, again and again; perhaps another")
                return

    # -- traits and properties --------------------------------------------------------------------------------------

    def _take_traits(self) -> None:
        for trait, known in names.TRAITS.items():
            for column, seen, sure in self._named(known):
                share = self._trait_fits(trait, seen)
                if share >= _ENOUGH:
                    self._take(
                        column,
                        "traits",
                        trait,
                        sure * share,
                        _because(trait, share, is_named=True) + self._order(trait, seen),
                    )
                    break

    def _trait_fits(self, trait: str, seen: Contents) -> float:
        checks = {
            "date_of_birth": lambda: seen.dates(self._region_of(seen)),
            "postcode": lambda: seen.postcodes,
            "country": lambda: seen.countries,
            "siren": lambda: seen.sirens,
            "siret": lambda: seen.sirets,
            "given_name": lambda: 1 - seen.with_digits,
            "surname": lambda: 1 - seen.with_digits,
            "city": lambda: 1 - seen.numbers,
        }
        return checks[trait]() if trait in checks and seen.values else float(seen.is_plain)

    def _region_of(self, seen: Contents) -> str:
        return "US" if seen.date_order == "month" else self.region

    def _order(self, trait: str, seen: Contents) -> str:
        """A remark where the dates are written in another order than the region would have them read."""
        if trait != "date_of_birth" or not seen.date_order:
            return ""
        if seen.date_order == "month" and seen.dates(self.region) < seen.dates("US"):
            return "; CAUTION: the month comes first, so it needs `region: US`"
        return f"; the {seen.date_order} comes first"

    def _take_by_contents(self) -> None:
        for column, seen in list(self.left.items()):
            for trait, share in (("siret", seen.sirets), ("siren", seen.sirens)):
                if share >= _NEARLY_ALL and seen.distinct > 1 and not any(one.inner == trait for one in self.found):
                    self._take(column, "traits", trait, 0.8 * share, _because(trait, share, is_named=False))
                    break

    def _take_rest(self, entry: str) -> None:
        taken = {one.inner for one in self.found if one.entry == entry}
        for column, seen in list(self.left.items()):
            own = names.snake(column)
            inner = own if own not in taken and len(own) <= messages.LONGEST_TRAIT_NAME else column
            taken.add(inner)
            self._take(column, entry, inner, 0.5, "under its own name" + self._doubt(column, seen))

    def _doubt(self, column: str, seen: Contents) -> str:
        """Why a column that is called like an address was not taken for one."""
        for kind in ("email", "phone"):
            if names.likeness(column, names.IDENTIFIERS[kind]) and (share := self._fits(kind, seen)) < _ENOUGH:
                return f"; it is called so, but only {share:.0%} are {_CALLED[kind]}"
        return ""


def _is_kind(value: str) -> bool:
    return value.lower() in messages.KINDS


_CALLED: Final = {
    "email": "e-mail addresses", "phone": "telephone numbers", "date_of_birth": "dates", "postcode": "postcodes",
    "country": "countries", "siren": "SIREN numbers", "siret": "SIRET numbers",
}  # fmt: skip


def _because(kind: str, share: float, *, is_named: bool) -> str:
    said = [*(["it is called so"] if is_named else [])]
    said += [f"{share:.0%} are {_CALLED[kind]}"] if kind in _CALLED else []
    return ", and ".join(said)


# -- as YAML --------------------------------------------------------------------------------------------------------


def _mapping(found: Sequence[Meaning], region: str) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for one in found:
        if one.entry and one.inner:
            mapping.setdefault(one.entry, {})[one.inner] = one.column
        elif one.entry:
            mapping[one.entry] = one.column
    return mapping | ({"region": region} if region else {})


def _written(mapping: Mapping[str, Any], found: Sequence[Meaning], sample: Sample, *, of_events: bool) -> str:
    """The mapping with a remark behind each line: how sure it is, and why."""
    lines = [f"# Proposed from the first {len(sample.rows)} rows of {sample.name}. Look through it before you load."]
    lines += _missing(mapping, of_events=of_events)
    entry = ""
    for one in found:
        if one.inner and one.entry != entry:
            lines.append(f"{one.entry}:")
        entry = one.entry
        if one.entry:
            head = f"  {_scalar(one.inner)}: " if one.inner else f"{one.entry}: "
            lines.append(f"{head + _scalar(one.column):<36}  # {one.sure:.0%}: {one.why}")
    lines += [f"# left out: {_scalar(one.column)}, {one.why}" for one in found if not one.entry]
    lines += (
        [f"{'region: ' + _scalar(mapping['region']):<36}  # for telephone numbers and dates"]
        if "region" in mapping
        else []
    )
    return "\n".join([*lines, *_dialect(sample.dialect, sample.encoding)]) + "\n"


def _missing(mapping: Mapping[str, Any], *, of_events: bool) -> Iterator[str]:
    if not of_events and "key" not in mapping:
        yield "# key: ?  No column has another value in every row: name the one that is the key."
    if of_events and "event" not in mapping:
        yield "# event: ?  No column looks like the name of the event."
    if of_events and "identifiers" not in mapping:
        yield "# identifiers: ?  No column says whose event it is."


def _dialect(dialect: Dialect | None, encoding: str) -> Iterator[str]:
    if dialect is None:
        return
    said = {"delimiter": dialect.delimiter, "header": "yes" if dialect.has_header else "no", "decimal": dialect.decimal}
    said |= {"quote": dialect.quote} if dialect.quote != '"' else {}
    said |= {"escape": dialect.escape} if dialect.escape else {}
    said |= {"skip": str(dialect.skip)} if dialect.skip else {}
    said |= {"encoding": encoding} if not encoding.startswith("utf-8") else {}
    inner = ", ".join(f"{name}: {json.dumps(value)}" for name, value in said.items())
    yield f"# The file was read as follows; if that is wrong, say it here.\n# dialect: {{{inner}}}"


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def _scalar(text: str) -> str:
    """As YAML text, whatever it holds."""
    is_word = _PLAIN.fullmatch(text) and text.lower() not in {
        "yes",
        "no",
        "on",
        "off",
        "true",
        "false",
        "null",
        "y",
        "n",
    }
    return text if is_word else yaml.dump(text, default_style='"', allow_unicode=True, width=10**6).rstrip("\n")

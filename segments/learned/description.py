"""Groups in words, English and French: a name from where the group stands among all customers, a sentence of medians.

A standing is the mean rank of the group's members, from 0 to 1. Ranks instead of values, because most people buy once:
against a mean pulled up by a few, nearly everybody would seem to buy rarely.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from segments.learned.clustering import Labels
from segments.learned.features import Values

LOW, MIDDLE, HIGH = "low", "middle", "high"
LOW_BELOW, HIGH_ABOVE = 0.4, 0.6


@dataclass(frozen=True, slots=True)
class Text:
    """The same in both languages of the console."""

    en: str
    fr: str

    def with_qualifier(self, qualifier: "Text") -> "Text":
        return Text(f"{self.en}, {qualifier.en}", f"{self.fr}, {qualifier.fr}")

    def with_number(self, number: int) -> "Text":
        return Text(f"{self.en} ({number})", f"{self.fr} ({number})")

    @property
    def slug(self) -> str:
        return "-".join("".join(c if c.isalnum() else " " for c in self.en.lower()).split())


@dataclass(frozen=True, slots=True)
class Group:
    """`group` is what rules refer to, derived from the name."""

    group: str
    name: Text
    words: Text
    size: int
    medians: tuple[float, float, float]


# (how long ago, how often) → name
NAMES = {
    (LOW, HIGH): Text("Loyal", "Fidèles"),
    (LOW, MIDDLE): Text("Regular", "Réguliers"),
    (LOW, LOW): Text("New", "Nouveaux"),
    (MIDDLE, HIGH): Text("Loyal but slowing down", "Fidèles qui ralentissent"),
    (MIDDLE, MIDDLE): Text("Occasional", "Occasionnels"),
    (MIDDLE, LOW): Text("Not back yet", "Pas encore revenus"),
    (HIGH, HIGH): Text("Once loyal", "Autrefois fidèles"),
    (HIGH, MIDDLE): Text("Once regular", "Autrefois réguliers"),
    (HIGH, LOW): Text("Came and went", "De passage"),
}
# What tells groups apart that share a name: for each feature the group that has less of it, and the one that has more.
QUALIFIERS = (
    (Text("seen lately", "vus récemment"), Text("not seen lately", "pas vus récemment")),
    (Text("buying less often", "achats moins fréquents"), Text("buying more often", "achats plus fréquents")),
    (Text("spending less", "dépensant moins"), Text("spending more", "dépensant plus")),
)


def describe(values: Values, labels: Labels) -> list[Group]:
    """The groups in the order of their labels. Names are distinct."""
    standings = _standings(values)
    members = [labels == label for label in range(int(labels.max()) + 1)]
    means = np.array([standings[those].mean(axis=0) for those in members])
    plain = [_plain_name(mean, values[those]) for mean, those in zip(means, members, strict=True)]
    keys = [_key(plain, place) for place in range(len(plain))]
    names = _told_apart_all(plain, means)
    return [_group(key, name, values[those]) for key, name, those in zip(keys, names, members, strict=True)]


def _plain_name(standing: Values, values: Values) -> Text:
    """Who bought once bought rarely, even where nobody bought more often."""
    frequency = LOW if np.median(values[:, 1]) <= 1 else _level(standing[1])
    return NAMES[_level(standing[0]), frequency]


def _key(names: Sequence[Text], place: int) -> str:
    """Short, and distinct by a number where a name comes more than once."""
    name = names[place]
    return name.slug if names.count(name) == 1 else f"{name.slug}-{names[: place + 1].count(name)}"


def _standings(values: Values) -> Values:
    """Of equal values each has the middle of their ranks."""
    return np.column_stack([_ranks(column) for column in values.T])


def _ranks(column: Values) -> Values:
    ordered = np.sort(column)
    below, upto = (np.searchsorted(ordered, column, side=side) for side in ("left", "right"))
    ranks: Values = (below + upto) / (2 * len(column))
    return ranks


def _level(standing: float) -> str:
    if standing < LOW_BELOW:
        return LOW
    return HIGH if standing > HIGH_ABOVE else MIDDLE


def _told_apart_all(plain: Sequence[Text], standings: Values) -> list[Text]:
    """A name each, as short as it can be while distinct."""
    names = list(plain)
    for name in set(plain):
        alike = [place for place, other in enumerate(plain) if other == name]
        for place, distinct in _told_apart(alike, name, standings, range(len(QUALIFIERS))):
            names[place] = distinct
    return names


def _told_apart(
    alike: Sequence[int], name: Text, standings: Values, features: Collection[int]
) -> Iterable[tuple[int, Text]]:
    """Part the groups at the widest gap of the feature in which they differ most, then each half by the features left."""
    if len(alike) == 1:
        return [(alike[0], name)]
    if not features:
        return [(place, name.with_number(number)) for number, place in enumerate(alike, start=1)]
    feature = max(features, key=lambda each: float(np.ptp(standings[alike, each])))
    ordered = sorted(alike, key=lambda place: float(standings[place, feature]))
    gap = int(np.argmax(np.diff(standings[ordered, feature]))) + 1
    rest = [each for each in features if each != feature]
    less, more = (name.with_qualifier(qualifier) for qualifier in QUALIFIERS[feature])
    return [
        *_told_apart(sorted(ordered[:gap]), less, standings, rest),
        *_told_apart(sorted(ordered[gap:]), more, standings, rest),
    ]


def _group(key: str, name: Text, values: Values) -> Group:
    recency, frequency, money = (float(median) for median in np.median(values, axis=0))
    words = Text(
        f"{name.en}: typically bought {_times(frequency)}, last {_days_ago(recency)}, spent {_amount(money)} in all",
        f"{name.fr} : ont acheté {_fois(frequency)}, la dernière {_il_y_a(recency)},"
        f" et dépensé {_montant(money)} en tout (valeurs médianes)",
    )
    return Group(key, name, words, len(values), (recency, frequency, money))


def _times(count: float) -> str:
    return {1: "once", 2: "twice"}.get(round(count), f"{count:.0f} times")


def _fois(count: float) -> str:
    return {1: "une fois"}.get(round(count), f"{count:.0f} fois")


def _days_ago(days: float) -> str:
    return {0: "today", 1: "1 day ago"}.get(round(days), f"{days:.0f} days ago")


def _il_y_a(days: float) -> str:
    return {0: "aujourd'hui", 1: "il y a 1 jour"}.get(round(days), f"il y a {days:.0f} jours")


def _amount(money: float) -> str:
    return f"{money:,.0f}" if money >= 10 else f"{money:.2f}"


def _montant(money: float) -> str:
    return _amount(money).replace(",", "\N{NO-BREAK SPACE}").replace(".", ",")

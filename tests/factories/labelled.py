"""Labelled files of invented people as the world writes them: other languages, notations, gaps, families, junk.

Each shape is a file that no matcher was made for. Every row bears `key` and `who`: the row, and the person behind it.
"""

import csv
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Final, TypeVar

T = TypeVar("T")
KEY, TRUTH = "key", "who"
Row = dict[str, str]

_WOMEN: Final = (
    "Marie",
    "Jeanne",
    "Françoise",
    "Monique",
    "Catherine",
    "Nathalie",
    "Isabelle",
    "Jacqueline",
    "Anne",
    "Sylvie",
    "Martine",
    "Céline",
    "Léa",
    "Camille",
    "Manon",
    "Chloé",
    "Emma",
    "Inès",
    "Sarah",
    "Zoé",
    "Aurélie",
    "Élodie",
    "Amélie",
    "Sophie",
    "Hélène",
    "Fatima",
    "Aïcha",
    "Yasmine",
    "Agnès",
    "Brigitte",
    "Laure",
    "Lucie",
)
_MEN: Final = (
    "Jean",
    "Pierre",
    "Michel",
    "André",
    "Philippe",
    "René",
    "Louis",
    "Alain",
    "Jacques",
    "Bernard",
    "Marcel",
    "Daniel",
    "Roger",
    "Robert",
    "Paul",
    "Claude",
    "Christian",
    "Nicolas",
    "Julien",
    "Mathieu",
    "Rémi",
    "Hugo",
    "Théo",
    "Lucas",
    "Mehdi",
    "Karim",
    "Mohamed",
    "François",
    "Étienne",
    "Stéphane",
    "Jérôme",
    "Loïc",
)
_STARTS: Final = (
    "Ber",
    "Mar",
    "Du",
    "Le",
    "La",
    "Gar",
    "Mo",
    "Fou",
    "Gi",
    "Per",
    "Ro",
    "Vin",
    "Bon",
    "Cha",
    "Cle",
    "Fau",
    "Ga",
    "Hen",
    "Jo",
    "Lam",
    "Mer",
    "Nico",
    "Pi",
    "Ren",
    "Sau",
    "Tes",
    "Val",
    "Bou",
)
_ENDS: Final = (
    "tin",
    "nard",
    "blanc",
    "reau",
    "quet",
    "nier",
    "lier",
    "don",
    "cher",
    "sard",
    "vier",
    "gnon",
    "val",
    "tier",
    "let",
    "lot",
    "mont",
)
_STREETS: Final = (
    "rue de la République",
    "avenue Victor Hugo",
    "boulevard Voltaire",
    "rue des Lilas",
    "impasse du Moulin",
    "chemin des Vignes",
    "place de l'Église",
    "rue Pasteur",
    "allée des Tilleuls",
    "quai de la Gare",
    "rue Jean Jaurès",
    "route de Lyon",
    "allée Gambetta",
    "rue du Château",
)
_TOWNS: Final = (
    ("Paris", "750"), ("Lyon", "690"), ("Marseille", "130"), ("Saint-Étienne", "420"), ("Nîmes", "300"), ("Besançon", "250"),
    ("Angers", "490"), ("Orléans", "450"), ("Évreux", "270"), ("Brest", "292"), ("Le Mans", "720"), ("Tours", "370"),
)  # fmt: skip
_TRADES: Final = (
    "Transports",
    "Boulangerie",
    "Menuiserie",
    "Garage",
    "Pharmacie",
    "Imprimerie",
    "Plomberie",
    "Électricité",
    "Librairie",
    "Optique",
)
_FORMS: Final = ("SARL", "SAS", "SA", "EURL")
_MAILBOXES: Final = ("gmail.com", "orange.fr", "free.fr", "laposte.net", "hotmail.fr")
_JUNK: Final = ("aucun@aucun.fr", "noreply@exemple.fr", "x@x.fr", "info@boutique.fr")


@dataclass(frozen=True)
class Person:
    given: str
    surname: str
    born: date
    is_woman: bool
    number: int
    street: str
    postcode: str
    town: str
    phone: str
    email: str


def people(random: Random, count: int) -> list[Person]:
    return [person(random) for _ in range(count)]


def person(random: Random) -> Person:
    is_woman = random.random() < 0.5
    given, surname = _common(random, _WOMEN if is_woman else _MEN), _common(random, _STARTS) + _common(random, _ENDS)
    town, area = _common(random, _TOWNS)
    return Person(
        given, surname, date(1935, 1, 1) + timedelta(days=random.randrange(25_000)), is_woman, random.randint(1, 120),
        _common(random, _STREETS), area + f"{random.randint(0, 20):02}", town, f"0{random.randint(1, 7)}{random.randrange(10**8):08}",
        f"{plain(given)[: random.choice((1, 20))]}.{plain(surname)}{random.choice(('', random.randint(1, 99)))}@{random.choice(_MAILBOXES)}".lower(),
    )  # fmt: skip


def _common(random: Random, values: Sequence[T]) -> T:
    """The first ones are the commonest, as names are."""
    return values[min(int(random.expovariate(3 / len(values))), len(values) - 1)]


def plain(text: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if letter.isascii() and letter.isalpha())


def relatives(random: Random, one: Person) -> Iterator[Person]:
    """Behind one door: a partner, a child, and sometimes its twin, with one telephone and one surname."""
    yield one
    partner, child, twin = (person(random) for _ in range(3))
    yield replace(one, given=partner.given, born=partner.born, is_woman=partner.is_woman, email=partner.email)
    born = one.born + timedelta(days=10_000 + random.randrange(3_000))
    yield replace(one, given=child.given, born=born, is_woman=child.is_woman, email=child.email)
    if random.random() < 0.4:
        yield replace(one, given=twin.given, born=born, is_woman=twin.is_woman, email=twin.email)


# -- what happens to what people say ------------------------------------------------------------------------------------


def typed(random: Random, text: str, share: float = 0.2) -> str:
    """With a typing error now and then."""
    if len(text) < 3 or random.random() > share:
        return text
    place = random.randrange(1, len(text) - 1)
    left, letter, right = text[:place], text[place], text[place + 1 :]
    other = random.choice("0123456789" if letter.isdigit() else "aeinorst")
    return random.choice(
        [left + right, left + other + right, left + letter + letter + right, left + right[0] + letter + right[1:]]
    )


def dated(random: Random, day: date, notations: str) -> str:
    return day.strftime(random.choice(notations.split("|")))


def dialled(random: Random, phone: str) -> str:
    pairs = [phone[place : place + 2] for place in range(0, 10, 2)]
    return random.choice(
        [phone, " ".join(pairs), ".".join(pairs), f"+33 {phone[1]} " + " ".join(pairs[1:]), f"0033{phone[1:]}"]
    )


def accented(random: Random, text: str) -> str:
    """As it is, in capitals, or as machines without accents write it."""
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return random.choice([text, text, text.upper(), bare, bare.upper()])


def with_gaps(random: Random, row: Row, share: float, keep: tuple[str, ...] = ()) -> Row:
    return {name: "" if name not in keep and random.random() < share else value for name, value in row.items()}


# -- the shapes ---------------------------------------------------------------------------------------------------------

Saying = Callable[[Random, Person], Row]


def as_french(random: Random, one: Person) -> Row:
    """Semicolons and Latin-1; days first or ISO, accents or none, telephones in any notation, a tenth of junk mailboxes."""
    return with_gaps(random, {
        "Nom": accented(random, typed(random, one.surname)), "Prénom": accented(random, typed(random, one.given, 0.1)),
        "Date de naissance": dated(random, one.born, "%d/%m/%Y|%d/%m/%Y|%Y-%m-%d"),
        "Adresse": accented(random, f"{one.number} {_shortened(random, one.street)}"), "Code postal": typed(random, one.postcode, 0.1),
        "Ville": accented(random, one.town), "Courriel": random.choice(_JUNK) if random.random() < 0.1 else typed(random, one.email, 0.1),
        "Téléphone": dialled(random, typed(random, one.phone, 0.1) if random.random() < 0.5 else one.phone),
    }, 0.1)  # fmt: skip


def _shortened(random: Random, street: str) -> str:
    return street if random.random() < 0.5 else street.replace("avenue", "av.").replace("boulevard", "bd")


def as_one_name(random: Random, one: Person) -> Row:
    """A single column for the name, in any order, with a title at times; and nothing but a town and a telephone besides."""
    given, surname = typed(random, one.given), typed(random, one.surname)
    title = "Mme" if one.is_woman else "M."
    ways = [
        f"{given} {surname}",
        f"{given} {surname}",
        f"{surname.upper()} {given}",
        f"{surname}, {given}",
        f"{title} {given} {surname}",
    ]
    return with_gaps(random, {
        "name": random.choice(ways), "dob": dated(random, one.born, "%Y-%m-%d|%Y-%m-%d|%d.%m.%Y"),
        "town": one.town, "tel": dialled(random, typed(random, one.phone)),
    }, 0.15, ("name",))  # fmt: skip


def as_family(random: Random, one: Person) -> Row:
    """What the people of one household share is all filled in; what tells them apart has gaps."""
    told = with_gaps(random, {
        "first_name": typed(random, one.given), "birthdate": dated(random, one.born, "%Y-%m-%d"), "sex": "F" if one.is_woman else "M",
        "mail": one.email,
    }, 0.2, ("first_name",))  # fmt: skip
    return {
        **told, "last_name": typed(random, one.surname), "street": f"{one.number} {one.street}", "zip": one.postcode,
        "city": one.town, "phone": one.phone,
    }  # fmt: skip


def as_registered(random: Random, one: Person) -> Row:
    """Whole households with twins, and hardly anybody twice; some dates are written without gaps, in the order of the others."""
    return with_gaps(random, {
        "first_name": typed(random, one.given, 0.1), "last_name": typed(random, one.surname, 0.1), "sex": "F" if one.is_woman else "M",
        "date_of_birth": dated(random, one.born, "%m/%d/%Y|%m/%d/%Y|%m%d%Y"), "street": f"{one.number} {one.street}",
        "city": one.town, "zip": one.postcode,
    }, 0.03, ("last_name",))  # fmt: skip


def as_sparse(random: Random, one: Person) -> Row:
    """Three of ten values are missing, and first and last name stand in each other's place in a tenth of the rows."""
    given, surname = typed(random, one.given), typed(random, one.surname)
    if random.random() < 0.1:
        given, surname = surname, given
    return with_gaps(random, {
        "FNAME": given, "LNAME": surname, "BirthDate": dated(random, one.born, "%m/%d/%Y"), "EmailAddress": typed(random, one.email),
        "Mobile": typed(random, one.phone), "Town": one.town, "PostCode": one.postcode,
    }, 0.3)  # fmt: skip


def as_numbered(random: Random, one: Person) -> Row:
    """Names and birth dates alone, in columns whose names say little, gaps as R writes them; in every other row one slip."""
    told = {
        "fname_c1": plain(one.given).upper(), "lname_c1": plain(one.surname).upper(),
        "by": str(one.born.year), "bm": str(one.born.month), "bd": str(one.born.day),
    }  # fmt: skip
    if random.random() < 0.5:
        slip = random.choice(list(told))
        drawn = {"by": (1930, 2010), "bm": (1, 12), "bd": (1, 28)}
        told[slip] = str(random.randint(*drawn[slip])) if slip in drawn else typed(random, told[slip], 1.0)
    return {**told, "fname_c2": random.choice(_MEN).upper() if random.random() < 0.05 else "NA", "lname_c2": "NA"}


_CYRILLIC: Final = str.maketrans(
    dict(zip("abvgdezijklmnoprstufhcy", "абвгдезийклмнопрстуфхцы", strict=True)) | {"q": "к", "w": "в", "x": "кс"}
)


def as_two_scripts(random: Random, one: Person) -> Row:
    """A third of the rows are written in Cyrillic letters."""
    given, surname, town = (plain(text).lower() for text in (one.given, one.surname, one.town))
    if random.random() < 1 / 3:
        given, surname, town = (text.translate(_CYRILLIC) for text in (given, surname, town))
    return with_gaps(random, {
        "given": typed(random, given).title(), "family": typed(random, surname).title(), "born": dated(random, one.born, "%d.%m.%Y"),
        "place": town.title(), "contact": one.phone, "e-mail": one.email,
    }, 0.1)  # fmt: skip


def as_customer(random: Random, one: Person) -> Row:
    return {
        "Kunde": f"{typed(random, one.given)} {typed(random, one.surname)}", "Strasse": f"{one.street} {one.number}", "PLZ": one.postcode,
        "Ort": typed(random, one.town, 0.1), "Telefon": dialled(random, one.phone), "Mail": typed(random, one.email, 0.1),
    }  # fmt: skip


def as_company(random: Random, one: Person) -> Row:
    """In the column of people's names; its branch is known by its own telephone."""
    name = f"{_TRADES[hash_of(one.surname) % len(_TRADES)]} {one.surname}"
    form = _FORMS[hash_of(one.given) % len(_FORMS)]
    ways = [f"{name} {form}", f"{name} {form}", name, f"{form} {name}", f"{one.surname} {name.split(maxsplit=1)[0]}"]
    mail = f"{random.choice(('contact', 'commandes'))}@{plain(name + one.town).lower()}{one.number}.fr"
    return {**as_customer(random, one), "Kunde": typed(random, random.choice(ways)), "Mail": mail}


def hash_of(text: str) -> int:
    return sum(map(ord, text))


@dataclass(frozen=True)
class Shape:
    """How a file looks, and how often a person is in it."""

    says: tuple[Saying, ...]
    separator: str = ","
    encoding: str = "utf-8"
    are_families: bool = False
    times: tuple[int, ...] = (1, 1, 1, 2, 2, 3, 4)


SHAPES: Final[Mapping[str, Shape]] = {
    "french": Shape((as_french,), ";", "latin-1"),
    "one_name": Shape((as_one_name,)),
    "families": Shape((as_family,), are_families=True),
    "register": Shape((as_registered,), are_families=True, times=(*[1] * 39, 2)),
    "sparse": Shape((as_sparse,), "\t"),
    "numbered": Shape((as_numbered,), times=(*[1] * 8, 2)),
    "two_scripts": Shape((as_two_scripts,)),
    "mixed": Shape((as_customer, as_company), ";"),
}


def rows(shape: Shape, *, count: int, seed: int = 1) -> list[Row]:
    random = Random(seed)
    known = [
        one for each in people(random, count) for one in (relatives(random, each) if shape.are_families else [each])
    ]
    said = []
    for who, one in enumerate(known):
        says = random.choice(shape.says)
        said += [{TRUTH: str(who), **says(random, one)} for _ in range(random.choice(shape.times))]
        if len(said) >= count:
            break
    random.shuffle(said)
    return [{KEY: f"r{place}", **row} for place, row in enumerate(said[:count])]


def write(path: Path, shape: Shape, *, count: int, seed: int = 1) -> Path:
    made = rows(shape, count=count, seed=seed)
    with path.open("w", newline="", encoding=shape.encoding) as file:
        writer = csv.DictWriter(file, list(made[0]), delimiter=shape.separator)
        writer.writeheader()
        writer.writerows(made)
    return path

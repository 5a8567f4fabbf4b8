# the apostrophes of French
"""A rule as a sentence, in English and in French. Written for people: no text of it is read back."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from segments.language.errors import LanguageError
from segments.language.tree import (
    Aggregate,
    And,
    Comparison,
    Condition,
    Count,
    Event,
    Learned,
    Node,
    Not,
    Or,
    Scalar,
    Trait,
    Window,
)
from segments.language.written import written_number

Words = Mapping[str, str]

_ENGLISH: Final[Words] = {
    "and": "and", "or": "or", "true": "true", "false": "false", "not": "it is not so that {child}",
    "trait": "{name} {condition}", "learned": "the profile is in the group {group} of {model}",
    "equals": "is {value}", "not_equals": "is known and not {value}", "in": "is one of {value}", "list": ", ",
    "greater": "is more than {value}", "greater_or_equal": "is at least {value}", "less": "is less than {value}",
    "less_or_equal": "is at most {value}", "contains": "contains {value}", "starts_with": "starts with {value}",
    "exists": "is known",
    "count": "the number of {event}{where}{window} {condition}", "never": "{event}{where} did not happen{window}",
    "once": "{event}{where} happened{window}", "sum": "the sum of {property} of {event}{where}{window} {condition}",
    "where": " where {conditions}", "window": " in the last {amount} {unit}",
    "number_equals": "is exactly {value}", "number_not_equals": "is not {value}",
    "seconds": "seconds", "minutes": "minutes", "hours": "hours", "days": "days",
    "second": "second", "minute": "minute", "hour": "hour", "day": "day", "open": "“", "close": "”", "point": ".",
}  # fmt: skip
_FRENCH: Final[Words] = {
    "and": "et", "or": "ou", "true": "vrai", "false": "faux", "not": "il est faux que {child}",
    "trait": "{name} {condition}", "learned": "le profil est dans le groupe {group} de {model}",
    "equals": "vaut {value}", "not_equals": "a une valeur autre que {value}", "in": "vaut {value}", "list": " ou ",
    "greater": "dépasse {value}", "greater_or_equal": "vaut au moins {value}", "less": "vaut moins de {value}",
    "less_or_equal": "vaut au plus {value}", "contains": "contient {value}", "starts_with": "commence par {value}",
    "exists": "a une valeur",
    "count": "le nombre de {event}{where}{window} {condition}", "never": "{event}{where} n’a pas eu lieu{window}",
    "once": "{event}{where} a eu lieu{window}", "sum": "la somme de {property} de {event}{where}{window} {condition}",
    "where": " où {conditions}", "window": " au cours des {amount} derniers {unit}",
    "number_equals": "vaut exactement {value}", "number_not_equals": "ne vaut pas {value}",
    "seconds": "secondes", "minutes": "minutes", "hours": "heures", "days": "jours",
    "second": "seconde", "minute": "minute", "hour": "heure", "day": "jour", "open": "« ", "close": " »", "point": ",",
    "window_feminine": " au cours des {amount} dernières {unit}",
    "window_one_day": " au cours du dernier jour", "window_one": " au cours de la dernière {unit}",
}  # fmt: skip
_LOCALES: Final[Mapping[str, Words]] = {"en": _ENGLISH, "fr": _FRENCH}


def explain(tree: Node, locale: str) -> str:
    """One sentence in `en` or `fr` (regions such as `fr-BE` are understood)."""
    words = _LOCALES.get(locale.lower().replace("_", "-").split("-")[0])
    if words is None:
        raise LanguageError("unknown_locale", f"There are sentences in {', '.join(_LOCALES)}")
    sentence = _said(tree, words)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _said(node: Node, words: Words) -> str:
    match node:
        case And(children):
            return f" {words['and']} ".join(_inside(child, words) for child in children)
        case Or(children):
            return f" {words['or']} ".join(_inside(child, words) for child in children)
        case Not(child):
            return words["not"].format(child=_inside(child, words))
        case Trait(condition):
            return _condition(condition, words)
        case Learned(model, group):
            return words["learned"].format(group=_quoted(group, words), model=_quoted(model, words))
        case Event():
            return _event(node, words)


def _inside(node: Node, words: Words) -> str:
    said = _said(node, words)
    return f"({said})" if isinstance(node, And | Or) else said


def _condition(condition: Condition, words: Words) -> str:
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    value = words["list"].join(_value(each, words) for each in values if each is not None)
    said = words[condition.comparison].format(value=value)
    return words["trait"].format(name=_quoted(condition.name, words), condition=said)


def _event(event: Event, words: Words) -> str:
    parts = {
        "event": _quoted(event.measured.event, words),
        "where": _where(event, words),
        "window": _window(event.measured.period, words) if event.measured.period else "",
    }
    if isinstance(event.measured.measure, Aggregate):
        return words["sum"].format(
            property=_quoted(event.measured.measure.property.name, words), condition=_number(event, words), **parts
        )
    if plain := _plain_count(event):
        return words[plain].format(**parts)
    return words["count"].format(condition=_number(event, words), **parts)


def _plain_count(event: Event) -> str | None:
    """People say "happened" and "did not happen", not "the number is at least 1"."""
    if event.measured.measure != Count():
        return None
    asked = (event.comparison, event.value)
    if asked in {(Comparison.GREATER_OR_EQUAL, Decimal(1)), (Comparison.GREATER, Decimal(0))}:
        return "once"
    return "never" if asked in {(Comparison.EQUALS, Decimal(0)), (Comparison.LESS, Decimal(1))} else None


def _where(event: Event, words: Words) -> str:
    said = f" {words['and']} ".join(_condition(condition, words) for condition in event.measured.where)
    return words["where"].format(conditions=said) if said else ""


def _number(event: Event, words: Words) -> str:
    template = words.get(f"number_{event.comparison}") or words[event.comparison]
    return template.format(value=_digits(event.value, words))


def _window(window: Window, words: Words) -> str:
    if window.amount == 1:
        one = window.unit.value[:-1]
        template = words.get(f"window_one_{one}") or words.get("window_one") or words["window"].replace("{amount} ", "")
        return template.format(unit=words[one])
    template = words["window"] if window.unit == "days" else words.get("window_feminine", words["window"])
    return template.format(amount=window.amount, unit=words[window.unit])


def _value(value: Scalar, words: Words) -> str:
    if isinstance(value, bool):
        return words["true" if value else "false"]
    return _quoted(value, words) if isinstance(value, str) else _digits(value, words)


def _digits(number: Decimal, words: Words) -> str:
    return written_number(number).replace(".", words["point"])


def _quoted(text: str, words: Words) -> str:
    return f"{words['open']}{text}{words['close']}"

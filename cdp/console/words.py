"""Template filters of the console (`{% load console %}`): stored JSON in words."""

import json
import re
from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _

from cdp.models import ViolationAction

register = template.Library()

_DIGEST = re.compile(r" [0-9a-f]{64} ")

ALERTS = {
    "rows_change": _("number of rows"),
    "duplicate_rows": _("duplicate rows"),
    "duplicate_keys": _("duplicate keys"),
    "duplicate_near": _("near-duplicates"),
    "outlier_share": _("outliers"),
    "column_new": _("new column"),
    "column_gone": _("column is gone"),
    "missing_change": _("missing values"),
    "ks": _("numbers moved"),
    "category_change": _("values moved"),
}
DUPLICATES = {"rows": _("Duplicate rows"), "keys": _("Duplicate keys"), "near": _("Near-duplicates")}
TYPES = {
    "integer": _("whole number"),
    "number": _("number"),
    "text": _("text"),
    "date": _("date"),
    "boolean": _("yes or no"),
    "list": _("list"),
    "object": _("object"),
    "empty": _("empty"),
}
RUNS = {
    "load records": _("records of a file"),
    "load events": _("events of a file"),
    "normalise records": _("records normalised anew"),
    "read connection": _("a connection read"),
    "quarantine.replay": _("quarantine replayed"),
    "quarantine.discard": _("quarantine discarded"),
    "identity.resolve": _("record linkage"),
    "segments.learn": _("groups learnt"),
    "segments.publish": _("a segment published"),
}
COUNTS = {
    "read": _("rows read"),
    "accepted": _("accepted"),
    "duplicates": _("known already"),
    "quarantined": _("in quarantine"),
    "deleted": _("deleted there"),
    "chosen": _("chosen"),
    "refused": _("refused again"),
    "discarded": _("discarded"),
    "changed": _("changed"),
    "traits": _("traits"),
    "identifiers": _("identifiers"),
    "without_mapping": _("without a mapping"),
    "records": _("records compared"),
    "pairs": _("pairs"),
    "judgements": _("judgements"),
    "review": _("pairs to review"),
    "clusters": _("people"),
    "customers": _("customers"),
    "groups": _("groups"),
    "looked_at": _("people looked at"),
    "people": _("people there are"),
    "entered": _("entered"),
    "left": _("left"),
    "members": _("members"),
}
SUBJECTS = {"everything that waits": _("everything that waited")}
RULES = {
    "most_recent": _("the most recent"),
    "steward": _("a steward said so"),
    "trusted_source": _("from the most trusted source"),
    "most_frequent": _("the most frequent"),
    "longest": _("the longest"),
}
LOST_BY = {
    "steward": _("not a steward's word"),
    "trusted_source": _("from a less trusted source"),
    "most_frequent": _("less frequent"),
    "longest": _("shorter"),
    "most_recent": _("older"),
    "trust": _("from a less trusted source"),
    "confidence": _("less sure"),
    "identifier": _("on a newer identifier"),
    "source": _("from a newer source"),
}


@register.filter
def plain(value: Any) -> str:
    """A stored value without the quotes of JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@register.filter
def facts(value: Any) -> str:
    """An object in one line."""
    if not isinstance(value, Mapping):
        return plain(value)
    return " · ".join(f"{name}: {plain(_rounded(fact))}" for name, fact in value.items())


def _rounded(fact: Any) -> Any:
    return round(fact, 2) if isinstance(fact, float) else fact


@register.filter
def grouped(number: int) -> str:
    """1234567 → 1,234,567 or 1 234 567, as the language writes it."""
    return number_format(number, force_grouping=True, use_l10n=True)


@register.filter
def run_in_words(kind: str) -> Any:
    """What a long piece of work does."""
    return RUNS.get(kind, kind)


@register.filter
def subject_in_words(subject: str) -> Any:
    """What it works on: a name, or all there is. The digest of a file tells loads apart, and nobody anything."""
    return SUBJECTS.get(subject, _DIGEST.sub(" ", subject))


@register.filter
def counted(counts: Mapping[str, Any]) -> str:
    """What became of it, in one line."""
    return " · ".join(f"{name} {grouped(number)}" for name, number in counts_in_words(counts))


def counts_in_words(counts: Mapping[str, Any]) -> list[tuple[Any, int]]:
    return [(COUNTS.get(name, name), number) for name, number in counts.items() if isinstance(number, int)]


@register.filter
def in_language(text: Any, language: str) -> Any:
    """A text that is stored in both languages."""
    return text.get(language) or text.get("en", "") if isinstance(text, Mapping) else text


@register.filter
def rule_in_words(rule: str) -> Any:
    """Why a value was chosen for the golden record."""
    return RULES.get(rule, rule)


@register.filter
def lost_in_words(word: str) -> Any:
    """Why another value was not chosen for the golden record."""
    return LOST_BY.get(word, word)


@register.filter
def plan_action(action: str) -> Any:
    """What became of an event that broke its tracking plan."""
    return ViolationAction(action).label


@register.filter
def from_below(height: float) -> float:
    """Where a bar of a plot begins, counted from the top of a hundred."""
    return 100 - height


@register.filter
def alert_in_words(kind: str) -> Any:
    """What a quality report alerts for."""
    return ALERTS.get(kind, kind)


@register.filter
def duplicate_in_words(kind: str) -> Any:
    """What came more than once."""
    return DUPLICATES.get(kind, kind)


@register.filter
def type_in_words(kind: str) -> Any:
    """What most values of a column are."""
    return TYPES.get(kind, kind)


@register.filter
def percent(share: float | None) -> str:
    """0.123 → 12.3 %, and a dash where it is not known."""
    return "–" if share is None else f"{number_format(round(100 * share, 1), use_l10n=True)} %"


@register.filter
def brief(number: float) -> str:
    """In four digits: an axis needs no more."""
    return (
        number_format(float(f"{number:.4g}"), force_grouping=True, use_l10n=True).removesuffix(".0").removesuffix(",0")
    )

"""The result of the demo, for a person and for a program."""

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

WIDTH = 100
WHY_QUARANTINED = (
    "  Three were sent broken on purpose. Each lies there with its reason:",
    "  .venv/bin/python manage.py quarantine list --workspace demo",
)


def render(result: Mapping[str, Any]) -> str:
    """The result as text for a terminal."""
    return "\n".join(
        [
            *_came_in(result["came_in"]),
            *_people(result["people"]),
            *_enrichment(result["enrichment"]),
            *_segments(result["segments"], result["learned"]),
            *_audiences(result["audiences"]),
            *_life(result["life"]),
            *_stages(result["stages"], result["seconds"]),
        ]
    )


def _title(text: str) -> list[str]:
    return ["", f"── {text} " + "─" * (WIDTH - len(text) - 4)]


def _came_in(came_in: Mapping[str, Mapping[str, int]]) -> list[str]:
    lines = [f"  {'':<12}{'read':>9}{'accepted':>10}{'duplicates':>12}{'quarantined':>13}"]
    lines += [
        f"  {name:<12}{row['read']:>9,}{row['accepted']:>10,}{row['duplicates']:>12,}{row['quarantined']:>13,}"
        for name, row in came_in.items()
    ]
    return [*_title("What came in"), *lines, *WHY_QUARANTINED]


def _people(people: Mapping[str, Any]) -> list[str]:
    return [
        *_title("How many people it is, and how right that is"),
        f"  {people['records']:,} records are {people['profiles']:,} people (in truth {people['truth']:,})",
        f"  links seen together {people['deterministic']:,}, by record linkage {people['probabilistic']:,}",
        f"  pairs that wait for a steward {people['review']:,}",
        f"  pairwise precision {people['precision']:.4f}   recall {people['recall']:.4f}   F1 {people['f1']:.4f}",
    ]


def _enrichment(enrichment: Mapping[str, Any]) -> list[str]:
    kinds = ", ".join(f"{count:,} {kind.lower()}" for kind, count in enrichment["phone_type"].items())
    return [*_title("What was added"), f"  {enrichment['lookups']:,} phone numbers looked up offline: {kinds}"]


def _segments(segments: list[Mapping[str, Any]], learned: Mapping[str, Any]) -> list[str]:
    lines = [f"  {row['slug']:<16}{row['members']:>7,}  {row['sentence']}" for row in segments]
    groups = [f"  {'group ' + row['group']:<16}{row['size']:>7,}  {row['words']}" for row in learned["groups"]]
    return [
        *_title("Who is in which segment"),
        *lines,
        f"  learned from recency, frequency and money: {learned['k']} groups",
        *wrap(learned["why"], WIDTH, initial_indent="    ", subsequent_indent="    "),
        *groups,
        f"  the picture: {learned['plot']}",
    ]


def _audiences(audiences: list[Mapping[str, Any]]) -> list[str]:
    head = f"  {'':<16}{'in segment':>11}{'sent':>8}{'arrived':>9}{'no consent':>12}{'no e-mail':>11}"
    lines = [
        f"  {row['segment']:<16}{row['members']:>11,}{row['sent']:>8,}{row['arrived']:>9,}"
        f"{row['no_consent']:>12,}{row['no_email']:>11,}"
        for row in audiences
    ]
    return [*_title("Who was sent where, and who was held back"), head, *lines]


def _life(life: list[Mapping[str, Any]]) -> list[str]:
    lines = [f"  {'✓' if act['ok'] else '✗'} {act['what']} ({act['seconds']:.1f} s)" for act in life]
    return [*_title("And then life goes on"), *lines]


def _stages(stages: list[Mapping[str, Any]], seconds: float) -> list[str]:
    lines = [
        f"  {row['stage']:<44}{row['seconds']:>8.1f} s{row['items']:>10,} {row['unit']:<10}{row['per_second']:>10,.0f}/s"
        for row in stages
    ]
    return [*_title("How long it took"), *lines, f"  {'all of it':<44}{seconds:>8.1f} s"]

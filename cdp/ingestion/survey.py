"""The answers to a survey, whoever asked, as tracking calls. Pure.

One answered survey is two calls. `identify` says what the answers tell of the person, so each becomes a trait that
knows its source. `Survey Answered` keeps everything as it was answered, in order, whatever the settings leave out.

    identifiers: {user_id: customer}       # names of hidden fields or custom variables
    traits: {city: question-7}             # trait: question; left out: a trait for every question
    interests: {cycling: question-3}       # trait interest_cycling, from 0 to 1
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cdp.ingestion import documents, normalise
from cdp.ingestion.documents import SHARED, Call
from cdp.ingestion.mapping import MappingError, parse_mapping

ANSWERED: Final = "Survey Answered"
BEGUN: Final = "Survey Begun"  # and left before its end
TABLES: Final = ("identifiers", "traits", "interests")
MOST_TRAITS: Final = 250  # an identify call may have 300 values; the event keeps every answer
_LONGEST_NAME: Final = 100
_MACHINE_MADE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+(\..*)?", re.IGNORECASE)
_NO_WORD = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """`keys` are the names that settings may have for the question. `score`: where it lies on its scale, 0 to 1."""

    keys: Sequence[str]
    question: str
    kind: str
    value: Any
    score: float | None = None


@dataclass(frozen=True, slots=True)
class AnsweredSurvey:
    """`id` is that of the response, `version` changes when the response does. `beside` is what came with the link."""

    vendor: str
    id: str
    version: str
    survey_id: str
    survey: str
    answered_at: str | None
    answers: Sequence[Answer]
    beside: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    is_complete: bool = True


def check_tables(config: Mapping[str, Any]) -> None:
    """Raises `MappingError`, which names the entry that is wrong."""
    for name in TABLES:
        table = config.get(name) or {}
        if not isinstance(table, dict):
            raise MappingError(f"`{name}` must be a table, for example `{name}: {{city: question-7}}`.")
        parse_mapping({"identifiers" if name == "identifiers" else "traits": table}, of_events=False)


def calls_of(survey: AnsweredSurvey, config: Mapping[str, Any]) -> list[Call]:
    addresses = dict(_addresses(survey.answers))
    traits = {**addresses, **_traits(survey, config), **_interests(survey, config)}
    who = documents.identity(
        {
            "anonymous_id": f"{survey.vendor}:{survey.id}",
            **{kind: traits[kind] for kind in SHARED if isinstance(traits.get(kind), str)},
            **_named_identifiers(survey, config),
        }
    )
    message_id = documents.fitting_id(f"{survey.vendor}:{survey.id}:{survey.version}")
    common = {**who, "timestamp": survey.answered_at}
    event = {
        **common,
        "type": "track",
        "event": ANSWERED if survey.is_complete else BEGUN,
        "messageId": message_id,
        "properties": _properties(survey),
    }
    if not traits:
        return [event]
    identify = {
        **common,
        "type": "identify",
        "messageId": documents.fitting_id(f"{message_id}:traits"),
        "traits": traits,
    }
    return [identify, event]


def _properties(survey: AnsweredSurvey) -> dict[str, Any]:
    return {
        "survey_id": survey.survey_id,
        "survey": survey.survey,
        "response_id": survey.id,
        "answers": [_told(answer) for answer in survey.answers],
        "hidden": dict(survey.beside),
        "scores": {
            **{answer.keys[0]: answer.score for answer in survey.answers if answer.score is not None},
            **survey.scores,
        },
    }


def _told(answer: Answer) -> dict[str, Any]:
    return {"key": answer.keys[0], "question": answer.question, "type": answer.kind, "answer": answer.value}


def _named_identifiers(survey: AnsweredSurvey, config: Mapping[str, Any]) -> dict[str, Any]:
    """Those that the settings name, else those that call themselves so; never an empty one."""
    table = config.get("identifiers") or {"user_id": "user_id", "anonymous_id": "anonymous_id", "email": "email"}
    by_key = {key: answer.value for answer in survey.answers for key in answer.keys}
    found = {kind: survey.beside.get(name, by_key.get(name)) for kind, name in table.items()}
    return {kind: value for kind, value in found.items() if normalise.identifier_value("user_id", value, region="")}


def _addresses(answers: Sequence[Answer]) -> Iterator[tuple[str, Any]]:
    """The first address of each kind is the person's own: a second question may ask for a friend's."""
    for kind in SHARED:
        if first := next((answer for answer in answers if answer.kind == kind), None):
            yield kind, first.value


def _traits(survey: AnsweredSurvey, config: Mapping[str, Any]) -> dict[str, Any]:
    wanted = config.get("traits")
    if not wanted:
        named = ((trait_name(answer), answer.value) for answer in survey.answers if answer.kind not in SHARED)
        return {name: value for name, value in list(named)[:MOST_TRAITS] if name}
    by_key = {key: answer.value for answer in survey.answers for key in answer.keys}
    return {trait: by_key[key] for trait, key in wanted.items() if key in by_key}


def _interests(survey: AnsweredSurvey, config: Mapping[str, Any]) -> dict[str, float]:
    by_key = {key: answer for answer in survey.answers for key in answer.keys}
    found: dict[str, float] = {}
    for interest, key in (config.get("interests") or {}).items():
        if key in by_key:
            found.update(_scored(interest, by_key[key]))
    return found


def _scored(interest: str, answer: Answer) -> Iterator[tuple[str, float]]:
    """A place on a scale is the score of the interest; each thing that was chosen is an interest of its own."""
    if answer.score is not None:
        yield f"interest_{slug(interest)}", answer.score
    elif isinstance(answer.value, bool):
        yield f"interest_{slug(interest)}", float(answer.value)
    else:
        for label in answer.value if isinstance(answer.value, list) else [answer.value]:
            if isinstance(label, str) and slug(label):
                yield f"interest_{slug(label)}", 1.0


def trait_name(answer: Answer) -> str:
    """What people called the question, where they did; a name that a machine made says less than the question."""
    named = answer.question if _MACHINE_MADE.fullmatch(answer.keys[0]) else answer.keys[0]
    return f"survey_{slug(named)}" if slug(named) else ""


def slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return _NO_WORD.sub("_", plain).strip("_")[:_LONGEST_NAME]

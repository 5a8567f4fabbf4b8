"""What a response of SurveyMonkey says, read beside the survey that it answers. Pure.

A response has ids alone; the words of questions, choices and rows are in the survey's own details.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from cdp.ingestion.survey import Answer, AnsweredSurvey

Json = Mapping[str, Any]
_ADDRESS_ROWS = {"email": "email", "phone": "phone"}


def answered_survey(response: Json, asked: Json) -> AnsweredSurvey:
    """Raises `KeyError` or `TypeError` where the other system keeps to no contract."""
    return AnsweredSurvey(
        vendor="surveymonkey",
        id=str(response["id"]),
        version=str(response.get("date_modified") or ""),
        survey_id=str(response["survey_id"]),
        survey=str(asked.get("title") or ""),
        answered_at=response.get("date_modified"),
        answers=[answer for question, given in _answered(response, asked) for answer in _answers(question, given)],
        beside=_beside(response),
        scores=_scores(response),
        is_complete=response.get("response_status", "completed") == "completed",
    )


def _answered(response: Json, asked: Json) -> Iterator[tuple[Json, Sequence[Json]]]:
    questions = {str(question["id"]): question for question in _questions(asked)}
    for given in _questions(response):
        if given.get("answers"):
            yield (
                {**given, **questions.get(str(given["id"]), {}), "variable_id": given.get("variable_id")},
                given["answers"],
            )


def _questions(document: Json) -> Iterator[Json]:
    for page in document.get("pages") or ():
        yield from page.get("questions") or ()


def _beside(response: Json) -> dict[str, Any]:
    """Custom variables of the link, and what the address book says of whoever was invited."""
    contact = (response.get("metadata") or {}).get("contact") or {}
    told = {name: value.get("value") if isinstance(value, dict) else value for name, value in contact.items()}
    custom = {"custom_value": response.get("custom_value"), **(response.get("custom_variables") or {})}
    return {name: value for name, value in {**told, **custom}.items() if value not in (None, "")}


def _scores(response: Json) -> dict[str, float]:
    results = response.get("quiz_results") or {}
    return {"total": results["score"]} if isinstance(results.get("score"), int | float) else {}


# -- one question ---------------------------------------------------------------------------------------------------


def _answers(question: Json, given: Sequence[Json]) -> list[Answer]:
    """Most questions have one answer; a form of addresses has one for each of its rows."""
    if question.get("family") == "demographic":
        return [_row_answer(question, answer) for answer in given]
    value = _value(question, given)
    kind = f"{question.get('family', 'unknown')}/{question.get('subtype', 'unknown')}"
    return [Answer(_keys(question), _heading(question), kind, value, _score(question, given))]


def _row_answer(question: Json, answer: Json) -> Answer:
    row = _option(question, "rows", answer.get("row_id"))
    kind = str(row.get("type") or _label(row) or "row")
    keys = [f"{key}.{kind}" for key in _keys(question)]
    return Answer(keys, _label(row) or _heading(question), _ADDRESS_ROWS.get(kind, kind), answer.get("text"))


def _value(question: Json, given: Sequence[Json]) -> Any:  # noqa: ANN401  # whatever was answered
    family, subtype = question.get("family"), question.get("subtype")
    if family == "multiple_choice":
        return [_said(question, answer) for answer in given]
    rows = [answer for answer in given if answer.get("row_id")]
    if not rows or (len(rows) == len(given) == 1 and len(_options(question, "rows")) <= 1):
        return _said(question, given[0]) if len(given) == 1 else [_said(question, answer) for answer in given]
    value = {label: _row_value(question, subtype, said) for label, said in _by_row(question, rows)}
    others = [_said(question, answer) for answer in given if not answer.get("row_id")]
    return {**value, **({"comment": others[0]} if others else {})}


def _by_row(question: Json, rows: Sequence[Json]) -> Iterator[tuple[str, list[Json]]]:
    for row_id, answers in groupby(sorted(rows, key=_row_id), key=_row_id):
        yield _label(_option(question, "rows", row_id)) or row_id, list(answers)


def _row_id(answer: Json) -> str:
    return str(answer["row_id"])


def _row_value(question: Json, subtype: object, answers: Sequence[Json]) -> Any:  # noqa: ANN401  # whatever was answered
    if subtype == "menu":
        return {_label(_option(question, "cols", one.get("col_id"))): _said(question, one) for one in answers}
    said = [_said(question, answer) for answer in answers]
    return said if subtype == "multi" and question.get("family") == "matrix" else said[0]


def _said(question: Json, answer: Json) -> Any:  # noqa: ANN401  # whatever was answered
    """A number where the question asked for one; the label of a choice; else the words."""
    if answer.get("text") not in (None, ""):
        text = answer["text"]
        return _number(text) if question.get("subtype") in {"numerical", "slider"} else text
    if answer.get("choice_id"):
        return _label(_choice(question, answer)) or str(answer["choice_id"])
    if answer.get("download_url"):
        return answer["download_url"]
    return answer.get("simple_text") or {name: value for name, value in answer.items() if name != "row_id"}


def _choice(question: Json, answer: Json) -> Json:
    """In a menu each column has choices of its own."""
    choice_id = answer.get("choice_id")
    within = _option(question, "cols", answer.get("col_id")).get("choices") or ()
    own = next((choice for choice in within if str(choice.get("id")) == str(choice_id)), None)
    return own or _option(question, "choices", choice_id)


def _number(text: object) -> object:
    try:
        return float(str(text)) if "." in str(text) else int(str(text))
    except ValueError:
        return text


def _score(question: Json, given: Sequence[Json]) -> float | None:
    """Where the chosen weight lies between 0 and the greatest; of several rows there is no one score."""
    if len(given) != 1 or question.get("family") not in {"matrix", "single_choice"}:
        return None
    weights = [weight for choice in _options(question, "choices") if (weight := _weight(choice)) is not None]
    weight = _weight(_choice(question, given[0]))
    if weight is None or not weights or max(weights) <= 0:
        return None
    return round(min(max(weight / max(weights), 0.0), 1.0), 4)


def _weight(choice: Json) -> float | None:
    weight = choice.get("weight")
    return float(weight) if isinstance(weight, int | float) and not isinstance(weight, bool) else None


def _option(question: Json, kind: str, wanted: object) -> Json:
    return next((option for option in _options(question, kind) if str(option.get("id")) == str(wanted)), {})


def _options(question: Json, kind: str) -> Sequence[Json]:
    answers = question.get("answers")
    options = answers.get(kind) if isinstance(answers, dict) else None
    return options if isinstance(options, list) else ()


def _label(option: Json) -> str:
    return str(option.get("text") or "").strip()


def _heading(question: Json) -> str:
    headings = question.get("headings") or [{}]
    return str(headings[0].get("heading") or question.get("heading") or "")


def _keys(question: Json) -> list[str]:
    return [str(question[name]) for name in ("variable_id", "id") if question.get(name)]

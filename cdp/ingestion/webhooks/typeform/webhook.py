"""Typeform: one delivery for each answered form, with the form's own definition beside the answers.

secret                                 # as entered at Typeform
identifiers, traits, interests         # see `cdp.ingestion.survey`
scales: {question-3: 7}                # the top of a scale, where the form does not say it
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar, Final

from cdp.ingestion import survey
from cdp.ingestion.bodies import InvalidJsonError, read_item
from cdp.ingestion.mapping import MappingError
from cdp.ingestion.signature import is_signed
from cdp.ingestion.survey import Answer, AnsweredSurvey
from cdp.ingestion.webhook import (
    Delivery,
    Field,
    MalformedDeliveryError,
    Reading,
    Settings,
    WebhookSettingsError,
    WrongSignatureError,
    checked_fields,
)  # fmt: skip

SIGNATURE: Final = "typeform-signature"
PREFIX: Final = "sha256="
COMPLETE: Final = "form_response"
EVENT_TYPES: Final = (COMPLETE, "form_response_partial")
_TOPS: Final = {"opinion_scale": 10, "nps": 10, "rating": 5}
_ADDRESSES: Final = {"email": "email", "phone_number": "phone"}


class Typeform:
    fields: ClassVar[Sequence[Field]] = (
        Field("secret", "secret of the webhook, as entered at Typeform", is_secret=True, is_required=True),
        Field("previous_secret", "the secret before it, while it is being changed", is_secret=True),
        Field("identifiers", "identifier: hidden field", {}),
        Field("traits", "trait: ref of the question", {}),
        Field("interests", "interest: ref of the question", {}),
        Field("scales", "ref of the question: top of its scale", {}),
    )
    # Typeform turns a webhook off that answers 404 or 410, and sends again what got any other error.
    malformed_status: ClassVar[HTTPStatus] = HTTPStatus.OK

    def check(self, settings: Settings) -> None:
        checked_fields(self.fields, settings)
        try:
            survey.check_tables(settings.config)
        except MappingError as error:
            raise WebhookSettingsError(error.message) from None
        for name, top in _scales(settings).items():
            if not isinstance(top, int) or isinstance(top, bool) or top < 1:
                raise WebhookSettingsError(f"`scales.{name}` must be a whole number above 0.")

    def verify(self, delivery: Delivery, settings: Settings, *, now: datetime) -> None:  # noqa: ARG002  # no time is signed
        given = delivery.headers.get(SIGNATURE, "")
        keys = [settings.secrets.get("secret", ""), settings.secrets.get("previous_secret", "")]
        signatures = [given.removeprefix(PREFIX)] if given.startswith(PREFIX) else []
        if not is_signed(delivery.body, signatures, keys, encoding="base64"):
            raise WrongSignatureError

    def read(self, delivery: Delivery, settings: Settings) -> Reading:
        event_type, response = _opened(delivery.body)
        answered = AnsweredSurvey(
            vendor="typeform",
            id=_text(response, "token"),
            version=event_type,
            survey_id=_text(response, "form_id"),
            survey=str(_object(response, "definition").get("title") or ""),
            answered_at=response.get("submitted_at"),
            answers=_answers(response, _scales(settings)),
            beside=_object(response, "hidden"),
            scores=_scores(response),
            is_complete=event_type == COMPLETE,
        )
        return Reading(calls=survey.calls_of(answered, settings.config))


WEBHOOK: Final = Typeform()


def _opened(body: bytes) -> tuple[str, Mapping[str, Any]]:
    try:
        document = read_item(body)
    except InvalidJsonError as error:
        raise MalformedDeliveryError(error.code, error.message) from None
    event_type = document.get("event_type") if isinstance(document, dict) else None
    if event_type not in EVENT_TYPES:
        raise MalformedDeliveryError("unknown_event_type", f"`event_type` is none of {', '.join(EVENT_TYPES)}.")
    return str(event_type), _object(document, "form_response")


def _text(response: Mapping[str, Any], name: str) -> str:
    value = response.get(name)
    if not (isinstance(value, str) and value):
        raise MalformedDeliveryError("malformed_delivery", f"`form_response.{name}` is missing.")
    return value


def _object(holder: object, name: str) -> Mapping[str, Any]:
    value = (holder.get(name) if isinstance(holder, dict) else None) or {}
    if not isinstance(value, dict):
        raise MalformedDeliveryError("malformed_delivery", f"`{name}` must be an object.")
    return value


def _objects(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    values = holder.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise MalformedDeliveryError("malformed_delivery", f"`{name}` must be a list of objects.")
    return values


# -- answers --------------------------------------------------------------------------------------------------------


def _answers(response: Mapping[str, Any], scales: Mapping[str, int]) -> list[Answer]:
    asked = {str(field.get("id")): field for field in _objects(_object(response, "definition"), "fields")}
    return [_answer(answer, asked, scales) for answer in _objects(response, "answers")]


def _answer(answer: Mapping[str, Any], asked: Mapping[str, Mapping[str, Any]], scales: Mapping[str, int]) -> Answer:
    own = _object(answer, "field")
    field = {**asked.get(str(own.get("id")), {}), **own}
    keys = [str(field[name]) for name in ("ref", "id") if field.get(name)] or ["unknown"]
    kind = str(answer.get("type") or "unknown")
    return Answer(
        keys=keys,
        question=str(field.get("title") or ""),
        kind=_ADDRESSES.get(kind, kind),
        value=_value(kind, answer),
        score=_score(answer, field, next((scales[key] for key in keys if key in scales), None)),
    )


def _value(kind: str, answer: Mapping[str, Any]) -> Any:  # noqa: ANN401  # whatever was answered
    """As somebody would say it. A type that nobody told us of keeps all that it came with."""
    given = answer.get(kind)
    if kind == "choice" and isinstance(given, dict):
        return given.get("label") or given.get("other")
    if kind == "choices" and isinstance(given, dict):
        labels, other = given.get("labels"), given.get("other")
        return [*(labels if isinstance(labels, list) else []), *([other] if other else [])]
    if given is None:
        return {name: value for name, value in answer.items() if name not in {"field", "type"}}
    return given


def _score(answer: Mapping[str, Any], field: Mapping[str, Any], given_top: int | None) -> float | None:
    number = answer.get("number")
    steps = _object(field, "properties").get("steps")
    top = given_top or (steps if isinstance(steps, int) and field.get("type") == "rating" else None)
    top = top or _TOPS.get(str(field.get("type")))
    if isinstance(number, bool) or not isinstance(number, int | float) or not top:
        return None
    return round(min(max(number / top, 0.0), 1.0), 4)


def _scores(response: Mapping[str, Any]) -> dict[str, float]:
    """What the form itself added up."""
    total = _object(response, "calculated").get("score")
    counted = {
        str(variable.get("key")): variable["number"]
        for variable in _objects(response, "variables")
        if isinstance(variable.get("number"), int | float)
    }
    return {**({"total": total} if isinstance(total, int | float) else {}), **counted}


def _scales(settings: Settings) -> Mapping[str, Any]:
    given = settings.config.get("scales") or {}
    if not isinstance(given, dict):
        raise WebhookSettingsError("`scales` must be a table, for example `scales: {question-3: 7}`.")
    return given

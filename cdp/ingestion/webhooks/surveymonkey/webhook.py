"""SurveyMonkey: a delivery only names the response; a worker fetches what it says.

client_id, client_secret               # of the app that made the webhook
access_token                           # reads responses and surveys
access_url                             # another one for accounts in Europe or Canada
identifiers, traits, interests         # see `cdp.ingestion.survey`; questions by their id
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit

from cdp.ingestion import survey
from cdp.ingestion.bodies import InvalidJsonError, read_item
from cdp.ingestion.documents import Call, fitting_id
from cdp.ingestion.mapping import MappingError
from cdp.ingestion.signature import is_same, is_signed
from cdp.ingestion.webhook import (
    Announced,
    Delivery,
    Field,
    Get,
    MalformedDeliveryError,
    Reading,
    Settings,
    WebhookSettingsError,
    WrongSignatureError,
    checked_fields,
)  # fmt: skip
from cdp.ingestion.webhooks.surveymonkey.answers import answered_survey

ACCESS_URL: Final = "https://api.surveymonkey.com"
EVENT_TYPES: Final = ("response_completed", "response_updated")


class SurveyMonkey:
    fields: ClassVar[Sequence[Field]] = (
        Field("client_id", "client id of the app", is_required=True),
        Field("access_url", "address of the API", ACCESS_URL),
        Field("identifiers", "identifier: custom variable", {}),
        Field("traits", "trait: id of the question", {}),
        Field("interests", "interest: id of the question", {}),
        Field("client_secret", "secret of the app: key of the signatures", is_secret=True, is_required=True),
        Field("access_token", "reads responses and surveys", is_secret=True, is_required=True),
    )
    malformed_status: ClassVar[HTTPStatus] = HTTPStatus.OK  # sent again it would say the same
    requests_per_minute: ClassVar[int] = 100  # an app may send 120

    def check(self, settings: Settings) -> None:
        checked_fields(self.fields, settings)
        url = settings.config.get("access_url") or ACCESS_URL
        if not isinstance(url, str) or urlsplit(url).scheme not in {"https", "http"} or not urlsplit(url).netloc:
            raise WebhookSettingsError("`access_url` must be an address, for example https://api.eu.surveymonkey.com.")
        try:
            survey.check_tables(settings.config)
        except MappingError as error:
            raise WebhookSettingsError(error.message) from None

    def verify(self, delivery: Delivery, settings: Settings, *, now: datetime) -> None:  # noqa: ARG002  # no time is signed
        client_id, secret = str(settings.config.get("client_id") or ""), settings.secrets.get("client_secret", "")
        key = f"{client_id}&{secret}" if client_id and secret else ""
        given = [delivery.headers.get("sm-signature", "")]
        is_right = is_signed(delivery.body, given, [key], algorithm="sha1", encoding="base64")
        if not is_same(delivery.headers.get("sm-apikey", ""), client_id) or not is_right:
            raise WrongSignatureError

    def read(self, delivery: Delivery, settings: Settings) -> Reading:  # noqa: ARG002  # what is wanted is decided when it is fetched
        try:
            told = read_item(delivery.body)
        except InvalidJsonError as error:
            raise MalformedDeliveryError(error.code, error.message) from None
        if not isinstance(told, dict) or told.get("event_type") not in EVENT_TYPES:
            raise MalformedDeliveryError("unknown_event_type", f"`event_type` is none of {', '.join(EVENT_TYPES)}.")
        kept = {"event_type": told["event_type"], "survey_id": _survey_id(told), "response_id": _id(told, "object_id")}
        return Reading(announced=[Announced(_key(told, kept), kept)])

    def headers(self, settings: Settings) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {settings.secrets.get('access_token', '')}"}

    def fetch(self, announced: Mapping[str, Any], settings: Settings, get: Get) -> Sequence[Call]:
        address = f"{str(settings.config.get('access_url') or ACCESS_URL).rstrip('/')}/v3/surveys/{quote(announced['survey_id'], safe='')}"
        response = get(f"{address}/responses/{quote(announced['response_id'], safe='')}/details")
        asked = get(f"{address}/details")
        try:
            return survey.calls_of(answered_survey(response, asked), settings.config)
        except (KeyError, TypeError, AttributeError, IndexError):
            raise MalformedDeliveryError(
                "unreadable_response", "The response is not as SurveyMonkey describes it."
            ) from None


WEBHOOK: Final = SurveyMonkey()


def _key(told: Mapping[str, Any], kept: Mapping[str, str]) -> str:
    """An event has an id; should one lack it, the same response at the same time is the same event."""
    return fitting_id(str(told.get("event_id") or f"{kept['response_id']}:{told.get('event_datetime')}"))


def _survey_id(told: Mapping[str, Any]) -> str:
    resources = told.get("resources")
    return _id(resources if isinstance(resources, dict) else {}, "survey_id")


def _id(holder: Mapping[str, Any], name: str) -> str:
    value = holder.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value):
        raise MalformedDeliveryError("malformed_delivery", f"`{name}` is missing.")
    return str(value)

"""Those who send webhooks, as their documentation says they do: body, headers, signature."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cdp.ingestion.webhook import Delivery, Settings
from cdp.models import Connection, Source, SourceKind
from cdp.models.secrets import encrypted
from tests.factories import SourceFactory

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass
class Sender:
    """`calls` is how many tracking calls one delivery makes, `announced` how many things it only names."""

    kind: SourceKind
    config: dict
    secrets: dict
    calls: int
    announced: int = 0
    malformed_status: int = 200
    more: dict = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return Settings(self.config, self.secrets)

    def body(self, number: int = 1) -> bytes:
        return json.dumps(BODIES[self.kind](number)).encode()

    def headers(self, body: bytes, *, at: datetime = NOW, **secrets: str) -> dict[str, str]:
        return SIGNERS[self.kind]({**self.secrets, **secrets}, self.config, body, at)

    def delivery(self, body: bytes | None = None, **signing) -> Delivery:
        body = self.body() if body is None else body
        return Delivery(body, {name.lower(): value for name, value in self.headers(body, **signing).items()})

    def connect(self, workspace) -> Source:
        source = SourceFactory(workspace=workspace, kind=self.kind)
        Connection.objects.create(
            workspace=workspace, source=source, config=self.config, secrets=encrypted(self.secrets)
        )
        return source


def _order(number: int) -> dict:
    return {
        "data": {
            "orders": [
                {"id": f"order-{number}", "at": "2026-11-21T11:00:00Z", "total": 99.5, "customer": {"mail": "ada@example.com"}},
                {"id": f"order-{number}b", "at": 1795258800, "total": 1, "customer": {"mail": "bob@example.com"}},
            ]
        }
    }  # fmt: skip


def typeform_body(number: int = 1, answers: list | None = None, **more) -> dict:
    return {
        "event_id": f"event-{number}",
        "event_type": "form_response",
        "form_response": {
            "form_id": "lT4Z3j",
            "token": f"token-{number}",
            "submitted_at": "2026-11-21T11:00:00Z",
            "definition": {
                "id": "lT4Z3j",
                "title": "How we do",
                "fields": [
                    {"id": "f1", "ref": "city", "title": "Where do you live?", "type": "short_text"},
                    {"id": "f2", "ref": "8f1f5b2e-0d6c-4f0a-9c57-1a2b3c4d5e6f", "title": "How happy are you?", "type": "opinion_scale"},
                ],
            },
            "answers": [{"type": "text", "text": "Paris", "field": {"id": "f1", "type": "short_text", "ref": "city"}}]
            if answers is None
            else answers,
            "hidden": {"user_id": f"user-{number}"},
            **more,
        },
    }  # fmt: skip


def surveymonkey_body(number: int = 1, **more) -> dict:
    return {
        "name": "Ours",
        "filter_type": "survey",
        "filter_id": "68388858",
        "event_type": "response_completed",
        "event_id": f"event-{number}",
        "object_type": "response",
        "object_id": f"{number}",
        "event_datetime": "2026-11-21T11:00:00.182613+00:00",
        "resources": {"respondent_id": f"{number}", "survey_id": "68388858", "collector_id": "81234729"},
        **more,
    }


BODIES = {
    SourceKind.WEBHOOK: _order,
    SourceKind.TYPEFORM: typeform_body,
    SourceKind.SURVEYMONKEY: surveymonkey_body,
}


def _sign_generic(secrets, config, body, at):
    seconds = str(int(at.timestamp()))
    digest = hmac.new(secrets["secret"].encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Signature": f"t={seconds},v1={digest}"}


def _sign_typeform(secrets, config, body, at):
    digest = hmac.new(secrets["secret"].encode(), body, hashlib.sha256).digest()
    return {"Typeform-Signature": "sha256=" + base64.b64encode(digest).decode()}


def _sign_surveymonkey(secrets, config, body, at):
    key = f"{config['client_id']}&{secrets['client_secret']}"
    digest = hmac.new(key.encode(), body, hashlib.sha1).digest()  # what SurveyMonkey signs with
    return {"Sm-Apikey": config["client_id"], "Sm-Signature": base64.b64encode(digest).decode()}


SIGNERS = {
    SourceKind.WEBHOOK: _sign_generic,
    SourceKind.TYPEFORM: _sign_typeform,
    SourceKind.SURVEYMONKEY: _sign_surveymonkey,
}

GENERIC = Sender(
    SourceKind.WEBHOOK,
    {
        "signature_header": "X-Signature",
        "style": "timestamped",
        "mapping": {
            "items": "data.orders",
            "key": "id",
            "event_name": "Order Completed",
            "observed_at": "at",
            "identifiers": {"email": "customer.mail"},
            "properties": {"revenue": "total"},
        },
    },
    {"secret": "hidden-4711"},
    calls=2,
    malformed_status=400,
)
TYPEFORM = Sender(SourceKind.TYPEFORM, {}, {"secret": "hidden-4712"}, calls=2)
SURVEYMONKEY = Sender(
    SourceKind.SURVEYMONKEY,
    {"client_id": "client-7"},
    {"client_secret": "hidden-4713", "access_token": "hidden-4714"},
    calls=0,
    announced=1,
)
SENDERS = (GENERIC, TYPEFORM, SURVEYMONKEY)

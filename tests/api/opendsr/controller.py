"""A controller that calls us by OpenDSR, and what it asks."""

import json
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.test import Client

from cdp.kernel.identifiers import Identifier
from consent import requests
from consent.models import DataRequest

DOMAIN = "dsr.example.com"
ID = "a7551968-d5d6-44b2-9831-815ac9017798"
SUBMITTED = "2026-10-31T09:00:00Z"
DUE = "2026-11-30T09:00:00Z"  # a calendar month later, on its last day
CALLED = "https://controller.example.com/callbacks"


@dataclass(frozen=True)
class Controller:
    """Calls the adapter with its token."""

    client: Client
    row: Any
    token: str

    def post(self, body: object, path: str = "/v2/requests", **headers: str) -> HttpResponse:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, content, content_type="application/json", headers=self._headers | headers)

    def get(self, path: str) -> HttpResponse:
        return self.client.get(path, headers=self._headers)

    def delete(self, path: str) -> HttpResponse:
        return self.client.delete(path, headers=self._headers)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def asked(**changes: object) -> dict[str, object]:
    """A request of access; a change to None leaves the field out."""
    identity = {"identity_type": "email", "identity_value": "Ada@Example.com", "identity_format": "raw"}
    body = {
        "regulation": "gdpr", "subject_request_id": ID, "subject_request_type": "access", "submitted_time": SUBMITTED,
        "subject_identities": [identity], "api_version": "2.0", **changes,
    }  # fmt: skip
    return {name: value for name, value in body.items() if value is not None}


def identity(value: str, form: str = "raw", kind: str = "email") -> dict[str, str]:
    return {"identity_type": kind, "identity_value": value, "identity_format": form}


def reasons(answer: HttpResponse) -> list[str]:
    return [one["reason"] for one in answer.json()["error"]["errors"]]


def named() -> list[Identifier]:
    return requests.identifiers_of(DataRequest.objects.get())

"""A person who is known well, and four who ask: owner, member without the scope, stranger, anonymous."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from cdp.kernel.purposes import Purpose
from cdp.models import ApiKey, Event, Identifier, Scope, Source, Trait, Workspace
from cdp.models.keys import digest_of, new_secret
from consent.models import ConsentState
from tests.factories import IdentifierFactory, SourceFactory, WorkspaceFactory, say


@dataclass(frozen=True)
class Caller:
    """Calls the API with one key, or with none."""

    client: Client
    secret: str = ""

    def get(self, path: str, **query: object) -> HttpResponse:
        return self.client.get(f"/api/v1/{path}", query, headers=self._headers)

    def post(self, path: str, body: object) -> HttpResponse:
        return self.client.post(f"/api/v1/{path}", body, content_type="application/json", headers=self._headers)

    def delete(self, path: str) -> HttpResponse:
        return self.client.delete(f"/api/v1/{path}", headers=self._headers)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"} if self.secret else {}


@dataclass(frozen=True)
class Person:
    email: Identifier
    crm: Identifier
    source: Source

    @property
    def id(self) -> int:
        return self.email.profile_id


@pytest.fixture
def caller(client: Client, workspace: Workspace) -> Callable[..., Caller]:
    """`caller("profiles:read", purpose=...)`: somebody with a key of the workspace and these scopes."""
    client.raise_request_exception = False

    def make(*scopes: str, purpose: Purpose = Purpose.ANALYTICS, of: Workspace = workspace, **more: Any) -> Caller:
        secret = new_secret("key")
        fields = {"name": "test", "hint": secret[:8], "digest": digest_of(secret), "scopes": list(scopes)}
        ApiKey.objects.create(workspace=of, purpose=purpose, **fields, **more)
        return Caller(client, secret)

    return make


@pytest.fixture
def owner(caller: Callable[..., Caller]) -> Caller:
    return caller(*Scope.values)


@pytest.fixture
def stranger(caller: Callable[..., Caller]) -> Caller:
    return caller(*Scope.values, of=WorkspaceFactory())


@pytest.fixture
def anonymous(client: Client) -> Caller:
    return Caller(client)


@pytest.fixture
def ada(workspace: Workspace, now: datetime) -> Person:
    """Two identifiers of one person, two traits, three events. She refuses advertising."""
    source = SourceFactory(workspace=workspace, name="crm")
    email = IdentifierFactory(workspace=workspace, value="ada@example.com")
    crm = IdentifierFactory(workspace=workspace, type="crm:id", value="a/b 7")
    Identifier.objects.filter(pk=crm.pk).update(profile_id=email.pk)
    common = {"workspace": workspace, "source": source}
    for name, value in (("city", "Paris"), ("orders", 3)):
        Trait.objects.create(
            **common, profile_id=email.pk, identifier=crm, name=name, value=value, observed_at=now, confidence=0.5,
            rule="RECENT",
        )  # fmt: skip
    for number, who in enumerate((email, crm, email)):
        Event.objects.create(
            **common, identifier=who, message_id=f"m{number}", kind="track", name="Order", seen_with=[],
            occurred_at=now.replace(hour=number), received_at=now, properties={"number": number}, context={},
        )  # fmt: skip
    say(email, Purpose.ADVERTISING, ConsentState.REFUSED)
    crm.refresh_from_db()
    return Person(email, crm, source)

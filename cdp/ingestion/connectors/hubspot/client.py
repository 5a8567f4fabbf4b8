"""Calls of HubSpot's API, by its library: at the allowed pace, with a token that is renewed, and errors in our words."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn, TypeVar

from cdp.http import PermanentHttpError, TransientHttpError, failures_of_library, pool_for_library
from cdp.ingestion.connector import (
    ConnectorConfigError,
    RefusedConnectionError,
    TokenBucket,
    TransientConnectorError,
    UnreadableStreamError,
    code_of,
    load_extra,
)

REQUESTS_PER_SECOND: Final = 4  # the search allows five to all of an account's apps together
SOON: Final = 10.0
UNTIL_TOMORROW: Final = 3600.0  # the day ends in the account's own time zone, which is not told

T = TypeVar("T")


class TokenExpiredError(RefusedConnectionError):
    """HubSpot does not accept the token: make a new one for this connection."""

    code = "token_expired"


class Client:
    def __init__(self, secrets: Mapping[str, str], url: str = "") -> None:
        self._library = load_extra("hubspot", extra="hubspot")
        can_refresh = all(secrets.get(name) for name in ("client_id", "client_secret", "refresh_token"))
        if not can_refresh and not secrets.get("access_token"):
            raise ConnectorConfigError(
                "HubSpot needs `access_token` of a private app among the secrets, or `client_id`, `client_secret` and"
                " `refresh_token`."
            )
        self._secrets, self._can_refresh, self._url = secrets, can_refresh, url
        self._token = secrets.get("access_token", "")
        self._pool = pool_for_library(via=url)
        self._bucket = TokenBucket(REQUESTS_PER_SECOND)
        self._apis: dict[str, Any] = {}

    def search(self, kind: str, question: Mapping[str, Any]) -> Sequence[object]:
        def ask() -> Any:  # noqa: ANN401  # the library is optional
            return self._api(f"{kind}.search_api").do_search(question, _preload_content=False)

        return _results_in(self._ask(ask))

    def archived(self, kind: str, place: str, most: int) -> tuple[Sequence[object], str]:
        """A page of what is archived, and the place of the next one; empty after the last."""
        more = {"after": place} if place else {}

        def ask() -> Any:  # noqa: ANN401  # likewise
            return self._api(f"{kind}.basic_api").get_page(limit=most, archived=True, _preload_content=False, **more)

        answer = self._ask(ask)
        paging = answer.get("paging") or {}
        following = paging.get("next") if isinstance(paging, Mapping) else None
        return _results_in(answer), str((following or {}).get("after", ""))

    def _ask(self, request: Callable[[], Any]) -> Mapping[str, Any]:
        """A token that has expired is renewed once; one that is refused at once will be refused again."""
        if not self._token:
            self._refresh()
        try:
            return self._attempt(request)
        except TokenExpiredError:
            if not self._can_refresh:
                raise
        self._refresh()
        return self._attempt(request)

    def _attempt(self, request: Callable[[], Any]) -> Mapping[str, Any]:
        self._bucket.take()
        with _named_failures():
            answer = json.loads(request().data)
        if not isinstance(answer, Mapping):
            raise TransientConnectorError(reason="unexpected_answer")
        return answer

    def _refresh(self) -> None:
        form = {name: self._secrets[name] for name in ("client_id", "client_secret", "refresh_token")}
        self._apis.clear()
        api = self._prepared(self._connected(None).oauth.tokens_api)
        try:
            answer = self._attempt(lambda: api.create(grant_type="refresh_token", _preload_content=False, **form))
        except UnreadableStreamError as error:
            raise RefusedConnectionError(
                "HubSpot refuses the refresh token: connect the app anew.", reason=error.reason
            ) from None
        self._token = str(answer.get("access_token", ""))

    def _api(self, name: str) -> Any:  # noqa: ANN401  # the library is optional
        if name not in self._apis:
            kind, _, part = name.partition(".")
            self._apis[name] = self._prepared(getattr(getattr(self._connected(self._token).crm, kind), part))
        return self._apis[name]

    def _connected(self, token: str | None) -> Any:  # noqa: ANN401  # likewise
        host = {"host": self._url} if self._url else {}
        return self._library.HubSpot(access_token=token, **host)

    def _prepared(self, api: Any) -> Any:  # noqa: ANN401  # likewise
        """By way of our own connections, which keep away from private addresses."""
        api.api_client.rest_client.pool_manager = self._pool
        return api


@contextmanager
def _named_failures() -> Iterator[None]:
    """Each part of the library has exceptions of its own; what they share is a status, headers and a body."""
    try:
        with failures_of_library():
            yield
    except TransientHttpError as error:
        raise TransientConnectorError(reason=error.details["reason"]) from None
    except PermanentHttpError as error:
        raise RefusedConnectionError(error.message, reason=error.code) from None
    except ValueError:  # of the JSON
        raise TransientConnectorError(reason="unexpected_answer") from None
    except Exception as error:
        if not hasattr(error, "status"):
            raise
        headers, body = getattr(error, "headers", None), getattr(error, "body", None)
        _raise_for(int(error.status or 0), headers or {}, _said_in(body))


def _raise_for(status: int, headers: Mapping[str, str], said: Mapping[str, Any]) -> NoReturn:
    code = code_of(str(said.get("category") or said.get("status") or "")) or f"http_{status}"
    if status == 429:
        policy = str(said.get("policyName", ""))
        wait = UNTIL_TOMORROW if policy == "DAILY" else SOON
        asked = str(headers.get("Retry-After", ""))
        raise TransientConnectorError(
            reason=f"rate_limit_{policy}", retry_after=float(asked) if asked.isdigit() else wait
        ) from None
    if status == 401:
        raise TokenExpiredError from None
    if status == 0 or status >= 500 or status == 408:
        raise TransientConnectorError(reason=code) from None
    if status in {400, 403, 404}:
        raise UnreadableStreamError(
            "HubSpot refuses this object: look at the scopes of the app and the properties of the mapping.", reason=code
        ) from None
    raise RefusedConnectionError(reason=code) from None


def _said_in(body: object) -> Mapping[str, Any]:
    try:
        said = json.loads(body) if isinstance(body, bytes | str) else {}
    except ValueError:
        said = {}
    return said if isinstance(said, dict) else {}


def _results_in(answer: Mapping[str, Any]) -> Sequence[object]:
    results = answer.get("results")
    if not isinstance(results, list):
        raise TransientConnectorError(reason="unexpected_answer")
    return results
